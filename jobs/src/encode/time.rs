//! Event and created times of a batch.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use model::EventTime;

use super::rows::Rows;

/// Says why a column holds no times, if so.
pub(super) fn check(kind: &DataType) -> Result<(), &'static str> {
    match kind {
        DataType::Timestamp(..) => Ok(()),
        _ => Err("an event or created time must be a timestamp"),
    }
}

/// Reads a column of times; a time that nanoseconds of 64 bits cannot tell is an `Err`.
fn times(array: &ArrayRef) -> Vec<Result<Option<EventTime>, i64>> {
    fn read<T: ArrowPrimitiveType<Native = i64>>(
        array: &ArrayRef,
        nanos_each: i64,
    ) -> Vec<Result<Option<EventTime>, i64>> {
        let time = |value: Option<i64>| match value {
            None => Ok(None),
            Some(value) => match value.checked_mul(nanos_each) {
                Some(nanos) => Ok(Some(EventTime::from_nanos(nanos))),
                None => Err(value),
            },
        };
        array.as_primitive::<T>().iter().map(time).collect()
    }
    match array.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => {
            read::<TimestampSecondType>(array, 1_000_000_000)
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            read::<TimestampMillisecondType>(array, 1_000_000)
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            read::<TimestampMicrosecondType>(array, 1_000)
        }
        _ => read::<TimestampNanosecondType>(array, 1),
    }
}

/// Event times, cut to microseconds as Feast cuts them.
pub(super) fn event_times(array: &ArrayRef, column: &str, rows: &mut Rows) -> Vec<EventTime> {
    let times = times(array).into_iter().enumerate();
    times
        .map(|(row, time)| match time {
            Ok(Some(time)) => EventTime::from_micros(time.micros_floor()),
            Ok(None) => {
                rows.note_bad(row, column, "the event time is null".to_owned());
                EventTime::EPOCH
            }
            Err(value) => {
                rows.note_bad(row, column, outside(value));
                EventTime::EPOCH
            }
        })
        .collect()
}

/// Created times, as the source has them.
pub(super) fn created_times(
    array: &ArrayRef,
    column: &str,
    rows: &mut Rows,
) -> Vec<Option<EventTime>> {
    let times = times(array).into_iter().enumerate();
    times
        .map(|(row, time)| {
            time.unwrap_or_else(|value| {
                rows.note_bad(row, column, outside(value));
                None
            })
        })
        .collect()
}

fn outside(value: i64) -> String {
    format!("time `{value}` is outside the years 1677 to 2262")
}
