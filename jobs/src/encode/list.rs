//! Lists and sets of Feast values, from Arrow lists and from JSON arrays in binary columns.

use std::cell::RefCell;
use std::collections::HashSet;
use std::ops::Range;

use arrow::array::{Array, AsArray, ListArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;
use bytes::{BufMut, BytesMut};
use feast::ValueType;
use feast::value::wire::{WireType, put_delimited, put_int, put_tag, put_varint};
use feast::value::{REPEATED_FIELD, Value, field_of, infer};

use super::reader::{Append, Place, Reader, Stop, reader};

/// The places of a row's elements in the list's values.
pub(super) fn items(lists: &ListArray, row: usize) -> Range<usize> {
    let offsets = lists.value_offsets();
    offsets[row] as usize..offsets[row + 1] as usize
}

/// Makes the writer of a list or set column, tag and all, or says why Feast takes no such column.
pub(super) fn list(array: &dyn Array, kind: ValueType) -> Result<Append<'_>, &'static str> {
    match array.data_type() {
        DataType::List(_) => {
            let place = if kind.is_set() { Place::SetElement } else { Place::Element };
            list_at(array.as_list(), kind, place)
        }
        DataType::Binary => json_array(array, kind),
        _ => Err("Feast takes lists, and binary columns that hold a JSON array"),
    }
}

/// As [`list`], for lists that stand at a place of which Feast infers the type.
pub(super) fn list_at(
    lists: &ListArray,
    kind: ValueType,
    place: Place,
) -> Result<Append<'_>, &'static str> {
    let element = kind.element().ok_or("the type is no list")?;
    let elements = Elements {
        lists,
        nulls: lists.values().logical_nulls(),
        append: payload(reader(lists.values(), element, place)?),
        absent: absent(element, place),
    };
    let is_packed = feast::value::wire_of(element) != WireType::Delimited;
    let unique = RefCell::new(Unique::default());
    Ok(Box::new(move |row, out| {
        put_tag(out, field_of(kind), WireType::Delimited);
        put_delimited(out, |out| match (kind.is_set(), is_packed) {
            (true, _) => unique.borrow_mut().put(out, &elements, row, element),
            (false, true) => elements.put_packed(out, row),
            (false, false) => elements.put_tagged(out, row),
        })
    }))
}

/// The elements of a column's lists.
struct Elements<'a> {
    lists: &'a ListArray,
    nulls: Option<NullBuffer>,
    append: Append<'a>,
    absent: Option<&'static [u8]>,
}

impl Elements<'_> {
    fn put(&self, out: &mut BytesMut, item: usize) -> Result<(), Stop> {
        if self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(item)) {
            let absent = self.absent.ok_or_else(|| bad("null in a list that cannot hold nulls"))?;
            out.put_slice(absent);
            return Ok(());
        }
        (self.append)(item, out)
    }

    fn put_packed(&self, out: &mut BytesMut, row: usize) -> Result<(), Stop> {
        let items = items(self.lists, row);
        if items.is_empty() {
            return Ok(());
        }
        put_tag(out, REPEATED_FIELD, WireType::Delimited);
        put_delimited(out, |out| {
            for item in items {
                self.put(out, item)?;
            }
            Ok(())
        })
    }

    fn put_tagged(&self, out: &mut BytesMut, row: usize) -> Result<(), Stop> {
        for item in items(self.lists, row) {
            put_tag(out, REPEATED_FIELD, WireType::Delimited);
            self.put(out, item)?;
        }
        Ok(())
    }
}

fn bad(why: &str) -> Stop {
    Stop::Bad(why.to_owned())
}

