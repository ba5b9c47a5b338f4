//! The rows of one batch while it is encoded: which are skipped, which turned out bad.

use std::collections::BTreeMap;

use arrow::buffer::NullBuffer;
use bytes::BytesMut;
use model::{ByteColumn, ByteColumnBuilder};

use super::BadRow;
use super::reader::Stop;

/// What is known of a batch's rows so far.
pub(super) struct Rows {
    len: usize,
    tombstones: Option<Vec<bool>>,
    bad: BTreeMap<usize, BadRow>,
}

impl Rows {
    pub(super) fn new(len: usize, tombstones: Option<Vec<bool>>) -> Self {
        Self { len, tombstones, bad: BTreeMap::new() }
    }

    /// Notes that a row cannot be written; the first reason counts.
    pub(super) fn note_bad(&mut self, row: usize, column: &str, reason: String) {
        let bad = || BadRow { row, column: column.to_owned(), reason };
        self.bad.entry(row).or_insert_with(bad);
    }

    /// Writes a feature's column: what `append` gives, `null` for nulls, nothing for tombstones.
    pub(super) fn write(
        &mut self,
        column: &str,
        nulls: Option<&NullBuffer>,
        null: &[u8],
        append: impl Fn(usize, &mut BytesMut) -> Result<(), Stop>,
    ) -> ByteColumn {
        // Most values are a tag and up to nine bytes; the buffer grows where they are longer.
        let mut builder = ByteColumnBuilder::with_capacity(self.len, self.len * 10);
        for row in 0..self.len {
            let is_tombstone = self.tombstones.as_ref().is_some_and(|rows| rows[row]);
            if is_tombstone {
                builder.end_value();
                continue;
            }
            let out = builder.buffer();
            let start = out.len();
            let written = match nulls {
                Some(nulls) if nulls.is_null(row) => Err(Stop::Null),
                _ => append(row, out),
            };
            match written {
                Ok(()) => {}
                Err(Stop::Null) => {
                    out.truncate(start);
                    out.extend_from_slice(null);
                }
                Err(Stop::Bad(reason)) => {
                    out.truncate(start);
                    self.note_bad(row, column, reason);
                }
            }
            builder.end_value();
        }
        builder.finish()
    }

    /// The first bad row, in the order of the rows.
    pub(super) fn take_first_bad(&mut self) -> Option<BadRow> {
        self.bad.pop_first().map(|(_, bad)| bad)
    }

    /// Tells whether no row is bad.
    pub(super) fn all_good(&self) -> bool {
        self.bad.is_empty()
    }

    /// The places of the rows that can be written.
    pub(super) fn good(&self) -> Vec<usize> {
        (0..self.len).filter(|row| !self.bad.contains_key(row)).collect()
    }

    /// The tombstones, and the bad rows in their order.
    pub(super) fn into_parts(self) -> (Option<Vec<bool>>, Vec<BadRow>) {
        (self.tombstones, self.bad.into_values().collect())
    }
}
