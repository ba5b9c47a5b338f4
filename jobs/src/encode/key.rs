//! Entity keys of a batch, from its join key columns.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::NullBuffer;
use bytes::{BufMut, BytesMut};
use feast::ValueType;
use feast::entity_key::EntityKeyLayout;
use model::{ByteColumn, ByteColumnBuilder};

use super::reader::{Place, Reader, Stop, reader};
use super::rows::Rows;

/// Feast's number for a timestamp that is null.
const NULL_TIMESTAMP: i64 = i64::MIN;

/// One join key's values in a batch.
struct KeyColumn<'a> {
    name: &'a str,
    value_type: ValueType,
    nulls: Option<NullBuffer>,
    reader: Reader<'a>,
}

/// Says why Feast takes no such column for a join key, if so.
pub(super) fn check(array: &dyn Array, value_type: ValueType) -> Result<(), &'static str> {
    reader(array, value_type, Place::Column).map(drop)
}

/// Writes every row's key; `columns` are in the order of the layout's slots.
pub(super) fn keys(
    layout: &EntityKeyLayout,
    suffix: &[u8],
    columns: &[ArrayRef],
    rows: &mut Rows,
    len: usize,
) -> Result<ByteColumn, &'static str> {
    let mut slots = Vec::with_capacity(columns.len());
    for (slot, array) in layout.slots().iter().zip(columns) {
        slots.push(KeyColumn {
            name: &slot.name,
            value_type: slot.value_type,
            nulls: array.logical_nulls(),
            reader: reader(array, slot.value_type, Place::Column)?,
        });
    }
    // A type, a length and eight bytes for each value; longer texts make the buffer grow.
    let key_bytes = layout.prefix().len() + 16 * slots.len() + suffix.len();
    let mut builder = ByteColumnBuilder::with_capacity(len, len * key_bytes);
    for row in 0..len {
        let out = builder.buffer();
        let start = out.len();
        out.put_slice(layout.prefix());
        for slot in &slots {
            if let Err(reason) = slot.put(layout, out, row) {
                out.truncate(start);
                rows.note_bad(row, slot.name, reason);
                break;
            }
        }
        out.put_slice(suffix);
        builder.end_value();
    }
    Ok(builder.finish())
}

impl KeyColumn<'_> {
    fn put(&self, layout: &EntityKeyLayout, out: &mut BytesMut, row: usize) -> Result<(), String> {
        match self.append(layout, out, row) {
            Ok(()) => Ok(()),
            Err(Stop::Null) if self.value_type == ValueType::UnixTimestamp => layout
                .put_integer(out, self.value_type, NULL_TIMESTAMP)
                .map_err(|error| error.to_string()),
            Err(Stop::Null) => Err("the join key is null".to_owned()),
            Err(Stop::Bad(reason)) => Err(reason),
        }
    }

    fn append(&self, layout: &EntityKeyLayout, out: &mut BytesMut, row: usize) -> Result<(), Stop> {
        if self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            return Err(Stop::Null);
        }
        match &self.reader {
            Reader::Int(read) => layout
                .put_integer(out, self.value_type, read(row)?)
                .map_err(|error| Stop::Bad(error.to_string())),
            Reader::Raw(append) => {
                let start = out.len();
                let written = layout.put_text(out, self.value_type, |out| append(row, out));
                if written.is_err() {
                    out.truncate(start);
                }
                written
            }
            // The layout has refused the types that are read in other ways.
            Reader::Bool(_) | Reader::Float(_) | Reader::Double(_) => {
                Err(Stop::Bad("the type cannot be serialized as a join key".to_owned()))
            }
        }
    }
}

/// The rows of a Boolean column that are false or null, when there are any.
pub(super) fn tombstones(active: &ArrayRef) -> Option<Vec<bool>> {
    let active = active.as_boolean();
    let is_gone = |row| active.is_null(row) || !active.value(row);
    let gone: Vec<bool> = (0..active.len()).map(is_gone).collect();
    gone.contains(&true).then_some(gone)
}
