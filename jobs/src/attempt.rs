//! One try at a window: in how many partitions, which of them are done, who is told of the next.
//!
//! # Source
//! A partition means the same rows in two processes because keys are dealt out by a hash of fixed
//! seeds: `REPARTITION_RANDOM_STATE` in
//! <https://docs.rs/datafusion-physical-plan/55.2.0/src/datafusion_physical_plan/repartition/mod.rs.html>
//! is foldhash's `FixedState`, whose values are the same in every run of one program, but not on
//! every platform nor in every version of either crate
//! (<https://docs.rs/foldhash/0.2.0/foldhash/fast/struct.FixedState.html>).

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use model::Receipt;

use crate::sink::SinkError;

/// How a window is tried.
///
/// A partition holds the rows whose entity keys have one remainder of their hash, so it is the
/// unit in which an attempt can take up where an earlier one stopped: same window, same pinned
/// files, same number of partitions, same program on the same platform.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Partitions of the window, fixed before its first attempt; see `WindowPlan::partitions`.
    pub partitions: usize,
    /// Partitions whose every row an earlier attempt has had acknowledged by the same store. Their
    /// rows are read again and go no further.
    pub done: BTreeSet<usize>,
    /// Whether the attempt corrects: the sink was opened to replace rows inside the window. Then
    /// nothing counts as done, since a sweep must know every key, and writing twice is harmless.
    pub correcting: bool,
    /// Is told of each partition that is done.
    pub checkpoints: Arc<dyn Checkpoints>,
}

impl Attempt {
    /// A first attempt that corrects nothing and whose progress nobody keeps.
    pub fn new(partitions: usize) -> Self {
        Self { partitions, done: BTreeSet::new(), correcting: false, checkpoints: Arc::new(Unkept) }
    }

    /// The partitions that need not be written.
    pub(crate) fn skipped(&self) -> BTreeSet<usize> {
        if self.correcting {
            return BTreeSet::new();
        }
        self.done.iter().copied().filter(|&partition| partition < self.partitions).collect()
    }
}

/// Keeps how far an attempt has got.
#[async_trait]
pub trait Checkpoints: Send + Sync + fmt::Debug {
    /// Keeps that every row of a partition was acknowledged, and that the store was still the same
    /// afterwards. The receipt is the partition's, balanced by itself: as rows read it counts its
    /// entities alone, because which partition a superseded row belonged to is not known.
    ///
    /// May be called for a partition that is kept already: a correcting attempt does all again.
    ///
    /// # Errors
    /// Ends the attempt; what was kept before stays of use.
    async fn partition_done(&self, partition: usize, receipt: &Receipt) -> Result<(), SinkError>;
}

/// Keeps nothing.
#[derive(Debug)]
struct Unkept;

#[async_trait]
impl Checkpoints for Unkept {
    async fn partition_done(&self, _: usize, _: &Receipt) -> Result<(), SinkError> {
        Ok(())
    }
}
