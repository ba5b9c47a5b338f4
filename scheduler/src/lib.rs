//! What runs when, and what counts as done.
//!
//! `admit ▸ cut ▸ plan ▸ run ▸ commit ▸ mirror`, one job a view, several jobs side by side.
//! Deliberately absent: how rows are read (see `jobs`), how they are written (see `executor`), and
//! every SQL statement (see `metastore` and `registry`).

mod admit;
mod attempt;
mod board;
mod cut;
mod detail;
mod error;
mod fail_point;
pub mod http;
mod job;
mod memory;
mod mirror;
mod plan;
mod rerun;
mod run;
pub mod settings;
mod sink;
mod status;
mod tally;
mod trigger;
mod work;

pub use board::{Board, JobBoard, Phase};
pub use detail::read_cursor;
pub use error::{Error, chain};
pub use fail_point::{FailPoints, Step, UnknownStep};
pub use run::Admission;
pub use settings::Settings;
pub use trigger::{Ask, Defaults, Trigger, Version};
pub use work::Stop;

use std::path::PathBuf;
use std::sync::Arc;

use feast::config::RepoConfig;
use jobs::Session;
use metastore::{Holder, Ledger};
use registry::Registry;

/// A Feast repository and everything that a run on it needs.
#[derive(Debug)]
pub struct Scheduler {
    /// The repository's directory: relative source paths are relative to it.
    pub repo_dir: PathBuf,
    /// `feature_store.yaml`.
    pub config: RepoConfig,
    /// Feast's registry.
    pub registry: Registry,
    /// Our ledger; `None` only where nothing may be written and there is none yet.
    pub ledger: Option<Arc<Ledger>>,
    /// The query engine.
    pub session: Session,
    /// This process, for the ledger.
    pub process: Process,
    /// How it goes about its work.
    pub settings: Settings,
    /// Plans that were made ahead.
    ahead: memory::Kept,
    /// Wakes who looks for work.
    work: tokio::sync::Notify,
    /// What it has done.
    tally: tally::Tally,
}

/// What a scheduler is made of.
#[derive(Debug)]
pub struct Parts {
    /// The repository's directory: relative source paths are relative to it.
    pub repo_dir: PathBuf,
    /// `feature_store.yaml`.
    pub config: RepoConfig,
    /// Feast's registry.
    pub registry: Registry,
    /// Our ledger; `None` only where nothing may be written and there is none yet.
    pub ledger: Option<Arc<Ledger>>,
    /// The query engine.
    pub session: Session,
    /// This process, for the ledger.
    pub process: Process,
    /// How it goes about its work.
    pub settings: Settings,
}

/// A process as the ledger names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Host name.
    pub host: String,
    /// Process id on that host.
    pub pid: u32,
    /// The program's version.
    pub version: String,
}

impl Process {
    fn holder(&self) -> Holder {
        let name = format!("{} (pid {})", self.host, self.pid);
        Holder { name, host: self.host.clone(), pid: self.pid }
    }
}

impl Scheduler {
    /// Puts a scheduler together.
    pub fn new(parts: Parts) -> Self {
        let Parts { repo_dir, config, registry, ledger, session, process, settings } = parts;
        let (ahead, work) = (memory::Kept::default(), tokio::sync::Notify::new());
        let tally = tally::Tally::default();
        Self { repo_dir, config, registry, ledger, session, process, settings, ahead, work, tally }
    }

    /// Has whoever looks for work look at once.
    fn wake(&self) {
        self.work.notify_one();
    }

    /// Waits until there may be work.
    ///
    /// # Cancel safety
    /// Cancel safe: a wake-up that nobody heard is kept.
    async fn woken(&self) {
        self.work.notified().await;
    }

    fn ledger(&self) -> Result<&Arc<Ledger>, Error> {
        self.ledger.as_ref().ok_or(Error::NoLedger)
    }
}

/// Reads the system's clock.
pub fn now() -> model::EventTime {
    let now = chrono::Utc::now();
    model::EventTime::from_utc(now).expect("the clock is between 1677 and 2262")
}

/// Tells whether a process of this host still runs; where that cannot be told, its heartbeat must.
pub(crate) fn is_alive(pid: u32) -> bool {
    let processes = std::path::Path::new("/proc");
    !processes.join("self").exists() || processes.join(pid.to_string()).exists()
}
