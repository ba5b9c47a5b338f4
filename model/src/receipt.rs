//! What an attempt returns, and how receipts add up.

use serde::{Deserialize, Serialize};

use crate::time::EventTime;

/// What the online store did with the rows of one batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteCounts {
    /// Rows whose features are now the stored ones.
    pub written: u64,
    /// Rows refused because a row of equal or greater event time is stored.
    pub stale: u64,
    /// Rows whose entity is no longer active: features removed, event time kept.
    pub tombstoned: u64,
}

impl WriteCounts {
    /// Adds the counts of another batch.
    pub fn add(&mut self, other: Self) {
        self.written += other.written;
        self.stale += other.stale;
        self.tombstoned += other.tombstoned;
    }
}

/// What one attempt did: the plan's result rows, added up.
///
/// # Units
/// Counts are rows. `rows_read == entities + rows superseded`; `entities` is `written + stale +
/// tombstoned + refused`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Rows of the window that were read from the source.
    pub rows_read: u64,
    /// Rows that were the newest of their entity.
    pub entities: u64,
    /// What the online store did with them.
    #[serde(flatten)]
    pub counts: WriteCounts,
    /// Rows that Feast's types cannot hold, skipped because the configuration says so.
    pub refused: u64,
    /// Bytes of keys and values handed to the online store.
    pub bytes_written: u64,
    /// Least event time among the newest rows.
    pub event_time_min: Option<EventTime>,
    /// Greatest event time among the newest rows.
    pub event_time_max: Option<EventTime>,
}

impl Receipt {
    /// Adds another partition's receipt.
    pub fn add(&mut self, other: &Self) {
        self.rows_read += other.rows_read;
        self.entities += other.entities;
        self.counts.add(other.counts);
        self.refused += other.refused;
        self.bytes_written += other.bytes_written;
        self.event_time_min =
            [self.event_time_min, other.event_time_min].into_iter().flatten().min();
        self.event_time_max = self.event_time_max.max(other.event_time_max);
    }

    /// Tells whether every entity that was read is accounted for.
    pub fn is_balanced(&self) -> bool {
        let counts = self.counts;
        self.entities == counts.written + counts.stale + counts.tombstoned + self.refused
            && self.entities <= self.rows_read
    }
}
