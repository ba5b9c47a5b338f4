//! Starts PostgreSQL, Redis and S3 for one test, and finds the real Feast to compare with.
//!
//! Knows none of our crates, so any crate's tests may use it. Servers listen on loopback ports
//! nobody else uses, keep their files in a directory of their own, and end with the value that
//! started them, or with the test process if that is killed. Deliberately absent: anything
//! asynchronous, and any client beyond what a check of the servers themselves needs.

mod browser;
mod feast;
mod link;
mod port;
mod postgres;
mod process;
mod python;
mod redis;
mod redis_cluster;
mod redis_sentinel;
mod resp;
mod s3;
mod schemathesis;
mod scratch;
mod tls;
mod tool;

pub use browser::Browser;
pub use feast::Feast;
pub use link::Link;
pub use port::free_port;
pub use postgres::Postgres;
pub use redis::Redis;
pub use redis_cluster::RedisCluster;
pub use redis_sentinel::RedisSentinel;
pub use resp::{Reply, receive};
pub use s3::{Answer, Proxy, Request, S3};
pub use schemathesis::Schemathesis;
pub use tls::Certificates;
pub use tool::{Tool, tidegate_bin};
