//! Footers: schemas, and which row groups can hold rows of an interval.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, SchemaRef, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use model::{EventTime, Interval};
use object_store::ObjectStore;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, RowSelection};
use parquet::basic::Type as PhysicalType;
use parquet::errors::ParquetError;
use parquet::file::FOOTER_SIZE;
use parquet::file::metadata::{FooterTail, ParquetMetaDataReader, RowGroupMetaData};

use super::read;
use super::{ListedFile, RowGroup, SourceFile};
use crate::error::Error;

/// Footers read at a time: hides the round trips of a remote store without flooding it.
pub(super) const FOOTERS_AT_ONCE: usize = 32;
/// The first guess at a footer's length is this share of the file, one byte in so many…
const GUESS_SHARE: u64 = 128;
/// … within these: the footer of a row group of ten columns, and that of most files.
const GUESS_BYTES: RangeInclusive<u64> = (4 << 10)..=(64 << 10);
/// The length and the magic number at the end of a file.
const TAIL_BYTES: u64 = FOOTER_SIZE as u64;

/// How long footers are, learned from those that were read: files of a source are alike, so that
/// all but the first take one request that reads little more than the footer.
#[derive(Debug, Default)]
struct Lengths {
    longest: AtomicU64,
}

impl Lengths {
    fn learn(&self, length: u64) {
        self.longest.fetch_max(length, Ordering::Relaxed);
    }

    /// Bytes to read from the end of a file.
    fn guess(&self, file_bytes: u64) -> u64 {
        let share = (file_bytes / GUESS_SHARE).max(*GUESS_BYTES.start());
        let bytes = match self.longest.load(Ordering::Relaxed) {
            0 => share.min(*GUESS_BYTES.end()),
            // Statistics differ by a few bytes. A file much smaller than the others has a smaller
            // footer.
            longest => (longest + longest / 16).min(share),
        };
        bytes.max(TAIL_BYTES).min(file_bytes)
    }
}

pub(super) async fn read_all(
    store: &dyn ObjectStore,
    listed: Vec<ListedFile>,
) -> Result<Vec<SourceFile>, Error> {
    let lengths = &Lengths::default();
    let mut rest = listed.into_iter();
    let mut files = Vec::with_capacity(rest.len());
    // The first one alone: the others profit from what it teaches.
    for listed in rest.by_ref().take(1) {
        files.push(read_one(store, lengths, listed).await?);
    }
    let rest = futures::stream::iter(rest)
        .map(|listed| read_one(store, lengths, listed))
        .buffered(FOOTERS_AT_ONCE);
    files.extend(rest.try_collect::<Vec<_>>().await?);
    Ok(files)
}

async fn read_one(
    store: &dyn ObjectStore,
    lengths: &Lengths,
    mut listed: ListedFile,
) -> Result<SourceFile, Error> {
    let size = listed.meta.size;
    let failed = |file: &ListedFile, source| Error::File { file: file.shown.clone(), source };
    let begin = size - lengths.guess(size);
    let (mut bytes, answer) = read::range(store, listed.pin(), begin..size).await?;
    // Some servers tell the ETag only here and not in their listing.
    listed.meta.e_tag = listed.meta.e_tag.or(answer.e_tag);
    let length = footer_length(&bytes, size).map_err(|source| failed(&listed, source))?;
    lengths.learn(length);
    let footer_begin = size - length;
    if footer_begin < begin {
        let (missing, _) = read::range(store, listed.pin(), footer_begin..begin).await?;
        bytes = [missing, bytes].concat().into();
    }
    let footer = bytes.len() - usize::try_from(length).unwrap_or(0);
    let footer = parse(&bytes[footer..]).map_err(|source| failed(&listed, source))?;
    Ok(SourceFile { listed, footer })
}

/// The length of a footer with its tail, from the last bytes of a file.
fn footer_length(bytes: &Bytes, size: u64) -> Result<u64, ParquetError> {
    let tail: &[u8; FOOTER_SIZE] = bytes
        .last_chunk()
        .ok_or_else(|| ParquetError::EOF(format!("a file of {size} bytes has no footer")))?;
    let tail = FooterTail::try_new(tail)?;
    let length = tail.metadata_length() as u64 + TAIL_BYTES;
    if tail.is_encrypted_footer() {
        return Err(ParquetError::NYI("its footer is encrypted".to_owned()));
    }
    if length > size {
        return Err(ParquetError::EOF(format!("a footer of {length} bytes in {size} bytes")));
    }
    Ok(length)
}

