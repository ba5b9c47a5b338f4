//! Footers: schemas, and which row groups can hold rows of an interval.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, SchemaRef, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::ParquetFileReaderFactory;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::{StreamExt, TryStreamExt};
use model::Interval;
use object_store::ObjectMeta;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::basic::Type as PhysicalType;
use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;

use super::{ListedFile, RowGroup, SourceFile};
use crate::error::Error;

/// Footers read at a time: hides the round trips of a remote store without flooding it.
const FOOTERS_AT_ONCE: usize = 16;

pub(super) async fn read_all(
    readers: &CachedParquetFileReaderFactory,
    listed: Vec<ListedFile>,
) -> Result<Vec<SourceFile>, Error> {
    futures::stream::iter(listed)
        .map(|listed| async move {
            let footer = read_one(readers, &listed).await?;
            Ok(SourceFile { listed, footer })
        })
        .buffered(FOOTERS_AT_ONCE)
        .try_collect()
        .await
}

async fn read_one(
    readers: &CachedParquetFileReaderFactory,
    listed: &ListedFile,
) -> Result<ArrowReaderMetadata, Error> {
    let failed = |source| Error::File { file: listed.shown.clone(), source };
    let mut reader = reader(readers, &listed.meta).map_err(failed)?;
    ArrowReaderMetadata::load_async(&mut reader, ArrowReaderOptions::new()).await.map_err(failed)
}

/// Opens one file for reading.
pub(super) fn reader(
    readers: &CachedParquetFileReaderFactory,
    meta: &ObjectMeta,
) -> Result<Box<dyn AsyncFileReader>, ParquetError> {
    let file = PartitionedFile::new_from_meta(meta.clone());
    let reader = readers
        .create_reader(0, file, None, &ExecutionPlanMetricsSet::new())
        .map_err(|error| ParquetError::External(Box::new(error)))?;
    Ok(reader)
}

/// Nanoseconds in one unit of an Arrow timestamp.
pub(crate) fn nanos_per(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1_000_000_000,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1_000,
        TimeUnit::Nanosecond => 1,
    }
}

/// The row groups of a file whose statistics do not rule the interval out.
///
/// Statistics of INT96 timestamps are not believed: writers disagree on their order.
pub(super) fn row_groups(
    file: &SourceFile,
    read: &SchemaRef,
    event_time: &str,
    interval: Interval,
) -> Result<Vec<RowGroup>, Error> {
    let footer = file.footer.metadata();
    let bounds = bounds(file, event_time)?;
    let leaves = leaves_read(file, read);
    let mut kept = Vec::new();
    for (index, group) in footer.row_groups().iter().enumerate() {
        let outside = bounds.as_ref().is_some_and(|bounds| bounds.rules_out(index, interval));
        let rows = u64::try_from(group.num_rows()).unwrap_or(0);
        if !outside && rows > 0 {
            kept.push(RowGroup { index, rows, bytes: bytes(group, &leaves) });
        }
    }
    Ok(kept)
}

struct Bounds {
    mins: ArrayRef,
    maxes: ArrayRef,
    unit: TimeUnit,
}

impl Bounds {
    fn rules_out(&self, row_group: usize, interval: Interval) -> bool {
        let scale = i128::from(nanos_per(self.unit));
        let at =
            |array: &ArrayRef| ticks(array, self.unit, row_group).map(|v| i128::from(v) * scale);
        let (start, end) = (i128::from(interval.start.nanos()), i128::from(interval.end.nanos()));
        at(&self.mins).is_some_and(|min| min >= end)
            || at(&self.maxes).is_some_and(|max| max < start)
    }
}

fn ticks(array: &ArrayRef, unit: TimeUnit, index: usize) -> Option<i64> {
    array.is_valid(index).then(|| match unit {
        TimeUnit::Second => array.as_primitive::<TimestampSecondType>().value(index),
        TimeUnit::Millisecond => array.as_primitive::<TimestampMillisecondType>().value(index),
        TimeUnit::Microsecond => array.as_primitive::<TimestampMicrosecondType>().value(index),
        TimeUnit::Nanosecond => array.as_primitive::<TimestampNanosecondType>().value(index),
    })
}

fn bounds(file: &SourceFile, event_time: &str) -> Result<Option<Bounds>, Error> {
    let schema = file.footer.schema();
    let Ok(field) = schema.field_with_name(event_time) else { return Ok(None) };
    let DataType::Timestamp(unit, _) = field.data_type() else { return Ok(None) };
    let failed = |source| Error::File { file: file.listed.shown.clone(), source };
    let converter = StatisticsConverter::try_new(event_time, schema, file.footer.parquet_schema())
        .map_err(failed)?;
    let Some(leaf) = converter.parquet_column_index() else { return Ok(None) };
    if file.footer.parquet_schema().column(leaf).physical_type() == PhysicalType::INT96 {
        return Ok(None);
    }
    let groups = file.footer.metadata().row_groups();
    let mins = converter.row_group_mins(groups.iter()).map_err(failed)?;
    let maxes = converter.row_group_maxes(groups.iter()).map_err(failed)?;
    Ok(Some(Bounds { mins, maxes, unit: *unit }))
}

/// Parquet leaf columns below the columns that are read.
fn leaves_read(file: &SourceFile, read: &SchemaRef) -> Vec<usize> {
    let schema = file.footer.parquet_schema();
    (0..schema.num_columns())
        .filter(|&leaf| read.field_with_name(schema.get_column_root(leaf).name()).is_ok())
        .collect()
}

fn bytes(group: &RowGroupMetaData, leaves: &[usize]) -> u64 {
    leaves
        .iter()
        .map(|&leaf| u64::try_from(group.column(leaf).compressed_size()).unwrap_or(0))
        .sum()
}
