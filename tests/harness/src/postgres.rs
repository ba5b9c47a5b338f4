//! A PostgreSQL cluster of a test's own.
//!
//! Nothing survives a power cut here (`fsync` is off), but everything survives a killed server, as
//! it does in production. Deliberately absent: Unix sockets, whose paths a long temporary
//! directory would make too long.

mod cluster;
mod user;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

pub(crate) use self::user::User;
use crate::port::free_port;
use crate::process::{Launch, Process};
use crate::scratch::Scratch;
use crate::tool::Tool;

/// Another process may take a port between our finding it and the server's listening on it. Also
/// how often a restart waits for the last connections of a killed server to notice its death.
const LAUNCHES_MAX: usize = 20;
/// The pause before another launch: connections notice a dead server within milliseconds.
const LAUNCH_PAUSE: Duration = Duration::from_millis(100);
/// Settings that make a throw-away cluster quick and alike on every machine.
const SETTINGS: [&str; 7] = [
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "fsync=off",
    "full_page_writes=off",
    "shared_buffers=16MB",
    "timezone=UTC",
    "log_timezone=UTC",
];

/// A PostgreSQL cluster on a loopback port. Everybody may log in as `postgres`.
///
/// It ends when the value is dropped, and when the test process dies in any way.
#[derive(Debug)]
pub struct Postgres {
    port: u16,
    scratch: Scratch,
    user: Option<User>,
    process: Mutex<Option<Process>>,
}

impl Postgres {
    /// Starts a cluster.
    ///
    /// # Errors
    /// When PostgreSQL is not installed or does not come up; the message ends with its log.
    pub fn start() -> Result<Self> {
        let scratch = Scratch::new()?;
        let user = user::for_server(scratch.path())?;
        cluster::create(&scratch.path().join("data"), user.as_ref())?;
        let mut server = Self { port: free_port()?, scratch, user, process: Mutex::new(None) };
        for _ in 0..LAUNCHES_MAX {
            if server.launch()? {
                return Ok(server);
            }
            if !server.log().contains("Address already in use") {
                break;
            }
            server.port = free_port()?;
        }
        bail!("postgres ended at once: {}", server.log())
    }

