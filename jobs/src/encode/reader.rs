//! Reads the scalars of an Arrow array as one of Feast's types.
//!
//! The one place that says which Arrow type becomes which Feast type, and how. The choice is made
//! once a column and batch; what is left for a value is one call. Deliberately absent: nulls, which
//! the caller knows from the array, and the bytes around a value.

use arrow::array::{Array, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::datatypes::{
    DataType, Date32Type, Date64Type, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use bytes::{BufMut, BytesMut};
use feast::ValueType;
use feast::text::{self, NumberText};
use feast::value::json;

use super::decimal;
use super::text::text_reader;

/// Why a row has no bytes for a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Feast treats the value as null.
    Null,
    /// Feast's type cannot hold the value; the text says why.
    Bad(String),
}

/// Where a value stands, which decides what Feast accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A column of its own: Feast converts a lot, and NaN is null.
    Column,
    /// An element of a declared list: nothing but the type itself, and NaN stays.
    Element,
    /// An element of a declared set: as in a list, but timestamps are rounded down.
    SetElement,
    /// An element of a list whose type is inferred.
    Leaf,
    /// A member of a struct whose type is inferred; NaN is null.
    Member,
}

/// Reads the number, truth or bytes of one row.
pub(super) type Read<'a, T> = Box<dyn Fn(usize) -> Result<T, Stop> + 'a>;
/// Appends the raw bytes of one row.
pub(super) type Append<'a> = Box<dyn Fn(usize, &mut BytesMut) -> Result<(), Stop> + 'a>;

