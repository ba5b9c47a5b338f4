//! Runs a planned window in this process and returns its receipt.

mod explain;
mod partitions;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use futures::future::BoxFuture;
use model::{Receipt, invariant};

use crate::attempt::Attempt;
use crate::error::Error;
use crate::keys::KeyLog;
use crate::plan::{self, Share, WindowPlan};
use crate::progress::Progress;
use crate::session::{BATCH_ROWS, Session};
use crate::sink::{FeatureSink, RefusedRow, SinkParts};
use crate::sweep::{Wanted, sweep};

pub(crate) use explain::unwritten;
use partitions::Keeping;

/// A row that was left out, for the report.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct BadRowReport {
    /// The file, or `?` when the row is not there any more.
    pub file: String,
    /// The row in the file, from 0.
    pub row: Option<u64>,
    /// The column, by its name in the view.
    pub column: String,
    /// What is wrong with it.
    pub reason: String,
}

/// What a window came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The counts.
    pub receipt: Receipt,
    /// The first refused rows, when they are skipped.
    pub bad_rows: Vec<BadRowReport>,
}

/// Runs a window. Every row of its partitions that were not done is acknowledged by the sink when
/// it returns, and rows that a correction withdraws are gone.
///
/// The receipt is this attempt's alone: what it read, and the partitions that it wrote. Receipts
/// that were kept of partitions that were done go with [`Receipt::add_earlier`].
///
/// # Errors
/// When a row cannot be encoded (unless such rows are skipped), the sink does not take one, or
/// the source cannot be read as it was planned. Rows may have been written by then; nothing
/// counts until the window is committed, but partitions that were kept need not be written again.
///
/// # Cancel safety
/// Dropped, it ends what it has begun at its next await. Rows that were handed to the store by then
/// may still land, as those of a process that was killed may.
pub fn run<'a>(
    session: &'a Session,
    plan: &'a WindowPlan,
    sink: Arc<dyn FeatureSink>,
    attempt: &'a Attempt,
    progress: &'a Arc<Progress>,
) -> BoxFuture<'a, Result<Outcome, Error>> {
    // Boxed, because other crates' compilers do not see that its nested futures are `Send`.
    attempt_window(session, plan, sink, attempt, progress).boxed()
}

async fn attempt_window(
    session: &Session,
    plan: &WindowPlan,
    sink: Arc<dyn FeatureSink>,
    attempt: &Attempt,
    progress: &Arc<Progress>,
) -> Result<Outcome, Error> {
    let log = attempt.correcting.then(|| Arc::new(KeyLog::new(&session.runtime().memory_pool)));
    let skipped = attempt.skipped();
    let share = Share { partitions: attempt.partitions.max(1), skipped, wanted: None };
    let keeping = Keeping {
        sink: Arc::clone(&sink),
        checkpoints: Arc::clone(&attempt.checkpoints),
        skipped: share.skipped.clone(),
    };
    let parts = parts(plan, Arc::clone(&sink), progress, log.clone());
    let refused = Arc::clone(&parts.refused);
    let mut receipt = Receipt::default();
    // With nothing left to write there is nothing to read either.
    if share.skipped.len() < share.partitions {
        receipt = write(session, plan, &share, progress, parts, Some(keeping)).await?;
        receipt.rows_read = progress.snapshot().read;
    }
    if let Some(log) = &log {
        let swept = sweep(session, plan, &sink, log).await?;
        receipt.swept = swept.entities;
        receipt.bytes_written += swept.bytes_written;
    }
    sink.confirm().await.map_err(|error| explain::unconfirmed(plan, error))?;
    debug_assert_eq!(invariant::receipt_is_balanced(&receipt), Ok(()));
    let refused = std::mem::take(&mut *refused.lock().unwrap_or_else(PoisonError::into_inner));
    let mut bad_rows = Vec::with_capacity(refused.len());
    for row in &refused {
        bad_rows.push(explain::report(plan, row).await);
    }
    Ok(Outcome { receipt, bad_rows })
}

/// Writes the newest rows of wanted entities through a sink.
pub(crate) async fn write_wanted(
    session: &Session,
    plan: &WindowPlan,
    wanted: Arc<Wanted>,
    sink: Arc<dyn FeatureSink>,
) -> Result<Receipt, Error> {
    let partitions = plan.partitions(session);
    let share = Share { partitions, skipped: BTreeSet::new(), wanted: Some(wanted) };
    // Not the run's progress: these rows are not the window's.
    let progress = Arc::default();
    let parts = parts(plan, sink, &progress, None);
    write(session, plan, &share, &progress, parts, None).await
}

fn parts(
    plan: &WindowPlan,
    sink: Arc<dyn FeatureSink>,
    progress: &Arc<Progress>,
    log: Option<Arc<KeyLog>>,
) -> SinkParts {
    SinkParts {
        encoder: Arc::clone(&plan.encoder),
        sink,
        progress: Arc::clone(progress),
        event_time: 0,
        keys: Vec::new(),
        rows_max: plan.spec.batch_rows_max.unwrap_or(BATCH_ROWS).clamp(1, BATCH_ROWS),
        refused: Arc::new(Mutex::new(Vec::<RefusedRow>::new())),
        log,
    }
}

async fn write(
    session: &Session,
    plan: &WindowPlan,
    share: &Share,
    progress: &Arc<Progress>,
    parts: SinkParts,
    keeping: Option<Keeping>,
) -> Result<Receipt, Error> {
    let built = plan::build(session, plan, share, progress, parts);
    let root = built.map_err(|error| plan.engine_error(error))?;
    match partitions::execute(session, root, keeping).await {
        Ok(receipt) => Ok(receipt),
        Err(stop) => Err(explain::stopped(plan, stop).await),
    }
}

#[cfg(test)]
mod tests;
