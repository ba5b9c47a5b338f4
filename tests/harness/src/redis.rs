//! A Redis server of a test's own.

use std::fs;
use std::io::BufReader;
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};

use crate::port::free_port;
use crate::process::{Launch, Process};
use crate::resp::{self, Reply};
use crate::scratch::Scratch;
use crate::tool::Tool;

/// Another process may take a port between our finding it and the server's listening on it.
const PORTS_TRIED_MAX: usize = 5;
/// How long one reply may take before the server counts as hung.
const REPLY_TIMEOUT: Duration = Duration::from_secs(30);

/// A Redis server on a loopback port, without persistence unless asked for.
///
/// It ends when the value is dropped, and when the test process dies in any way.
#[derive(Debug)]
pub struct Redis {
    port: u16,
    scratch: Scratch,
    arguments: Vec<String>,
    process: Mutex<Option<Process>>,
}

impl Redis {
    /// Starts a server.
    ///
    /// # Errors
    /// When `redis-server` is not installed or does not come up.
    pub fn start() -> Result<Self> {
        Self::start_with(&[])
    }

    /// Starts a server with further options, such as `["--maxmemory", "1mb"]`.
    ///
    /// # Errors
    /// When `redis-server` is not installed or does not come up; the message ends with its log.
    pub fn start_with(arguments: &[&str]) -> Result<Self> {
        for _ in 0..PORTS_TRIED_MAX {
            let server = Self {
                port: free_port()?,
                scratch: Scratch::new()?,
                arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
                process: Mutex::new(None),
            };
            if server.launch()? {
                return Ok(server);
            }
            if !server.log().contains("Address already in use") {
                bail!("redis-server ended at once: {}", server.log());
            }
        }
        bail!("redis-server found none of {PORTS_TRIED_MAX} free ports free")
    }

    /// The loopback port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of database 0.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The server's process id; `None` while it is killed.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process().as_ref().map(Process::pid)
    }

    /// Kills the server (signal 9). Its port and directory stay reserved for [`Self::restart`].
    pub fn kill(&self) {
        *self.process() = None;
    }

    /// Kills the server if it runs, and starts it again on the same port, with the same files.
    ///
    /// # Errors
    /// When it does not come up again; the message ends with its log.
    pub fn restart(&self) -> Result<()> {
        self.kill();
        if self.launch()? {
            return Ok(());
        }
        bail!("redis-server did not come up again: {}", self.log())
    }

    /// Runs one command on a connection of its own.
    ///
    /// # Errors
    /// When the server cannot be reached. What Redis itself refuses is [`Reply::Error`].
    pub fn command<A: AsRef<[u8]>>(&self, arguments: &[A]) -> Result<Reply> {
        let arguments: Vec<&[u8]> = arguments.iter().map(AsRef::as_ref).collect();
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
        resp::send(&mut stream, &arguments)?;
        resp::receive(&mut BufReader::new(stream))
    }

    /// Starts the process and waits for an answer; `false` when it ended instead.
    fn launch(&self) -> Result<bool> {
        let mut process =
            Process::start(Launch { argv: self.argv()?, user: None, log: Some(self.log_path()) })?;
        let up = process.wait_until(|| self.answers())?;
        if up {
            *self.process() = Some(process);
        }
        Ok(up)
    }

    fn argv(&self) -> Result<Vec<String>> {
        let mut argv = vec![Tool::require("redis-server")?.display().to_string()];
        argv.extend(["--port".to_owned(), self.port.to_string()]);
        argv.extend(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"].map(str::to_owned));
        argv.extend(["--dir".to_owned(), self.scratch.path().display().to_string()]);
        argv.extend(self.arguments.iter().cloned());
        Ok(argv)
    }

    /// A server that wants a password is up as well; one that still loads its files is not.
    fn answers(&self) -> bool {
        match self.command(&["PING"]) {
            Ok(Reply::Error(error)) => !error.starts_with("LOADING"),
            Ok(_) => true,
            Err(_) => false,
        }
    }

    fn log_path(&self) -> PathBuf {
        self.scratch.path().join("redis.log")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// A panic elsewhere leaves nothing half done here, so a poisoned lock is as good as any.
    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_servers_share_nothing() -> Result<()> {
        let (one, two) = (Redis::start()?, Redis::start()?);
        assert_ne!(one.port(), two.port());
        assert_eq!(one.command(&["SET", "k", "1"])?, Reply::Status("OK".to_owned()));
        assert_eq!(two.command(&["GET", "k"])?, Reply::Nil);
        assert_eq!(one.command(&["GET", "k"])?, Reply::Bulk(b"1".to_vec()));
        Ok(())
    }

    #[test]
    fn a_killed_server_restarts_on_its_port_and_forgets() -> Result<()> {
        let server = Redis::start()?;
        server.command(&["SET", "k", "1"])?;
        let first = server.pid();
        server.kill();
        assert_eq!(server.pid(), None);
        assert!(server.command(&["PING"]).is_err());
        server.restart()?;
        assert_ne!(server.pid(), first);
        assert_eq!(server.command(&["GET", "k"])?, Reply::Nil);
        Ok(())
    }

    #[test]
    fn a_server_with_an_append_only_file_remembers_across_a_kill() -> Result<()> {
        let server = Redis::start_with(&["--appendonly", "yes", "--appendfsync", "always"])?;
        server.command(&["SET", "k", "1"])?;
        server.restart()?;
        assert_eq!(server.command(&["GET", "k"])?, Reply::Bulk(b"1".to_vec()));
        Ok(())
    }

    #[test]
    fn a_server_with_a_password_counts_as_up() -> Result<()> {
        let server = Redis::start_with(&["--requirepass", "secret"])?;
        let Reply::Error(refusal) = server.command(&["GET", "k"])? else {
            bail!("the server let us in without the password");
        };
        assert!(refusal.starts_with("NOAUTH"), "{refusal}");
        Ok(())
    }

    #[test]
    fn a_wrong_option_fails_with_the_reason() {
        let error = Redis::start_with(&["--maxmemory", "plenty"]).expect_err("not a size");
        assert!(error.to_string().contains("redis-server ended at once"), "{error}");
    }

    #[test]
    fn a_dropped_server_is_gone() -> Result<()> {
        let server = Redis::start()?;
        let port = server.port();
        drop(server);
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
        Ok(())
    }
}
