//! Queries on attempts: begin one, note what it has finished, end it without a commit.
//!
//! Every change checks the token of the view's lease in its own transaction.

use std::collections::BTreeMap;

use model::machine::{AttemptEnd, Next};
use model::{AttemptId, EventTime, FencingToken, Interval, Marker, Receipt, RetryPolicy, ViewRef};
use model::{JobState, WindowId, WindowState};
use sqlx::{Any, AnyConnection, Transaction};

use crate::event::{self, EventKind, NewEvent};
use crate::job::{self, JobRow};
use crate::row::{Read, json};
use crate::window::AttemptRow;
use crate::{Error, Ledger, lease, receipt, watermark};

/// Only a window that has not ended, of a job at work, is attempted.
const BEGIN: &str = "
    INSERT INTO attempts (
        attempt_id, window_id, number, token, correcting, fenced, state, source, identity, basis,
        started_at
    )
    SELECT $1, windows.window_id,
        (SELECT COUNT(*) FROM attempts WHERE attempts.window_id = windows.window_id) + 1,
        $3, $4, $5, 'running', $6, $7, $8, $9
    FROM windows JOIN jobs ON jobs.job_id = windows.job_id
    WHERE windows.window_id = $2 AND windows.state IN ('pending', 'open')
        AND jobs.state = 'running'
    ON CONFLICT (attempt_id) DO NOTHING
";

const OPEN_WINDOW: &str = "
    UPDATE windows SET state = 'open', opened_at = COALESCE(opened_at, $2)
    WHERE window_id = $1 AND state IN ('pending', 'open')
";

const NUMBER: &str = "
    SELECT number FROM attempts WHERE attempt_id = $1 AND state = 'running'
";

const STATES: &str = "
    SELECT windows.state AS window_state, jobs.state AS job_state
    FROM windows JOIN jobs ON jobs.job_id = windows.job_id WHERE windows.window_id = $1
";

/// What was acknowledged under another plan, source or server counts no more.
const FORGET_CHECKPOINTS: &str = "DELETE FROM checkpoints WHERE window_id = $1 AND basis <> $2";

const CHECKPOINTS: &str = "
    SELECT partition, receipt FROM checkpoints WHERE window_id = $1 ORDER BY partition
";

const CHECKPOINT: &str = "
    INSERT INTO checkpoints (window_id, partition, attempt_id, basis, receipt)
    SELECT window_id, $2, $3, $4, $5 FROM attempts
    WHERE attempt_id = $3 AND window_id = $1 AND state = 'running'
    ON CONFLICT (window_id, partition) DO UPDATE
    SET attempt_id = excluded.attempt_id, basis = excluded.basis, receipt = excluded.receipt
";

const END: &str = "
    UPDATE attempts SET state = $2, error = $3, ended_at = $4
    WHERE attempt_id = $1 AND state = 'running'
";

const CLOSE_WINDOW: &str = "
    UPDATE windows SET state = $2, error = $3, closed_at = $4
    WHERE window_id = $1 AND state IN ('pending', 'open')
";

const STATE: &str = "SELECT state FROM attempts WHERE attempt_id = $1";

/// Attempts that may have left rows of an interval behind without a commit. A later commit over all
/// of an attempt's window excuses it, for that attempt was told of it and wrote accordingly; so
/// does, of course, the commit of the window itself.
const UNCOMMITTED: &str = "
    SELECT attempts.attempt_id, attempts.window_id, windows.interval_start, windows.interval_end,
        attempts.number, attempts.token, attempts.correcting, attempts.fenced, attempts.state,
        attempts.source, attempts.error, attempts.started_at, attempts.ended_at
    FROM windows JOIN attempts ON attempts.window_id = windows.window_id
    WHERE windows.project = $1 AND windows.storage_name = $2 AND windows.state <> 'committed'
        AND windows.interval_start < $4 AND windows.interval_end > $3
        AND attempts.attempt_id <> $5 AND NOT EXISTS (
            SELECT 1 FROM windows AS landed
            JOIN attempts AS later ON later.window_id = landed.window_id
            WHERE landed.project = $1 AND landed.storage_name = $2 AND landed.state = 'committed'
                AND landed.interval_start <= windows.interval_start
                AND landed.interval_end >= windows.interval_end
                AND later.state = 'committed' AND later.token > attempts.token
        )
    ORDER BY attempts.token, attempts.number
