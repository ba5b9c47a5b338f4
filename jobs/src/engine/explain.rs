//! Turns what came out of a plan into what an operator can act on.

use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;

use super::BadRowReport;
use super::partitions::Stop;
use crate::error::Error;
use crate::keys::TooManyKeys;
use crate::plan::WindowPlan;
use crate::sink::{BadRowError, Refusal, RefusedRow, SinkError};
use crate::source::{ReadError, RowKey, locate};

/// The error of a run that stopped.
pub(super) async fn stopped(plan: &WindowPlan, stop: Stop) -> Error {
    match stop {
        Stop::Plan(error) => explain(plan, error).await,
        Stop::Unconfirmed(error) => unconfirmed(plan, error),
        Stop::Checkpoint(partition, error) => refused(plan, error, |view, retryable, source| {
            Error::Checkpoint { view, partition, retryable, source }
        }),
    }
}

/// The error of a store that may have lost what it acknowledged.
pub(super) fn unconfirmed(plan: &WindowPlan, error: SinkError) -> Error {
    refused(plan, error, |view, retryable, source| Error::Unconfirmed { view, retryable, source })
}

/// The error of a store that did not do as it was asked.
pub(crate) fn unwritten(plan: &WindowPlan, error: SinkError) -> Error {
    Error::of_sink(plan.view(), error)
}

type Source = Box<dyn std::error::Error + Send + Sync>;

/// What a refusal means to any attempt, or else what it means here.
fn refused(
    plan: &WindowPlan,
    error: SinkError,
    other: impl FnOnce(String, bool, Source) -> Error,
) -> Error {
    match error.refusal {
        Refusal::Passing => other(plan.view().to_owned(), true, error.source),
        Refusal::Lasting => other(plan.view().to_owned(), false, error.source),
        Refusal::Lost | Refusal::Superseded | Refusal::Cancelled => unwritten(plan, error),
    }
}

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
    if let Some(refusal) = find::<SinkError>(&error).map(|error| error.refusal) {
        return unwritten(plan, SinkError { refusal, source: unwrapped(error) });
    }
    if find::<TooManyKeys>(&error).is_some() {
        return Error::Keys { view, source: error };
    }
    if let Some(read) = find::<ReadError>(&error) {
        return read.clone().into();
    }
    match error.find_root() {
        DataFusionError::ResourcesExhausted(_) => Error::Memory { view, source: error },
        _ => plan.engine_error(error),
    }
}

/// Takes the cause of a sink's error out of DataFusion's wrapping, when it is not shared.
fn unwrapped(error: DataFusionError) -> Source {
    match error {
        DataFusionError::External(inner) => match inner.downcast::<SinkError>() {
            Ok(error) => error.source,
            Err(other) => other,
        },
        other => Box::new(other),
    }
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

/// Looks a refused row up in its file.
pub(super) async fn report(plan: &WindowPlan, row: &RefusedRow) -> BadRowReport {
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
