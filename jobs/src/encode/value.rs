//! Whole Feast values of one array: the choice of the writer, and the scalars.

use arrow::array::Array;
use arrow::datatypes::DataType;
use bytes::BufMut;
use feast::ValueType;
use feast::value::wire::{WireType, put_delimited, put_int, put_tag};
use feast::value::{field_of, wire_of};

use super::reader::{Append, Place, Reader, Stop, reader};
use super::{list, nested};

/// Makes the writer of a column's values, tag and all, or says why Feast takes no such column.
///
/// The array is in its canonical layout; rows that are null are not asked for.
pub(super) fn writer(array: &dyn Array, kind: ValueType) -> Result<Append<'_>, &'static str> {
    match kind {
        ValueType::ScalarMap => {
            return Err("Feast itself writes no SCALAR_MAP from files; use MAP");
        }
        ValueType::ZonedTimestamp => {
            return Err("Feast itself writes no ZONED_TIMESTAMP from files; use UNIX_TIMESTAMP");
        }
        ValueType::Invalid | ValueType::Null => {
            return Err("the registry gives the feature no type");
        }
        _ => {}
    }
    if *array.data_type() == DataType::Null {
        return Ok(Box::new(|_, _| Err(Stop::Null)));
    }
    match kind {
        ValueType::Map | ValueType::Struct => nested::map(array, kind),
        ValueType::MapList | ValueType::StructList => nested::map_list(array, kind),
        ValueType::ValueList | ValueType::ValueSet => nested::lists(array, kind),
        _ if kind.element().is_some() => list::list(array, kind),
        _ => scalar(array, kind, Place::Column),
    }
}

/// Makes the writer of scalar values, tag and all.
pub(super) fn scalar(
    array: &dyn Array,
    kind: ValueType,
    place: Place,
) -> Result<Append<'_>, &'static str> {
    let field = field_of(kind);
    // One byte, as all numbers are in the fields 3 to 8.
    let tag = (field << 3 | wire_of(kind) as u32) as u8;
    Ok(match reader(array, kind, place)? {
        Reader::Int(read) => Box::new(move |row, out| {
            let number = read(row)?;
            out.put_u8(tag);
            put_int(out, number);
            Ok(())
        }),
        Reader::Bool(read) => Box::new(move |row, out| {
            out.put_slice(&[tag, u8::from(read(row)?)]);
            Ok(())
        }),
        Reader::Float(read) => Box::new(move |row, out| {
            let [a, b, c, d] = read(row)?.to_le_bytes();
            out.put_slice(&[tag, a, b, c, d]);
            Ok(())
        }),
        Reader::Double(read) => Box::new(move |row, out| {
            let number = read(row)?;
            out.put_u8(tag);
            out.put_f64_le(number);
            Ok(())
        }),
        Reader::Raw(append) => Box::new(move |row, out| {
            put_tag(out, field, WireType::Delimited);
            put_delimited(out, |out| append(row, out))
        }),
    })
}
