//! A `tidegate scheduler` process: started, stopped in every way there is, and asked over HTTP.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use ::tests::repo::Repo;
use anyhow::{Context, Result, bail, ensure};
use api::{RunDetail, RunPage, RunRequest, RunSummary, StatusReport};
use harness::Tool;

use crate::http::{self, Answer};

/// Above what a start takes that waits for a PostgreSQL which is coming up again.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// Lines of the log that are kept for the report of a violation.
const LINES_MAX: usize = 400;
/// Short, so that histories need not wait long for what a dead process has held.
pub(crate) const LEASE_TTL: Duration = Duration::from_secs(2);
/// What the process says once it can be asked.
const LISTENING: &str = "listening on http://127.0.0.1:";

/// A running scheduler. It is killed when the value is dropped, and with this process.
#[derive(Debug)]
pub(crate) struct Scheduler {
    child: Child,
    port: u16,
    log: Log,
}

/// The last lines of the process's log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log(Arc<Mutex<VecDeque<String>>>);

impl Log {
    fn push(&self, line: String) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == LINES_MAX {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    /// The lines, oldest first.
    pub(crate) fn text(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(|line| format!("{line}\n")).collect()
    }
}

impl Scheduler {
    /// Starts one in a repository; `fail_at` is a step at which it kills itself.
    pub(crate) fn start(repo: &Repo, fail_at: Option<&str>) -> Result<Self> {
        let ttl = format!("{}s", LEASE_TTL.as_secs());
        let arguments = ["scheduler", "--listen", "127.0.0.1:0", "--lease-ttl", &ttl];
        let mut command = dying_with_us(&repo.command(&arguments)?)?;
        if let Some(step) = fail_at {
            command.env("TIDEGATE_FAIL_AT", step);
        }
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let log = Log::default();
        let stderr = child.stderr.take().context("it is piped")?;
        let (ready, listening) = sync_channel(1);
        let lines = log.clone();
        thread::spawn(move || follow(stderr, &lines, &ready));
        // From here on the process ends with the value, whatever else fails.
        let mut scheduler = Self { child, port: 0, log };
        scheduler.port = scheduler.wait_until_listening(&listening)?;
        Ok(scheduler)
    }

    fn wait_until_listening(&self, listening: &Receiver<u16>) -> Result<u16> {
        listening.recv_timeout(START_PATIENCE).ok().with_context(|| {
            format!("the scheduler never said where it listens:\n{}", self.log.text())
        })
    }

    /// Its log.
    pub(crate) fn log(&self) -> Log {
        self.log.clone()
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Tells whether it still runs.
    pub(crate) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Kills it with signal 9.
    pub(crate) fn kill(&mut self) {
        // Both fail only when it is gone already, which is what is wanted.
        self.child.kill().ok();
        self.child.wait().ok();
    }

    /// Stops it as it stands, with all it holds (SIGSTOP).
    pub(crate) fn freeze(&self) -> Result<()> {
        self.signal("STOP")
    }

    /// Lets it go on as if nothing had happened (SIGCONT).
    pub(crate) fn thaw(&self) -> Result<()> {
        self.signal("CONT")
    }

    /// The shell's own `kill`, since the program of that name is not on every machine.
    fn signal(&self, name: &str) -> Result<()> {
        let script = format!("kill -{name} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &script]).status()?;
        ensure!(status.success(), "`{script}` failed");
        Ok(())
    }

    /// Sends a request for a run under a key.
    pub(crate) fn submit(&self, request: &RunRequest, key: &str) -> Result<Answer> {
        http::post(self.port, "/v1/runs", key, &serde_json::to_string(request)?)
    }

    /// One run with everything that is known of it.
    pub(crate) fn run(&self, id: &str) -> Result<RunDetail> {
        http::get(self.port, &format!("/v1/runs/{id}"))?.json()
    }

    /// Every run that the ledger knows.
    pub(crate) fn runs(&self) -> Result<Vec<RunSummary>> {
        let mut runs = Vec::new();
        let mut path = "/v1/runs?limit=100".to_owned();
        loop {
            let page: RunPage = http::get(self.port, &path)?.json()?;
            runs.extend(page.runs);
            let Some(next) = page.next else { return Ok(runs) };
            path = format!("/v1/runs?limit=100&cursor={next}");
        }
    }

    /// How far the views have got.
    pub(crate) fn views(&self) -> Result<StatusReport> {
        http::get(self.port, "/v1/views")?.json()
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The same command, under a program that has the system kill it when this process dies.
fn dying_with_us(command: &Command) -> Result<Command> {
    let mut wrapped = Command::new(Tool::require("setpriv")?);
    wrapped.args(["--pdeathsig=KILL", "--"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(name, value),
            None => wrapped.env_remove(name),
        };
    }
    if let Some(directory) = command.get_current_dir() {
        wrapped.current_dir(directory);
    }
    wrapped.stdin(Stdio::null());
    Ok(wrapped)
}

/// Keeps the log, and tells the port when it is said.
fn follow(stderr: impl Read, log: &Log, ready: &SyncSender<u16>) {
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        if let Some(port) = port_in(&line) {
            // Nobody waits for it a second time.
            ready.try_send(port).ok();
        }
        log.push(line);
    }
}

fn port_in(line: &str) -> Option<u16> {
    let (_, rest) = line.split_once(LISTENING)?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..digits].parse().ok()
}

/// Tells what is to be made of an answer to a request for a run.
pub(crate) fn accepted(answer: &Answer) -> Result<Option<RunSummary>> {
    match answer.status {
        202 => answer.json().map(Some),
        // What a server says that is short of something now; asked again, it may go through.
        500.. => Ok(None),
        _ => bail!("a proper request was refused: status {}: {}", answer.status, answer.body),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_found_in_what_the_process_says() {
        assert_eq!(port_in("listening on http://127.0.0.1:4711"), Some(4711));
        assert_eq!(port_in("\u{1b}[32mINFO\u{1b}[0m listening on http://127.0.0.1:80/"), Some(80));
        assert_eq!(port_in("listening on a socket"), None);
    }

    #[test]
    fn the_last_lines_are_kept() {
        let log = Log::default();
        (0..LINES_MAX + 5).for_each(|line| log.push(line.to_string()));
        assert!(log.text().starts_with("5\n"));
        assert_eq!(log.text().lines().count(), LINES_MAX);
    }

    #[test]
    fn a_refusal_is_a_violation_and_a_shortage_is_not() {
        let answer = |status| Answer { status, body: "{}".to_owned() };
        assert!(accepted(&answer(422)).is_err());
        assert!(matches!(accepted(&answer(503)), Ok(None)));
    }
}
