//! An S3 server of a test's own, and a proxy in front of it that misbehaves when told to.
//!
//! The server is s3s-fs, a program of its own from crates.io, built once beside the build output:
//! what speaks S3 here shares no code with what is tested. It ignores conditions on reads, which
//! some real servers do as well.

mod proxy;

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

pub use self::proxy::{Answer, Proxy, Request};
use crate::port::free_port;
use crate::process::{Launch, Process};
use crate::python::{succeeded, target_dir};
use crate::scratch::Scratch;

/// The version of the server. Its own lock file pins everything it needs.
const VERSION: &str = "0.14.1";
/// Another process may take a port between our finding it and the server's listening on it.
const PORTS_TRIED_MAX: usize = 5;
const ACCESS_KEY: &str = "tidegate";
const SECRET_KEY: &str = "tidegate-secret";

/// An S3 server on a loopback port with one bucket.
///
/// It ends when the value is dropped, and when the test process dies in any way.
#[derive(Debug)]
pub struct S3 {
    port: u16,
    scratch: Scratch,
    _process: Process,
}

impl S3 {
    /// The bucket.
    pub const BUCKET: &'static str = "bucket";

    /// Starts a server; builds it first when that has not been done: two minutes, once.
    ///
    /// # Errors
    /// When it cannot be built or does not come up.
    pub fn start() -> Result<Self> {
        let program = require()?;
        for _ in 0..PORTS_TRIED_MAX {
            let (port, scratch) = (free_port()?, Scratch::new()?);
            let root = scratch.path().join("data");
            fs::create_dir_all(root.join(Self::BUCKET))?;
            let log = scratch.path().join("s3.log");
            let launch =
                Launch { argv: argv(&program, port, &root), user: None, log: Some(log.clone()) };
            let mut process = Process::start(launch)?;
            if process.wait_until(|| TcpStream::connect(("127.0.0.1", port)).is_ok())? {
                return Ok(Self { port, scratch, _process: process });
            }
            let log = fs::read_to_string(log).unwrap_or_default();
            if !log.contains("AddrInUse") {
                bail!("s3s-fs ended at once: {log}");
            }
        }
        bail!("s3s-fs found none of {PORTS_TRIED_MAX} free ports free")
    }

    /// The loopback port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Options with which an S3 client reaches the bucket through a port: this server's, or that
    /// of a proxy in front of it.
    #[must_use]
    pub fn options(port: u16) -> BTreeMap<String, String> {
        let endpoint = format!("http://127.0.0.1:{port}");
        let options = [
            ("aws_endpoint", endpoint.as_str()),
            ("aws_region", "us-east-1"),
            ("aws_access_key_id", ACCESS_KEY),
            ("aws_secret_access_key", SECRET_KEY),
            ("aws_allow_http", "true"),
        ];
        options.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// Where an object lies on this machine. A file that is put here, by a rename, is an object at
    /// once; the server computes its ETag each time it is asked for.
    #[must_use]
    pub fn path(&self, key: &str) -> PathBuf {
        self.scratch.path().join("data").join(Self::BUCKET).join(key)
    }
}

fn argv(program: &Path, port: u16, root: &Path) -> Vec<String> {
    let mut argv = vec![program.display().to_string()];
    argv.extend(["--host", "127.0.0.1", "--port"].map(str::to_owned));
    argv.push(port.to_string());
    argv.extend(["--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY].map(str::to_owned));
    argv.push(root.display().to_string());
    argv
}

/// Finds the server, and builds it when it is missing.
fn require() -> Result<PathBuf> {
    let target = target_dir()?;
    fs::create_dir_all(&target)?;
    let dir = target.join(format!("s3s-fs-{VERSION}"));
    let program = dir.join("bin/s3s-fs");
    let lock = File::create(target.join(format!("s3s-fs-{VERSION}.lock")))?;
    // Whoever comes second waits here and then finds it built.
    lock.lock().context("failed to lock the S3 server")?;
    // Cargo puts the program there in one step, once it is whole.
    if !program.is_file() {
        build(&dir)?;
    }
    Ok(program)
}

fn build(dir: &Path) -> Result<()> {
    let objects = dir.join("build");
    let built = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["install", "s3s-fs", "--version", VERSION, "--locked", "--features", "binary"])
        .args(["--debug", "--quiet", "--no-track", "--root"])
        .arg(dir)
        .arg("--target-dir")
        .arg(&objects)
        // Quick to build, and still quick enough to serve gigabytes.
        .env("CARGO_PROFILE_DEV_OPT_LEVEL", "1")
        .env("CARGO_PROFILE_DEV_DEBUG", "false")
        .output()
        .context("failed to run cargo")?;
    let hint = "the tests on S3 build s3s-fs once from crates.io; make crates.io reachable";
    succeeded(&built, "cargo install s3s-fs", hint)?;
    Ok(fs::remove_dir_all(objects)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_answers_on_its_own_port_and_through_a_proxy() -> Result<()> {
        let server = S3::start()?;
        let proxy = Proxy::start(server.port())?;
        for port in [server.port(), proxy.port()] {
            let (head, body) = proxy::get(port, "/bucket/key")?;
            // Without a signature nothing is given away, but it is S3 that refuses.
            assert!(head.starts_with("HTTP/1.1 403"), "{head}");
            assert!(body.contains("AccessDenied"), "{body}");
        }
        assert_eq!(proxy.requests(), 1);
        Ok(())
    }
}
