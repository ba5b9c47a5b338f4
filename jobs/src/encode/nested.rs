//! Maps, structs and lists of lists: values inside which Feast infers the types.
//!
//! Feast looks at Python objects to infer them; here they follow from the Arrow type, so that an
//! integer stays one whatever stands in the other rows.

use arrow::array::{Array, AsArray, ListArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, TimeUnit, TimestampNanosecondType};
use bytes::BytesMut;
use feast::ValueType;
use feast::value::wire::{WireType, put_delimited, put_tag};
use feast::value::{ENTRY_VALUE_FIELD, REPEATED_FIELD, Value, field_of, infer, put_entry_key};

use super::list::{items, list_at};
use super::reader::{Append, Place, Stop};
use super::value::scalar;

/// Makes the writer of a MAP or STRUCT column, or says why Feast takes no such column.
pub(super) fn map(array: &dyn Array, kind: ValueType) -> Result<Append<'_>, &'static str> {
    match array.data_type() {
        DataType::Struct(_) => message(kind, entries(array)?),
        DataType::Utf8 => Ok(json(array, kind, infer::map)),
        _ => Err("Feast takes structs and JSON text"),
    }
}

/// Makes the writer of a MAP_LIST or STRUCT_LIST column, or says why Feast takes no such column.
pub(super) fn map_list(array: &dyn Array, kind: ValueType) -> Result<Append<'_>, &'static str> {
    match array.data_type() {
        DataType::List(item) if matches!(item.data_type(), DataType::Struct(_)) => {
            message(kind, maps(array.as_list())?)
        }
        DataType::Utf8 => Ok(json(array, kind, infer::map_list)),
        _ => Err("Feast takes lists of structs and JSON text"),
    }
}

/// Makes the writer of a VALUE_LIST or VALUE_SET column, or says why Feast takes no such column.
///
/// Duplicates stay, in sets too, as in Feast.
pub(super) fn lists(array: &dyn Array, kind: ValueType) -> Result<Append<'_>, &'static str> {
    match array.data_type() {
        DataType::List(item) if matches!(item.data_type(), DataType::List(_) | DataType::Null) => {
            message(kind, values(array.as_list())?)
        }
        _ => Err("Feast takes lists of lists"),
    }
}

/// Puts the field's tag and length around a message.
fn message<'a>(kind: ValueType, append: Append<'a>) -> Result<Append<'a>, &'static str> {
    Ok(Box::new(move |row, out| {
        put_tag(out, field_of(kind), WireType::Delimited);
        put_delimited(out, |out| append(row, out))
    }))
}

fn json(
    array: &dyn Array,
    kind: ValueType,
    infer: fn(ValueType, &str) -> Result<Value, feast::value::Error>,
) -> Append<'_> {
    let array = array.as_string::<i32>();
    Box::new(move |row, out| {
        let value = infer(kind, array.value(row));
        value.map_err(|error| Stop::Bad(error.to_string()))?.encode(out);
        Ok(())
    })
}

/// Puts one value, or nothing where it is null, behind a tag and a length.
fn element(
    out: &mut BytesMut,
    field: u32,
    nulls: Option<&NullBuffer>,
    row: usize,
    append: &Append<'_>,
) -> Result<(), Stop> {
    put_tag(out, field, WireType::Delimited);
    put_delimited(out, |out| {
        if nulls.is_some_and(|nulls| nulls.is_null(row)) {
            return Ok(());
        }
        let start = out.len();
        match append(row, out) {
            Err(Stop::Null) => {
                out.truncate(start);
                Ok(())
            }
            written => written,
        }
    })
}

/// The entries of a struct: all members, in its order.
fn entries(array: &dyn Array) -> Result<Append<'_>, &'static str> {
    let array = array.as_struct();
    let mut members = Vec::with_capacity(array.num_columns());
    for (field, column) in array.fields().iter().zip(array.columns()) {
        members.push((field.name(), column.logical_nulls(), member(column)?));
    }
    Ok(Box::new(move |row, out| {
        for (key, nulls, append) in &members {
            put_tag(out, REPEATED_FIELD, WireType::Delimited);
            put_delimited(out, |out| {
                put_entry_key(out, key);
                element(out, ENTRY_VALUE_FIELD, nulls.as_ref(), row, append)
            })?;
        }
        Ok(())
    }))
}

