//! Page indexes: which pages of a row group can hold rows of an interval.
//!
//! Read only for row groups that the interval cuts and that are large enough to pay for the round
//! trip; of the others, everything or nothing is read anyway.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::ArrayRef;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use model::Interval;
use object_store::ObjectStore;
use parquet::arrow::arrow_reader::RowSelection;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::arrow::async_reader::MetadataFetch;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{
    PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader, ParquetOffsetIndex, RowGroupMetaData,
};

use super::footer::Bounds;
use super::read::{self, Pin};
use super::{RowGroup, SourceFile, span};

/// Below this, reading all of a row group is as quick as a round trip for its page index.
const PAYS_FROM_BYTES: u64 = 1 << 20;

/// Where the event time is in a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct EventTime<'a> {
    pub(super) column: &'a str,
    pub(super) leaf: usize,
    pub(super) interval: Interval,
}

/// Tells whether looking for pages may save reading some of a row group.
pub(super) fn pays(footer: &ParquetMetaData, group: &RowGroup, leaf: usize) -> bool {
    let columns = footer.row_group(group.index).columns();
    group.is_cut
        && group.bytes >= PAYS_FROM_BYTES
        && columns[leaf].column_index_offset().is_some()
        && columns.iter().all(|column| column.offset_index_offset().is_some())
}

/// Narrows row groups of a file to the pages that can hold rows of the interval; the footer that
/// comes back has the places of those pages.
///
/// # Errors
/// What the object store said. An index that makes no sense is not used.
pub(super) async fn narrow(
    store: &dyn ObjectStore,
    file: &SourceFile,
    groups: Vec<RowGroup>,
    leaves: &[usize],
    event_time: EventTime<'_>,
) -> Result<(Arc<ParquetMetaData>, Vec<RowGroup>)> {
    let footer = file.footer.metadata();
    let mut pages: ParquetOffsetIndex = vec![Vec::new(); footer.num_row_groups()];
    let mut selections: Vec<Option<RowSelection>> = vec![None; footer.num_row_groups()];
    for run in runs(footer, &groups, event_time.leaf) {
        let Some(index) = load(store, file, &run, event_time).await? else { continue };
        for (at, (group, offsets)) in run.into_iter().zip(index.offsets).enumerate() {
            let locations = offsets[event_time.leaf].page_locations();
            let starts: Vec<usize> = locations
                .iter()
                .filter_map(|page| usize::try_from(page.first_row_index).ok())
                .collect();
            let rows = usize::try_from(footer.row_group(group).num_rows()).unwrap_or(0);
            selections[group] = index.bounds[at].select(&starts, rows, event_time.interval);
            pages[group] = offsets;
        }
    }
    let footer =
        Arc::new(footer.as_ref().clone().into_builder().set_offset_index(Some(pages)).build());
    let narrowed = groups.into_iter().filter_map(|group| match selections[group.index].take() {
        None => Some(group),
        Some(selection) if !selection.selects_any() => None,
        Some(selection) => {
            let rows = selection.row_count() as u64;
            let group = RowGroup { rows, selection: Some(selection), ..group };
            let ranges = span::needed(&footer, &group, leaves);
            let bytes = ranges.iter().map(|range| range.end - range.start).sum();
            Some(RowGroup { bytes, ..group })
        }
    });
    let narrowed = narrowed.collect();
    Ok((footer, narrowed))
}

/// The row groups whose page index is worth reading, in runs without a gap: the indexes of a run
/// lie side by side in the file.
fn runs(footer: &ParquetMetaData, groups: &[RowGroup], leaf: usize) -> Vec<Vec<usize>> {
    let mut runs: Vec<Vec<usize>> = Vec::new();
    for group in groups.iter().filter(|group| pays(footer, group, leaf)) {
        match runs.last_mut() {
            Some(run) if run.last().is_some_and(|last| last + 1 == group.index) => {
                run.push(group.index);
            }
            _ => runs.push(vec![group.index]),
        }
    }
    runs
}

/// The page index of a run of row groups.
struct Index {
    offsets: ParquetOffsetIndex,
    /// Event times of the pages, for each row group.
    bounds: Vec<Bounds>,
}

async fn load(
    store: &dyn ObjectStore,
    file: &SourceFile,
    run: &[usize],
    event_time: EventTime<'_>,
) -> Result<Option<Index>> {
    let Some(part) = only(file.footer.metadata(), run, event_time.leaf) else { return Ok(None) };
    let fetch = || Fetch { store, pin: file.listed.pin() };
    let reader = || {
        ParquetMetaDataReader::new_with_metadata(part.clone())
            .with_page_index_policy(PageIndexPolicy::Skip)
    };
    // Two reads, because the indexes of other row groups lie between the two kinds.
    let mut columns = reader().with_column_index_policy(PageIndexPolicy::Optional);
    let mut offsets = reader().with_offset_index_policy(PageIndexPolicy::Optional);
    let (read_columns, read_offsets) =
        futures::join!(columns.load_page_index(fetch()), offsets.load_page_index(fetch()));
    for outcome in [read_columns, read_offsets] {
        match outcome {
            Ok(()) => {}
            Err(error @ ParquetError::External(_)) => return Err(error),
            Err(error) => {
                tracing::debug!(file = file.listed.shown, %error, "page index is not used");
                return Ok(None);
            }
        }
    }
    let columns = columns.finish()?.into_builder().take_column_index();
    let taken = columns.zip(offsets.finish()?.into_builder().take_offset_index());
    let Some((columns, offsets)) = taken else { return Ok(None) };
    let schema = file.footer.schema();
    let converter =
        StatisticsConverter::try_new(event_time.column, schema, file.footer.parquet_schema())?;
    let bounds = (0..run.len()).map(|at| {
        let mins: ArrayRef = converter.data_page_mins(&columns, &offsets, [&at])?;
        let maxes: ArrayRef = converter.data_page_maxes(&columns, &offsets, [&at])?;
        Ok(Bounds::new(mins, maxes))
    });
    let bounds: Option<Vec<Bounds>> = bounds.collect::<Result<_>>()?;
    Ok(bounds.map(|bounds| Index { offsets, bounds }))
}

/// A footer of these row groups alone, with the column index of one leaf column alone.
fn only(footer: &ParquetMetaData, run: &[usize], leaf: usize) -> Option<ParquetMetaData> {
    let groups = run.iter().map(|&group| {
        let group = footer.row_group(group).clone();
        let columns = group.columns().iter().enumerate().map(|(index, column)| {
            if index == leaf {
                return Ok(column.clone());
            }
            let builder = column.clone().into_builder();
            builder.set_column_index_offset(None).set_column_index_length(None).build()
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        group.into_builder().set_column_metadata(columns).build()
    });
    // Taken apart and put together again, a footer is as good as it was.
    let groups: Vec<RowGroupMetaData> = groups.collect::<Result<_>>().ok()?;
    Some(ParquetMetaData::new(footer.file_metadata().clone(), groups))
}

/// Reads the bytes of an index.
struct Fetch<'a> {
    store: &'a dyn ObjectStore,
    pin: Pin<'a>,
}

impl MetadataFetch for Fetch<'_> {
    fn fetch(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes>> {
        async move {
            let read = read::range(self.store, self.pin, range).await;
            read.map(|(bytes, _)| bytes).map_err(|error| ParquetError::External(Box::new(error)))
        }
        .boxed()
    }
}
