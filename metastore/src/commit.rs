//! The one transaction that moves a watermark.
//!
//! Locks are taken in the order view, lease, window, job, run, here and everywhere else.

use model::{
    AttemptId, Coverage, EventTime, FencingToken, Interval, JobId, Marker, Receipt, ViewRef,
    WindowId, WindowState, invariant,
};
use sqlx::AnyConnection;

use crate::event::{self, EventKind, NewEvent};
use crate::job::{self, JobRow};
use crate::mirror::{self, MirrorRow};
use crate::row::Read;
use crate::watermark::{self, ViewState};
use crate::{Error, Ledger, lease, receipt};

/// Reads the window and holds it; see `watermark.rs` on locking by an update.
const LOCK_WINDOW: &str = "
    UPDATE windows SET state = state WHERE window_id = $1
    RETURNING job_id, project, storage_name, interval_start, interval_end, state, receipt,
        watermark_before, watermark_after
";

const ATTEMPT: &str = "
    SELECT state, token, identity FROM attempts WHERE attempt_id = $1 AND window_id = $2
";

const COMMITTED_BY: &str = "
    SELECT attempt_id FROM attempts WHERE window_id = $1 AND state = 'committed'
";

const CLOSE_ATTEMPT: &str = "
    UPDATE attempts SET state = 'committed', ended_at = $2 WHERE attempt_id = $1
";

/// Its receipt has them now.
const FORGET_CHECKPOINTS: &str = "DELETE FROM checkpoints WHERE window_id = $1";

const MARK_VIEW: &str = "
    UPDATE views SET commit_sequence = $3, commit_attempt = $4
    WHERE project = $1 AND storage_name = $2
";

const CLEAR_LOST: &str = "
    UPDATE views SET lost = NULL WHERE project = $1 AND storage_name = $2
";

const WINDOWS_LEFT: &str = "
    SELECT COUNT(*) FROM windows WHERE job_id = $1 AND state <> 'committed'
";

const LOCK_JOB: &str = "
    UPDATE jobs SET state = state WHERE job_id = $1 RETURNING state, receipt
";

const CLOSE_WINDOW: &str = "
    UPDATE windows SET state = 'committed', receipt = $2, watermark_before = $3,
        watermark_after = $4, closed_at = $5
    WHERE window_id = $1
";

/// The job has succeeded once its last window is committed.
const ADD_TO_JOB: &str = "
    UPDATE jobs SET state = $2, reason = NULL, receipt = $3, finished_at = $4 WHERE job_id = $1
";

/// What a finished attempt asks to be recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct Commit {
    /// The window, planned before its first write.
    pub window_id: WindowId,
    /// The attempt, recorded before its first write.
    pub attempt_id: AttemptId,
    /// The window's job.
    pub job: JobRow,
    /// The token of the lease it was made under.
    pub token: FencingToken,
    /// The window's interval, of which every row has been acknowledged.
    pub interval: Interval,
    /// What the attempt did.
    pub receipt: Receipt,
    /// The online store's servers after the last acknowledgement.
    pub identity: String,
    /// The number of the marker that the online store has.
    pub sequence: u64,
    /// Whether the job, once all its windows are committed, has brought back what was lost.
    pub is_rebuild: bool,
    /// The view's features that were written.
    pub features: Vec<String>,
    /// What Feast's registry is to list, if anything.
    pub mirror: Option<MirrorRow>,
    /// Our clock.
    pub at: EventTime,
}

impl Commit {
    fn view(&self) -> &ViewRef {
        &self.job.view
    }
}

/// What a commit made of the view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// What has landed, and up to where without a gap.
    pub coverage: Coverage,
    /// The watermark before the window's commit.
    pub watermark_before: Option<EventTime>,
    /// The watermark after it.
    pub watermark_after: Option<EventTime>,
}

impl Ledger {
    /// Closes a window, stores the receipt, merges the interval into what has landed of the view,
    /// advances the watermark, and notes what is due to Feast's registry; with the last window it
    /// ends the job, gives the view back, and ends the run with its last job: all or nothing.
    ///
    /// Committing a window again with the same receipt, as after a lost answer, changes nothing and
    /// returns the watermarks of the first time.
    ///
    /// # Errors
    /// [`Error::Commit`]; [`Error::Superseded`] when another process has taken over the view;
    /// [`Error::OtherStore`]; [`Error::Unbalanced`]; [`Error::WindowUnknown`];
    /// [`Error::WindowClosed`] when the attempt was given up; [`Error::WindowMismatch`] and
    /// [`Error::AlreadyCommitted`] when the caller confuses windows; [`Error::ViewUnknown`].
    pub async fn commit(&self, commit: &Commit) -> Result<Committed, Error> {
        let window = commit.window_id;
        invariant::receipt_is_balanced(&commit.receipt)
            .map_err(|source| Error::Unbalanced { window, source })?;
        let failed = |source| Error::Commit { window, source };
        let mut transaction = self.begin().await.map_err(failed)?;
        let view = commit.view();
        let before = watermark::lock(&mut transaction, view)
            .await
            .map_err(failed)?
            .ok_or_else(|| Error::ViewUnknown { view: view.clone() })?;
        let holds = lease::holds(&mut transaction, view, commit.token).await.map_err(failed)?;
        let held = HeldWindow::lock(&mut transaction, window)
            .await
            .map_err(failed)?
            .ok_or(Error::WindowUnknown { window })?;
        if let Some(committed) = held.check(commit, &before)? {
            check_committed(&mut transaction, commit).await?;
            return Ok(committed);
        }
        if !holds {
            return Err(Error::Superseded { view: view.clone(), token: commit.token });
        }
        check_attempt(&mut transaction, commit, &before).await?;
        let total = add_to_job(&mut transaction, commit).await?;
        let committed = record(&mut transaction, commit, &before, &total).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(committed)
    }
}

