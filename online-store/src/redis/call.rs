//! One call of a view's script: which rows it takes, and its bytes.
//!
//! Pure. Keys and values go from the batch straight into the pipeline's buffer.

use std::ops::Range;

use super::connection::Servers;
use super::fence::Guard;
use super::rows::Rows;
use super::script::Script;
use super::wire;
use crate::limits::WriteLimits;

/// Cuts rows into calls within the limits; every call has at least one row. The ranges are of
/// `indices`. Rows that may have been written before are not mixed with others, so that what is
/// found equal can be told apart; in a cluster the keys of a call share a slot.
pub(super) fn cut(
    rows: &Rows<'_>,
    indices: &[u32],
    limits: &WriteLimits,
    is_cluster: bool,
) -> Vec<Range<usize>> {
    let rows_max = limits.rows_per_call.min(limits.values_per_call / rows.width()).max(1);
    let belongs = |first: u32, next: u32| {
        rows.is_uncertain(first) == rows.is_uncertain(next)
            && (!is_cluster || Servers::slot(rows.key(first)) == Servers::slot(rows.key(next)))
    };
    let mut calls: Vec<Range<usize>> = Vec::with_capacity(indices.len().div_ceil(rows_max));
    let mut bytes = 0;
    for (at, &row) in indices.iter().enumerate() {
        let size = rows.bytes(row);
        match calls.last_mut() {
            Some(call)
                if call.len() < rows_max
                    && bytes + size <= limits.bytes_per_call
                    && belongs(indices[call.start], row) =>
            {
                call.end += 1;
                bytes += size;
            }
            _ => {
                calls.push(at..at + 1);
                bytes = size;
            }
        }
    }
    calls
}

/// Appends a call for rows, with the arguments that `newer_wins.lua` counts on. `fence` is the one
/// that guards the rows' keys, and what the call has to show there.
pub(super) fn write(
    buffer: &mut Vec<u8>,
    script: Script<'_>,
    rows: &Rows<'_>,
    indices: &[u32],
    fence: Option<(&[u8], &Guard)>,
) {
    let any_dead = indices.iter().any(|&row| rows.is_tombstone(row));
    let values: usize = indices.iter().map(|&row| rows.values(row).len()).sum();
    let keys = indices.len() + usize::from(fence.is_some());
    let tail = fence.map_or(&[][..], |(_, guard)| guard.arguments());
    script.start(buffer, keys, keys + 1 + values + tail.len());
    for &row in indices {
        wire::argument(buffer, rows.key(row));
    }
    if let Some((key, _)) = fence {
        wire::argument(buffer, key);
    }
    let digit = |&row: &u32| if rows.is_tombstone(row) { b'1' } else { b'0' };
    let dead: Vec<u8> = if any_dead { indices.iter().map(digit).collect() } else { Vec::new() };
    wire::argument(buffer, &dead);
    for &row in indices {
        // The time first: it is there for a tombstone, too.
        wire::argument(buffer, rows.time(row));
        let features = rows.values(row).len() - 1;
        for value in rows.values(row).take(features) {
            wire::argument(buffer, value);
        }
    }
    tail.iter().for_each(|argument| wire::argument(buffer, argument));
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use model::{ByteColumn, EncodedBatch, EventTime, FencingToken, WriteMode};

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
        let rows = Rows::new(batch);
        cut(&rows, &rows.open(), limits, false)
    }

    #[test]
    fn calls_are_cut_by_rows_by_values_and_by_bytes() {
        let limits = WriteLimits { rows_per_call: 3, ..WriteLimits::default() };
        assert_eq!(ranges(&batch(7, 1), &limits), [0..3, 3..6, 6..7]);
        // A row has two features, a key and a time: four values.
        let limits = WriteLimits { values_per_call: 9, ..WriteLimits::default() };
        assert_eq!(ranges(&batch(5, 1), &limits), [0..2, 2..4, 4..5]);
        let limits = WriteLimits { bytes_per_call: 60, ..WriteLimits::default() };
        assert_eq!(ranges(&batch(3, 10), &limits), [0..2, 2..3]);
    }

    #[test]
    fn a_row_beyond_every_limit_is_a_call_of_its_own() {
        let limits =
            WriteLimits { values_per_call: 1, bytes_per_call: 1, ..WriteLimits::default() };
        assert_eq!(ranges(&batch(2, 100), &limits), [0..1, 1..2]);
        assert!(ranges(&batch(0, 1), &limits).is_empty());
    }

    #[test]
    fn a_call_holds_keys_of_one_slot_and_rows_of_one_standing() {
        let mut batch = batch(4, 1);
        let keys: [&[u8]; 4] = [b"{a}1", b"{a}2", b"{b}1", b"{b}2"];
        batch.keys = keys.into_iter().collect();
        let mut rows = Rows::new(&batch);
        let limits = WriteLimits::default();
        assert_eq!(cut(&rows, &rows.open(), &limits, true), [0..2, 2..4]);
        rows.doubt(1);
        assert_eq!(cut(&rows, &rows.open(), &limits, true), [0..1, 1..2, 2..4]);
        assert_eq!(cut(&rows, &rows.open(), &limits, false), [0..1, 1..2, 2..4]);
    }

    #[test]
    fn the_bytes_are_those_the_script_counts_on() {
        let mut batch = batch(3, 1);
        batch.tombstones = Some(vec![false, true, false]);
        let rows = Rows::new(&batch);
        let mut buffer = Vec::new();
        write(&mut buffer, Script::Sha(&Bytes::from_static(b"sha")), &rows, &[1, 2], None);
        let expected =
            b"*10\r\n$7\r\nEVALSHA\r\n$3\r\nsha\r\n$1\r\n2\r\n$3\r\nkey\r\n$3\r\nkey\r\n\
            $2\r\n10\r\n$4\r\n\x08\x01\x10\x01\r\n$4\r\n\x08\x01\x10\x01\r\n$1\r\nv\r\n$1\r\nv\r\n";
        assert_eq!(buffer, expected);
    }

    #[test]
    fn a_fence_is_the_last_key_and_its_token_the_last_argument() {
        let batch = batch(1, 1);
        let mode = WriteMode { fence: Some(FencingToken(7)), correct: None };
        let guard = Guard::of(&mode).expect("it is fenced");
        let mut buffer = Vec::new();
        let script = Bytes::from_static(b"return 1");
        let fence = Some((&b"fence"[..], &guard));
        write(&mut buffer, Script::Text(&script), &Rows::new(&batch), &[0], fence);
        let expected =
            b"*10\r\n$4\r\nEVAL\r\n$8\r\nreturn 1\r\n$1\r\n2\r\n$3\r\nkey\r\n$5\r\nfence\r\n\
            $0\r\n\r\n$4\r\n\x08\x01\x10\x01\r\n$1\r\nv\r\n$1\r\nv\r\n$1\r\n7\r\n";
        assert_eq!(buffer, expected);
    }
}
