//! Queries on jobs: record one, store its windows once it is cut, end it.
//!
//! Whoever changes a job holds the lease of its view, by a token that is checked in the same
//! transaction. The end by commit is in `commit.rs`.

use model::{EventTime, FencingToken, Interval, JobId, JobState, Receipt, RunId, ViewRef, machine};
use serde::Serialize;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::event::{self, EventKind, NewEvent};
use crate::row::{Read, json};
use crate::window::{self, NewWindow};
use crate::{Error, Ledger, lease};

const INSERT: &str = "
    INSERT INTO jobs (
        job_id, run_id, position, project, storage_name, view_name, version, state, reason,
        warnings, bad_rows, admitted_at, finished_at
    ) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, '[]', '[]', $10, $11)
    ON CONFLICT (job_id) DO NOTHING
";

const CUT: &str = "
    UPDATE jobs SET interval_start = $2, interval_end = $3, warnings = $4
    WHERE job_id = $1 AND state = 'running'
";

const CLOSE_WINDOWS: &str = "
    UPDATE windows SET state = $2, error = COALESCE(error, $3), closed_at = $4
    WHERE job_id = $1 AND state IN ('pending', 'open')
";

const CLOSE_ATTEMPTS: &str = "
    UPDATE attempts SET state = 'interrupted', ended_at = $2 WHERE state = 'running'
    AND window_id IN (SELECT window_id FROM windows WHERE job_id = $1)
";

const FINISH: &str = "
    UPDATE jobs SET state = $2, reason = $3, finished_at = $4
    WHERE job_id = $1 AND state IN ('pending', 'running')
";

const REMARK: &str = "UPDATE jobs SET warnings = $2, bad_rows = $3 WHERE job_id = $1";

/// Jobs of a run that have not ended and that nobody works on.
macro_rules! unheld {
    () => {
        "run_id = $1 AND state IN ('pending', 'running')
            AND NOT EXISTS (SELECT 1 FROM leases WHERE leases.job_id = jobs.job_id)"
    };
}

