//! One question per file
