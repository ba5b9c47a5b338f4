//! The one transaction that moves a watermark.
//!
//! Locks are taken in the order view, window, job, here and everywhere else.

use model::{Coverage, EventTime, Interval, JobId, Receipt, ViewRef, WindowId, invariant};
use sqlx::AnyConnection;

use crate::mirror::{self, MirrorRow};
use crate::receipt;
use crate::row::Read;
use crate::watermark::{self, ViewState};
use crate::window::WindowState;
use crate::{Error, Ledger};

/// Reads the window and holds it; see `watermark.rs` on locking by an update.
const LOCK_WINDOW: &str = "
    UPDATE windows SET state = state WHERE window_id = $1
    RETURNING job_id, project, storage_name, interval_start, interval_end, state, receipt,
        watermark_before, watermark_after
";

const LOCK_JOB: &str = "
    UPDATE jobs SET state = state WHERE job_id = $1 RETURNING state, receipt
";

const CLOSE_WINDOW: &str = "
    UPDATE windows SET state = 'committed', receipt = $2, watermark_before = $3,
        watermark_after = $4, closed_at = $5
    WHERE window_id = $1
";

const FINISH_JOB: &str = "
    UPDATE jobs SET state = 'succeeded', reason = NULL, receipt = $2, finished_at = $3
    WHERE job_id = $1
";

/// What a finished attempt asks to be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The window, opened before its first write.
    pub window_id: WindowId,
    /// The window's job.
    pub job_id: JobId,
    /// The window's view.
    pub view: ViewRef,
    /// The window's interval, of which every row has been acknowledged.
    pub interval: Interval,
    /// What the attempt did.
    pub receipt: Receipt,
    /// The view's features that were written.
    pub features: Vec<String>,
    /// What Feast's registry is to list, if anything.
    pub mirror: Option<MirrorRow>,
    /// Our clock.
    pub at: EventTime,
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
    /// Closes a window and its job, stores the receipt, merges the interval into what has landed of
    /// the view, advances the watermark, and notes what is due to Feast's registry: all or nothing.
    ///
    /// Committing a window again with the same receipt, as after a lost answer, changes nothing and
    /// returns the watermarks of the first time.
    ///
    /// # Errors
    /// [`Error::Commit`]; [`Error::Unbalanced`]; [`Error::WindowUnknown`];
    /// [`Error::WindowClosed`] when the attempt was given up or its process taken for dead;
    /// [`Error::WindowMismatch`] and [`Error::AlreadyCommitted`] when the caller confuses windows;
    /// [`Error::ViewUnknown`].
    pub async fn commit(&self, commit: &Commit) -> Result<Committed, Error> {
        let window = commit.window_id;
        invariant::receipt_is_balanced(&commit.receipt)
            .map_err(|source| Error::Unbalanced { window, source })?;
        let failed = |source| Error::Commit { window, source };
        let mut transaction = self.begin().await.map_err(failed)?;
        let before = watermark::lock(&mut transaction, &commit.view)
            .await
            .map_err(failed)?
            .ok_or_else(|| Error::ViewUnknown { view: commit.view.clone() })?;
        let held = HeldWindow::lock(&mut transaction, window)
            .await
            .map_err(failed)?
            .ok_or(Error::WindowUnknown { window })?;
        if let Some(committed) = held.check(commit, &before)? {
            return Ok(committed);
        }
        let total = add_to_job(&mut transaction, commit).await?;
        let committed = record(&mut transaction, commit, &before, &total).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(committed)
    }
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
        if self.job_id != commit.job_id {
            return Err(mismatch("job"));
        }
        if self.view != commit.view {
            return Err(mismatch("view"));
        }
        if self.interval != commit.interval {
            return Err(mismatch("interval"));
        }
        match self.state {
            WindowState::Open => Ok(None),
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
        .bind(commit.job_id.to_string())
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
    watermark::store(transaction, &commit.view, before, &after).await?;
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
    sqlx::query(FINISH_JOB)
        .bind(commit.job_id.to_string())
        .bind(receipt::to_text(total)?)
        .bind(commit.at.nanos())
        .execute(&mut *transaction)
        .await?;
    if let Some(row) = &commit.mirror {
        let project = &commit.view.project;
        mirror::insert(transaction, commit.window_id, project, row, commit.at).await?;
    }
    Ok(committed)
}
