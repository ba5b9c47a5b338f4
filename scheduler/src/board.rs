//! How far a run has got, for whoever shows it. Written by jobs, read at leisure.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use jobs::Progress;
use model::{Interval, JobState};

/// What a job is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Waiting for its turn.
    #[default]
    Waiting,
    /// Reading footers.
    Planning,
    /// Reading and writing rows.
    Running,
    /// Ended.
    Ended(JobState),
}

/// One job on the board.
#[derive(Clone, Debug)]
pub struct JobBoard {
    /// The view.
    pub view: String,
    /// The interval, once it is cut.
    pub interval: Option<Interval>,
    /// What it is doing.
    pub phase: Phase,
    /// Rows that the statistics promise at most, once it is planned.
    pub rows_max: u64,
    /// Its counters.
    pub progress: Arc<Progress>,
    /// When it began to read.
    pub started: Option<Instant>,
    /// What the operator should know.
    pub warnings: Vec<String>,
    /// The first rows that were refused, when they are skipped.
    pub(crate) bad_rows: serde_json::Value,
}

impl JobBoard {
    /// A job of which nothing is known but its view.
    pub(crate) fn of_view(view: &str) -> Self {
        Self {
            view: view.to_owned(),
            interval: None,
            phase: Phase::Waiting,
            rows_max: 0,
            progress: Arc::default(),
            started: None,
            warnings: Vec::new(),
            bad_rows: serde_json::Value::Array(Vec::new()),
        }
    }
}

/// All jobs of a run.
#[derive(Debug, Default)]
pub struct Board {
    jobs: Mutex<Vec<JobBoard>>,
}

impl Board {
    /// The jobs now.
    pub fn jobs(&self) -> Vec<JobBoard> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn job(&self, job: usize) -> JobBoard {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)[job].clone()
    }

    pub(crate) fn set(&self, jobs: Vec<JobBoard>) {
        *self.jobs.lock().unwrap_or_else(PoisonError::into_inner) = jobs;
    }

    /// Shows that a job has ended.
    pub(crate) fn end(&self, job: usize, state: JobState) {
        self.update(job, |job| job.phase = Phase::Ended(state));
    }

    pub(crate) fn update(&self, job: usize, change: impl FnOnce(&mut JobBoard)) {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut jobs[job]);
    }
}
