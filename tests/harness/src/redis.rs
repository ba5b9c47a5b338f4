//! A Redis server of a test's own.

use std::fs;
use std::io::BufReader;
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::port::free_port;
use crate::process::{Launch, Process};
use crate::resp::{self, Reply};
use crate::scratch::Scratch;
use crate::tls::Certificates;
use crate::tool::Tool;

/// Another process may take a port between our finding it and the server's listening on it.
const PORTS_TRIED_MAX: usize = 5;
/// How long one reply may take before the server counts as hung.
const REPLY_TIMEOUT: Duration = Duration::from_secs(30);

/// How often a replica is looked at.
const POLL: Duration = Duration::from_millis(10);

/// A Redis server on a loopback port, without persistence unless asked for.
///
/// It ends when the value is dropped, and when the test process dies in any way.
#[derive(Debug)]
pub struct Redis {
    port: u16,
    scratch: Scratch,
    kind: Kind,
    arguments: Vec<String>,
    process: Mutex<Option<Process>>,
}

/// What the program is to be.
#[derive(Debug)]
enum Kind {
    Server,
    /// A sentinel, which keeps what it knows in a file.
    Sentinel,
}

/// The file of a sentinel.
const SENTINEL_FILE: &str = "sentinel.conf";

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
        Self::start_as(Kind::Server, || Ok(owned(arguments)), "")
    }

    /// Starts a server that also listens for TLS, on [`Self::tls_port`]. With `asks_clients` it
    /// wants a certificate of the same authority from whoever connects there.
    ///
    /// # Errors
    /// When `redis-server` is not installed or does not come up; the message ends with its log.
    pub fn start_tls(
        certificates: &Certificates,
        asks_clients: bool,
        arguments: &[&str],
    ) -> Result<Self> {
        let made = || {
            let mut made = certificates.redis_arguments(asks_clients);
            made.extend(["--tls-port".to_owned(), free_port()?.to_string()]);
            made.extend(owned(arguments));
            Ok(made)
        };
        Self::start_as(Kind::Server, made, "")
    }

    /// Starts a node of a cluster, which knows no other yet; gives the port of its bus as well.
    pub(crate) fn start_node(arguments: &[String]) -> Result<(Self, u16)> {
        let made = || {
            let mut made = owned(&["--cluster-enabled", "yes"]);
            made.extend(["--cluster-port".to_owned(), free_port()?.to_string()]);
            if arguments.iter().any(|argument| argument == "--tls-cluster") {
                made.extend(["--tls-port".to_owned(), free_port()?.to_string()]);
            }
            made.extend_from_slice(arguments);
            Ok(made)
        };
        let server = Self::start_as(Kind::Server, made, "")?;
        let bus = server.argument("--cluster-port").context("it was started with one")?;
        Ok((server, bus))
    }

    /// Starts a sentinel with the lines of its file.
    pub(crate) fn start_sentinel(file: &str) -> Result<Self> {
        Self::start_as(Kind::Sentinel, || Ok(Vec::new()), file)
    }

    /// `made` gives the further options anew for every port that is tried.
    fn start_as(kind: Kind, made: impl Fn() -> Result<Vec<String>>, file: &str) -> Result<Self> {
        let mut server = Self {
            port: 0,
            scratch: Scratch::new()?,
            kind,
            arguments: Vec::new(),
            process: Mutex::new(None),
        };
        for _ in 0..PORTS_TRIED_MAX {
            server.port = free_port()?;
            server.arguments = made()?;
            fs::write(server.scratch.path().join(SENTINEL_FILE), file)?;
            fs::remove_file(server.log_path()).ok();
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

    /// The port for TLS, if it listens for that.
    #[must_use]
    pub fn tls_port(&self) -> Option<u16> {
        self.argument("--tls-port")
    }

    /// The port by which others of its kind know it: that for TLS where there is one.
    pub(crate) fn peer_port(&self) -> u16 {
        self.tls_port().unwrap_or(self.port)
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

    /// Waits until a replica has all that this primary holds now, and is counted among its
    /// replicas. `WAIT` would not do: it is about the writes of its own connection.
    ///
    /// # Errors
    /// When that does not come about in time.
    pub fn await_synced(&self, replica: &Self) -> Result<()> {
        let role = |server: &Self| server.command(&["ROLE"]);
        let item = |reply: &Reply, at: usize| reply.items().and_then(|all| all.get(at)).cloned();
        let text = |text: &str| Some(Reply::Bulk(text.as_bytes().to_vec()));
        let Some(Reply::Integer(held)) = item(&role(self)?, 1) else { bail!("it is no primary") };
        let port = text(&replica.port.to_string());
        let begun = Instant::now();
        while begun.elapsed() < REPLY_TIMEOUT {
            let (of_primary, of_replica) = (role(self)?, role(replica)?);
            let Some(Reply::Array(known)) = item(&of_primary, 2) else { bail!("no primary now") };
            if known.iter().any(|known| item(known, 1) == port)
                && item(&of_replica, 3) == text("connected")
                && matches!(item(&of_replica, 4), Some(Reply::Integer(has)) if has >= held)
            {
                return Ok(());
            }
            thread::sleep(POLL);
        }
        bail!("the replica does not catch up within {} s", REPLY_TIMEOUT.as_secs())
    }

    /// Runs one command on a connection of its own.
    ///
    /// # Errors
    /// When the server cannot be reached. What Redis itself refuses is [`Reply::Error`].
    pub fn command<A: AsRef<[u8]>>(&self, arguments: &[A]) -> Result<Reply> {
        self.command_as(None, arguments)
    }

    /// Runs one command on a connection of its own, after a password when there is one.
    ///
    /// # Errors
    /// When the server cannot be reached. What Redis itself refuses is [`Reply::Error`].
    pub fn command_as<A: AsRef<[u8]>>(
        &self,
        password: Option<&str>,
        arguments: &[A],
    ) -> Result<Reply> {
        let arguments: Vec<&[u8]> = arguments.iter().map(AsRef::as_ref).collect();
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
        let mut replies = BufReader::new(stream.try_clone()?);
        if let Some(password) = password {
            resp::send(&mut stream, &[b"AUTH", password.as_bytes()])?;
            if let refusal @ Reply::Error(_) = resp::receive(&mut replies)? {
                return Ok(refusal);
            }
        }
        resp::send(&mut stream, &arguments)?;
        resp::receive(&mut replies)
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
        match self.kind {
            Kind::Server => argv.extend(owned(&["--save", "", "--appendonly", "no"])),
            Kind::Sentinel => {
                let file = self.scratch.path().join(SENTINEL_FILE);
                argv.extend([file.display().to_string(), "--sentinel".to_owned()]);
            }
        }
        argv.extend(["--port".to_owned(), self.port.to_string()]);
        argv.extend(owned(&["--bind", "127.0.0.1"]));
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

    /// The number after an option.
    fn argument(&self, name: &str) -> Option<u16> {
        let place = self.arguments.iter().position(|argument| argument == name)?;
        self.arguments.get(place + 1)?.parse().ok()
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

fn owned(arguments: &[&str]) -> Vec<String> {
    arguments.iter().map(|&argument| argument.to_owned()).collect()
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
