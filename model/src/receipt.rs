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
    /// Entities whose stored row a correction withdrew because the window has no row of them any
    /// more: what they had before was restored, or they were removed. They are no `entities`.
    #[serde(default)]
    pub swept: u64,
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
        self.swept += other.swept;
    }

    /// Adds the receipt of a partition that an earlier attempt at the same window wrote.
    ///
    /// Its rows are not added to those that were read: this attempt has read them again, with the
    /// rest of the window. Where it had nothing left to write it has read nothing, and what is
    /// known is that each entity had a row. Either way a sum of balanced receipts is balanced.
    pub fn add_earlier(&mut self, other: &Self) {
        let read = self.rows_read;
        self.add(other);
        self.rows_read = read.max(self.entities);
    }

    /// Tells whether every entity that was read is accounted for.
    pub fn is_balanced(&self) -> bool {
        let counts = self.counts;
        self.entities == counts.written + counts.stale + counts.tombstoned + self.refused
            && self.entities <= self.rows_read
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A balanced receipt.
    fn receipt() -> impl Strategy<Value = Receipt> {
        (0_u64..9, 0_u64..9, 0_u64..9, 0_u64..9, 0_u64..9).prop_map(
            |(written, stale, tombstoned, refused, superseded)| {
                let entities = written + stale + tombstoned + refused;
                Receipt {
                    rows_read: entities + superseded,
                    entities,
                    counts: WriteCounts { written, stale, tombstoned },
                    refused,
                    ..Receipt::default()
                }
            },
        )
    }

    #[test]
    fn a_receipt_from_before_sweeps_reads_back() {
        let text = r#"{"rows_read":3,"entities":2,"written":2,"stale":0,"tombstoned":0,"refused":0,
            "bytes_written":7,"event_time_min":null,"event_time_max":null}"#;
        let receipt: Receipt = serde_json::from_str(text).expect("a receipt");
        assert_eq!((receipt.rows_read, receipt.swept), (3, 0));
    }

    proptest! {
        #[test]
        fn balanced_receipts_add_up_to_a_balanced_one(
            own in receipt(),
            earlier in prop::collection::vec(receipt(), 0..4),
        ) {
            let (mut added, mut resumed) = (own, own);
            for other in &earlier {
                added.add(other);
                resumed.add_earlier(other);
            }
            prop_assert!(added.is_balanced() && resumed.is_balanced());
            prop_assert_eq!(resumed.entities, added.entities);
            prop_assert_eq!(resumed.rows_read, own.rows_read.max(resumed.entities));
        }
    }
}
