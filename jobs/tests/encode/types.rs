//! Every pair of types.
