//! A batch of rows in Feast's bytes, column by column, on its way to the online store.
//!
//! One allocation per column, none per value: a value is a span of its column's buffer.

use bytes::{Bytes, BytesMut};

use crate::time::EventTime;

/// Byte strings one after the other in one buffer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ByteColumn {
    data: Bytes,
    ends: Vec<u32>,
}

impl ByteColumn {
    /// The number of values.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Tells whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The bytes of all values.
    pub fn data_len(&self) -> usize {
        self.data.len()
    }

    /// Value `row`, borrowed.
    ///
    /// # Panics
    /// When `row` is not below `len`.
    pub fn get(&self, row: usize) -> &[u8] {
        let (start, end) = self.span(row);
        &self.data[start..end]
    }

    /// Value `row` as a counted reference into the column's buffer; nothing is copied.
    ///
    /// # Panics
    /// When `row` is not below `len`.
    pub fn share(&self, row: usize) -> Bytes {
        let (start, end) = self.span(row);
        self.data.slice(start..end)
    }

    fn span(&self, row: usize) -> (usize, usize) {
        let start = if row == 0 { 0 } else { self.ends[row - 1] as usize };
        (start, self.ends[row] as usize)
    }
}

/// Builds a [`ByteColumn`] value by value.
#[derive(Debug, Default)]
pub struct ByteColumnBuilder {
    data: BytesMut,
    ends: Vec<u32>,
}

impl ByteColumnBuilder {
    /// Makes a builder with room for `rows` values of `bytes` bytes in all.
    pub fn with_capacity(rows: usize, bytes: usize) -> Self {
        Self { data: BytesMut::with_capacity(bytes), ends: Vec::with_capacity(rows) }
    }

    /// The buffer: append the next value's bytes to it, then call [`Self::end_value`].
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.data
    }

    /// Ends the value whose bytes were appended since the last call.
    ///
    /// # Panics
    /// When the column passes 4 GiB, which the cutting of batches by bytes rules out.
    pub fn end_value(&mut self) {
        let end = u32::try_from(self.data.len()).expect("a batch is cut long before 4 GiB");
        self.ends.push(end);
    }

    /// The bytes appended so far.
    pub fn data_len(&self) -> usize {
        self.data.len()
    }

    /// Ends the column.
    pub fn finish(self) -> ByteColumn {
        ByteColumn { data: self.data.freeze(), ends: self.ends }
    }
}

impl<'a> FromIterator<&'a [u8]> for ByteColumn {
    fn from_iter<I: IntoIterator<Item = &'a [u8]>>(values: I) -> Self {
        let mut builder = ByteColumnBuilder::default();
        for value in values {
            builder.buffer().extend_from_slice(value);
            builder.end_value();
        }
        builder.finish()
    }
}

/// Rows of one view, ready to write.
///
/// # Shape
/// Every column has one entry a row. No two rows of one batch need differ in key: the store keeps
/// the newer, and of two with equal event time the first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EncodedBatch {
    /// The store's key: the serialized entity key, and for Redis the project after it.
    pub keys: ByteColumn,
    /// Event time of each row, cut to microseconds as Feast does.
    pub event_times: Vec<EventTime>,
    /// Created time of each row, where the source has such a column.
    pub created_times: Option<Vec<Option<EventTime>>>,
    /// Rows whose entity is no longer active; `None` when all are active.
    pub tombstones: Option<Vec<bool>>,
    /// One column a feature, in the order of `OnlineView::features`: serialized Feast values,
    /// empty where null. A tombstone's values are empty and not to be looked at.
    pub features: Vec<ByteColumn>,
}

impl EncodedBatch {
    /// The number of rows.
    pub fn len(&self) -> usize {
        self.event_times.len()
    }

    /// Tells whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.event_times.is_empty()
    }

    /// Tells whether row `row` removes its entity's features.
    pub fn is_tombstone(&self, row: usize) -> bool {
        self.tombstones.as_ref().is_some_and(|tombstones| tombstones[row])
    }

    /// Bytes of keys and values.
    pub fn data_len(&self) -> usize {
        self.keys.data_len() + self.features.iter().map(ByteColumn::data_len).sum::<usize>()
    }
}