const CLOSE_UNHELD_ATTEMPTS: &str = concat!(
    "UPDATE attempts SET state = 'interrupted', ended_at = $2
    WHERE state = 'running' AND window_id IN (
        SELECT window_id FROM windows WHERE state IN ('pending', 'open')
            AND job_id IN (SELECT job_id FROM jobs WHERE ",
    unheld!(),
    "))"
);

const CLOSE_UNHELD_WINDOWS: &str = concat!(
    "UPDATE windows SET state = 'interrupted', error = COALESCE(error, $3), closed_at = $2
    WHERE state IN ('pending', 'open') AND job_id IN (SELECT job_id FROM jobs WHERE ",
    unheld!(),
    ")"
);

const FINISH_UNHELD: &str = concat!(
    "UPDATE jobs SET state = $4, reason = $3, finished_at = $2 WHERE ",
    unheld!(),
    " RETURNING job_id, view_name, position"
);

const STATE: &str = "SELECT state FROM jobs WHERE job_id = $1";

const STATES_OF_RUN: &str = "SELECT state FROM jobs WHERE run_id = $1";

const CANCEL_REQUESTED: &str = "SELECT cancel_requested FROM runs WHERE run_id = $1";

const FINISH_RUN: &str = "
    UPDATE runs SET state = $2, finished_at = $3 WHERE run_id = $1 AND state = 'running'
";

/// The same for a run that ends before anybody began it.
const FINISH_WAITING_RUN: &str = "
    UPDATE runs SET state = 'cancelled', finished_at = $2
    WHERE run_id = $1 AND state = 'pending' AND cancel_requested = 1
";

/// A job to be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewJob {
    /// Its id, drawn by the caller.
    pub job_id: JobId,
    /// Its place among the jobs of its run.
    pub position: u32,
    /// The name its rows are stored under.
    pub storage_name: String,
    /// The view's name in Feast.
    pub view_name: String,
    /// The view's version in Feast, where the run names one.
    pub version: Option<u32>,
    /// Why it is refused at once, if so.
    pub refusal: Option<String>,
    /// Our clock.
    pub at: EventTime,
}

/// A job as recorded.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JobRow {
    /// Its id.
    pub job_id: JobId,
    /// The run it belongs to.
    pub run_id: RunId,
    /// Its place among the jobs of its run.
    pub position: u32,
    /// The view, by the name its rows are stored under.
    pub view: ViewRef,
    /// The view's name in Feast.
    pub view_name: String,
    /// The view's version in Feast, where the run named one.
    pub version: Option<u32>,
    /// What holds all of its windows, once it is cut.
    pub interval: Option<Interval>,
    /// How far it has got.
    pub state: JobState,
    /// Why it ended so.
    pub reason: Option<String>,
    /// What the operator should know.
    pub warnings: Vec<String>,
    /// What its committed windows did, added up.
    pub receipt: Option<Receipt>,
    /// The first rows that were refused, when they are skipped.
    pub bad_rows: serde_json::Value,
    /// How far its holder says it has got.
    pub progress: Option<serde_json::Value>,
    /// When it was recorded.
    pub admitted_at: EventTime,
    /// When work on it began.
    pub started_at: Option<EventTime>,
    /// When it ended.
    pub finished_at: Option<EventTime>,
}

impl JobRow {
    pub(crate) fn read(row: &AnyRow) -> sqlx::Result<Self> {
        let row = Read(row);
        Ok(Self {
            job_id: row.id("job_id")?,
            run_id: row.id("run_id")?,
            position: row.small("position")?,
            view: row.view()?,
            view_name: row.text("view_name")?,
            version: row.small_opt("version")?,
            interval: row.interval_opt()?,
            state: row.named("state", JobState::parse)?,
            reason: row.text_opt("reason")?,
            warnings: row.json("warnings")?,
            receipt: row.receipt_opt()?,
            bad_rows: row.json("bad_rows")?,
            progress: row.json_opt("progress")?,
            admitted_at: row.time("admitted_at")?,
            started_at: row.time_opt("started_at")?,
            finished_at: row.time_opt("finished_at")?,
        })
    }
}

impl Ledger {
    /// Stores what a job is to read, before its first write: its windows in the order in which they
    /// are to run. A job that is cut already stays as it is.
    ///
    /// # Errors
    /// [`Error::CutJob`], [`Error::Superseded`].
    pub async fn cut_job(
        &self,
        job: &JobRow,
        token: FencingToken,
        windows: &[NewWindow],
        warnings: &[String],
        at: EventTime,
    ) -> Result<(), Error> {
        let failed = |source| Error::CutJob { job: job.job_id, source };
        let mut transaction = self.begin().await.map_err(failed)?;
        if !lease::holds(&mut transaction, &job.view, token).await.map_err(failed)? {
            return Err(Error::Superseded { view: job.view.clone(), token });
        }
        let cut = async {
            if !window::of_job(&mut transaction, job.job_id).await?.is_empty() {
                return Ok(());
            }
            let start = windows.iter().map(|window| window.interval.start).min();
            let end = windows.iter().map(|window| window.interval.end).max();
            sqlx::query(CUT)
                .bind(job.job_id.to_string())
                .bind(start.map(EventTime::nanos))
                .bind(end.map(EventTime::nanos))
                .bind(json(&warnings)?)
                .execute(&mut *transaction)
                .await?;
            for window in windows {
                window::insert(&mut transaction, job, window, at).await?;
            }
            for warning in warnings {
                let event = NewEvent::new(EventKind::Warning, job.job_id.to_string(), "cut")
                    .of_view(&job.view_name)
                    .saying(Some(warning));
                event::record(&mut transaction, job.run_id, &event, at).await?;
            }
            transaction.commit().await
        };
        cut.await.map_err(failed)
    }

    /// Replaces what the operator should know of a job, and the rows that were refused.
    ///
    /// # Errors
    /// [`Error::FinishJob`].
    pub async fn remark(
        &self,
        job: JobId,
        warnings: &[String],
        bad_rows: &serde_json::Value,
    ) -> Result<(), Error> {
        let remark = async {
            sqlx::query(REMARK)
                .bind(job.to_string())
                .bind(json(&warnings)?)
                .bind(json(bad_rows)?)
                .execute(self.pool())
                .await
        };
        remark.await.map(drop).map_err(|source| Error::FinishJob { job, source })
    }

    /// Ends a job, closes what windows it left open, gives its view back, and ends its run with the
    /// last job. A job that has ended keeps the state it ended in: what is committed stays
    /// committed.
    ///
    /// # Errors
    /// [`Error::FinishJob`], [`Error::Superseded`].
    pub async fn close_job(
        &self,
        job: &JobRow,
        token: FencingToken,
        state: JobState,
        reason: Option<&str>,
        at: EventTime,
    ) -> Result<(), Error> {
        let failed = |source| Error::FinishJob { job: job.job_id, source };
        let mut transaction = self.begin().await.map_err(failed)?;
        if !lease::holds(&mut transaction, &job.view, token).await.map_err(failed)? {
            // The answer to the first such call was lost.
            if self::state(&mut transaction, job.job_id).await.map_err(failed)? == Some(state) {
                return Ok(());
            }
            return Err(Error::Superseded { view: job.view.clone(), token });
        }
        let close = async {
            finish(&mut transaction, job, state, reason, at).await?;
            lease::free(&mut transaction, &job.view, token).await?;
            finish_run_if_done(&mut transaction, job.run_id, at).await?;
            transaction.commit().await
        };
        close.await.map_err(failed)
    }
}

/// Ends a job inside a transaction that has made sure it may.
pub(crate) async fn finish(
    transaction: &mut AnyConnection,
    job: &JobRow,
    state: JobState,
    reason: Option<&str>,
    at: EventTime,
) -> sqlx::Result<()> {
    let id = job.job_id.to_string();
    sqlx::query(CLOSE_ATTEMPTS).bind(&id).bind(at.nanos()).execute(&mut *transaction).await?;
    let window_state = if state == JobState::Failed { "failed" } else { "interrupted" };
    let mut ended = 0;
    for (query, state) in [(CLOSE_WINDOWS, window_state), (FINISH, state.as_str())] {
        ended = sqlx::query(query)
            .bind(&id)
            .bind(state)
            .bind(reason)
            .bind(at.nanos())
            .execute(&mut *transaction)
            .await?
            .rows_affected();
    }
    if ended == 0 {
        return Ok(());
    }
    let event =
        NewEvent::new(EventKind::Job, id, state.as_str()).of_view(&job.view_name).saying(reason);
    event::record(transaction, job.run_id, &event, at).await
}

/// The state of a job, if there is such a job.
pub(crate) async fn state(
    connection: &mut AnyConnection,
    job: JobId,
) -> sqlx::Result<Option<JobState>> {
    let row = sqlx::query(STATE).bind(job.to_string()).fetch_optional(connection).await?;
    row.map(|row| Read(&row).named("state", JobState::parse)).transpose()
}

/// A job that was ended from outside.
pub(crate) struct Ended {
    job_id: String,
    view_name: String,
    position: i64,
    state: JobState,
    reason: String,
}

/// Ends the jobs of a run that nobody works on, with what windows and attempts they left open. The
/// leases of the run's jobs are held, so that nobody begins to work on one now.
pub(crate) async fn end_unheld(
    transaction: &mut AnyConnection,
    run: RunId,
    state: JobState,
    reason: &str,
    at: EventTime,
) -> sqlx::Result<Vec<Ended>> {
    let id = run.to_string();
    sqlx::query(CLOSE_UNHELD_ATTEMPTS)
        .bind(&id)
        .bind(at.nanos())
        .execute(&mut *transaction)
        .await?;
    sqlx::query(CLOSE_UNHELD_WINDOWS)
        .bind(&id)
        .bind(at.nanos())
        .bind(reason)
        .execute(&mut *transaction)
        .await?;
    let rows = sqlx::query(FINISH_UNHELD)
        .bind(&id)
        .bind(at.nanos())
        .bind(reason)
        .bind(state.as_str())
        .fetch_all(transaction)
        .await?;
    let ended = rows.iter().map(|row| {
        let row = Read(row);
        let (job_id, view_name) = (row.text("job_id")?, row.text("view_name")?);
        let (position, reason) = (row.number("position")?, reason.to_owned());
        Ok(Ended { job_id, view_name, position, state, reason })
    });
    let mut ended = ended.collect::<sqlx::Result<Vec<_>>>()?;
    ended.sort_by(|a, b| (a.position, &a.job_id).cmp(&(b.position, &b.job_id)));
    Ok(ended)
}

/// Records what [`end_unheld`] did.
pub(crate) async fn tell_ended(
    transaction: &mut AnyConnection,
    run: RunId,
    jobs: &[Ended],
    at: EventTime,
) -> sqlx::Result<()> {
    let events = jobs.iter().map(|job| {
        NewEvent::new(EventKind::Job, job.job_id.clone(), job.state.as_str())
            .of_view(&job.view_name)
            .saying(Some(&job.reason))
    });
    event::record_all(transaction, run, &events.collect::<Vec<_>>(), at).await
}

/// Ends a run whose last job has ended.
pub(crate) async fn finish_run_if_done(
    transaction: &mut AnyConnection,
    run: RunId,
    at: EventTime,
) -> sqlx::Result<()> {
    let id = run.to_string();
    let waiting = sqlx::query(FINISH_WAITING_RUN)
        .bind(&id)
        .bind(at.nanos())
        .execute(&mut *transaction)
        .await?;
    if waiting.rows_affected() > 0 {
        return event::of_run(transaction, run, "cancelled", None, at).await;
    }
    // Whoever ends a run's job holds the run's row through the event of that end, so of two jobs
    // that end at once the later sees the earlier.
    let cancel: i64 =
        sqlx::query_scalar(CANCEL_REQUESTED).bind(&id).fetch_one(&mut *transaction).await?;
    let states: Vec<String> =
        sqlx::query_scalar(STATES_OF_RUN).bind(&id).fetch_all(&mut *transaction).await?;
    let states = states.iter().filter_map(|state| JobState::parse(state));
    let Some(state) = machine::run_state(states, cancel != 0) else { return Ok(()) };
    let done = sqlx::query(FINISH_RUN)
        .bind(&id)
        .bind(state.as_str())
        .bind(at.nanos())
        .execute(&mut *transaction)
        .await?;
    if done.rows_affected() > 0 {
        event::of_run(transaction, run, state.as_str(), None, at).await?;
    }
    Ok(())
}

pub(crate) async fn insert(
    connection: &mut AnyConnection,
    run: RunId,
    project: &str,
    job: &NewJob,
) -> sqlx::Result<()> {
    let state = if job.refusal.is_some() { JobState::Refused } else { JobState::Pending };
    sqlx::query(INSERT)
        .bind(job.job_id.to_string())
        .bind(run.to_string())
        .bind(i64::from(job.position))
        .bind(project)
        .bind(&job.storage_name)
        .bind(&job.view_name)
        .bind(job.version.map(i64::from))
        .bind(state.as_str())
        .bind(job.refusal.as_deref())
        .bind(job.at.nanos())
        .bind(state.is_ended().then(|| job.at.nanos()))
        .execute(connection)
        .await?;
    Ok(())
}