/// How the values of one array are read.
pub(super) enum Reader<'a> {
    /// INT32, INT64, UNIX_TIMESTAMP.
    Int(Read<'a, i64>),
    /// BOOL.
    Bool(Read<'a, bool>),
    /// FLOAT.
    Float(Read<'a, f32>),
    /// DOUBLE.
    Double(Read<'a, f64>),
    /// Every type of text or bytes.
    Raw(Append<'a>),
}

/// Runs a generic function for the integer type of an array; `None` for any other type.
macro_rules! for_integers {
    ($array:expr, $function:ident ( $($more:expr),* )) => {
        match $array.data_type() {
            DataType::Int8 => Some($function($array.as_primitive::<Int8Type>() $(, $more)*)),
            DataType::Int16 => Some($function($array.as_primitive::<Int16Type>() $(, $more)*)),
            DataType::Int32 => Some($function($array.as_primitive::<Int32Type>() $(, $more)*)),
            DataType::Int64 => Some($function($array.as_primitive::<Int64Type>() $(, $more)*)),
            DataType::UInt8 => Some($function($array.as_primitive::<UInt8Type>() $(, $more)*)),
            DataType::UInt16 => Some($function($array.as_primitive::<UInt16Type>() $(, $more)*)),
            DataType::UInt32 => Some($function($array.as_primitive::<UInt32Type>() $(, $more)*)),
            DataType::UInt64 => Some($function($array.as_primitive::<UInt64Type>() $(, $more)*)),
            _ => None,
        }
    };
}
pub(super) use for_integers;

/// Makes the reader of an array, or says why Feast takes no such array.
pub(super) fn reader(
    array: &dyn Array,
    kind: ValueType,
    place: Place,
) -> Result<Reader<'_>, &'static str> {
    if *array.data_type() == DataType::Null {
        return Ok(null_reader(kind));
    }
    match kind {
        ValueType::Int32 | ValueType::Int64 => integer(array, kind, place).map(Reader::Int),
        ValueType::UnixTimestamp => seconds(array, place).map(Reader::Int),
        ValueType::Float => float(array, place).map(Reader::Float),
        ValueType::Double => double(array, place).map(Reader::Double),
        ValueType::Bool => truth(array, place).map(Reader::Bool),
        ValueType::Bytes | ValueType::PdfBytes | ValueType::ImageBytes => bytes(array),
        ValueType::String => match place {
            Place::Column => text_reader(array).map(Reader::Raw),
            _ => plain_text(array, "Feast takes text elements only"),
        },
        ValueType::Uuid | ValueType::TimeUuid => plain_text(array, "Feast takes UUIDs as text"),
        ValueType::Decimal => match decimal::text(array) {
            Some(read) => Ok(Reader::Raw(read)),
            None => plain_text(array, "Feast takes decimals or text"),
        },
        ValueType::Json if *array.data_type() == DataType::Utf8 => Ok(json_text(array)),
        ValueType::Json => super::json::dumps(array).map(Reader::Raw),
        _ => Err("no column can be written as this type"),
    }
}

fn null_reader<'a>(kind: ValueType) -> Reader<'a> {
    match kind {
        ValueType::Int32 | ValueType::Int64 | ValueType::UnixTimestamp => {
            Reader::Int(Box::new(|_| Err(Stop::Null)))
        }
        ValueType::Float => Reader::Float(Box::new(|_| Err(Stop::Null))),
        ValueType::Double => Reader::Double(Box::new(|_| Err(Stop::Null))),
        ValueType::Bool => Reader::Bool(Box::new(|_| Err(Stop::Null))),
        _ => Reader::Raw(Box::new(|_, _| Err(Stop::Null))),
    }
}

fn nan_is_null<T: Into<f64> + Copy>(number: T) -> Result<T, Stop> {
    if number.into().is_nan() { Err(Stop::Null) } else { Ok(number) }
}

fn is_float(array: &dyn Array) -> bool {
    matches!(array.data_type(), DataType::Float16 | DataType::Float32 | DataType::Float64)
}

/// A number that is too large for the type.
fn outside(value: impl std::fmt::Display, kind: ValueType) -> Stop {
    Stop::Bad(format!("`{value}` is outside the range of {kind:?}"))
}

fn integer(
    array: &dyn Array,
    kind: ValueType,
    place: Place,
) -> Result<Read<'_, i64>, &'static str> {
    if let Some(read) = for_integers!(array, exact(kind)) {
        return Ok(read);
    }
    if place != Place::Column {
        return Err("Feast takes integer elements only");
    }
    Ok(match array.data_type() {
        DataType::Boolean => {
            let array = array.as_boolean();
            Box::new(|row| Ok(i64::from(array.value(row))))
        }
        DataType::Utf8 => {
            let array = array.as_string::<i32>();
            Box::new(move |row| number_text(array.value(row), kind))
        }
        _ => {
            if let Some(read) = decimal::truncated(array, kind) {
                return Ok(read);
            }
            let read = floats(array)
                .ok_or("Feast takes numbers, bools and numeric text for an integer type")?;
            Box::new(move |row| truncated(nan_is_null(read(row)?)?, kind))
        }
    })
}

fn exact<T>(array: &PrimitiveArray<T>, kind: ValueType) -> Read<'_, i64>
where
    T: ArrowPrimitiveType,
    T::Native: TryInto<i64> + std::fmt::Display,
{
    let is_narrow = kind == ValueType::Int32;
    Box::new(move |row| {
        let value = array.value(row);
        match value.try_into() {
            Ok(number) if !is_narrow || i32::try_from(number).is_ok() => Ok(number),
            _ => Err(outside(value, kind)),
        }
    })
}

fn in_range(number: i64, kind: ValueType) -> Result<i64, Stop> {
    if kind == ValueType::Int32 && i32::try_from(number).is_err() {
        return Err(outside(number, kind));
    }
    Ok(number)
}

pub(super) fn number_text(value: &str, kind: ValueType) -> Result<i64, Stop> {
    match text::parse_int(value) {
        NumberText::Number(number) => in_range(number, kind),
        NumberText::OutOfRange => Err(outside(value, kind)),
        NumberText::NotANumber => Err(Stop::Bad(format!("text `{value}` is not an integer"))),
    }
}

/// First float beyond INT64; the type's own largest number is no float.
const INT64_END: f64 = 9_223_372_036_854_775_808.0;

fn truncated(number: f64, kind: ValueType) -> Result<i64, Stop> {
    if (-INT64_END..INT64_END).contains(&number) {
        in_range(number.trunc() as i64, kind)
    } else {
        Err(outside(number, kind))
    }
}

const SECONDS_PER_DAY: i64 = 86_400;
const MILLIS_PER_DAY: i64 = 86_400_000;

fn seconds(array: &dyn Array, place: Place) -> Result<Read<'_, i64>, &'static str> {
    Ok(match array.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => {
            whole_seconds::<TimestampSecondType>(array, 1, place)
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            whole_seconds::<TimestampMillisecondType>(array, 1_000, place)
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            whole_seconds::<TimestampMicrosecondType>(array, 1_000_000, place)
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            whole_seconds::<TimestampNanosecondType>(array, 1_000_000_000, place)
        }
        DataType::Date32 => {
            let array = array.as_primitive::<Date32Type>();
            Box::new(|row| Ok(i64::from(array.value(row)) * SECONDS_PER_DAY))
        }
        DataType::Date64 => {
            let array = array.as_primitive::<Date64Type>();
            Box::new(|row| Ok(array.value(row).div_euclid(MILLIS_PER_DAY) * SECONDS_PER_DAY))
        }
        _ if is_float(array) => {
            return Err("Feast stores the null marker for every row of a float column; \
                        store seconds as an integer or a timestamp");
        }
        _ => integer(array, ValueType::UnixTimestamp, place)
            .map_err(|_| "Feast takes timestamps, dates and integers (seconds)")?,
    })
}

/// Rounds as Python does in that place: down, but `int(datetime.timestamp())` toward zero.
fn whole_seconds<T: ArrowPrimitiveType<Native = i64>>(
    array: &dyn Array,
    per_second: i64,
    place: Place,
) -> Read<'_, i64> {
    let array = array.as_primitive::<T>();
    match place {
        Place::Column | Place::Leaf | Place::SetElement => {
            Box::new(move |row| Ok(array.value(row).div_euclid(per_second)))
        }
        Place::Element | Place::Member => Box::new(move |row| Ok(array.value(row) / per_second)),
    }
}

/// Reads the three widths of floats as the widest.
pub(super) fn floats(array: &dyn Array) -> Option<Read<'_, f64>> {
    Some(match array.data_type() {
        DataType::Float16 => {
            let array = array.as_primitive::<Float16Type>();
            Box::new(|row| Ok(array.value(row).to_f64()))
        }
        DataType::Float32 => {
            let array = array.as_primitive::<Float32Type>();
            Box::new(|row| Ok(f64::from(array.value(row))))
        }
        DataType::Float64 => {
            let array = array.as_primitive::<Float64Type>();
            Box::new(|row| Ok(array.value(row)))
        }
        _ => return None,
    })
}

fn float(array: &dyn Array, place: Place) -> Result<Read<'_, f32>, &'static str> {
    if *array.data_type() == DataType::Float32 {
        let array = array.as_primitive::<Float32Type>();
        return Ok(match place {
            Place::Column => Box::new(|row| nan_is_null(array.value(row))),
            _ => Box::new(|row| Ok(array.value(row))),
        });
    }
    let read = match (floats(array), place) {
        (Some(read), Place::Column) => {
            Box::new(move |row| nan_is_null(read(row)?)) as Read<'_, f64>
        }
        (Some(read), _) => read,
        (None, Place::Column) => as_number(array)?,
        (None, _) => return Err("Feast takes float elements only"),
    };
    // Rounded to the nearest float32, and beyond its range to infinity.
    Ok(Box::new(move |row| Ok(read(row)? as f32)))
}

/// Reads whatever else Python's `float()` takes.
fn as_number(array: &dyn Array) -> Result<Read<'_, f64>, &'static str> {
    if let Some(read) = for_integers!(array, widened()) {
        return Ok(read);
    }
    match array.data_type() {
        DataType::Boolean => {
            let array = array.as_boolean();
            Ok(Box::new(|row| Ok(f64::from(u8::from(array.value(row))))))
        }
        DataType::Utf8 => {
            let array = array.as_string::<i32>();
            Ok(Box::new(|row| {
                let value = array.value(row);
                let number = text::parse_float(value);
                number.ok_or_else(|| Stop::Bad(format!("text `{value}` is not a number")))
            }))
        }
        _ => decimal::number(array).ok_or("Feast takes numbers, bools and numeric text"),
    }
}

fn widened<T>(array: &PrimitiveArray<T>) -> Read<'_, f64>
where
    T: ArrowPrimitiveType,
    T::Native: num_float::ToFloat,
{
    use num_float::ToFloat;
    Box::new(|row| Ok(array.value(row).to_float()))
}

/// The nearest float of every integer type; the standard library has no trait for it.
mod num_float {
    pub(super) trait ToFloat {
        fn to_float(self) -> f64;
    }

    macro_rules! to_float {
        ($($kind:ty),*) => {
            $(impl ToFloat for $kind {
                fn to_float(self) -> f64 {
                    self as f64
                }
            })*
        };
    }
    to_float!(i8, i16, i32, i64, u8, u16, u32, u64);
}

fn double(array: &dyn Array, place: Place) -> Result<Read<'_, f64>, &'static str> {
    if let Some(read) = floats(array) {
        return match (place, array.data_type()) {
            (Place::Element | Place::SetElement | Place::Leaf, _) => Ok(read),
            (Place::Member, _) | (Place::Column, DataType::Float64) => {
                Ok(Box::new(move |row| nan_is_null(read(row)?)))
            }
            _ => {
                Err("Feast refuses floats narrower than 64 bits for it; declare the feature FLOAT \
                      or store 64 bits")
            }
        };
    }
    if place != Place::Column {
        return Err("Feast takes float elements only");
    }
    if let Some(read) = for_integers!(array, widened()) {
        return Ok(read);
    }
    decimal::number(array).ok_or("Feast takes 64-bit floats, integers and decimals")
}

fn truth(array: &dyn Array, place: Place) -> Result<Read<'_, bool>, &'static str> {
    match (array.data_type(), place) {
        (DataType::Boolean, _) => {
            let array = array.as_boolean();
            Ok(Box::new(|row| Ok(array.value(row))))
        }
        (DataType::Int64, Place::Column) => {
            let array = array.as_primitive::<Int64Type>();
            Ok(Box::new(|row| Ok(array.value(row) != 0)))
        }
        (_, Place::Column) => Err("Feast takes bools and 64-bit integers"),
        _ => Err("Feast takes bool elements only"),
    }
}

fn bytes(array: &dyn Array) -> Result<Reader<'_>, &'static str> {
    if *array.data_type() != DataType::Binary {
        return Err("Feast takes binary columns only");
    }
    let array = array.as_binary::<i32>();
    Ok(Reader::Raw(Box::new(|row, out| {
        out.put_slice(array.value(row));
        Ok(())
    })))
}

fn plain_text<'a>(array: &'a dyn Array, why: &'static str) -> Result<Reader<'a>, &'static str> {
    if *array.data_type() != DataType::Utf8 {
        return Err(why);
    }
    let array = array.as_string::<i32>();
    Ok(Reader::Raw(Box::new(|row, out| {
        out.put_slice(array.value(row).as_bytes());
        Ok(())
    })))
}

fn json_text(array: &dyn Array) -> Reader<'_> {
    let array = array.as_string::<i32>();
    Reader::Raw(Box::new(|row, out| {
        let value = array.value(row);
        json::check(value).map_err(|error| Stop::Bad(error.to_string()))?;
        out.put_slice(value.as_bytes());
        Ok(())
    }))
}
