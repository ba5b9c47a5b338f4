//! What a feature server reads: fields that are prepared once, and rows without copies per value.
//!
//! The other way of reading, [`crate::OnlineStore::read`], is for one view and for checks.

use bytes::Bytes;
use feast::redis_layout::encode_timestamp;
use model::OnlineView;

use crate::redis::RedisFields;
use crate::store::StoredRow;

/// What is read of each entity: the event time and the features of some views, in their order.
#[derive(Debug)]
pub struct Fields {
    pub(crate) views: Vec<OnlineView>,
    pub(crate) redis: RedisFields,
}

impl Fields {
    /// Prepares the reading of views that have the same join keys.
    ///
    /// # Panics
    /// Without a view.
    pub fn new(views: Vec<OnlineView>) -> Self {
        let redis = RedisFields::new(&views);
        Self { views, redis }
    }

    /// The views.
    pub fn views(&self) -> &[OnlineView] {
        &self.views
    }

    /// Cells of a row: for each view one for the event time, and one for each feature.
    pub fn len(&self) -> usize {
        self.views.iter().map(|view| 1 + view.features.len()).sum()
    }

    /// Never: there is an event time at least.
    pub fn is_empty(&self) -> bool {
        false
    }
}

/// Fields that are wanted of some entities.
#[derive(Clone, Copy, Debug)]
pub struct Fetch<'a> {
    /// The fields.
    pub fields: &'a Fields,
    /// The entities' keys in the store: see [`crate::OnlineStore::key_suffix`].
    pub keys: &'a [Vec<u8>],
}

/// The cells of one entity, in the order of its [`Fields`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FetchedRow {
    bytes: Bytes,
    /// End of each cell in `bytes`, and whether there is one.
    cells: Box<[(u32, bool)]>,
}

impl FetchedRow {
    pub(crate) fn builder(cells: usize) -> RowBuilder {
        RowBuilder {
            bytes: Vec::with_capacity(cells * CELL_BYTES),
            cells: Vec::with_capacity(cells),
        }
    }

    /// A cell: a serialized `google.protobuf.Timestamp` or `feast.types.Value`; `None` where
    /// nothing is stored.
    ///
    /// # Panics
    /// When there are not so many.
    pub fn cell(&self, at: usize) -> Option<&[u8]> {
        let (start, end) = self.range(at)?;
        Some(&self.bytes[start..end])
    }

    /// The same as a share of the row's bytes.
    ///
    /// # Panics
    /// When there are not so many.
    pub fn cell_bytes(&self, at: usize) -> Option<Bytes> {
        let (start, end) = self.range(at)?;
        Some(self.bytes.slice(start..end))
    }

    fn range(&self, at: usize) -> Option<(usize, usize)> {
        let (end, is_stored) = self.cells[at];
        let start = if at == 0 { 0 } else { self.cells[at - 1].0 };
        is_stored.then_some((start as usize, end as usize))
    }
}

impl<'a> FromIterator<Option<&'a [u8]>> for FetchedRow {
    fn from_iter<I: IntoIterator<Item = Option<&'a [u8]>>>(cells: I) -> Self {
        let cells = cells.into_iter();
        let mut row = Self::builder(cells.size_hint().0);
        cells.for_each(|cell| row.push(cell));
        row.build()
    }
}

/// About what a number takes as a serialized value.
const CELL_BYTES: usize = 12;

/// A row that is being put together.
#[derive(Debug)]
pub(crate) struct RowBuilder {
    bytes: Vec<u8>,
    cells: Vec<(u32, bool)>,
}

impl RowBuilder {
    pub(crate) fn push(&mut self, cell: Option<&[u8]>) {
        self.bytes.extend_from_slice(cell.unwrap_or_default());
        let end = u32::try_from(self.bytes.len()).expect("Redis answers with less than 4 GiB");
        self.cells.push((end, cell.is_some()));
    }

    pub(crate) fn build(self) -> FetchedRow {
        FetchedRow { bytes: self.bytes.into(), cells: self.cells.into_boxed_slice() }
    }
}

/// Rows of each entity out of the rows of several views, for stores that keep each view by itself.
pub(crate) fn join(group: &Fetch<'_>, of_views: Vec<Vec<Option<StoredRow>>>) -> Vec<FetchedRow> {
    let mut of_views: Vec<_> = of_views.into_iter().map(Vec::into_iter).collect();
    let fields = group.fields;
    let row = |_: &Vec<u8>| {
        let mut joined = FetchedRow::builder(fields.len());
        for (view, rows) in fields.views.iter().zip(&mut of_views) {
            push(&mut joined, view, rows.next().flatten().unwrap_or_default());
        }
        joined.build()
    };
    group.keys.iter().map(row).collect()
}

fn push(joined: &mut RowBuilder, view: &OnlineView, row: StoredRow) {
    let nanos = |nanos: i32| u32::try_from(nanos).unwrap_or_default();
    let time = row.event_time.map(|(seconds, above)| encode_timestamp(seconds, nanos(above)));
    joined.push(time.as_deref());
    let mut values = row.values.iter();
    for _ in &view.features {
        joined.push(values.next().and_then(Option::as_deref));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_come_back_and_an_empty_one_is_not_a_missing_one() {
        let mut row = FetchedRow::builder(4);
        [Some(&b"time"[..]), None, Some(b""), Some(b"v")]
            .into_iter()
            .for_each(|cell| row.push(cell));
        let row = row.build();
        assert_eq!(row.cell(0), Some(&b"time"[..]));
        assert_eq!((row.cell(1), row.cell(2)), (None, Some(&b""[..])));
        assert_eq!(row.cell_bytes(3).as_deref(), Some(&b"v"[..]));
    }
}