/// Appends an element as it stands inside a list: packed, or with its length in front.
fn payload(reader: Reader<'_>) -> Append<'_> {
    match reader {
        Reader::Int(read) => Box::new(move |item, out| {
            put_int(out, read(item)?);
            Ok(())
        }),
        Reader::Bool(read) => Box::new(move |item, out| {
            put_varint(out, u64::from(read(item)?));
            Ok(())
        }),
        Reader::Float(read) => Box::new(move |item, out| {
            out.put_f32_le(read(item)?);
            Ok(())
        }),
        Reader::Double(read) => Box::new(move |item, out| {
            out.put_f64_le(read(item)?);
            Ok(())
        }),
        Reader::Raw(append) => {
            Box::new(move |item, out| put_delimited(out, |out| append(item, out)))
        }
    }
}

/// The bytes of a null element; `None` where Feast refuses one.
const fn absent(element: ValueType, place: Place) -> Option<&'static [u8]> {
    /// NaN as Python packs it.
    const NAN_F32: [u8; 4] = f32::from_bits(0x7fc0_0000).to_le_bytes();
    const NAN_F64: [u8; 8] = f64::from_bits(0x7ff8_0000_0000_0000).to_le_bytes();
    match (element, place) {
        (ValueType::Float, _) => Some(&NAN_F32),
        (ValueType::Double, _) => Some(&NAN_F64),
        (ValueType::Int32 | ValueType::Int64, _) | (_, Place::Leaf) => None,
        (ValueType::Bool, _) => Some(b"\x00"),
        // The smallest 64-bit number, as for a null timestamp of its own.
        (ValueType::UnixTimestamp, _) => Some(b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"),
        (ValueType::Json, _) => Some(b"\x04null"),
        _ => Some(b"\x00"),
    }
}

/// Elements of one set; of equal ones the first is kept.
#[derive(Default)]
struct Unique {
    bytes: BytesMut,
    ends: Vec<usize>,
}

/// Up to here comparing with each element kept is faster than hashing.
const COMPARED_MAX: usize = 16;

impl Unique {
    fn put(
        &mut self,
        out: &mut BytesMut,
        elements: &Elements<'_>,
        row: usize,
        element: ValueType,
    ) -> Result<(), Stop> {
        self.bytes.clear();
        self.ends.clear();
        for item in items(elements.lists, row) {
            elements.put(&mut self.bytes, item)?;
            self.ends.push(self.bytes.len());
        }
        let kept = self.kept(element);
        if feast::value::wire_of(element) == WireType::Delimited {
            for bytes in kept {
                put_tag(out, REPEATED_FIELD, WireType::Delimited);
                out.put_slice(bytes);
            }
        } else if !kept.is_empty() {
            put_tag(out, REPEATED_FIELD, WireType::Delimited);
            put_varint(out, kept.iter().map(|bytes| bytes.len() as u64).sum());
            kept.into_iter().for_each(|bytes| out.put_slice(bytes));
        }
        Ok(())
    }

    fn kept(&self, element: ValueType) -> Vec<&[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let all = starts.zip(&self.ends).map(|(start, end)| &self.bytes[start..*end]);
        if self.ends.len() > COMPARED_MAX {
            let mut seen = HashSet::with_capacity(self.ends.len());
            return all.filter(|bytes| seen.insert(identity(bytes, element))).collect();
        }
        let mut kept: Vec<&[u8]> = Vec::with_capacity(self.ends.len());
        for bytes in all {
            let is_new = |other: &&[u8]| identity(other, element) != identity(bytes, element);
            if kept.iter().all(is_new) {
                kept.push(bytes);
            }
        }
        kept
    }
}

/// What makes an element equal to another: its bytes, but the two zeros of floats are one.
fn identity(bytes: &[u8], element: ValueType) -> &[u8] {
    let is_float = matches!(element, ValueType::Float | ValueType::Double);
    match bytes.split_last() {
        Some((0x80, rest)) if is_float && rest.iter().all(|byte| *byte == 0) => {
            &ZEROS[..bytes.len()]
        }
        _ => bytes,
    }
}

const ZEROS: [u8; 8] = [0; 8];

/// Feast reads a binary column of a list type as the text of a JSON array.
fn json_array(array: &dyn Array, kind: ValueType) -> Result<Append<'_>, &'static str> {
    if matches!(kind.element(), Some(ValueType::Bytes | ValueType::Json)) {
        return Err("a JSON array in a binary column cannot hold elements of this type; \
                    write the column as a list");
    }
    let array = array.as_binary::<i32>();
    Ok(Box::new(move |row, out| {
        let text = str::from_utf8(array.value(row)).map_err(|_| bad("the bytes are no UTF-8"))?;
        let list = infer::list(kind, text).map_err(|error| Stop::Bad(error.to_string()))?;
        if kind.is_set() { unique(list) } else { list }.encode(out);
        Ok(())
    }))
}

fn unique(set: Value) -> Value {
    let Value::List(kind, mut items) = set else { return set };
    let element = kind.element().unwrap_or(ValueType::Invalid);
    let mut seen = HashSet::with_capacity(items.len());
    items.retain(|item| {
        let mut bytes = BytesMut::new();
        item.encode(&mut bytes);
        // Behind the tag, as `identity` wants it.
        seen.insert(identity(&bytes[1..], element).to_vec())
    });
    Value::List(kind, items)
}
