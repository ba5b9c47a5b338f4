//! One call of `newer_wins.lua`: which rows it takes, and its arguments.
//!
//! Pure. Keys and values are counted references into the batch, so nothing of them is copied here.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use feast::redis_layout::write_timestamp;
use fred::types::Value;
use model::EncodedBatch;

use crate::limits::WriteLimits;

/// Arguments before the first key: the script and the number of keys.
const LEAD: usize = 2;
/// Arguments between the keys and the fields, as `newer_wins.lua` counts them.
const HEAD: usize = 5;

/// Rows of a batch that go into one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    /// The rows.
    pub rows: Range<usize>,
    /// Bytes of their keys and values.
    pub bytes: usize,
}

/// What all calls of a view have in common.
pub(super) struct Shape<'a> {
    pub time_field: &'a Bytes,
    pub fields: &'a [Bytes],
    pub key_ttl_seconds: u64,
    pub compares: bool,
}

/// Cuts a batch into calls within the limits; every call has at least one row.
pub(super) fn cut(batch: &EncodedBatch, limits: &WriteLimits) -> Vec<Call> {
    let values_per_row = batch.features.len() + 2;
    let by_values = limits.values_per_call / values_per_row;
    let rows_max = limits.rows_per_call.min(by_values).max(1);
    let mut calls: Vec<Call> = Vec::with_capacity(batch.len().div_ceil(rows_max));
    for row in 0..batch.len() {
        let bytes = row_bytes(batch, row);
        match calls.last_mut() {
            Some(call)
                if call.rows.len() < rows_max && call.bytes + bytes <= limits.bytes_per_call =>
            {
                call.rows.end += 1;
                call.bytes += bytes;
            }
            _ => calls.push(Call { rows: row..row + 1, bytes }),
        }
    }
    calls
}

fn row_bytes(batch: &EncodedBatch, row: usize) -> usize {
    let values = batch.features.iter().map(|column| column.get(row).len());
    batch.keys.get(row).len() + values.sum::<usize>()
}

impl Call {
    /// The arguments of `EVALSHA`.
    pub(super) fn arguments(&self, shape: &Shape, batch: &EncodedBatch, sha: &Bytes) -> Vec<Value> {
        let (rows, features) = (self.rows.len(), shape.fields.len());
        let mut arguments = Vec::with_capacity(LEAD + HEAD + features + rows * (2 + features));
        arguments.push(Value::Bytes(sha.clone()));
        arguments.push(number(rows as u64));
        arguments.extend(self.rows.clone().map(|row| Value::Bytes(batch.keys.share(row))));
        arguments.push(Value::Bytes(shape.time_field.clone()));
        arguments.push(number(shape.key_ttl_seconds));
        arguments.push(flag(shape.compares));
        arguments.push(Value::Bytes(self.dead(batch)));
        arguments.push(number(features as u64));
        arguments.extend(shape.fields.iter().cloned().map(Value::Bytes));
        for (row, time) in self.rows.clone().zip(self.times(batch)) {
            arguments.push(Value::Bytes(time));
            if !batch.is_tombstone(row) {
                let values = batch.features.iter().map(|column| column.share(row));
                arguments.extend(values.map(Value::Bytes));
            }
        }
        arguments
    }

    /// One digit a row, `1` for a tombstone; empty when there is none.
    fn dead(&self, batch: &EncodedBatch) -> Bytes {
        if !self.rows.clone().any(|row| batch.is_tombstone(row)) {
            return Bytes::new();
        }
        let digit = |row| if batch.is_tombstone(row) { b'1' } else { b'0' };
        self.rows.clone().map(digit).collect()
    }

