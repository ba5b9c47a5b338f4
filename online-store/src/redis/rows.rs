//! The rows of a batch while they are written: their bytes, and what has become of each.
//!
//! Pure. Rows are named by their number in the batch.

use feast::redis_layout::write_timestamp;
use model::{ByteColumn, ByteColumnBuilder, EncodedBatch, WriteCounts};

use super::connection::Server;

/// Tag and ten bytes for the seconds, tag and five for the nanoseconds.
const TIMESTAMP_BYTES_MAX: usize = 17;

/// A batch and the standing of its rows.
pub(super) struct Rows<'a> {
    batch: &'a EncodedBatch,
    times: ByteColumn,
    done: Vec<bool>,
    /// Rows that may have been written without our hearing of it.
    uncertain: Vec<bool>,
    counts: WriteCounts,
}

/// What a row's values are: one a feature and the event time last, which is all a tombstone has.
#[derive(Clone)]
pub(super) struct Values<'a> {
    features: std::slice::Iter<'a, ByteColumn>,
    row: usize,
    time: Option<&'a [u8]>,
}

impl<'a> Iterator for Values<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        match self.features.next() {
            Some(feature) => Some(feature.get(self.row)),
            None => self.time.take(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.features.len() + usize::from(self.time.is_some());
        (left, Some(left))
    }
}

impl ExactSizeIterator for Values<'_> {}

impl<'a> Rows<'a> {
    pub(super) fn new(batch: &'a EncodedBatch) -> Self {
        let count = batch.len();
        let mut times = ByteColumnBuilder::with_capacity(count, count * TIMESTAMP_BYTES_MAX);
        for time in &batch.event_times {
            let (seconds, nanos) = time.seconds_and_nanos();
            write_timestamp(seconds, nanos, times.buffer());
            times.end_value();
        }
        Self {
            batch,
            times: times.finish(),
            done: vec![false; count],
            uncertain: vec![false; count],
            counts: WriteCounts::default(),
        }
    }

    /// Values of a row with features, its key among them.
    pub(super) fn width(&self) -> usize {
        self.batch.features.len() + 2
    }

    pub(super) fn key(&self, row: u32) -> &'a [u8] {
        self.batch.keys.get(row as usize)
    }

    /// The serialized event time.
    pub(super) fn time(&self, row: u32) -> &[u8] {
        self.times.get(row as usize)
    }

    /// The event time as a stored one is read.
    pub(super) fn seconds_and_nanos(&self, row: u32) -> (i64, i32) {
        let (seconds, nanos) = self.batch.event_times[row as usize].seconds_and_nanos();
        (seconds, nanos as i32)
    }

    pub(super) fn is_tombstone(&self, row: u32) -> bool {
        self.batch.is_tombstone(row as usize)
    }

    pub(super) fn values(&self, row: u32) -> Values<'_> {
        let features = if self.is_tombstone(row) { &[] } else { &self.batch.features[..] };
        Values { features: features.iter(), row: row as usize, time: Some(self.time(row)) }
    }

    /// Bytes of a row's key and values.
    pub(super) fn bytes(&self, row: u32) -> usize {
        self.key(row).len() + self.values(row).map(<[u8]>::len).sum::<usize>()
    }

    pub(super) fn is_uncertain(&self, row: u32) -> bool {
        self.uncertain[row as usize]
    }

    /// The rows that are not done.
    pub(super) fn open(&self) -> Vec<u32> {
        (0..self.done.len() as u32).filter(|&row| !self.done[row as usize]).collect()
    }

    pub(super) fn is_open(&self, row: u32) -> bool {
        !self.done[row as usize]
    }

    /// Notes that a row may have been written.
    pub(super) fn doubt(&mut self, row: u32) {
        self.uncertain[row as usize] = true;
    }

    /// Takes in what a share of the rows has come to.
    pub(super) fn settle(&mut self, outcome: &Outcome) {
        for &row in &outcome.done {
            self.done[row as usize] = true;
        }
        for &row in &outcome.uncertain {
            self.doubt(row);
        }
        self.counts.add(outcome.counts);
    }

    pub(super) fn counts(&self) -> WriteCounts {
        self.counts
    }
}

/// What has become of a share of a batch's rows.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub done: Vec<u32>,
    pub uncertain: Vec<u32>,
    pub counts: WriteCounts,
    /// Rows that another server takes for now, and that server: their slot is on its way there.
    pub elsewhere: Vec<(u32, Server)>,
}

impl Outcome {
    /// Notes a row that is now the stored one.
    pub(super) fn written(&mut self, row: u32, is_tombstone: bool) {
        self.done.push(row);
        if is_tombstone {
            self.counts.tombstoned += 1;
        } else {
            self.counts.written += 1;
        }
    }

    /// Adds what came of other rows.
    pub(super) fn append(&mut self, other: Self) {
        self.done.extend(other.done);
        self.uncertain.extend(other.uncertain);
        self.counts.add(other.counts);
        self.elsewhere.extend(other.elsewhere);
    }

    /// Notes a row that was refused because of what is stored.
    pub(super) fn stale(&mut self, row: u32) {
        self.done.push(row);
        self.counts.stale += 1;
    }
}
