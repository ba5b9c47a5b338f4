//! Receipts as rows of Arrow, which is how they come out of a plan.

use std::sync::Arc;

use arrow::array::{Array, AsArray, Int64Array, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, UInt64Type};
use model::{EventTime, Receipt, WriteCounts};

const COUNT_COLUMNS: [&str; 6] =
    ["entities", "written", "stale", "tombstoned", "refused", "bytes_written"];

pub(super) fn receipt_schema() -> SchemaRef {
    let count = |name| Field::new(name, DataType::UInt64, false);
    let time = |name| Field::new(name, DataType::Int64, true);
    let times = ["event_time_min", "event_time_max"].map(time);
    Arc::new(Schema::new(COUNT_COLUMNS.map(count).into_iter().chain(times).collect::<Vec<_>>()))
}

pub(super) fn receipt_batch(receipt: &Receipt) -> RecordBatch {
    let counts = receipt.counts;
    let numbers = [
        receipt.entities,
        counts.written,
        counts.stale,
        counts.tombstoned,
        receipt.refused,
        receipt.bytes_written,
    ];
    let times = [receipt.event_time_min, receipt.event_time_max];
    let count = |number: u64| Arc::new(UInt64Array::from(vec![number])) as Arc<dyn Array>;
    let time = |time: Option<EventTime>| {
        Arc::new(Int64Array::from(vec![time.map(EventTime::nanos)])) as Arc<dyn Array>
    };
    let columns = numbers.map(count).into_iter().chain(times.map(time)).collect();
    RecordBatch::try_new(receipt_schema(), columns).expect("the columns are the schema's")
}

/// Adds up receipt rows.
///
/// # Shape
/// Six `UInt64` counts and two nullable `Int64` event times in nanoseconds, one row a partition.
pub(crate) fn receipts(batch: &RecordBatch) -> Receipt {
    let mut sum = Receipt::default();
    let count = |column: usize, row| batch.column(column).as_primitive::<UInt64Type>().value(row);
    let time = |column: usize, row| {
        let times = batch.column(column).as_primitive::<Int64Type>();
        times.is_valid(row).then(|| EventTime::from_nanos(times.value(row)))
    };
    for row in 0..batch.num_rows() {
        sum.add(&Receipt {
            rows_read: 0,
            entities: count(0, row),
            counts: WriteCounts {
                written: count(1, row),
                stale: count(2, row),
                tombstoned: count(3, row),
            },
            refused: count(4, row),
            bytes_written: count(5, row),
            event_time_min: time(6, row),
            event_time_max: time(7, row),
            swept: 0,
        });
    }
    sum
}
