//! Whole runs of the real binary, on servers of a test's own.
//!
//! One file for each question an operator asks. Deliberately absent: Feast's bytes (see `vectors`)
//! and what happens when the process is killed (see `fault`).

mod client;
mod console;
mod correct;
mod failure;
mod http;
mod memory;
mod plan;
mod read;
mod rebuild;
mod redis;
mod redis_servers;
mod registry;
mod rerun;
mod runs;
mod s3;
mod sample;
mod show;
mod tombstone;
mod window;
