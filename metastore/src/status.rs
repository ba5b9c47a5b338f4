//! Reads for people: how far each view has got, and what became of each run.
//!
//! Each answer is one snapshot, so that its parts agree with each other.

use std::collections::HashMap;

use model::{Coverage, EventTime, JobId, RunId, RunState, ViewRef, WindowId};
use serde::Serialize;
use sqlx::AnyConnection;

use crate::job::JobRow;
use crate::row::Read;
use crate::run::RunRow;
use crate::watermark;
use crate::window::{self, AttemptRow, WindowRow};
use crate::{Error, Ledger};

/// The columns of a [`JobRow`], with more after them. All selects here name their columns, so that
/// a later migration may add one while this program runs; macros because sqlx takes only texts that
/// are known when the program is built.
macro_rules! select_jobs {
    ($rest:literal) => {
        concat!(
            "SELECT jobs.job_id, jobs.run_id, jobs.position, jobs.project, jobs.storage_name,
                jobs.view_name, jobs.version, jobs.interval_start, jobs.interval_end, jobs.state,
                jobs.reason, jobs.warnings, jobs.receipt, jobs.bad_rows, jobs.progress,
                jobs.admitted_at, jobs.started_at, jobs.finished_at ",
            $rest
        )
    };
}
pub(crate) use select_jobs;

/// The columns of a [`RunRow`], with more after them.
macro_rules! select_runs {
    ($($rest:literal),+) => {
        concat!(
            "SELECT runs.run_id, runs.project, runs.kind, runs.state, runs.request,
                runs.idempotency_key, runs.is_served, runs.parallel, runs.requested_start,
                runs.requested_end, runs.views, runs.warnings, runs.refusal, runs.cancel_requested,
                runs.host, runs.pid, runs.program_version, runs.admitted_at, runs.started_at,
                runs.heartbeat_at, runs.finished_at,
                (SELECT COUNT(*) FROM jobs WHERE jobs.run_id = runs.run_id) AS jobs_total,
                (SELECT COUNT(*) FROM jobs WHERE jobs.run_id = runs.run_id
                    AND jobs.state IN ('succeeded', 'up_to_date')) AS jobs_landed
            FROM runs ",
            $($rest),+
        )
    };
}
pub(crate) use select_runs;

const LAST_JOBS: &str = select_jobs!(
    "FROM views JOIN jobs ON jobs.job_id = (
        SELECT newest.job_id FROM jobs AS newest
        WHERE newest.project = views.project AND newest.storage_name = views.storage_name
        ORDER BY newest.admitted_at DESC, newest.job_id DESC LIMIT 1
    )
    WHERE views.project = $1"
);

/// Newest first, from a place on. `(a, b) < (c, d)` is one comparison on both databases, and an
/// index serves it; the project is not one more `$7 IS NULL OR`, which none would serve.
macro_rules! list_runs {
    ($where:literal) => {
        select_runs!(
            $where,
            "(runs.admitted_at, runs.run_id) < ($1, $2) AND runs.admitted_at >= $3
                AND ($4 IS NULL OR runs.state = $4)
                AND ($5 IS NULL OR EXISTS (
                    SELECT 1 FROM jobs WHERE jobs.run_id = runs.run_id AND jobs.view_name = $5
                ))
            ORDER BY runs.admitted_at DESC, runs.run_id DESC LIMIT $6"
        )
    };
}
const RUNS: &str = list_runs!("WHERE ");
const RUNS_OF_PROJECT: &str = list_runs!("WHERE runs.project = $7 AND ");

const RUN: &str = select_runs!("WHERE runs.run_id = $1");

const JOBS: &str =
    select_jobs!("FROM jobs WHERE jobs.run_id = $1 ORDER BY jobs.position, jobs.job_id");

const COUNT_RUNS: &str =
    "SELECT state, COUNT(*) AS runs FROM runs WHERE project = $1 GROUP BY state";

const ATTEMPTS: &str = "
    SELECT attempts.attempt_id, attempts.window_id, windows.interval_start, windows.interval_end,
        attempts.number, attempts.token, attempts.correcting, attempts.fenced, attempts.state,
        attempts.source, attempts.error, attempts.started_at, attempts.ended_at
    FROM attempts JOIN windows ON windows.window_id = attempts.window_id
    JOIN jobs ON jobs.job_id = windows.job_id
    WHERE jobs.run_id = $1 ORDER BY attempts.window_id, attempts.number
";

/// How far a view has got.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ViewStatus {
    /// The view.
    pub view: ViewRef,
    /// What has landed, and up to where without a gap.
    pub coverage: Coverage,
    /// When the view was created in Feast, as last seen.
    pub feast_created: Option<EventTime>,
    /// When that, or the view's features, last changed.
    pub updated_at: EventTime,
    /// Whether every write carries the fence.
    pub fenced: bool,
    /// Why the online store no longer has all that landed, if so.
    pub lost: Option<String>,
    /// The last job that is still recorded.
    pub last_job: Option<JobRow>,
}

/// A run with all that belongs to it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunDetail {
    /// The run.
    pub run: RunRow,
    /// Its jobs, in the order of the views.
    pub jobs: Vec<JobDetail>,
}

/// A job with its windows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JobDetail {
    /// The job.
    #[serde(flatten)]
    pub job: JobRow,
    /// Its windows, in the order in which they run.
    pub windows: Vec<WindowDetail>,
}

/// A window with its attempts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WindowDetail {
    /// The window.
    #[serde(flatten)]
    pub window: WindowRow,
    /// The attempts at it, each with its source files.
    pub attempts: Vec<AttemptRow>,
}

