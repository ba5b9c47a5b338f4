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

use crate::keys;

/// Key logs may take one byte in so many of the limit. They cannot go to disk, newest rows can.
const LOG_SHARE: usize = 2;

/// How the names of those begin that can be refused: they go on with less, by way of the disk.
const REFUSED: &str = "LatestExec";

/// Who asks for memory in which newest rows are kept.
pub(super) fn consumer(partition: usize, part: &str) -> MemoryConsumer {
    MemoryConsumer::new(format!("{REFUSED}[{partition}]{part}")).with_can_spill(true)
}

/// Memory up to a limit, first come, first served.
///
/// Everyone's memory counts, but only newest rows and key logs are refused. What others hold is a
/// few batches on their way. Key logs have a share of their own and are not refused because newest
/// rows hold the rest of the limit: those give way with their next batch.
#[derive(Debug)]
pub(crate) struct NewestPool {
    limit: usize,
    used: AtomicUsize,
    /// What key logs hold of it.
    logged: AtomicUsize,
}

impl NewestPool {
    /// Makes a pool of so many bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, used: AtomicUsize::new(0), logged: AtomicUsize::new(0) }
    }

    /// Takes memory as long as a counter stays within a limit.
    fn take(counter: &AtomicUsize, name: &str, additional: usize, limit: usize) -> Result<()> {
        let more = |taken: usize| taken.checked_add(additional).filter(|&taken| taken <= limit);
        match counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
            Ok(_) => Ok(()),
            Err(taken) => Err(DataFusionError::ResourcesExhausted(format!(
                "{name} asked for {additional} bytes where {taken} of {limit} are taken"
            ))),
        }
    }
}

fn is_log(reservation: &MemoryReservation) -> bool {
    reservation.consumer().name().starts_with(keys::CONSUMER)
}

impl MemoryPool for NewestPool {
    fn name(&self) -> &str {
        "newest"
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        if is_log(reservation) {
            self.logged.fetch_add(additional, Ordering::Relaxed);
        }
        self.used.fetch_add(additional, Ordering::Relaxed);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        if is_log(reservation) {
            self.logged.fetch_sub(shrink, Ordering::Relaxed);
        }
        self.used.fetch_sub(shrink, Ordering::Relaxed);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let name = reservation.consumer().name();
        if is_log(reservation) {
            Self::take(&self.logged, name, additional, self.limit / LOG_SHARE)?;
            self.used.fetch_add(additional, Ordering::Relaxed);
            return Ok(());
        }
        if name.starts_with(REFUSED) {
            return Self::take(&self.used, name, additional, self.limit);
        }
        self.grow(reservation, additional);
        Ok(())
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

    #[test]
    fn key_logs_have_a_share_that_newest_rows_give_way_to() {
        let pool: Arc<dyn MemoryPool> = Arc::new(NewestPool::new(100));
        let newest = consumer(0, "").register(&pool);
        let log = MemoryConsumer::new(keys::CONSUMER).register(&pool);
        assert!(newest.try_grow(100).is_ok());
        assert!(log.try_grow(50).is_ok() && log.try_grow(1).is_err());
        newest.shrink(40);
        assert!(newest.try_grow(1).is_err());
        log.shrink(20);
        assert!(newest.try_grow(10).is_ok() && log.try_grow(20).is_ok());
        drop((newest, log));
        assert_eq!(pool.reserved(), 0);
    }
}
