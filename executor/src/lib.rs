//! Where plans run and how bytes reach the online store.
//!
//! Deliberately absent: the ledger and Feast's registry. An executor has no credentials for
//! either; what it did goes back as a receipt.

mod sink;

pub use sink::OnlineSinks;
