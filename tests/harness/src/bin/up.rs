//! Starts a Redis and a PostgreSQL, prints their URLs, and keeps them until it is ended.
//!
//! `cargo xtask up` runs this. Both servers end with this program, however it ends; their
//! directories are removed by whoever starts a server next.

use std::io::{Write, stdout};
use std::thread;

use anyhow::Result;
use harness::{Postgres, Redis};

fn main() -> Result<()> {
    let redis = Redis::start()?;
    let postgres = Postgres::start()?;
    let mut out = stdout();
    writeln!(out, "redis      {}", redis.url())?;
    writeln!(out, "postgresql {}", postgres.url("postgres"))?;
    out.flush()?;
    loop {
        thread::park();
    }
}
