//! `tidegate scheduler` at work on a repository, until it is told to stop.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::repo::Repo;

/// How long it may take to listen, or to end.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often its end is looked for.
const POLL: Duration = Duration::from_millis(20);

/// A running `tidegate scheduler`; killed when it is dropped.
#[derive(Debug)]
pub struct Serving {
    child: Child,
    url: String,
    log: Option<JoinHandle<String>>,
}

impl Serving {
    /// Starts it on a port that the machine chooses, and waits until it listens.
    ///
    /// # Errors
    /// When it ends instead; the message has what it said.
    pub fn start(repo: &Repo, arguments: &[&str]) -> Result<Self> {
        let all = [&["scheduler", "--listen", "127.0.0.1:0"], arguments].concat();
        let mut child = repo.spawn(&all)?;
        let stderr = child.stderr.take().context("it was piped")?;
        let (said, heard) = sync_channel(1);
        let log = thread::spawn(move || {
            let mut log = String::new();
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if let Some(url) = line.strip_prefix("listening on ") {
                    // Nobody waits for a second one.
                    said.send(url.to_owned()).ok();
                }
                log.push_str(&line);
                log.push('\n');
            }
            log
        });
        let mut serving = Self { child, url: String::new(), log: Some(log) };
        match address(&heard) {
            Some(url) => serving.url = url,
            None => bail!("it does not listen:\n{}", serving.kill()),
        }
        Ok(serving)
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to stop.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn terminate(&self) -> Result<()> {
        Command::new("kill").args(["-TERM", &self.pid().to_string()]).status()?;
        Ok(())
    }

    /// Waits for its end; gives how it ended, and what it said.
    ///
    /// # Errors
    /// When it does not end.
    pub fn wait(mut self) -> Result<(ExitStatus, String)> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait()? {
                return Ok((status, self.kill()));
            }
            thread::sleep(POLL);
        }
        bail!("it has not ended after {} s:\n{}", PATIENCE.as_secs(), self.kill())
    }

    /// Ends it at once (signal 9), and gives what it said.
    pub fn kill(&mut self) -> String {
        // Both fail only when it is gone already, which is what is wanted.
        self.child.kill().ok();
        self.child.wait().ok();
        self.log.take().and_then(|log| log.join().ok()).unwrap_or_default()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The address that it says; none when it ends without one.
fn address(heard: &Receiver<String>) -> Option<String> {
    heard.recv_timeout(PATIENCE).ok()
}
