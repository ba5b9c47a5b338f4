//! Feast's registry, wherever it lives
