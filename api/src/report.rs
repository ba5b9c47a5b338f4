//! What a run came to, as `materialize` prints it.
//!
//! Apart from the details of a run because it is short, carries seconds instead of moments, and
//! has been printed as it is since before there was a server.

use model::{EventTime, Interval, JobId, JobState, Receipt, RunId, RunState};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::run::{BadRow, JobDetail, RunDetail};
use crate::schema;

const NANOS_PER_SECOND: f64 = 1e9;

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RunReport {
    /// The run.
    #[schema(value_type = schema::RunId)]
    pub run_id: RunId,
    /// The project.
    pub project: String,
    /// Whether everything landed.
    #[schema(value_type = schema::RunState)]
    pub state: RunState,
    /// What the operator should know of the run as a whole.
    pub warnings: Vec<String>,
    /// One entry a view, in the order of the registry.
    pub jobs: Vec<JobReport>,
}

/// What a job came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JobReport {
    /// The job.
    #[schema(value_type = schema::JobId)]
    pub job_id: JobId,
    /// The view.
    pub view: String,
    /// The name its rows are stored under.
    pub storage_name: String,
    /// How it ended.
    #[schema(value_type = schema::JobState)]
    pub state: JobState,
    /// The interval that was read, end excluded.
    #[schema(value_type = Option<schema::Interval>)]
    pub interval: Option<Interval>,
    /// Why nothing landed.
    pub reason: Option<String>,
    /// What the operator should know.
    pub warnings: Vec<String>,
    /// What was done; there is none without a commit.
    #[schema(value_type = Option<schema::Receipt>)]
    pub receipt: Option<Receipt>,
    /// The first rows that were refused, when they are skipped.
    pub bad_rows: Vec<BadRow>,
    /// How long it took, in seconds.
    pub seconds: f64,
}

impl JobReport {
    /// Tells whether the view is as fresh as was asked for.
    pub fn is_landed(&self) -> bool {
        self.state.is_landed()
    }

    /// Makes the report of a job that is known to have got as far as `seen`.
    fn of(job: &JobDetail, seen: EventTime) -> Self {
        let ended = job.finished_at.unwrap_or(seen);
        let nanos = ended.nanos().saturating_sub(job.started_at.nanos()).max(0);
        Self {
            job_id: job.job_id,
            view: job.view.clone(),
            storage_name: job.storage_name.clone(),
            state: job.state,
            interval: job.interval,
            reason: job.reason.clone(),
            warnings: job.warnings.clone(),
            receipt: job.receipt,
            bad_rows: job.bad_rows.clone(),
            seconds: nanos as f64 / NANOS_PER_SECOND,
        }
    }
}

/// A job that has not ended counts up to when its run was last heard of.
impl From<&RunDetail> for RunReport {
    fn from(detail: &RunDetail) -> Self {
        let run = &detail.run;
        let seen = run.finished_at.or(run.heartbeat_at).unwrap_or(run.admitted_at);
        Self {
            run_id: run.run_id,
            project: run.project.clone(),
            state: run.state,
            warnings: detail.warnings.clone(),
            jobs: detail.jobs.iter().map(|job| JobReport::of(job, seen)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn a_report_is_what_the_detail_says() {
        let detail = sample::run_detail();
        let report = RunReport::from(&detail);
        assert_eq!(report.run_id, detail.run.run_id);
        assert_eq!(report.state, RunState::Running);
        assert_eq!(report.jobs[0].seconds, 1.5);
        assert!(report.jobs[0].is_landed());
        assert_eq!(report.jobs[0].receipt, detail.jobs[0].receipt);
        assert_eq!(report.jobs[0].bad_rows, detail.jobs[0].bad_rows);
    }

    #[test]
    fn a_job_at_work_counts_up_to_the_last_heartbeat() {
        let mut detail = sample::run_detail();
        detail.jobs[0].finished_at = None;
        detail.run.heartbeat_at = Some(detail.jobs[0].started_at.plus_nanos(4_000_000_000));
        assert_eq!(RunReport::from(&detail).jobs[0].seconds, 4.0);
        detail.run.heartbeat_at = None;
        assert_eq!(RunReport::from(&detail).jobs[0].seconds, 0.0);
    }
}