/// Checks that the attempt is the one that was recorded, that the online store has not been
/// replaced since, and that the marker it left is the next one.
async fn check_attempt(
    transaction: &mut AnyConnection,
    commit: &Commit,
    before: &ViewState,
) -> Result<(), Error> {
    let window = commit.window_id;
    let failed = |source| Error::Commit { window, source };
    let row = sqlx::query(ATTEMPT)
        .bind(commit.attempt_id.to_string())
        .bind(window.to_string())
        .fetch_optional(transaction)
        .await
        .map_err(failed)?
        .ok_or(Error::WindowMismatch { window, what: "attempt" })?;
    let row = Read(&row);
    let state = row.text("state").map_err(failed)?;
    if state != "running" {
        return Err(Error::WindowClosed { window, state });
    }
    if row.small::<u64>("token").map_err(failed)? != commit.token.0 {
        return Err(Error::WindowMismatch { window, what: "token" });
    }
    if row.text("identity").map_err(failed)? != commit.identity {
        return Err(Error::OtherStore { window });
    }
    if before.committed.is_some_and(|last| last.sequence >= commit.sequence) {
        return Err(Error::WindowMismatch { window, what: "sequence of commits" });
    }
    Ok(())
}

/// Checks that a committed window was committed by this very attempt, and not by one that took
/// over.
async fn check_committed(transaction: &mut AnyConnection, commit: &Commit) -> Result<(), Error> {
    let by: Option<String> = sqlx::query_scalar(COMMITTED_BY)
        .bind(commit.window_id.to_string())
        .fetch_optional(transaction)
        .await
        .map_err(|source| Error::Commit { window: commit.window_id, source })?;
    if by.is_some_and(|by| by != commit.attempt_id.to_string()) {
        return Err(Error::Superseded { view: commit.view().clone(), token: commit.token });
    }
    Ok(())
}

/// The window as recorded when it was opened, or by its commit.
struct HeldWindow {
    job_id: JobId,
    view: ViewRef,
    interval: Interval,
    state: WindowState,
    receipt: Option<Receipt>,
    watermark_before: Option<EventTime>,
    watermark_after: Option<EventTime>,
}

impl HeldWindow {
    async fn lock(transaction: &mut AnyConnection, window: WindowId) -> sqlx::Result<Option<Self>> {
        let row =
            sqlx::query(LOCK_WINDOW).bind(window.to_string()).fetch_optional(transaction).await?;
        row.as_ref().map(|row| Self::read(&Read(row))).transpose()
    }

    fn read(row: &Read<'_>) -> sqlx::Result<Self> {
        Ok(Self {
            job_id: row.id("job_id")?,
            view: row.view()?,
            interval: row.interval()?,
            state: row.named("state", WindowState::parse)?,
            receipt: row.receipt_opt()?,
            watermark_before: row.time_opt("watermark_before")?,
            watermark_after: row.time_opt("watermark_after")?,
        })
    }

    /// Decides whether the window can be committed; the earlier answer when it is committed
    /// already.
    fn check(&self, commit: &Commit, view: &ViewState) -> Result<Option<Committed>, Error> {
        let window = commit.window_id;
        let mismatch = |what| Error::WindowMismatch { window, what };
        if self.job_id != commit.job.job_id {
            return Err(mismatch("job"));
        }
        if self.view != *commit.view() {
            return Err(mismatch("view"));
        }
        if self.interval != commit.interval {
            return Err(mismatch("interval"));
        }
        match self.state {
            WindowState::Pending | WindowState::Open => Ok(None),
            WindowState::Committed if self.receipt == Some(commit.receipt) => Ok(Some(Committed {
                coverage: view.coverage.clone(),
                watermark_before: self.watermark_before,
                watermark_after: self.watermark_after,
            })),
            WindowState::Committed => Err(Error::AlreadyCommitted { window }),
            WindowState::Failed | WindowState::Interrupted => {
                Err(Error::WindowClosed { window, state: self.state.to_string() })
            }
        }
    }
}