";

const KNOWN: &str = "SELECT COUNT(*) FROM attempts WHERE attempt_id = $1";

const SET_FENCED: &str = "
    UPDATE views SET fenced = 1 WHERE project = $1 AND storage_name = $2
";

/// When the last attempt whose writes carried no fence was last known to be at work.
const UNFENCED: &str = "
    SELECT MAX(COALESCE(attempts.ended_at, $3)) FROM attempts
    JOIN windows ON windows.window_id = attempts.window_id
    WHERE windows.project = $1 AND windows.storage_name = $2 AND attempts.fenced = 0
        AND attempts.state <> 'committed'
";

/// An attempt to be recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct NewAttempt {
    /// Its id, drawn by the caller.
    pub attempt_id: AttemptId,
    /// The window.
    pub window_id: WindowId,
    /// The token of the lease it is made under.
    pub token: FencingToken,
    /// Whether it may replace rows of equal event time.
    pub correcting: bool,
    /// Whether its writes carry the fence.
    pub fenced: bool,
    /// The files it is pinned to: path, size, ETag, time of last change.
    pub source: serde_json::Value,
    /// The online store's servers as they are now.
    pub identity: String,
    /// All that must be alike for what an earlier attempt finished to count: source, plan, servers.
    pub basis: String,
    /// Our clock.
    pub at: EventTime,
}

/// What the ledger knows when an attempt begins.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Begun {
    /// The attempt's number, from 1.
    pub number: u32,
    /// The receipts of the partitions that an earlier attempt finished on the same basis.
    pub done: BTreeMap<u32, Receipt>,
}

impl Ledger {
    /// Records an attempt, durably; call it before the attempt's first write.
    ///
    /// # Errors
    /// [`Error::Attempt`]; [`Error::Superseded`]; [`Error::WindowUnknown`]; [`Error::WindowClosed`]
    /// when its window, its job or the attempt itself has ended.
    pub async fn begin_attempt(&self, job: &JobRow, attempt: &NewAttempt) -> Result<Begun, Error> {
        let window = attempt.window_id;
        let failed = |source| Error::Attempt { window, source };
        let mut transaction = self.holding(&job.view, attempt.token, window).await?;
        let is_new = insert(&mut transaction, attempt).await.map_err(failed)?;
        let begun = begun(&mut transaction, attempt).await.map_err(failed)?;
        let Some(begun) = begun else {
            let state = closed(&mut transaction, window).await.map_err(failed)?;
            return Err(state.map_or(Error::WindowUnknown { window }, |state| {
                Error::WindowClosed { window, state }
            }));
        };
        if is_new {
            let detail = format!("attempt {} with token {}", begun.number, attempt.token);
            let event =
                NewEvent::new(EventKind::Attempt, attempt.attempt_id.to_string(), "running")
                    .of_view(&job.view_name)
                    .saying(Some(&detail));
            event::record(&mut transaction, job.run_id, &event, attempt.at)
                .await
                .map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)?;
        Ok(begun)
    }

    /// Notes that a partition of an attempt is acknowledged, so that it need not be written again.
    ///
    /// # Errors
    /// [`Error::Attempt`], [`Error::Superseded`].
    pub async fn checkpoint(
        &self,
        view: &ViewRef,
        attempt: &NewAttempt,
        partition: u32,
        done: &Receipt,
    ) -> Result<(), Error> {
        let failed = |source| Error::Attempt { window: attempt.window_id, source };
        let mut transaction = self.holding(view, attempt.token, attempt.window_id).await?;
        sqlx::query(CHECKPOINT)
            .bind(attempt.window_id.to_string())
            .bind(i64::from(partition))
            .bind(attempt.attempt_id.to_string())
            .bind(&attempt.basis)
            .bind(receipt::to_text(done).map_err(failed)?)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }

