//! Starts PostgreSQL and Redis for one test, and finds the real Feast to compare with.
//!
//! Knows none of our crates, so any crate's tests may use it. Servers listen on loopback ports
//! nobody else uses, keep their files in a directory of their own, and end with the value that
//! started them, or with the test process if that is killed. Deliberately absent: anything
//! asynchronous, and any client beyond what a check of the servers themselves needs.

mod feast;
mod port;
mod postgres;
mod process;
mod redis;
mod resp;
mod scratch;
mod tool;

pub use feast::Feast;
pub use port::free_port;
pub use postgres::Postgres;
pub use redis::Redis;
pub use resp::Reply;
pub use tool::{Tool, tidegate_bin};
