//! Feast's registry, wherever it lives: PostgreSQL, SQLite, a file, an object in a store.
//!
//! One crate, because they answer the same three questions: what is defined, what was defined as
//! version N, and has this interval been recorded. Bytes are moved here and understood in
//! `feast::registry`. Deliberately absent: creating or changing definitions, which is Feast's, and
//! our own ledger (`metastore`).

mod error;
mod file;
mod intervals;
mod object;
mod open;
mod sql;

pub use error::Error;
pub use feast::registry::Snapshot;
pub use intervals::Recorded;
pub use open::Registry;