    /// Ends an attempt without a commit, and with its last one the window and the job.
    ///
    /// # Errors
    /// [`Error::Attempt`], [`Error::Superseded`].
    pub async fn end_attempt(
        &self,
        job: &JobRow,
        attempt: &NewAttempt,
        (number, end): (u32, AttemptEnd),
        policy: &RetryPolicy,
        error: &str,
        at: EventTime,
    ) -> Result<Next, Error> {
        let next = end.next(number, policy);
        let failed = |source| Error::Attempt { window: attempt.window_id, source };
        let mut transaction = self.begin().await.map_err(failed)?;
        if !lease::holds(&mut transaction, &job.view, attempt.token).await.map_err(failed)? {
            if has_ended_so(&mut transaction, job, attempt, &next).await.map_err(failed)? {
                return Ok(next);
            }
            return Err(Error::Superseded { view: job.view.clone(), token: attempt.token });
        }
        let ended = async {
            store_end(&mut transaction, job, attempt, &next, error, at).await?;
            if next.job != JobState::Running {
                job::finish(&mut transaction, job, next.job, Some(error), at).await?;
                lease::free(&mut transaction, &job.view, attempt.token).await?;
                job::finish_run_if_done(&mut transaction, job.run_id, at).await?;
            }
            transaction.commit().await
        };
        ended.await.map_err(failed)?;
        Ok(next)
    }

    /// The attempts at windows that overlap an interval and were not committed, and over which
    /// nothing was committed since: what they wrote may still be in the online store.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub async fn uncommitted_attempts(
        &self,
        view: &ViewRef,
        interval: Interval,
        except: AttemptId,
    ) -> Result<Vec<AttemptRow>, Error> {
        let read = async {
            let rows = sqlx::query(UNCOMMITTED)
                .bind(&view.project)
                .bind(&view.storage_name)
                .bind(interval.start.nanos())
                .bind(interval.end.nanos())
                .bind(except.to_string())
                .fetch_all(self.pool())
                .await?;
            rows.iter().map(AttemptRow::read).collect::<sqlx::Result<_>>()
        };
        read.await.map_err(|source| Error::Read { what: "attempts", source })
    }

    /// Tells whether an attempt that the online store names is recorded.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub async fn knows(&self, marker: &Marker) -> Result<bool, Error> {
        let count: Result<i64, _> =
            sqlx::query_scalar(KNOWN).bind(marker.attempt.to_string()).fetch_one(self.pool()).await;
        count.map(|count| count > 0).map_err(|source| Error::Read { what: "an attempt", source })
    }

    /// Notes that every write to a view carries the fence from now on, and tells when the last
    /// attempt without one that was not committed was last known to be at work.
    ///
    /// # Errors
    /// [`Error::Lease`], [`Error::Superseded`].
    pub async fn fence(
        &self,
        view: &ViewRef,
        token: FencingToken,
    ) -> Result<Option<(EventTime, EventTime)>, Error> {
        let failed = |source| Error::Lease { what: format!("view `{view}`"), source };
        let mut transaction = self.begin().await.map_err(failed)?;
        watermark::lock(&mut transaction, view).await.map_err(failed)?;
        if !lease::holds(&mut transaction, view, token).await.map_err(failed)? {
            return Err(Error::Superseded { view: view.clone(), token });
        }
        let fence = async {
            let now = self.clock(&mut transaction).await?;
            sqlx::query(SET_FENCED)
                .bind(&view.project)
                .bind(&view.storage_name)
                .execute(&mut *transaction)
                .await?;
            let last: Option<i64> = sqlx::query_scalar(UNFENCED)
                .bind(&view.project)
                .bind(&view.storage_name)
                .bind(now.nanos())
                .fetch_one(&mut *transaction)
                .await?;
            transaction.commit().await?;
            Ok(last.map(|last| (EventTime::from_nanos(last), now)))
        };
        fence.await.map_err(failed)
    }

    /// Begins a transaction on an attempt, once its token is known to be the view's.
    async fn holding(
        &self,
        view: &ViewRef,
        token: FencingToken,
        window: WindowId,
    ) -> Result<Transaction<'static, Any>, Error> {
        let failed = |source| Error::Attempt { window, source };
        let mut transaction = self.begin().await.map_err(failed)?;
        if lease::holds(&mut transaction, view, token).await.map_err(failed)? {
            return Ok(transaction);
        }
        Err(Error::Superseded { view: view.clone(), token })
    }
}