/// Holds the job and returns its receipts added up, this window's included. A job that was ended
/// otherwise refuses: its run was taken for dead between the opening of this window and now.
async fn add_to_job(transaction: &mut AnyConnection, commit: &Commit) -> Result<Receipt, Error> {
    let window = commit.window_id;
    let failed = |source| Error::Commit { window, source };
    let row = sqlx::query(LOCK_JOB)
        .bind(commit.job.job_id.to_string())
        .fetch_one(transaction)
        .await
        .map_err(failed)?;
    let row = Read(&row);
    let state = row.text("state").map_err(failed)?;
    if !matches!(state.as_str(), "pending" | "running" | "succeeded") {
        return Err(Error::WindowClosed { window, state });
    }
    let mut total: Receipt = row.receipt_opt().map_err(failed)?.unwrap_or_default();
    total.add(&commit.receipt);
    Ok(total)
}

async fn record(
    transaction: &mut AnyConnection,
    commit: &Commit,
    before: &ViewState,
    total: &Receipt,
) -> sqlx::Result<Committed> {
    let mut after = before.clone();
    after.coverage.cover([commit.interval]);
    after.features = Some(commit.features.clone());
    after.updated_at = commit.at;
    debug_assert_eq!(invariant::watermark_is_covered(&after.coverage), Ok(()));
    watermark::store(transaction, commit.view(), before, &after).await?;
    let marker = Marker { sequence: commit.sequence, attempt: commit.attempt_id };
    close_attempt(transaction, commit, &marker).await?;
    let committed = Committed {
        watermark_before: before.coverage.watermark(),
        watermark_after: after.coverage.watermark(),
        coverage: after.coverage,
    };
    sqlx::query(CLOSE_WINDOW)
        .bind(commit.window_id.to_string())
        .bind(receipt::to_text(&commit.receipt)?)
        .bind(committed.watermark_before.map(EventTime::nanos))
        .bind(committed.watermark_after.map(EventTime::nanos))
        .bind(commit.at.nanos())
        .execute(&mut *transaction)
        .await?;
    let is_done = advance_job(transaction, commit, total).await?;
    if let Some(row) = &commit.mirror {
        let project = &commit.view().project;
        mirror::insert(transaction, commit.window_id, project, row, commit.at).await?;
    }
    let event = NewEvent::new(EventKind::Window, commit.window_id.to_string(), "committed")
        .of_view(&commit.job.view_name);
    event::record(transaction, commit.job.run_id, &event, commit.at).await?;
    if is_done {
        end_job(transaction, commit).await?;
    }
    Ok(committed)
}

/// What follows from the commit of a job's last window.
async fn end_job(transaction: &mut AnyConnection, commit: &Commit) -> sqlx::Result<()> {
    let job = &commit.job;
    if commit.is_rebuild {
        sqlx::query(CLEAR_LOST)
            .bind(&job.view.project)
            .bind(&job.view.storage_name)
            .execute(&mut *transaction)
            .await?;
    }
    let event =
        NewEvent::new(EventKind::Job, job.job_id.to_string(), "succeeded").of_view(&job.view_name);
    event::record(transaction, job.run_id, &event, commit.at).await?;
    lease::free(transaction, &job.view, commit.token).await?;
    job::finish_run_if_done(transaction, job.run_id, commit.at).await
}

async fn close_attempt(
    transaction: &mut AnyConnection,
    commit: &Commit,
    marker: &Marker,
) -> sqlx::Result<()> {
    sqlx::query(CLOSE_ATTEMPT)
        .bind(commit.attempt_id.to_string())
        .bind(commit.at.nanos())
        .execute(&mut *transaction)
        .await?;
    sqlx::query(FORGET_CHECKPOINTS)
        .bind(commit.window_id.to_string())
        .execute(&mut *transaction)
        .await?;
    sqlx::query(MARK_VIEW)
        .bind(&commit.view().project)
        .bind(&commit.view().storage_name)
        .bind(i64::try_from(marker.sequence).unwrap_or(i64::MAX))
        .bind(marker.attempt.to_string())
        .execute(transaction)
        .await?;
    Ok(())
}

/// Adds the receipt to the job's, and tells whether this was its last window.
async fn advance_job(
    transaction: &mut AnyConnection,
    commit: &Commit,
    total: &Receipt,
) -> sqlx::Result<bool> {
    let id = commit.job.job_id.to_string();
    let left: i64 = sqlx::query_scalar(WINDOWS_LEFT).bind(&id).fetch_one(&mut *transaction).await?;
    let is_done = left == 0;
    sqlx::query(ADD_TO_JOB)
        .bind(&id)
        .bind(if is_done { "succeeded" } else { "running" })
        .bind(receipt::to_text(total)?)
        .bind(is_done.then(|| commit.at.nanos()))
        .execute(transaction)
        .await?;
    Ok(is_done)
}
