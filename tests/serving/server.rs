//! A `tidegate serve` process: where it listens, what it says, and its end.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use ::tests::repo::Repo;
use anyhow::{Context, Result, ensure};

/// Far above what a start takes, on a machine that compiles on every core at the same time.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// What the process listens for.
const DOORS: [Door; 3] = [Door::Http, Door::Grpc, Door::Admin];

/// One of the sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    Http,
    Grpc,
    Admin,
}

impl Door {
    /// What the process says before the port, without TLS and with it.
    fn words(self) -> &'static [&'static str] {
        match self {
            Self::Http => &["listening on http://127.0.0.1:", "listening on https://127.0.0.1:"],
            Self::Grpc => &["listening on grpc://127.0.0.1:", "listening on grpcs://127.0.0.1:"],
            Self::Admin => &["listening on admin http://127.0.0.1:"],
        }
    }
}

/// A running feature server; killed when the value is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    ports: [u16; DOORS.len()],
    log: Log,
}

/// All that the process has said.
#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<String>>);

impl Log {
    fn push(&self, line: &str) {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.push_str(line);
        log.push('\n');
    }

    fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Server {
    /// Starts one on a repository, on ports that the machine chooses, and waits until it listens
    /// on all of them.
    pub(crate) fn start(repo: &Repo) -> Result<Self> {
        Self::start_with(repo, &[])
    }

    /// Starts one with further flags.
    pub(crate) fn start_with(repo: &Repo, flags: &[&str]) -> Result<Self> {
        const ANY: &str = "127.0.0.1:0";
        let doors = ["serve", "--listen", ANY, "--grpc-listen", ANY, "--admin-listen", ANY];
        let mut child = repo.spawn(&[&doors[..], flags].concat())?;
        let stderr = child.stderr.take().context("it is piped")?;
        let log = Log::default();
        let (said, heard) = sync_channel(DOORS.len());
        let lines = log.clone();
        thread::spawn(move || follow(stderr, &lines, &said));
        // From here on the process ends with the value, whatever else fails.
        let mut server = Self { child, ports: [0; DOORS.len()], log };
        server.wait_until_listening(&heard)?;
        Ok(server)
    }

    fn wait_until_listening(&mut self, heard: &Receiver<(Door, u16)>) -> Result<()> {
        for _ in DOORS {
            let said = heard.recv_timeout(START_PATIENCE).ok();
            let (door, port) =
                said.with_context(|| format!("it does not listen:\n{}", self.log.text()))?;
            self.ports[door as usize] = port;
        }
        ensure!(!self.ports.contains(&0), "it listens twice for one:\n{}", self.log.text());
        Ok(())
    }

    /// Where features are served.
    pub(crate) fn http(&self) -> u16 {
        self.ports[Door::Http as usize]
    }

    /// Where features are served by gRPC.
    pub(crate) fn grpc(&self) -> u16 {
        self.ports[Door::Grpc as usize]
    }

    /// Where metrics are.
    pub(crate) fn admin(&self) -> u16 {
        self.ports[Door::Admin as usize]
    }

    /// All that it has said so far.
    pub(crate) fn log(&self) -> String {
        self.log.text()
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Tells whether it still runs.
    pub(crate) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only when it is gone already, which is what is wanted.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Sends a signal to a process, by the shell's own `kill`, which every machine has.
pub(crate) fn signal(pid: u32, name: &str) -> Result<()> {
    let script = format!("kill -{name} {pid}");
    let status = Command::new("sh").args(["-c", &script]).status()?;
    ensure!(status.success(), "`{script}` failed");
    Ok(())
}

/// Keeps the log, and tells the ports when they are said.
fn follow(stderr: impl Read, log: &Log, said: &SyncSender<(Door, u16)>) {
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        // Kept first, so that whoever hears of a port finds the line.
        log.push(&line);
        for door in DOORS {
            if let Some(port) = port_in(&line, door) {
                // Nobody waits for it a second time.
                said.try_send((door, port)).ok();
            }
        }
    }
}

fn port_in(line: &str, door: Door) -> Option<u16> {
    let (_, rest) = door.words().iter().find_map(|words| line.split_once(words))?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..digits].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_port_is_found_in_what_the_process_says() {
        let found = |line: &str| DOORS.map(|door| port_in(line, door));
        assert_eq!(found("listening on http://127.0.0.1:4711"), [Some(4711), None, None]);
        assert_eq!(found("INFO listening on grpc://127.0.0.1:80/"), [None, Some(80), None]);
        assert_eq!(found("listening on admin http://127.0.0.1:9"), [None, None, Some(9)]);
        assert_eq!(found("listening on https://127.0.0.1:443"), [Some(443), None, None]);
        assert_eq!(found("listening on grpcs://127.0.0.1:8443"), [None, Some(8443), None]);
        assert_eq!(found("listening on a socket"), [None; 3]);
    }
}