fn member(column: &dyn Array) -> Result<Append<'_>, &'static str> {
    let kind = match column.data_type() {
        DataType::Struct(_) => return message(ValueType::Map, entries(column)?),
        DataType::List(item) => return member_list(column.as_list(), item.data_type()),
        DataType::Null => return Ok(Box::new(|_, _| Err(Stop::Null))),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => return Ok(nanoseconds(column)),
        DataType::Boolean => ValueType::Bool,
        DataType::Float16 | DataType::Float32 | DataType::Float64 => ValueType::Double,
        DataType::Utf8 => ValueType::String,
        DataType::Binary => ValueType::Bytes,
        DataType::Timestamp(..) => ValueType::UnixTimestamp,
        DataType::Decimal128(..) | DataType::Decimal256(..) => ValueType::Decimal,
        kind if kind.is_integer() => ValueType::Int64,
        _ => {
            return Err("a struct in a map takes numbers, bools, text, bytes, timestamps, \
                        decimals, structs and lists of these");
        }
    };
    scalar(column, kind, Place::Member)
}

/// Feast infers INT64 for pandas' nanosecond timestamps, which count as integers to Python.
fn nanoseconds(column: &dyn Array) -> Append<'_> {
    let column = column.as_primitive::<TimestampNanosecondType>();
    Box::new(|row, out| {
        Value::Int64(column.value(row)).encode(out);
        Ok(())
    })
}

fn member_list<'a>(lists: &'a ListArray, item: &DataType) -> Result<Append<'a>, &'static str> {
    let append = match item {
        DataType::Struct(_) => message(ValueType::MapList, maps(lists)?)?,
        DataType::List(_) => return Err("Feast infers no type for lists of lists inside a map"),
        item => list_at(lists, leaf_kind(item)?, Place::Leaf)?,
    };
    Ok(Box::new(move |row, out| {
        if items(lists, row).is_empty() {
            let why = "Feast infers no type for an empty list inside a map; use null";
            return Err(Stop::Bad(why.to_owned()));
        }
        append(row, out)
    }))
}

fn maps(lists: &ListArray) -> Result<Append<'_>, &'static str> {
    let nulls = lists.values().logical_nulls();
    let append = entries(lists.values())?;
    Ok(Box::new(move |row, out| {
        for item in items(lists, row) {
            if nulls.as_ref().is_some_and(|nulls| nulls.is_null(item)) {
                return Err(Stop::Bad("null in a list of maps".to_owned()));
            }
            element(out, REPEATED_FIELD, None, item, &append)?;
        }
        Ok(())
    }))
}

/// The values of a list of lists; inner lists that are null or empty are empty values.
fn values(lists: &ListArray) -> Result<Append<'_>, &'static str> {
    let nulls = lists.values().logical_nulls();
    let append = inner(lists.values())?;
    Ok(Box::new(move |row, out| {
        for item in items(lists, row) {
            element(out, REPEATED_FIELD, nulls.as_ref(), item, &append)?;
        }
        Ok(())
    }))
}

fn inner(array: &dyn Array) -> Result<Append<'_>, &'static str> {
    let DataType::List(item) = array.data_type() else {
        return Ok(Box::new(|_, _| Err(Stop::Null)));
    };
    let lists = array.as_list::<i32>();
    let append = match item.data_type() {
        DataType::List(_) => message(ValueType::ValueList, values(lists)?)?,
        DataType::Struct(_) => message(ValueType::MapList, maps(lists)?)?,
        item => list_at(lists, leaf_kind(item)?, Place::Leaf)?,
    };
    Ok(Box::new(
        move |row, out| {
            if items(lists, row).is_empty() { Err(Stop::Null) } else { append(row, out) }
        },
    ))
}

/// The list type that Feast infers from numpy's element type.
fn leaf_kind(item: &DataType) -> Result<ValueType, &'static str> {
    Ok(match item {
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => {
            ValueType::Int32List
        }
        DataType::Int64 | DataType::UInt32 | DataType::UInt64 | DataType::Null => {
            ValueType::Int64List
        }
        DataType::Float16 | DataType::Float32 => ValueType::FloatList,
        DataType::Float64 => ValueType::DoubleList,
        DataType::Boolean => ValueType::BoolList,
        DataType::Utf8 => ValueType::StringList,
        DataType::Binary => ValueType::BytesList,
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => {
            ValueType::UnixTimestampList
        }
        DataType::Decimal128(..) | DataType::Decimal256(..) => ValueType::DecimalList,
        _ => {
            return Err("an inner list takes numbers, bools, text, bytes, timestamps, decimals \
                        and structs");
        }
    })
}
