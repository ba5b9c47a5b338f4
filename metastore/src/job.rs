//! Queries on jobs: start one, end one without a commit. The end by commit is in `commit.rs`.

use model::{EventTime, Interval, JobId, JobState, Receipt, RunId, ViewRef};
use serde::Serialize;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::row::Read;
use crate::run::run_state;
use crate::{Error, Ledger};

/// Only a running run takes jobs: one that was taken for dead must not come back by the side door.
const START: &str = "
    INSERT INTO jobs (
        job_id, run_id, project, storage_name, view_name, version, interval_start, interval_end,
        state, reason, started_at, finished_at
    )
    SELECT $1, run_id, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12
    FROM runs WHERE run_id = $2 AND state = 'running'
    ON CONFLICT (job_id) DO NOTHING
";

const STATE: &str = "SELECT state FROM jobs WHERE job_id = $1";

const CLOSE_WINDOWS: &str = "
    UPDATE windows SET state = $2, error = $3, closed_at = $4
    WHERE job_id = $1 AND state = 'open'
";

const FINISH: &str = "
    UPDATE jobs SET state = $2, reason = $3, finished_at = $4
    WHERE job_id = $1 AND state IN ('pending', 'running')
";

/// A job to be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewJob {
    /// Its id, drawn by the caller.
    pub job_id: JobId,
    /// The run it belongs to.
    pub run_id: RunId,
    /// The view, by the name its rows are stored under.
    pub view: ViewRef,
    /// The view's name in Feast.
    pub view_name: String,
    /// The view's version in Feast, where the run names one.
    pub version: Option<u32>,
    /// The interval to materialize; `None` when the job ends before it has one.
    pub interval: Option<Interval>,
    /// `Pending` or `Running`, or at once the state it ends in.
    pub state: JobState,
    /// Why it ended so.
    pub reason: Option<String>,
    /// Our clock.
    pub at: EventTime,
}

/// A job as recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JobRow {
    /// Its id.
    pub job_id: JobId,
    /// The run it belongs to.
    pub run_id: RunId,
    /// The view, by the name its rows are stored under.
    pub view: ViewRef,
    /// The view's name in Feast.
    pub view_name: String,
    /// The view's version in Feast, where the run named one.
    pub version: Option<u32>,
    /// The interval it was to materialize.
    pub interval: Option<Interval>,
    /// How far it has got.
    pub state: JobState,
    /// Why it ended so.
    pub reason: Option<String>,
    /// What its committed windows did, added up.
    pub receipt: Option<Receipt>,
    /// When it was recorded.
    pub started_at: EventTime,
    /// When it ended.
    pub finished_at: Option<EventTime>,
}

impl JobRow {
    pub(crate) fn read(row: &AnyRow) -> sqlx::Result<Self> {
        let row = Read(row);
        Ok(Self {
            job_id: row.id("job_id")?,
            run_id: row.id("run_id")?,
            view: row.view()?,
            view_name: row.text("view_name")?,
            version: row.small_opt("version")?,
            interval: row.interval_opt()?,
            state: row.named("state", JobState::parse)?,
            reason: row.text_opt("reason")?,
            receipt: row.receipt_opt()?,
            started_at: row.time("started_at")?,
            finished_at: row.time_opt("finished_at")?,
        })
    }
}

impl Ledger {
    /// Records a job. A job that is recorded already stays as it is.
    ///
    /// # Errors
    /// [`Error::StartJob`]; [`Error::RunUnknown`] or [`Error::RunEnded`] when its run takes none.
    pub async fn start_job(&self, job: &NewJob) -> Result<(), Error> {
        let failed = |source| Error::StartJob { job: job.job_id, source };
        let mut connection = self.pool().acquire().await.map_err(failed)?;
        if insert(&mut connection, job).await.map_err(failed)? {
            return Ok(());
        }
        if job_state(&mut connection, job.job_id).await.map_err(failed)?.is_some() {
            // The answer to the first call was lost.
            return Ok(());
        }
        match run_state(&mut connection, job.run_id).await.map_err(failed)? {
            Some(state) => Err(Error::RunEnded { run: job.run_id, state }),
            None => Err(Error::RunUnknown { run: job.run_id }),
        }
    }

    /// Ends a job that was not committed, and closes what windows it left open. A job that has
    /// ended keeps the state it ended in: what is committed stays committed.
    ///
    /// # Errors
    /// [`Error::FinishJob`], [`Error::JobUnknown`].
    pub async fn finish_job(
        &self,
        job: JobId,
        state: JobState,
        reason: Option<&str>,
        at: EventTime,
    ) -> Result<(), Error> {
        let failed = |source| Error::FinishJob { job, source };
        let mut transaction = self.begin().await.map_err(failed)?;
        let window_state = match state {
            JobState::Interrupted => "interrupted",
            _ => "failed",
        };
        for (query, state) in [(CLOSE_WINDOWS, window_state), (FINISH, state.as_str())] {
            sqlx::query(query)
                .bind(job.to_string())
                .bind(state)
                .bind(reason)
                .bind(at.nanos())
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
        }
        if job_state(&mut transaction, job).await.map_err(failed)?.is_none() {
            return Err(Error::JobUnknown { job });
        }
        transaction.commit().await.map_err(failed)
    }
}

/// The state of a job, if there is such a job.
pub(crate) async fn job_state(
    connection: &mut AnyConnection,
    job: JobId,
) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar(STATE).bind(job.to_string()).fetch_optional(connection).await
}

/// Tells whether a job in this state takes no more work.
fn is_final(state: JobState) -> bool {
    !matches!(state, JobState::Pending | JobState::Running)
}

async fn insert(connection: &mut AnyConnection, job: &NewJob) -> sqlx::Result<bool> {
    let done = sqlx::query(START)
        .bind(job.job_id.to_string())
        .bind(job.run_id.to_string())
        .bind(&job.view.project)
        .bind(&job.view.storage_name)
        .bind(&job.view_name)
        .bind(job.version.map(i64::from))
        .bind(job.interval.map(|interval| interval.start.nanos()))
        .bind(job.interval.map(|interval| interval.end.nanos()))
        .bind(job.state.as_str())
        .bind(job.reason.as_deref())
        .bind(job.at.nanos())
        .bind(is_final(job.state).then(|| job.at.nanos()))
        .execute(connection)
        .await?;
    Ok(done.rows_affected() > 0)
}
