//! Runs a planned window in this process and returns its receipt.

use std::sync::{Arc, Mutex, PoisonError};

use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;
use datafusion::physical_plan::{ExecutionPlan, execute_stream_partitioned};
use futures::TryStreamExt;
use futures::future::try_join_all;
use model::{Receipt, invariant};

use crate::error::Error;
use crate::plan::{self, WindowPlan};
use crate::progress::Progress;
use crate::session::{BATCH_ROWS, Session};
use crate::sink::{BadRowError, FeatureSink, RefusedRow, SinkError, SinkParts, receipts};
use crate::source::{ReadError, RowKey, locate};

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

/// Runs a window. Every row is acknowledged by the sink when it returns.
///
/// # Errors
/// When a row cannot be encoded (unless such rows are skipped), the sink does not take one, or
/// the source cannot be read as it was planned. Rows may have been written by then; nothing
/// counts until the window is committed.
pub async fn run(
    session: &Session,
    plan: &WindowPlan,
    sink: Arc<dyn FeatureSink>,
    progress: &Arc<Progress>,
) -> Result<Outcome, Error> {
    let refused = Arc::new(Mutex::new(Vec::new()));
    let parts = SinkParts {
        encoder: Arc::clone(&plan.encoder),
        sink,
        progress: Arc::clone(progress),
        event_time: 0,
        keys: Vec::new(),
        rows_max: plan.spec.batch_rows_max.unwrap_or(BATCH_ROWS).clamp(1, BATCH_ROWS),
        refused: Arc::clone(&refused),
    };
    let confirming = Arc::clone(&parts.sink);
    let built = plan::build(session, plan, progress, parts);
    let root = built.map_err(|error| plan.engine_error(error))?;
    let executed = execute(session, root).await;
    let mut receipt = match executed {
        Ok(receipt) => receipt,
        Err(error) => return Err(explain(plan, error).await),
    };
    confirming.confirm().await.map_err(|error| Error::Unconfirmed {
        view: plan.view().to_owned(),
        retryable: error.retryable,
        source: error.source,
    })?;
    receipt.rows_read = progress.snapshot().read;
    debug_assert_eq!(invariant::receipt_is_balanced(&receipt), Ok(()));
    let refused = std::mem::take(&mut *refused.lock().unwrap_or_else(PoisonError::into_inner));
    let mut bad_rows = Vec::with_capacity(refused.len());
    for row in &refused {
        bad_rows.push(report(plan, row).await);
    }
    Ok(Outcome { receipt, bad_rows })
}

async fn execute(
    session: &Session,
    root: Arc<dyn ExecutionPlan>,
) -> Result<Receipt, DataFusionError> {
    let streams = execute_stream_partitioned(root, session.context().task_ctx())?;
    // Each partition has a task of its own, so that encoding uses every core.
    let tasks = streams.into_iter().map(|stream| {
        let task = tokio::spawn(async move {
            stream
                .try_fold(Receipt::default(), |mut sum, batch| async move {
                    sum.add(&receipts(&batch));
                    Ok(sum)
                })
                .await
        });
        let task = AbortOnDrop(task);
        async move { task.join().await }
    });
    let mut sum = Receipt::default();
    for receipt in try_join_all(tasks).await? {
        sum.add(&receipt);
    }
    Ok(sum)
}

/// Stops a partition when the others have failed or the run is cancelled.
struct AbortOnDrop(tokio::task::JoinHandle<Result<Receipt, DataFusionError>>);

impl AbortOnDrop {
    async fn join(mut self) -> Result<Receipt, DataFusionError> {
        (&mut self.0).await.map_err(|error| DataFusionError::External(Box::new(error)))?
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Turns what came out of the plan into what an operator can act on.
async fn explain(plan: &WindowPlan, error: DataFusionError) -> Error {
    let view = plan.view().to_owned();
    if let Some(bad) = find::<BadRowError>(&error) {
        let report = report(plan, &bad.0).await;
        return Error::BadRow {
            file: report.file,
            row: report.row.map_or("?".to_owned(), |row| row.to_string()),
            column: report.column,
            reason: report.reason,
        };
    }
    if find::<SinkError>(&error).is_some() {
        return sink_error(view, error);
    }
    if let Some(read) = find::<ReadError>(&error) {
        return read.clone().into();
    }
    match error.find_root() {
        DataFusionError::ResourcesExhausted(_) => Error::Memory { view, source: error },
        _ => plan.engine_error(error),
    }
}

/// Takes the sink's error out of DataFusion's wrapping, when it is not shared.
fn sink_error(view: String, error: DataFusionError) -> Error {
    let retryable = find::<SinkError>(&error).is_some_and(|error| error.retryable);
    let source = match error {
        DataFusionError::External(inner) => match inner.downcast::<SinkError>() {
            Ok(error) => error.source,
            Err(other) => other,
        },
        other => Box::new(other),
    };
    Error::Sink { view, retryable, source }
}

/// The first error of a type in the chain of causes.
fn find<E: std::error::Error + 'static>(error: &DataFusionError) -> Option<&E> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        cause = match error.downcast_ref::<DataFusionError>() {
            // These name their cause but hide it from `source`.
            Some(DataFusionError::External(inner)) => Some(inner.as_ref()),
            Some(DataFusionError::Shared(inner)) => Some(inner.as_ref()),
            _ => error.source(),
        };
    }
    None
}

async fn report(plan: &WindowPlan, row: &RefusedRow) -> BadRowReport {
    let to_source = |(name, value): &(String, ScalarValue)| {
        let column = plan.need.columns.iter().find(|column| column.name == *name)?;
        Some((column.source.clone(), value.clone()))
    };
    let key = RowKey {
        event_column: plan.need.event_time.source.clone(),
        event_time: row.event_time,
        values: row.values.iter().filter_map(to_source).collect(),
    };
    let found = locate(&plan.source, &plan.selection, &key).await;
    let (file, number) = found.map_or(("?".to_owned(), None), |(file, row)| (file, Some(row)));
    BadRowReport { file, row: number, column: row.column.clone(), reason: row.reason.clone() }
}

#[cfg(test)]
mod tests;
