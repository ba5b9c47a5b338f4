//! Pieces: what one reader reads of one file, in the order in which all is read.
//!
//! Small row groups that follow each other are one piece and share requests; a row group of which
//! only some pages are read is a piece of its own.

use std::ops::Range;
use std::sync::Arc;

use object_store::ObjectMeta;
use parquet::file::metadata::ParquetMetaData;

use super::read::Pin;
use super::{RowGroup, Selection, Source, footer, span};

/// Row groups are put together up to about so many bytes: enough that a round trip is small beside
/// the transfer, and little enough that partitions share a window evenly.
const PIECE_BYTES: u64 = 4 << 20;

/// What one reader reads.
#[derive(Debug)]
pub(crate) struct Piece {
    /// Index into [`Selection::files`].
    pub(crate) selected: usize,
    /// The row groups, in order.
    pub(crate) row_groups: Vec<RowGroup>,
    /// The file as it was listed.
    pub(crate) meta: ObjectMeta,
    pub(super) shown: String,
    pub(super) footer: Arc<ParquetMetaData>,
    /// The requests that get its bytes.
    pub(super) requests: Vec<Range<u64>>,
}

impl Piece {
    /// Bytes of its requests.
    pub(crate) fn bytes(&self) -> u64 {
        self.requests.iter().map(|range| range.end - range.start).sum()
    }

    pub(super) fn pin(&self) -> Pin<'_> {
        Pin { meta: &self.meta, shown: &self.shown }
    }
}

/// Cuts what was selected into pieces, in order of file and row group.
pub(crate) fn pieces(source: &Source, selection: &Selection) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (index, selected) in selection.files.iter().enumerate() {
        let file = &source.files[selected.file];
        let leaves = footer::leaves_read(file, &selection.file_schema);
        for row_groups in shares(&selected.row_groups) {
            let is_narrowed = row_groups.iter().any(|group| group.selection.is_some());
            // A reader that sees places of pages expects those of every row group it reads.
            let footer = if is_narrowed { &selected.footer } else { file.footer.metadata() };
            let needed = row_groups.iter().flat_map(|group| span::needed(footer, group, &leaves));
            pieces.push(Piece {
                selected: index,
                requests: span::coalesce(needed.collect()),
                row_groups,
                meta: file.listed.meta.clone(),
                shown: file.listed.shown.clone(),
                footer: Arc::clone(footer),
            });
        }
    }
    pieces
}

/// The row groups of a file, put together into pieces.
fn shares(groups: &[RowGroup]) -> Vec<Vec<RowGroup>> {
    let mut shares: Vec<Vec<RowGroup>> = Vec::new();
    let mut room = 0;
    for group in groups {
        match shares.last_mut() {
            Some(share) if group.selection.is_none() && group.bytes <= room => {
                share.push(group.clone());
                room -= group.bytes;
            }
            _ => {
                shares.push(vec![group.clone()]);
                let is_whole = group.selection.is_none();
                room = if is_whole { PIECE_BYTES.saturating_sub(group.bytes) } else { 0 };
            }
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use parquet::arrow::arrow_reader::{RowSelection, RowSelector};

    use super::*;

    #[test]
    fn small_row_groups_go_together_and_narrowed_ones_alone() {
        let half = Some(RowSelection::from(vec![RowSelector::skip(1), RowSelector::select(1)]));
        let group = |index, mebibytes: u64, selection: Option<RowSelection>| RowGroup {
            index,
            rows: 2,
            bytes: mebibytes << 20,
            times: None,
            is_cut: selection.is_some(),
            selection,
        };
        let groups = [
            group(0, 1, half.clone()),
            group(1, 1, None),
            group(2, 2, None),
            group(3, 2, None),
            group(4, 9, None),
            group(5, 1, half),
        ];
        let shares = shares(&groups);
        let indexes: Vec<Vec<usize>> =
            shares.iter().map(|share| share.iter().map(|group| group.index).collect()).collect();
        assert_eq!(indexes, [vec![0], vec![1, 2], vec![3], vec![4], vec![5]]);
    }
}
