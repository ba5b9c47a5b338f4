//! What the suites share: repositories to run the real binary in, and eyes on what it left behind.
//!
//! The binary is a black box here. Registries are written from the contract's field numbers, not
//! with the code that reads them, and stores are read with plain commands. Deliberately absent:
//! servers (see `harness`), and anything that links the query engine.

pub mod definition;
pub mod dice;
pub mod golden;
pub mod hex;
pub mod ledger;
pub mod online;
pub mod parquet;
pub mod registry;
pub mod repo;
pub mod serving;
pub mod session;
pub mod wait;
pub mod wire;
