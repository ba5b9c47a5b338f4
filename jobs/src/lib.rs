//! What is computed
