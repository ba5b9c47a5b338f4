//! Parquet files of a test's own.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;

/// A named column.
pub type Column<'a> = (&'a str, ArrayRef);

/// Writes a Parquet file, a row group every `group_rows` rows; directories are made.
///
/// # Errors
/// When the columns do not fit together, or the file cannot be written.
pub fn write(path: &Path, columns: &[Column<'_>], group_rows: usize) -> Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.iter().map(|(name, column)| (*name, Arc::clone(column), true)),
    )?;
    let properties =
        WriterProperties::builder().set_max_row_group_row_count(Some(group_rows)).build();
    let mut writer = ArrowWriter::try_new(File::create(path)?, batch.schema(), Some(properties))?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(())
}

/// Writes a file in one row group.
///
/// # Errors
/// As [`write`].
pub fn write_small(path: &Path, columns: &[Column<'_>]) -> Result<()> {
    write(path, columns, 1_000_000)
}

/// INT64.
pub fn ints(values: impl IntoIterator<Item = impl Into<Option<i64>>>) -> ArrayRef {
    Arc::new(values.into_iter().map(Into::into).collect::<Int64Array>())
}

/// DOUBLE.
pub fn doubles(values: impl IntoIterator<Item = impl Into<Option<f64>>>) -> ArrayRef {
    Arc::new(values.into_iter().map(Into::into).collect::<Float64Array>())
}

/// BOOLEAN.
pub fn bools(values: impl IntoIterator<Item = impl Into<Option<bool>>>) -> ArrayRef {
    Arc::new(values.into_iter().map(Into::into).collect::<BooleanArray>())
}

/// Text.
pub fn texts<'a>(values: impl IntoIterator<Item = impl Into<Option<&'a str>>>) -> ArrayRef {
    Arc::new(values.into_iter().map(Into::into).collect::<StringArray>())
}

/// Instants in UTC, microseconds since the epoch.
pub fn times(micros: impl IntoIterator<Item = impl Into<Option<i64>>>) -> ArrayRef {
    let times: TimestampMicrosecondArray = micros.into_iter().map(Into::into).collect();
    Arc::new(times.with_timezone("UTC"))
}
