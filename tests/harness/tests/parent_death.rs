//! Servers do not outlive the process that started them, even when it is killed.
//!
//! A suite of its own because it kills a whole process that started servers.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Well above the milliseconds it takes, for a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn a_killed_process_takes_its_servers_with_it() -> Result<()> {
    let mut up = Command::new(env!("CARGO_BIN_EXE_up")).stdout(Stdio::piped()).spawn()?;
    let output = up.stdout.take().context("the output is piped")?;
    let lines: Vec<String> = BufReader::new(output).lines().take(2).collect::<Result<_, _>>()?;
    let ports: Vec<u16> = lines.iter().map(|line| port(line)).collect::<Result<_>>()?;
    assert_eq!(ports.len(), 2, "{lines:?}");
    assert!(ports.iter().all(|&port| listens(port)), "{lines:?}");

    up.kill()?;
    up.wait()?;

    let killed = Instant::now();
    while ports.iter().any(|&port| listens(port)) {
        assert!(killed.elapsed() < PATIENCE, "a server outlived its parent: {lines:?}");
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// The port in a line such as `redis      redis://127.0.0.1:6379`.
fn port(line: &str) -> Result<u16> {
    let (_, rest) = line.split_once("127.0.0.1:").context("the line names no port")?;
    Ok(rest.split('/').next().unwrap_or(rest).parse()?)
}

fn listens(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}
