//! What runs when, and what counts as done.
//!
//! `admit ▸ cut ▸ plan ▸ run ▸ commit ▸ mirror`, one job a view, several jobs side by side.
//! Deliberately absent: how rows are read (see `jobs`), how they are written (see `executor`), and
//! every SQL statement (see `metastore` and `registry`).

mod admit;
mod board;
mod cut;
mod error;
mod job;
mod memory;
mod mirror;
mod plan;
mod report;
mod run;
mod status;
mod trigger;

pub use board::{Board, JobBoard, Phase};
pub use error::{Error, chain};
pub use plan::{PlanReport, ViewPlan};
pub use report::{JobReport, RunReport};
pub use status::{StatusReport, ViewReport};
pub use trigger::{Trigger, Version};

use std::path::PathBuf;
use std::sync::Arc;

use feast::config::RepoConfig;
use jobs::Session;
use metastore::Ledger;
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

impl Scheduler {
    fn ledger(&self) -> Result<&Arc<Ledger>, Error> {
        self.ledger.as_ref().ok_or(Error::NoLedger)
    }
}

/// Reads the system's clock.
pub fn now() -> model::EventTime {
    let now = chrono::Utc::now();
    model::EventTime::from_utc(now).expect("the clock is between 1677 and 2262")
}
