//! JSON of Arrow structs: what Python's `json.dumps` makes of a column's values.

use std::fmt::Write;

use arrow::array::{Array, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    DataType, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use bytes::{BufMut, BytesMut};
use feast::text;

use super::reader::{Append, Stop, floats, for_integers};

/// Makes the writer of a struct column's JSON, or says why Feast has none.
pub(super) fn dumps(array: &dyn Array) -> Result<Append<'_>, &'static str> {
    match array.data_type() {
        DataType::Struct(_) => object(array),
        _ => Err("Feast takes JSON text and structs"),
    }
}

fn object(array: &dyn Array) -> Result<Append<'_>, &'static str> {
    let array = array.as_struct();
    let mut members = Vec::with_capacity(array.num_columns());
    for (field, column) in array.fields().iter().zip(array.columns()) {
        let mut key = String::new();
        text::write_json_string(&mut key, field.name()).expect("a `String` takes every text");
        members.push((key, column.logical_nulls(), member(column)?));
    }
    Ok(Box::new(move |row, out| {
        out.put_u8(b'{');
        for (place, (key, nulls, append)) in members.iter().enumerate() {
            if place > 0 {
                out.put_slice(b", ");
            }
            out.put_slice(key.as_bytes());
            out.put_slice(b": ");
            or_null(out, nulls.as_ref(), row, append)?;
        }
        out.put_u8(b'}');
        Ok(())
    }))
}

fn array(array: &dyn Array) -> Result<Append<'_>, &'static str> {
    let lists = array.as_list::<i32>();
    let nulls = lists.values().logical_nulls();
    let append = member(lists.values())?;
    Ok(Box::new(move |row, out| {
        out.put_u8(b'[');
        let items = super::list::items(lists, row);
        for item in items.clone() {
            if item > items.start {
                out.put_slice(b", ");
            }
            or_null(out, nulls.as_ref(), item, &append)?;
        }
        out.put_u8(b']');
        Ok(())
    }))
}

fn or_null(
    out: &mut BytesMut,
    nulls: Option<&NullBuffer>,
    row: usize,
    append: &Append<'_>,
) -> Result<(), Stop> {
    let written = match nulls {
        Some(nulls) if nulls.is_null(row) => Err(Stop::Null),
        _ => append(row, out),
    };
    if written == Err(Stop::Null) {
        out.put_slice(b"null");
        return Ok(());
    }
    written
}

fn member(column: &dyn Array) -> Result<Append<'_>, &'static str> {
    if let Some(append) = for_integers!(column, integer()) {
        return Ok(append);
    }
    if let Some(read) = floats(column) {
        // NaN has become null by the time Feast sees a struct.
        return Ok(Box::new(move |row, out| match read(row)? {
            number if number.is_nan() => Err(Stop::Null),
            number => written(text::write_json_float(out, number)),
        }));
    }
    Ok(match column.data_type() {
        DataType::Null => Box::new(|_, _| Err(Stop::Null)),
        DataType::Boolean => {
            let column = column.as_boolean();
            Box::new(|row, out| {
                out.put_slice(if column.value(row) { b"true" } else { b"false" });
                Ok(())
            })
        }
        DataType::Utf8 => {
            let column = column.as_string::<i32>();
            Box::new(|row, out| written(text::write_json_string(out, column.value(row))))
        }
        DataType::Struct(_) => object(column)?,
        DataType::List(_) => array(column)?,
        _ => {
            return Err("JSON of a struct takes numbers, bools, text, structs and lists; \
                        store other members as text");
        }
    })
}

fn integer<T>(array: &PrimitiveArray<T>) -> Append<'_>
where
    T: ArrowPrimitiveType,
    T::Native: std::fmt::Display,
{
    Box::new(|row, out| written(write!(out, "{}", array.value(row))))
}

fn written(written: std::fmt::Result) -> Result<(), Stop> {
    written.expect("a buffer takes every text");
    Ok(())
}
