//! Every online store command: Feast's Redis and SQLite stores, written so that newer wins.
//!
//! One door for both: [`OnlineStore`] checks a view ([`OnlineStore::prepare`]), writes batches of
//! encoded rows and reads rows back. The bytes are Feast's; the rule that an older row never
//! replaces a newer one is ours, and atomic. So is what the commit protocol keeps beside the rows:
//! a fence, a marker and a nonce. Deliberately absent: how rows come about (see `jobs`), and when a
//! write counts as done (see `metastore`).

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod error;
mod fetch;
mod limits;
mod memory;
mod pace;
mod redis;
mod redis_memory;
mod sqlite;
mod store;

pub use error::{Error, Trouble};
pub use fetch::{Fetch, FetchedRow, Fields};
pub use limits::WriteLimits;
pub use pace::PaceLimits;
pub use redis::OWN_KEY_PREFIX;
pub use sqlite::create_tables;
pub use store::{OnlineStore, PreparedView, StoreMarker, StoredRow};