    /// The serialized event times, in one buffer.
    fn times(&self, batch: &EncodedBatch) -> impl Iterator<Item = Bytes> + use<> {
        /// Tag and ten bytes for the seconds, tag and five for the nanoseconds.
        const TIMESTAMP_BYTES_MAX: usize = 17;
        let mut buffer = BytesMut::with_capacity(self.rows.len() * TIMESTAMP_BYTES_MAX);
        let mut ends = Vec::with_capacity(self.rows.len());
        for time in &batch.event_times[self.rows.clone()] {
            let (seconds, nanos) = time.seconds_and_nanos();
            write_timestamp(seconds, nanos, &mut buffer);
            ends.push(buffer.len());
        }
        let buffer = buffer.freeze();
        let mut start = 0;
        ends.into_iter().map(move |end| buffer.slice(std::mem::replace(&mut start, end)..end))
    }
}

fn number(number: u64) -> Value {
    Value::Bytes(number.to_string().into())
}

fn flag(flag: bool) -> Value {
    Value::Bytes(Bytes::from_static(if flag { b"1" } else { b"0" }))
}

#[cfg(test)]
mod tests {
    use model::{ByteColumn, EventTime};

    use super::*;

    fn batch(rows: usize, value_bytes: usize) -> EncodedBatch {
        let value = vec![b'v'; value_bytes];
        EncodedBatch {
            keys: (0..rows).map(|_| &b"key"[..]).collect(),
            event_times: vec![EventTime::from_nanos(1_000_000_001); rows],
            features: vec![(0..rows).map(|_| &value[..]).collect::<ByteColumn>(); 2],
            ..EncodedBatch::default()
        }
    }

    fn ranges(batch: &EncodedBatch, limits: &WriteLimits) -> Vec<Range<usize>> {
        cut(batch, limits).into_iter().map(|call| call.rows).collect()
    }

    #[test]
    fn calls_are_cut_by_rows_by_values_and_by_bytes() {
        let limits = WriteLimits { rows_per_call: 3, ..WriteLimits::default() };
        assert_eq!(ranges(&batch(7, 1), &limits), [0..3, 3..6, 6..7]);
        // A row has two features, a key and a time: four values.
        let limits = WriteLimits { values_per_call: 9, ..WriteLimits::default() };
        assert_eq!(ranges(&batch(5, 1), &limits), [0..2, 2..4, 4..5]);
        let limits = WriteLimits { bytes_per_call: 50, ..WriteLimits::default() };
        assert_eq!(ranges(&batch(3, 10), &limits), [0..2, 2..3]);
    }

    #[test]
    fn a_row_beyond_every_limit_is_a_call_of_its_own() {
        let limits =
            WriteLimits { values_per_call: 1, bytes_per_call: 1, ..WriteLimits::default() };
        assert_eq!(ranges(&batch(2, 100), &limits), [0..1, 1..2]);
        assert_eq!(cut(&batch(1, 100), &limits)[0].bytes, 203);
        assert!(cut(&batch(0, 1), &limits).is_empty());
    }

    #[test]
    fn arguments_are_those_the_script_counts_on() {
        let mut batch = batch(3, 1);
        batch.tombstones = Some(vec![false, true, false]);
        let fields = [Bytes::from_static(b"f1"), Bytes::from_static(b"f2")];
        let shape = Shape {
            time_field: &Bytes::from_static(b"_ts:v"),
            fields: &fields,
            key_ttl_seconds: 60,
            compares: true,
        };
        let call = Call { rows: 1..3, bytes: 0 };
        let arguments = call.arguments(&shape, &batch, &Bytes::from_static(b"sha"));
        let text = |value| Value::as_bytes(value).expect("every argument is bytes");
        let texts: Vec<&[u8]> = arguments.iter().map(text).collect();
        let time: &[u8] = &[0x08, 1, 0x10, 1];
        let expected: [&[u8]; 15] = [
            b"sha", b"2", b"key", b"key", b"_ts:v", b"60", b"1", b"10", b"2", b"f1", b"f2", time,
            time, b"v", b"v",
        ];
        assert_eq!(texts, expected);
    }
}
