//! A feature server as it is measured: ours, or the real Feast's, on a port of its own.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use harness::{Feast, free_port, tidegate_bin};

use crate::usage::Usage;

/// How often a server that starts is asked: what its start takes is known to within this.
const POLL: Duration = Duration::from_millis(1);
/// Feast takes some seconds on a machine that does nothing else.
const READY_MAX: Duration = Duration::from_secs(120);
/// How long a server may take to end when it is told to.
const END_MAX: Duration = Duration::from_secs(30);
/// Feast's processes that answer: one for each processor of a small machine.
pub const FEAST_WORKERS: usize = 2;

/// A running server. It is ended when the value is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    address: SocketAddr,
    ready_after: Duration,
}

impl Server {
    /// Starts `tidegate serve` as it comes, with the repository in `place`.
    ///
    /// # Errors
    /// When it has not been built or does not get ready.
    pub fn tidegate(place: &Path) -> Result<Self> {
        let address = address()?;
        let mut command = Command::new(tidegate_bin()?);
        command.args(["serve", "--listen", &address.to_string()]);
        Self::start(command, place, address, "/readyz")
    }

    /// Starts `feast serve` as fast as it can be had: several workers that are never replaced, and
    /// no access log.
    ///
    /// # Errors
    /// When it does not get ready.
    pub fn feast(feast: &Feast, place: &Path) -> Result<Self> {
        let address = address()?;
        let mut command = Command::new(feast.command());
        command.args(["serve", "--host", "127.0.0.1", "--port", &address.port().to_string()]);
        command.args(["--workers", &FEAST_WORKERS.to_string(), "--max-requests", "0"]);
        command.arg("--no-access-log");
        Self::start(command, place, address, "/health")
    }

    fn start(mut command: Command, place: &Path, address: SocketAddr, ready: &str) -> Result<Self> {
        let log = place.join("serve.log");
        let file = File::create(&log)?;
        command.current_dir(place).stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let begun = Instant::now();
        let child = command.spawn().with_context(|| format!("failed to start {command:?}"))?;
        let mut server = Self { child, address, ready_after: Duration::ZERO };
        while !is_ready(address, ready) {
            let ended = server.child.try_wait()?;
            if ended.is_some() || begun.elapsed() > READY_MAX {
                let said = fs::read_to_string(&log).unwrap_or_default();
                bail!("{command:?} did not get ready: {said}");
            }
            thread::sleep(POLL);
        }
        server.ready_after = begun.elapsed();
        Ok(server)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From its start to its first word that it is ready.
    #[must_use]
    pub fn ready_after(&self) -> Duration {
        self.ready_after
    }

    /// What it uses, all its processes together.
    ///
    /// # Errors
    /// When it has ended.
    pub fn usage(&self) -> Result<Usage> {
        Usage::of(self.child.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let begun = Instant::now();
        if matches!(self.child.try_wait(), Ok(None)) {
            // Feast ends its workers when it is asked to end, not when it is killed.
            Command::new("kill").arg(self.child.id().to_string()).status().ok();
        }
        while begun.elapsed() < END_MAX && matches!(self.child.try_wait(), Ok(None)) {
            thread::sleep(POLL);
        }
        // Both fail only when it is gone already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn address() -> Result<SocketAddr> {
    Ok(SocketAddr::from(([127, 0, 0, 1], free_port()?)))
}

/// Tells whether a path is answered with 200.
fn is_ready(address: SocketAddr, path: &str) -> bool {
    let status = || -> Result<String> {
        let mut stream = TcpStream::connect(address)?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    status().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_ends_says_why() -> Result<()> {
        let place = tempfile::tempdir()?;
        let mut command = Command::new("sh");
        command.args(["-c", "echo no such registry >&2; exit 1"]);
        let error = Server::start(command, place.path(), address()?, "/");
        let text = error.expect_err("it has ended").to_string();
        assert!(text.contains("no such registry"), "{text}");
        Ok(())
    }
}
