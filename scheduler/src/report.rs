//! What a run came to, as it is printed.

use jobs::BadRowReport;
use model::{Interval, JobId, JobState, Receipt, RunId, RunState};
use serde::Serialize;

/// What a run came to.
#[derive(Clone, Debug, Serialize)]
pub struct RunReport {
    /// The run.
    pub run_id: RunId,
    /// The project.
    pub project: String,
    /// Whether everything landed.
    pub state: RunState,
    /// What the operator should know of the run as a whole.
    pub warnings: Vec<String>,
    /// One entry a view, in the order of the registry.
    pub jobs: Vec<JobReport>,
}

/// What a job came to.
#[derive(Clone, Debug, Serialize)]
pub struct JobReport {
    /// The job.
    pub job_id: JobId,
    /// The view.
    pub view: String,
    /// The name its rows are stored under.
    pub storage_name: String,
    /// How it ended.
    pub state: JobState,
    /// The interval that was read, in nanoseconds, end excluded.
    pub interval: Option<Interval>,
    /// Why nothing landed.
    pub reason: Option<String>,
    /// What the operator should know.
    pub warnings: Vec<String>,
    /// What the attempt did; there is none without a commit.
    pub receipt: Option<Receipt>,
    /// The first rows that were refused, when they are skipped.
    pub bad_rows: Vec<BadRowReport>,
    /// How long it took, in seconds.
    pub seconds: f64,
}

impl JobReport {
    /// Tells whether the view is as fresh as was asked for.
    pub fn is_landed(&self) -> bool {
        matches!(self.state, JobState::Succeeded | JobState::UpToDate)
    }
}
