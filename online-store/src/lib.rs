//! Every online store command
