//! Finds a row again in the source's files, so that an error can name its file and number.
//!
//! The plan carries no file names and row numbers: they would cost every row of every run. A bad
//! row is rare, and is looked for once.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit, TimestampNanosecondType};
use datafusion::common::ScalarValue;
use futures::StreamExt;
use model::EventTime;
use parquet::arrow::ParquetRecordBatchStreamBuilder;
use parquet::arrow::ProjectionMask;

use super::reader::Reader;
use super::{Selection, Source, SourceFile};

/// What a row is known by.
#[derive(Clone, Debug)]
pub struct RowKey {
    /// Event time column in the source.
    pub event_column: String,
    /// The row's event time.
    pub event_time: EventTime,
    /// Other source columns and the row's values in them.
    pub values: Vec<(String, ScalarValue)>,
}

/// The file and the row in it, counted from 0; `None` when no file has such a row any more.
pub async fn locate(source: &Source, selection: &Selection, row: &RowKey) -> Option<(String, u64)> {
    for selected in selection.files.iter().filter(|file| !file.row_groups.is_empty()) {
        let file = &source.files[selected.file];
        if let Some(number) = locate_in(source, file, row).await {
            return Some((file.listed.shown.clone(), number));
        }
    }
    None
}

async fn locate_in(source: &Source, file: &SourceFile, row: &RowKey) -> Option<u64> {
    let reader = Reader::whole(Arc::clone(&source.store), file);
    let schema = file.footer.schema();
    let wanted = row.values.iter().map(|(name, _)| name).chain([&row.event_column]);
    let roots: Vec<usize> = wanted.filter_map(|name| schema.index_of(name).ok()).collect();
    let mask = ProjectionMask::roots(file.footer.parquet_schema(), roots);
    let mut stream =
        ParquetRecordBatchStreamBuilder::new_with_metadata(reader, file.footer.clone())
            .with_projection(mask)
            .build()
            .ok()?;
    let mut before = 0;
    while let Some(batch) = stream.next().await {
        let batch = batch.ok()?;
        if let Some(found) = find(&batch, row) {
            return Some(before + found as u64);
        }
        before += batch.num_rows() as u64;
    }
    None
}

fn find(batch: &RecordBatch, row: &RowKey) -> Option<usize> {
    let nanos = DataType::Timestamp(TimeUnit::Nanosecond, None);
    let times = cast(batch.column_by_name(&row.event_column)?, &nanos).ok()?;
    let times = times.as_primitive::<TimestampNanosecondType>();
    let columns: Vec<(ArrayRef, &ScalarValue)> = row
        .values
        .iter()
        .filter_map(|(name, value)| {
            let column = cast(batch.column_by_name(name)?, &value.data_type()).ok()?;
            Some((column, value))
        })
        .collect();
    (0..batch.num_rows()).find(|&index| {
        times.is_valid(index)
            && times.value(index) == row.event_time.nanos()
            && columns.iter().all(|(column, value)| {
                ScalarValue::try_from_array(column, index).is_ok_and(|held| held == **value)
            })
    })
}