/// Inserts an attempt, and tells whether it was not there.
async fn insert(transaction: &mut AnyConnection, attempt: &NewAttempt) -> sqlx::Result<bool> {
    let done = sqlx::query(BEGIN)
        .bind(attempt.attempt_id.to_string())
        .bind(attempt.window_id.to_string())
        .bind(i64::try_from(attempt.token.0).unwrap_or(i64::MAX))
        .bind(i64::from(attempt.correcting))
        .bind(i64::from(attempt.fenced))
        .bind(json(&attempt.source)?)
        .bind(&attempt.identity)
        .bind(&attempt.basis)
        .bind(attempt.at.nanos())
        .execute(transaction)
        .await?;
    Ok(done.rows_affected() > 0)
}

/// Opens the window of an attempt at work and tells what is done; `None` when it is not at work.
async fn begun(
    transaction: &mut AnyConnection,
    attempt: &NewAttempt,
) -> sqlx::Result<Option<Begun>> {
    let window = attempt.window_id.to_string();
    let number: Option<i64> = sqlx::query_scalar(NUMBER)
        .bind(attempt.attempt_id.to_string())
        .fetch_optional(&mut *transaction)
        .await?;
    let Some(number) = number else { return Ok(None) };
    sqlx::query(OPEN_WINDOW)
        .bind(&window)
        .bind(attempt.at.nanos())
        .execute(&mut *transaction)
        .await?;
    sqlx::query(FORGET_CHECKPOINTS)
        .bind(&window)
        .bind(&attempt.basis)
        .execute(&mut *transaction)
        .await?;
    let rows = sqlx::query(CHECKPOINTS).bind(&window).fetch_all(transaction).await?;
    let done = rows.iter().map(|row| {
        let row = Read(row);
        Ok((row.small("partition")?, row.receipt_opt()?.unwrap_or_default()))
    });
    let done = done.collect::<sqlx::Result<_>>()?;
    Ok(Some(Begun { number: u32::try_from(number).unwrap_or(u32::MAX), done }))
}

/// What ended that a window takes no attempt: the window, its job, or the attempt itself; `None`
/// when there is no such window.
async fn closed(transaction: &mut AnyConnection, window: WindowId) -> sqlx::Result<Option<String>> {
    let row = sqlx::query(STATES).bind(window.to_string()).fetch_optional(transaction).await?;
    row.map(|row| {
        let row = Read(&row);
        let (window, job) =
            (row.named("window_state", WindowState::parse)?, row.text("job_state")?);
        Ok(if window.is_ended() { window.to_string() } else { job })
    })
    .transpose()
}

/// Tells whether this very end is recorded already, and with it that of the job: the answer to the
/// first call was lost.
async fn has_ended_so(
    transaction: &mut AnyConnection,
    job: &JobRow,
    attempt: &NewAttempt,
    next: &Next,
) -> sqlx::Result<bool> {
    let state: Option<String> = sqlx::query_scalar(STATE)
        .bind(attempt.attempt_id.to_string())
        .fetch_optional(&mut *transaction)
        .await?;
    let job = job::state(transaction, job.job_id).await?;
    Ok(next.job.is_ended()
        && job == Some(next.job)
        && state.as_deref() == Some(next.attempt.as_str()))
}

async fn store_end(
    transaction: &mut AnyConnection,
    job: &JobRow,
    attempt: &NewAttempt,
    next: &Next,
    error: &str,
    at: EventTime,
) -> sqlx::Result<()> {
    let id = attempt.attempt_id.to_string();
    let ended = sqlx::query(END)
        .bind(&id)
        .bind(next.attempt.as_str())
        .bind(error)
        .bind(at.nanos())
        .execute(&mut *transaction)
        .await?;
    if next.window.is_ended() {
        sqlx::query(CLOSE_WINDOW)
            .bind(attempt.window_id.to_string())
            .bind(next.window.as_str())
            .bind(error)
            .bind(at.nanos())
            .execute(&mut *transaction)
            .await?;
    }
    // One that was ended before, by this call or by somebody else, is not told again.
    if ended.rows_affected() == 0 {
        return Ok(());
    }
    let event = NewEvent::new(EventKind::Attempt, id, next.attempt.as_str())
        .of_view(&job.view_name)
        .saying(Some(error));
    event::record(transaction, job.run_id, &event, at).await
}
