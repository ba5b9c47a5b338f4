//! What every process does, done once.
