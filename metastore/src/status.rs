//! Reads for people: how far each view has got, and what became of each run.
//!
//! Each answer is one snapshot, so that its parts agree with each other.

use std::collections::HashMap;

use model::{Coverage, EventTime, JobId, RunId, ViewRef};
use serde::Serialize;

use crate::job::JobRow;
use crate::run::RunRow;
use crate::watermark;
use crate::window::WindowRow;
use crate::{Error, Ledger};

/// The columns of a [`JobRow`], with more after them. All selects here name their columns, so that
/// a later migration may add one while this program runs; macros because sqlx takes only texts that
/// are known when the program is built.
macro_rules! select_jobs {
    ($rest:literal) => {
        concat!(
            "SELECT jobs.job_id, jobs.run_id, jobs.project, jobs.storage_name, jobs.view_name,
                jobs.version, jobs.interval_start, jobs.interval_end, jobs.state, jobs.reason,
                jobs.receipt, jobs.started_at, jobs.finished_at ",
            $rest
        )
    };
}

/// The columns of a [`RunRow`], with more after them.
macro_rules! select_runs {
    ($rest:literal) => {
        concat!(
            "SELECT runs.run_id, runs.project, runs.kind, runs.state, runs.requested_start,
                runs.requested_end, runs.views, runs.host, runs.pid, runs.program_version,
                runs.started_at, runs.heartbeat_at, runs.finished_at,
                (SELECT COUNT(*) FROM jobs WHERE jobs.run_id = runs.run_id) AS jobs_total,
                (SELECT COUNT(*) FROM jobs WHERE jobs.run_id = runs.run_id
                    AND jobs.state IN ('succeeded', 'up_to_date')) AS jobs_landed
            FROM runs ",
            $rest
        )
    };
}

const LAST_JOBS: &str = select_jobs!(
    "FROM views JOIN jobs ON jobs.job_id = (
        SELECT newest.job_id FROM jobs AS newest
        WHERE newest.project = views.project AND newest.storage_name = views.storage_name
        ORDER BY newest.started_at DESC, newest.job_id DESC LIMIT 1
    )
    WHERE views.project = $1"
);

const RUNS: &str = select_runs!(
    "WHERE $1 IS NULL OR runs.project = $1
    ORDER BY runs.started_at DESC, runs.run_id DESC LIMIT $2"
);

const RUN: &str = select_runs!("WHERE runs.run_id = $1");

const JOBS: &str =
    select_jobs!("FROM jobs WHERE jobs.run_id = $1 ORDER BY jobs.started_at, jobs.job_id");

const WINDOWS: &str = "
    SELECT windows.window_id, windows.job_id, windows.interval_start, windows.interval_end,
        windows.state, windows.source, windows.receipt, windows.watermark_before,
        windows.watermark_after, windows.error, windows.opened_at, windows.closed_at
    FROM windows JOIN jobs ON jobs.job_id = windows.job_id
    WHERE jobs.run_id = $1 ORDER BY windows.opened_at, windows.window_id
";

/// How far a view has got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ViewStatus {
    /// The view.
    pub view: ViewRef,
    /// What has landed, and up to where without a gap.
    pub coverage: Coverage,
    /// When that, or the view's features, last changed.
    pub updated_at: EventTime,
    /// The last job that is still recorded.
    pub last_job: Option<JobRow>,
}

/// A run with all that belongs to it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunDetail {
    /// The run.
    pub run: RunRow,
    /// Its jobs, in the order they were recorded.
    pub jobs: Vec<JobDetail>,
}

/// A job with its windows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JobDetail {
    /// The job.
    #[serde(flatten)]
    pub job: JobRow,
    /// Its windows, in the order they were opened, each with its source files.
    pub windows: Vec<WindowRow>,
}

impl Ledger {
    /// How far each view of a project has got, by storage name.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub async fn views(&self, project: &str) -> Result<Vec<ViewStatus>, Error> {
        self.try_views(project).await.map_err(|source| Error::Read { what: "views", source })
    }

    /// The newest runs, of one project or of all, newest first.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub async fn runs(&self, project: Option<&str>, limit: u32) -> Result<Vec<RunRow>, Error> {
        let read = async {
            let rows = sqlx::query(RUNS)
                .bind(project)
                .bind(i64::from(limit))
                .fetch_all(self.pool())
                .await?;
            rows.iter().map(RunRow::read).collect::<sqlx::Result<_>>()
        };
        read.await.map_err(|source| Error::Read { what: "runs", source })
    }

    /// One run with its jobs, their windows and receipts; `None` if it is not recorded, or no
    /// longer.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub async fn run(&self, run: RunId) -> Result<Option<RunDetail>, Error> {
        self.try_run(run).await.map_err(|source| Error::Read { what: "a run", source })
    }

    async fn try_views(&self, project: &str) -> sqlx::Result<Vec<ViewStatus>> {
        let mut snapshot = self.begin_snapshot().await?;
        let mut last_jobs: HashMap<ViewRef, JobRow> = HashMap::new();
        for row in sqlx::query(LAST_JOBS).bind(project).fetch_all(&mut *snapshot).await? {
            let job = JobRow::read(&row)?;
            last_jobs.insert(job.view.clone(), job);
        }
        let states = watermark::all(&mut snapshot, project).await?;
        Ok(states
            .into_iter()
            .map(|(view, state)| ViewStatus {
                last_job: last_jobs.remove(&view),
                view,
                coverage: state.coverage,
                updated_at: state.updated_at,
            })
            .collect())
    }

    async fn try_run(&self, run: RunId) -> sqlx::Result<Option<RunDetail>> {
        let id = run.to_string();
        let mut snapshot = self.begin_snapshot().await?;
        let found = sqlx::query(RUN).bind(&id).fetch_optional(&mut *snapshot).await?;
        let Some(found) = found else { return Ok(None) };
        let jobs = sqlx::query(JOBS).bind(&id).fetch_all(&mut *snapshot).await?;
        let windows = sqlx::query(WINDOWS).bind(&id).fetch_all(&mut *snapshot).await?;
        let mut of_job: HashMap<JobId, Vec<WindowRow>> = HashMap::new();
        for row in &windows {
            let window = WindowRow::read(row)?;
            of_job.entry(window.job_id).or_default().push(window);
        }
        let jobs = jobs.iter().map(|row| {
            let job = JobRow::read(row)?;
            let windows = of_job.remove(&job.job_id).unwrap_or_default();
            Ok(JobDetail { job, windows })
        });
        let jobs = jobs.collect::<sqlx::Result<_>>()?;
        Ok(Some(RunDetail { run: RunRow::read(&found)?, jobs }))
    }
}
