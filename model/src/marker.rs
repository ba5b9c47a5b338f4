//! The marker that a commit leaves in the online store, and what it says of store and ledger.
//!
//! A store that was flushed, or replaced by an older copy of itself, has an older marker than the
//! ledger, or none; a ledger that was restored from an older state has an older commit than the
//! store. Both must be noticed before a run calls itself incremental.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::AttemptId;

/// Names a commit of one view.
///
/// Written to the online store after the attempt's last row and before the ledger's commit, so
/// that it is either the ledger's last commit or one that was about to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Marker {
    /// Grows with the commits of the view, from 1, and past each that was about to be made.
    pub sequence: u64,
    /// The attempt that was committed.
    pub attempt: AttemptId,
}

/// What store and ledger say of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agreement {
    /// Both name the same commit, or neither has one.
    Same,
    /// The store names an attempt that the ledger knows and that was not committed: its process
    /// stopped in between.
    Prepared,
    /// The store does not have the ledger's last commit: rows that landed are gone.
    StoreLost,
    /// The store has a commit that the ledger does not know: commits are forgotten.
    LedgerLost,
}

impl Agreement {
    /// Compares the ledger's last commit with the store's marker.
    ///
    /// `is_known` tells whether the ledger has the attempt that the store names.
    pub fn of(ledger: Option<Marker>, store: Option<Marker>, is_known: bool) -> Self {
        let sequence = |marker: Option<Marker>| marker.map_or(0, |marker| marker.sequence);
        if ledger == store {
            Self::Same
        } else if sequence(store) > sequence(ledger) && is_known {
            // By more than one when several processes stopped there, one after the other. A ledger
            // that knows the attempt has forgotten nothing that was committed before it began.
            Self::Prepared
        } else if sequence(store) >= sequence(ledger) && !is_known {
            Self::LedgerLost
        } else {
            Self::StoreLost
        }
    }

    /// Tells whether an incremental run may go on.
    pub fn is_sound(self) -> bool {
        matches!(self, Self::Same | Self::Prepared)
    }
}

impl fmt::Display for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Same => "the online store and the ledger agree",
            Self::Prepared => "the online store has an attempt that was not committed",
            Self::StoreLost => {
                "the online store does not have the last commit: it was flushed, or replaced by an \
                 older copy of itself"
            }
            Self::LedgerLost => {
                "the online store has a commit that the ledger does not know: the ledger was \
                 restored from an older state"
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn marker(sequence: u64, attempt: u128) -> Option<Marker> {
        Some(Marker { sequence, attempt: AttemptId::from_uuid(Uuid::from_u128(attempt)) })
    }

    #[test]
    fn a_marker_is_the_last_commit_or_the_one_about_to_be_made() {
        assert_eq!(Agreement::of(None, None, false), Agreement::Same);
        assert_eq!(Agreement::of(marker(3, 7), marker(3, 7), true), Agreement::Same);
        assert_eq!(Agreement::of(None, marker(1, 7), true), Agreement::Prepared);
        assert_eq!(Agreement::of(marker(3, 7), marker(4, 8), true), Agreement::Prepared);
    }

    #[test]
    fn several_processes_may_stop_before_their_commits() {
        assert_eq!(Agreement::of(marker(3, 7), marker(5, 9), true), Agreement::Prepared);
        assert_eq!(Agreement::of(None, marker(2, 8), true), Agreement::Prepared);
    }

    #[test]
    fn a_missing_or_older_marker_is_a_loss_of_the_store() {
        assert_eq!(Agreement::of(marker(3, 7), None, false), Agreement::StoreLost);
        assert_eq!(Agreement::of(marker(3, 7), marker(2, 6), true), Agreement::StoreLost);
        assert_eq!(Agreement::of(marker(3, 7), marker(3, 6), true), Agreement::StoreLost);
    }

    #[test]
    fn an_unknown_commit_is_a_loss_of_the_ledger() {
        assert_eq!(Agreement::of(None, marker(1, 7), false), Agreement::LedgerLost);
        assert_eq!(Agreement::of(marker(3, 7), marker(5, 8), false), Agreement::LedgerLost);
        assert_eq!(Agreement::of(marker(3, 7), marker(4, 8), false), Agreement::LedgerLost);
        assert_eq!(Agreement::of(marker(3, 7), marker(3, 8), false), Agreement::LedgerLost);
    }
}