/// A place in the list of runs, for going on from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunPlace {
    /// When the run was admitted.
    pub admitted_at: EventTime,
    /// The run.
    pub run_id: RunId,
}

/// Which runs to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// Of this project.
    pub project: Option<String>,
    /// With a job of this view, by its name in Feast.
    pub view: Option<String>,
    /// In this state.
    pub state: Option<RunState>,
    /// Admitted at or after this instant.
    pub since: Option<EventTime>,
    /// Older than this one.
    pub after: Option<RunPlace>,
}

impl Ledger {
    /// How far each view of a project has got, by storage name.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub async fn views(&self, project: &str) -> Result<Vec<ViewStatus>, Error> {
        self.try_views(project).await.map_err(|source| Error::Read { what: "views", source })
    }

    /// The newest runs that a filter lets through, newest first.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub async fn runs(&self, filter: &RunFilter, limit: u32) -> Result<Vec<RunRow>, Error> {
        let read = async {
            let after = filter.after;
            // Greater than any id, which is hexadecimal.
            let last = after.map_or_else(|| "~".to_owned(), |place| place.run_id.to_string());
            let sql = if filter.project.is_some() { RUNS_OF_PROJECT } else { RUNS };
            let mut query = sqlx::query(sql)
                .bind(after.map_or(i64::MAX, |place| place.admitted_at.nanos()))
                .bind(last)
                .bind(filter.since.map_or(i64::MIN, EventTime::nanos))
                .bind(filter.state.map(RunState::as_str))
                .bind(filter.view.as_deref())
                .bind(i64::from(limit));
            if let Some(project) = &filter.project {
                query = query.bind(project);
            }
            let rows = query.fetch_all(self.pool()).await?;
            rows.iter().map(RunRow::read).collect::<sqlx::Result<_>>()
        };
        read.await.map_err(|source| Error::Read { what: "runs", source })
    }

    /// How many runs of a project are recorded in each state, in the order of the states.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub async fn count_runs(&self, project: &str) -> Result<Vec<(RunState, u64)>, Error> {
        let read = async {
            let rows = sqlx::query(COUNT_RUNS).bind(project).fetch_all(self.pool()).await?;
            let mut counts: Vec<_> = RunState::ALL.iter().map(|&state| (state, 0)).collect();
            for row in &rows {
                let row = Read(row);
                let state = row.named("state", RunState::parse)?;
                let runs = row.small("runs")?;
                counts.iter_mut().filter(|(s, _)| *s == state).for_each(|(_, n)| *n = runs);
            }
            Ok(counts)
        };
        read.await.map_err(|source| Error::Read { what: "runs", source })
    }

    /// One run with its jobs, their windows, attempts and receipts; `None` if it is not recorded,
    /// or no longer.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub async fn run(&self, run: RunId) -> Result<Option<RunDetail>, Error> {
        self.try_run(run).await.map_err(|source| Error::Read { what: "a run", source })
    }

    /// One run alone; `None` if it is not recorded, or no longer.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub async fn run_row(&self, run: RunId) -> Result<Option<RunRow>, Error> {
        let read = async {
            let row = sqlx::query(RUN).bind(run.to_string()).fetch_optional(self.pool()).await?;
            row.as_ref().map(RunRow::read).transpose()
        };
        read.await.map_err(|source| Error::Read { what: "a run", source })
    }

    /// The jobs of a run without their windows.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub async fn jobs(&self, run: RunId) -> Result<Vec<JobRow>, Error> {
        let read = async {
            let rows = sqlx::query(JOBS).bind(run.to_string()).fetch_all(self.pool()).await?;
            rows.iter().map(JobRow::read).collect::<sqlx::Result<_>>()
        };
        read.await.map_err(|source| Error::Read { what: "the jobs of a run", source })
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
                feast_created: state.feast_created,
                updated_at: state.updated_at,
                fenced: state.fenced,
                lost: state.lost,
            })
            .collect())
    }

    async fn try_run(&self, run: RunId) -> sqlx::Result<Option<RunDetail>> {
        let id = run.to_string();
        let mut snapshot = self.begin_snapshot().await?;
        let found = sqlx::query(RUN).bind(&id).fetch_optional(&mut *snapshot).await?;
        let Some(found) = found else { return Ok(None) };
        let jobs = sqlx::query(JOBS).bind(&id).fetch_all(&mut *snapshot).await?;
        let mut windows = windows(&mut snapshot, &id).await?;
        let jobs = jobs.iter().map(|row| {
            let job = JobRow::read(row)?;
            let windows = windows.remove(&job.job_id).unwrap_or_default();
            Ok(JobDetail { job, windows })
        });
        let jobs = jobs.collect::<sqlx::Result<_>>()?;
        Ok(Some(RunDetail { run: RunRow::read(&found)?, jobs }))
    }
}

async fn windows(
    snapshot: &mut AnyConnection,
    run: &str,
) -> sqlx::Result<HashMap<JobId, Vec<WindowDetail>>> {
    let mut attempts: HashMap<WindowId, Vec<AttemptRow>> = HashMap::new();
    for row in &sqlx::query(ATTEMPTS).bind(run).fetch_all(&mut *snapshot).await? {
        let attempt = AttemptRow::read(row)?;
        attempts.entry(attempt.window_id).or_default().push(attempt);
    }
    let mut of_job: HashMap<JobId, Vec<WindowDetail>> = HashMap::new();
    for row in &sqlx::query(window::OF_RUN).bind(run).fetch_all(snapshot).await? {
        let window = WindowRow::read(row)?;
        let attempts = attempts.remove(&window.window_id).unwrap_or_default();
        of_job.entry(window.job_id).or_default().push(WindowDetail { window, attempts });
    }
    Ok(of_job)
}
