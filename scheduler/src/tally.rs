//! What this process has done since it started, for its metrics.
//!
//! Counted here and not in the ledger, because a counter must only grow, and the ledger forgets old
//! runs.

use std::sync::atomic::{AtomicU64, Ordering};

use model::{JobState, Receipt};

/// What a process has done since it started.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    jobs: [AtomicU64; JobState::ALL.len()],
    /// Attempts whose receipt was committed.
    pub(crate) attempts_committed: AtomicU64,
    /// Attempts that ended without a commit.
    pub(crate) attempts_failed: AtomicU64,
    /// Rows read by committed attempts.
    pub(crate) rows_read: AtomicU64,
    /// Rows that are now the stored ones.
    pub(crate) rows_written: AtomicU64,
    /// Rows refused because a newer one is stored.
    pub(crate) rows_stale: AtomicU64,
    /// Rows whose entity is no longer active.
    pub(crate) rows_tombstoned: AtomicU64,
    /// Rows that Feast's types cannot hold.
    pub(crate) rows_refused: AtomicU64,
    /// Bytes handed to the online store.
    pub(crate) bytes_written: AtomicU64,
}

impl Tally {
    /// Counts a job that has ended.
    pub(crate) fn job_ended(&self, state: JobState) {
        add(&self.jobs[state as usize], 1);
    }

    /// How many jobs have ended in a state.
    pub(crate) fn jobs_ended(&self, state: JobState) -> u64 {
        self.jobs[state as usize].load(Ordering::Relaxed)
    }

    /// Counts an attempt that was committed, and what it did.
    pub(crate) fn attempt_committed(&self, receipt: &Receipt) {
        add(&self.attempts_committed, 1);
        add(&self.rows_read, receipt.rows_read);
        add(&self.rows_written, receipt.counts.written);
        add(&self.rows_stale, receipt.counts.stale);
        add(&self.rows_tombstoned, receipt.counts.tombstoned);
        add(&self.rows_refused, receipt.refused);
        add(&self.bytes_written, receipt.bytes_written);
    }

    /// Counts an attempt that ended without a commit.
    pub(crate) fn attempt_failed(&self) {
        add(&self.attempts_failed, 1);
    }
}

fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_has_a_counter_of_its_own() {
        let tally = Tally::default();
        for &state in JobState::ALL {
            tally.job_ended(state);
        }
        tally.job_ended(JobState::Failed);
        for &state in JobState::ALL {
            assert_eq!(tally.jobs_ended(state), if state == JobState::Failed { 2 } else { 1 });
        }
    }
}