fn parse(footer: &[u8]) -> Result<ArrowReaderMetadata, ParquetError> {
    let metadata = ParquetMetaDataReader::decode_metadata(&footer[..footer.len() - FOOTER_SIZE])?;
    ArrowReaderMetadata::try_new(metadata.into(), ArrowReaderOptions::new())
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
    leaves: &[usize],
    event_time: &str,
    interval: Interval,
) -> Result<Vec<RowGroup>, Error> {
    let footer = file.footer.metadata();
    let bounds = bounds(file, event_time)?;
    let mut kept = Vec::new();
    for (index, group) in footer.row_groups().iter().enumerate() {
        let overlap = bounds.as_ref().map_or(Overlap::Unknown, |b| b.overlap(index, interval));
        let rows = u64::try_from(group.num_rows()).unwrap_or(0);
        if overlap != Overlap::None && rows > 0 {
            let is_cut = overlap == Overlap::Part;
            let bytes = bytes(group, leaves);
            let times = bounds.as_ref().and_then(|bounds| bounds.times(index));
            kept.push(RowGroup { index, rows, bytes, times, is_cut, selection: None });
        }
    }
    Ok(kept)
}

/// How much of something lies in an interval, as far as statistics tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Overlap {
    None,
    Part,
    All,
    Unknown,
}

/// Least and greatest event time of row groups or pages, where they are known.
pub(super) struct Bounds {
    mins: ArrayRef,
    maxes: ArrayRef,
    unit: TimeUnit,
}

impl Bounds {
    /// `None` when they are no timestamps.
    pub(super) fn new(mins: ArrayRef, maxes: ArrayRef) -> Option<Self> {
        let DataType::Timestamp(unit, _) = *mins.data_type() else { return None };
        (mins.data_type() == maxes.data_type()).then_some(Self { mins, maxes, unit })
    }

    fn overlap(&self, index: usize, interval: Interval) -> Overlap {
        let scale = i128::from(nanos_per(self.unit));
        let at = |array: &ArrayRef| ticks(array, self.unit, index).map(|v| i128::from(v) * scale);
        let (start, end) = (i128::from(interval.start.nanos()), i128::from(interval.end.nanos()));
        match (at(&self.mins), at(&self.maxes)) {
            (Some(min), _) if min >= end => Overlap::None,
            (_, Some(max)) if max < start => Overlap::None,
            (Some(min), Some(max)) if min >= start && max < end => Overlap::All,
            (Some(_), Some(_)) => Overlap::Part,
            _ => Overlap::Unknown,
        }
    }

    /// From the least to the greatest event time, where both are known.
    fn times(&self, index: usize) -> Option<Interval> {
        let scale = nanos_per(self.unit);
        let at = |array: &ArrayRef| {
            let nanos = ticks(array, self.unit, index)?.saturating_mul(scale);
            Some(EventTime::from_nanos(nanos))
        };
        Some(Interval::new(at(&self.mins)?, at(&self.maxes)?.plus_nanos(1)))
    }

    /// The rows of the pages that are not ruled out, of pages that start at these rows; `None` when
    /// that is all of them, or the pages do not fit together.
    pub(super) fn select(
        &self,
        starts: &[usize],
        rows: usize,
        interval: Interval,
    ) -> Option<RowSelection> {
        let ends = starts.iter().skip(1).copied().chain([rows]);
        let pages: Vec<_> = starts.iter().copied().zip(ends).map(|(from, to)| from..to).collect();
        let fit = pages.len() == self.mins.len() && pages.iter().all(|page| page.start <= page.end);
        if !fit || starts.first() != Some(&0) {
            return None;
        }
        let kept = pages.into_iter().enumerate();
        let kept = kept.filter(|(page, _)| self.overlap(*page, interval) != Overlap::None);
        let ranges = kept.map(|(_, rows)| rows);
        let selection = RowSelection::from_consecutive_ranges(ranges, rows);
        (selection.row_count() < rows).then_some(selection)
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

/// The leaf column of an event time whose statistics can be believed.
pub(super) fn time_leaf(file: &SourceFile, event_time: &str) -> Result<Option<usize>, Error> {
    let schema = file.footer.schema();
    let Ok(field) = schema.field_with_name(event_time) else { return Ok(None) };
    if !matches!(field.data_type(), DataType::Timestamp(..)) {
        return Ok(None);
    }
    let parquet_schema = file.footer.parquet_schema();
    let converter = StatisticsConverter::try_new(event_time, schema, parquet_schema)
        .map_err(|source| Error::File { file: file.listed.shown.clone(), source })?;
    let is_int96 =
        |leaf: &usize| parquet_schema.column(*leaf).physical_type() == PhysicalType::INT96;
    Ok(converter.parquet_column_index().filter(|leaf| !is_int96(leaf)))
}

fn bounds(file: &SourceFile, event_time: &str) -> Result<Option<Bounds>, Error> {
    if time_leaf(file, event_time)?.is_none() {
        return Ok(None);
    }
    let failed = |source| Error::File { file: file.listed.shown.clone(), source };
    let schema = file.footer.schema();
    let converter = StatisticsConverter::try_new(event_time, schema, file.footer.parquet_schema())
        .map_err(failed)?;
    let groups = file.footer.metadata().row_groups();
    let mins = converter.row_group_mins(groups.iter()).map_err(failed)?;
    let maxes = converter.row_group_maxes(groups.iter()).map_err(failed)?;
    Ok(Bounds::new(mins, maxes))
}

/// Parquet leaf columns below the columns that are read.
pub(super) fn leaves_read(file: &SourceFile, read: &SchemaRef) -> Vec<usize> {
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
