//! Our ledger