    /// The cluster that all tests of this process share, started by the first of them and stopped
    /// after the last. Each test makes a database of its own.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn shared() -> Result<Arc<Self>> {
        // Weak, because a value in a static is never dropped and would leave its files behind.
        static SHARED: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = shared.upgrade() {
            return Ok(running);
        }
        let started = Arc::new(Self::start()?);
        *shared = Arc::downgrade(&started);
        Ok(started)
    }

    /// The loopback port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of a database, whether it exists or not.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// The process id of the server's first process; `None` while it is killed.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process().as_ref().map(Process::pid)
    }

    /// Makes an empty database and gives its URL.
    ///
    /// # Errors
    /// When it exists already.
    pub fn create_database(&self, name: &str) -> Result<String> {
        self.psql("postgres", &format!("CREATE DATABASE \"{}\"", name.replace('"', "\"\"")))?;
        Ok(self.url(name))
    }

    /// Runs SQL in a database, each statement in its own transaction, and gives the rows: one a
    /// line, columns parted by `|`.
    ///
    /// # Errors
    /// When a statement fails; the message is PostgreSQL's.
    pub fn psql(&self, database: &str, sql: &str) -> Result<String> {
        let script = self.scratch.path().join(format!("{:?}.sql", thread::current().id()));
        fs::write(&script, sql)?;
        self.psql_file(database, &script)
    }

    /// Runs a file of SQL in a database, such as a dump.
    ///
    /// # Errors
    /// When a statement fails; the message is PostgreSQL's.
    pub fn psql_file(&self, database: &str, script: &Path) -> Result<String> {
        let output = Command::new(Tool::require("psql")?)
            .args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", &self.url(database), "-f"])
            .arg(script)
            .output()
            .context("failed to run psql")?;
        if output.status.success() {
            return Ok(String::from_utf8(output.stdout)?.trim_end().to_owned());
        }
        bail!("psql failed: {}", String::from_utf8_lossy(&output.stderr).trim())
    }

    /// Kills the server (signal 9). Its connections end; its port and files stay.
    pub fn kill(&self) {
        *self.process() = None;
    }

    /// Kills the server if it runs, and starts it again on the same port, with the same files.
    ///
    /// # Errors
    /// When it does not come up again; the message ends with its log.
    pub fn restart(&self) -> Result<()> {
        self.kill();
        for _ in 0..LAUNCHES_MAX {
            if self.launch()? {
                return Ok(());
            }
            // The killed server's connections still hold its memory.
            thread::sleep(LAUNCH_PAUSE);
        }
        bail!("postgres did not come up again: {}", self.log())
    }

    /// Starts the process and waits until it takes connections; `false` when it ended instead.
    fn launch(&self) -> Result<bool> {
        let mut argv = vec![Tool::require("postgres")?.display().to_string()];
        argv.extend(["-D".to_owned(), self.data().display().to_string()]);
        argv.extend(["-p".to_owned(), self.port.to_string()]);
        argv.extend(SETTINGS.iter().flat_map(|setting| ["-c".to_owned(), (*setting).to_owned()]));
        let mut process =
            Process::start(Launch { argv, user: self.user.clone(), log: Some(self.log_path()) })?;
        let pid = process.pid();
        let up = process.wait_until(|| self.is_ready(pid))?;
        if up {
            *self.process() = Some(process);
        }
        Ok(up)
    }

    /// The server's own file says whose it is (line 1) and whether it takes connections (line 8);
    /// a killed server leaves its file behind.
    /// Source: `pg_ctl`, <https://www.postgresql.org/docs/15/storage-file-layout.html>.
    fn is_ready(&self, pid: u32) -> bool {
        let text = fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
        let mut lines = text.lines();
        lines.next().is_some_and(|line| line.trim() == pid.to_string())
            && lines.nth(6).is_some_and(|line| line.trim() == "ready")
    }

    /// Stops at once, but lets the server tidy up the memory it shares with its connections.
    fn stop(&self) -> Result<()> {
        let mut argv = vec![Tool::require("pg_ctl")?.display().to_string()];
        argv.extend(["stop", "-s", "-m", "immediate", "-D"].map(str::to_owned));
        argv.push(self.data().display().to_string());
        user::run_as(self.user.as_ref(), &argv)
    }

    fn data(&self) -> PathBuf {
        self.scratch.path().join("data")
    }

    fn log_path(&self) -> PathBuf {
        self.scratch.path().join("postgres.log")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// A panic elsewhere leaves nothing half done here, so a poisoned lock is as good as any.
    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.process().is_some() {
            // When this fails, the process is killed as it is dropped.
            self.stop().ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_cluster_keeps_databases_apart() -> Result<()> {
        let server = Postgres::shared()?;
        assert!(Arc::ptr_eq(&server, &Postgres::shared()?));
        for name in ["apart_one", "apart \"two\""] {
            server.create_database(name)?;
        }
        server.psql("apart_one", "CREATE TABLE t (n int); INSERT INTO t VALUES (1), (2)")?;
        assert_eq!(server.psql("apart_one", "SELECT n, 'x' FROM t ORDER BY n")?, "1|x\n2|x");
        let two = "SELECT to_regclass('t') IS NULL, current_database()";
        let output = Command::new(Tool::require("psql")?)
            .args(["-XAt", "-h", "127.0.0.1", "-U", "postgres", "-c", two])
            .args(["-p", &server.port().to_string(), "-d", "apart \"two\""])
            .output()?;
        assert_eq!(String::from_utf8(output.stdout)?.trim(), "t|apart \"two\"");
        Ok(())
    }

    #[test]
    fn a_failing_statement_is_an_error_with_its_reason() -> Result<()> {
        let server = Postgres::shared()?;
        let error = server.psql("postgres", "SELECT 1/0").expect_err("not a number").to_string();
        assert!(error.contains("division by zero"), "{error}");
        assert!(server.create_database("postgres").is_err());
        Ok(())
    }

    #[test]
    fn a_killed_server_keeps_what_was_committed() -> Result<()> {
        let server = Postgres::start()?;
        let first = server.pid();
        server.psql("postgres", "CREATE TABLE t (n int); INSERT INTO t VALUES (7)")?;
        server.kill();
        assert!(server.psql("postgres", "SELECT 1").is_err());
        server.restart()?;
        assert_ne!(server.pid(), first);
        assert_eq!(server.psql("postgres", "SELECT n FROM t")?, "7");
        Ok(())
    }

    #[test]
    fn a_dropped_cluster_leaves_nothing() -> Result<()> {
        let server = Postgres::start()?;
        let (port, dir) = (server.port(), server.scratch.path().to_owned());
        drop(server);
        assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
        assert!(!dir.exists());
        Ok(())
    }
}
