//! The memory that newest rows are kept in.
//!
//! A pool of our own, because DataFusion's refuse anyone. `RepartitionExec` must not be refused: in
//! DataFusion 55 it may wait for ever when two of its inputs put batches on disk at the same time.
//! See <https://github.com/apache/datafusion/issues/24883>.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{
    MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation,
};

/// How the names of those begin that can be refused: they go on with less, by way of the disk.
const REFUSED: &str = "LatestExec";

/// Who asks for memory in which newest rows are kept.
pub(super) fn consumer(partition: usize, part: &str) -> MemoryConsumer {
    MemoryConsumer::new(format!("{REFUSED}[{partition}]{part}")).with_can_spill(true)
}

/// Memory up to a limit, first come, first served.
///
/// Everyone's memory counts, but only newest rows are refused. What others hold is a few batches on
/// their way.
#[derive(Debug)]
pub(crate) struct NewestPool {
    limit: usize,
    used: AtomicUsize,
}

impl NewestPool {
    /// Makes a pool of so many bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, used: AtomicUsize::new(0) }
    }
}

impl MemoryPool for NewestPool {
    fn name(&self) -> &str {
        "newest"
    }

    fn grow(&self, _: &MemoryReservation, additional: usize) {
        self.used.fetch_add(additional, Ordering::Relaxed);
    }

    fn shrink(&self, _: &MemoryReservation, shrink: usize) {
        self.used.fetch_sub(shrink, Ordering::Relaxed);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let name = reservation.consumer().name();
        if !name.starts_with(REFUSED) {
            self.grow(reservation, additional);
            return Ok(());
        }
        let more = |used: usize| used.checked_add(additional).filter(|&used| used <= self.limit);
        match self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
            Ok(_) => Ok(()),
            Err(used) => Err(DataFusionError::ResourcesExhausted(format!(
                "{name} asked for {additional} bytes where {used} of {} are taken",
                self.limit
            ))),
        }
    }

    fn reserved(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.limit)
    }
}

impl fmt::Display for NewestPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} bytes are taken", self.reserved(), self.limit)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn only_newest_rows_are_refused_and_everything_counts() {
        let pool: Arc<dyn MemoryPool> = Arc::new(NewestPool::new(100));
        let newest = consumer(0, "").register(&pool);
        let other = MemoryConsumer::new("RepartitionExec[0]").register(&pool);
        assert!(newest.try_grow(60).is_ok());
        assert!(newest.try_grow(41).is_err());
        assert!(other.try_grow(60).is_ok());
        assert_eq!(pool.reserved(), 120);
        assert!(newest.try_grow(1).is_err());
        drop(other);
        assert!(newest.try_grow(40).is_ok());
        newest.free();
        assert_eq!(pool.reserved(), 0);
    }
}
