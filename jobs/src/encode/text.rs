//! Texts of STRING features: what Python's `str()` makes of a column's values.

use arrow::array::{Array, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::datatypes::{
    DataType, Date32Type, Date64Type, DurationMicrosecondType, DurationMillisecondType,
    DurationNanosecondType, DurationSecondType, Float16Type, Float32Type, Float64Type, Int8Type,
    Int16Type, Int32Type, Int64Type, Time32MillisecondType, Time32SecondType,
    Time64MicrosecondType, Time64NanosecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use bytes::{BufMut, BytesMut};
use feast::text;

use super::decimal;
use super::reader::{Append, Stop, for_integers};

/// Makes the writer of a column's texts, or says why Feast has none.
pub(super) fn text_reader(array: &dyn Array) -> Result<Append<'_>, &'static str> {
    if let Some(append) = for_integers!(array, integer_text()) {
        return Ok(append);
    }
    if let Some(append) = decimal::text(array).or_else(|| float_text(array)) {
        return Ok(append);
    }
    Ok(match array.data_type() {
        DataType::Utf8 => {
            let array = array.as_string::<i32>();
            Box::new(|row, out| {
                out.put_slice(array.value(row).as_bytes());
                Ok(())
            })
        }
        DataType::Binary => {
            let array = array.as_binary::<i32>();
            Box::new(|row, out| written(text::write_bytes_repr(out, array.value(row))))
        }
        DataType::Boolean => {
            let array = array.as_boolean();
            Box::new(|row, out| {
                out.put_slice(text::bool_text(array.value(row)).as_bytes());
                Ok(())
            })
        }
        DataType::Date32 => {
            let array = array.as_primitive::<Date32Type>();
            Box::new(|row, out| date(out, i64::from(array.value(row))))
        }
        DataType::Date64 => {
            let array = array.as_primitive::<Date64Type>();
            Box::new(|row, out| date(out, array.value(row).div_euclid(86_400_000)))
        }
        DataType::Timestamp(unit, _) => timestamp_text(array, *unit),
        DataType::Time32(_) | DataType::Time64(_) => time_text(array),
        DataType::Duration(unit) => duration_text(array, *unit),
        _ => {
            return Err("Feast stores no text of lists, structs and other compound columns; \
                        declare the feature by the column's type");
        }
    })
}

fn written(written: std::fmt::Result) -> Result<(), Stop> {
    written.expect("a buffer takes every text");
    Ok(())
}

fn integer_text<T>(array: &PrimitiveArray<T>) -> Append<'_>
where
    T: ArrowPrimitiveType,
    T::Native: std::fmt::Display,
{
    use std::fmt::Write;
    Box::new(|row, out| written(write!(out, "{}", array.value(row))))
}

fn float_text(array: &dyn Array) -> Option<Append<'_>> {
    Some(match array.data_type() {
        DataType::Float16 => {
            let array = array.as_primitive::<Float16Type>();
            Box::new(|row, out| {
                let value = array.value(row);
                if value.is_nan() {
                    return Err(Stop::Null);
                }
                written(text::write_f16(out, value.to_bits()))
            })
        }
        DataType::Float32 => {
            let array = array.as_primitive::<Float32Type>();
            Box::new(|row, out| {
                let value = array.value(row);
                if value.is_nan() {
                    return Err(Stop::Null);
                }
                written(text::write_f32(out, value))
            })
        }
        DataType::Float64 => {
            let array = array.as_primitive::<Float64Type>();
            Box::new(|row, out| {
                let value = array.value(row);
                if value.is_nan() {
                    return Err(Stop::Null);
                }
                written(text::write_float(out, value))
            })
        }
        _ => return None,
    })
}

/// Days of 0001-01-01 and 9999-12-31, the first and the last of a Python `date`.
const PYTHON_DAYS: std::ops::RangeInclusive<i64> = -719_162..=2_932_896;

fn date(out: &mut BytesMut, days: i64) -> Result<(), Stop> {
    if !PYTHON_DAYS.contains(&days) {
        return Err(Stop::Bad(format!("day `{days}` since 1970 is outside the years 1 to 9999")));
    }
    written(text::write_date(out, days))
}

fn timestamp_text(array: &dyn Array, unit: TimeUnit) -> Append<'_> {
    fn append<T: ArrowPrimitiveType<Native = i64>>(array: &dyn Array, decimals: u32) -> Append<'_> {
        let array = array.as_primitive::<T>();
        let per_second = 10_i64.pow(decimals);
        let nanos_each = 10_i64.pow(9 - decimals);
        Box::new(move |row, out| {
            let value = array.value(row);
            let nanos = (value.rem_euclid(per_second) * nanos_each) as u32;
            let seconds = value.div_euclid(per_second);
            written(text::write_timestamp(out, seconds, nanos, decimals as usize))
        })
    }
    match unit {
        TimeUnit::Second => append::<TimestampSecondType>(array, 0),
        TimeUnit::Millisecond => append::<TimestampMillisecondType>(array, 3),
        TimeUnit::Microsecond => append::<TimestampMicrosecondType>(array, 6),
        TimeUnit::Nanosecond => append::<TimestampNanosecondType>(array, 9),
    }
}

fn time_text(array: &dyn Array) -> Append<'_> {
    match array.data_type() {
        DataType::Time32(TimeUnit::Second) => {
            let array = array.as_primitive::<Time32SecondType>();
            Box::new(|row, out| time(out, i64::from(array.value(row)) * 1_000_000))
        }
        DataType::Time32(_) => {
            let array = array.as_primitive::<Time32MillisecondType>();
            Box::new(|row, out| time(out, i64::from(array.value(row)) * 1_000))
        }
        DataType::Time64(TimeUnit::Nanosecond) => {
            let array = array.as_primitive::<Time64NanosecondType>();
            Box::new(|row, out| match array.value(row) {
                nanos if nanos % 1_000 == 0 => time(out, nanos / 1_000),
                nanos => {
                    Err(Stop::Bad(format!("time of `{nanos}` ns is finer than a microsecond")))
                }
            })
        }
        _ => {
            let array = array.as_primitive::<Time64MicrosecondType>();
            Box::new(|row, out| time(out, array.value(row)))
        }
    }
}

fn time(out: &mut BytesMut, micros: i64) -> Result<(), Stop> {
    written(text::write_time(out, micros))
}

fn duration_text(array: &dyn Array, unit: TimeUnit) -> Append<'_> {
    fn append<'a, T: ArrowPrimitiveType<Native = i64>>(
        array: &'a dyn Array,
        unit: &'static str,
    ) -> Append<'a> {
        use std::fmt::Write;
        let array = array.as_primitive::<T>();
        Box::new(move |row, out| written(write!(out, "{} {unit}", array.value(row))))
    }
    match unit {
        TimeUnit::Second => append::<DurationSecondType>(array, "seconds"),
        TimeUnit::Millisecond => append::<DurationMillisecondType>(array, "milliseconds"),
        TimeUnit::Microsecond => append::<DurationMicrosecondType>(array, "microseconds"),
        TimeUnit::Nanosecond => append::<DurationNanosecondType>(array, "nanoseconds"),
    }
}
