//! How far a window has got, for whoever shows it.

use std::sync::atomic::{AtomicU64, Ordering};

use model::WriteCounts;

/// Counters that the plan's nodes add to while they run.
#[derive(Debug, Default)]
pub struct Progress {
    read: AtomicU64,
    entities: AtomicU64,
    written: AtomicU64,
    stale: AtomicU64,
    tombstoned: AtomicU64,
}

/// What the counters say at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProgressSnapshot {
    /// Rows of the window that were read.
    pub read: u64,
    /// Rows known to be the newest of their entity; 0 until a partition is wholly read.
    pub entities: u64,
    /// What the online store acknowledged.
    pub counts: WriteCounts,
}

impl Progress {
    /// Adds rows that were read.
    pub fn add_read(&self, rows: usize) {
        self.read.fetch_add(rows as u64, Ordering::Relaxed);
    }

    /// Adds rows that are the newest of their entity.
    pub fn add_entities(&self, rows: usize) {
        self.entities.fetch_add(rows as u64, Ordering::Relaxed);
    }

    /// Adds what the online store acknowledged.
    pub fn add_counts(&self, counts: WriteCounts) {
        self.written.fetch_add(counts.written, Ordering::Relaxed);
        self.stale.fetch_add(counts.stale, Ordering::Relaxed);
        self.tombstoned.fetch_add(counts.tombstoned, Ordering::Relaxed);
    }

    /// The counters now.
    pub fn snapshot(&self) -> ProgressSnapshot {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ProgressSnapshot {
            read: load(&self.read),
            entities: load(&self.entities),
            counts: WriteCounts {
                written: load(&self.written),
                stale: load(&self.stale),
                tombstoned: load(&self.tombstoned),
            },
        }
    }
}
