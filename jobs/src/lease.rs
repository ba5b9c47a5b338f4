//! Stops an attempt from writing once its lease may have ended, or its run was cancelled.
//!
//! A lease's end is judged by this process's own clock, because a process that cannot reach the
//! ledger must stop all the same. What gets past it is caught elsewhere: the commit looks at the
//! token, and a view that was ever corrected has its fence in the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use model::{EncodedBatch, Interval, Marker, WriteCounts};

use crate::sink::{FeatureSink, KnownKeys, Refusal, SinkError};

/// The end of a lease by this process's clock, shared by who extends it and who obeys it.
///
/// The end that is told must be counted from before the ledger was asked, so that it is never
/// later than the ledger's own, less how long one request may take: what was let through just
/// before the end is not called back.
///
/// # Source
/// `Instant` is `CLOCK_MONOTONIC` on Linux: it goes on while the process is stopped (SIGSTOP, a
/// frozen cgroup), so that one that is woken finds its lease ended. It stands still while the
/// whole machine is suspended: <https://man7.org/linux/man-pages/man2/clock_gettime.2.html>.
#[derive(Debug)]
pub struct LeaseGuard {
    origin: Instant,
    /// Nanoseconds after the origin.
    until: AtomicU64,
    ended: AtomicBool,
    cancelled: AtomicBool,
}

/// Why nothing may be sent any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Halt {
    /// The lease has ended by this process's clock.
    #[error("the lease of the view has ended and was not extended in time")]
    LeaseEnded,
    /// Someone asked for it.
    #[error("the run was asked to stop")]
    Cancelled,
}

impl LeaseGuard {
    /// Makes the guard of a lease that ends at an instant.
    pub fn new(until: Instant) -> Self {
        let guard = Self {
            origin: Instant::now(),
            until: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            cancelled: AtomicBool::new(false),
        };
        guard.extend(until);
        guard
    }

    /// Moves the end of the lease; an earlier end changes nothing, because answers of the ledger
    /// may overtake each other.
    pub fn extend(&self, until: Instant) {
        let nanos = until.saturating_duration_since(self.origin).as_nanos();
        self.until.fetch_max(u64::try_from(nanos).unwrap_or(u64::MAX), Ordering::AcqRel);
    }

    /// Ends the lease for good: the ledger says that another holds it.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    /// Stops whoever looks at the guard from now on.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
    }

    /// Tells whether anything may still be sent.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self) -> Result<(), Halt> {
        if self.cancelled.load(Ordering::Acquire) {
            return Err(Halt::Cancelled);
        }
        let until = self.until.load(Ordering::Acquire);
        let passed = self.origin.elapsed().as_nanos();
        let is_over = self.ended.load(Ordering::Acquire) || passed >= u128::from(until);
        if is_over { Err(Halt::LeaseEnded) } else { Ok(()) }
    }

    /// A sink that asks the guard before each request.
    pub fn over(self: Arc<Self>, sink: Arc<dyn FeatureSink>) -> Arc<dyn FeatureSink> {
        Arc::new(Guarded { guard: self, sink })
    }
}

impl From<Halt> for SinkError {
    fn from(halt: Halt) -> Self {
        let refusal = match halt {
            Halt::LeaseEnded => Refusal::Superseded,
            Halt::Cancelled => Refusal::Cancelled,
        };
        Self { refusal, source: Box::new(halt) }
    }
}

/// A sink behind a guard.
#[derive(Debug)]
struct Guarded {
    guard: Arc<LeaseGuard>,
    sink: Arc<dyn FeatureSink>,
}

#[async_trait]
impl FeatureSink for Guarded {
    async fn write(&self, batch: EncodedBatch) -> Result<WriteCounts, SinkError> {
        self.guard.check()?;
        self.sink.write(batch).await
    }

    async fn confirm(&self) -> Result<(), SinkError> {
        self.guard.check()?;
        self.sink.confirm().await
    }

    fn identity(&self) -> String {
        self.sink.identity()
    }

    async fn mark(&self, marker: &Marker, wait_replicas: u32) -> Result<(), SinkError> {
        self.guard.check()?;
        self.sink.mark(marker, wait_replicas).await
    }

    fn stored_inside<'a>(
        &'a self,
        interval: Interval,
        known: KnownKeys<'a>,
    ) -> BoxStream<'a, Result<Vec<Vec<u8>>, SinkError>> {
        let checked =
            |keys| std::future::ready(self.guard.check().map(|()| keys).map_err(Into::into));
        self.sink.stored_inside(interval, known).and_then(checked).boxed()
    }

    async fn remove(&self, keys: &[Vec<u8>]) -> Result<u64, SinkError> {
        self.guard.check()?;
        self.sink.remove(keys).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(3_600)
    }

    #[test]
    fn a_lease_that_has_ended_by_our_clock_stops_us() {
        assert_eq!(LeaseGuard::new(soon()).check(), Ok(()));
        let ended = LeaseGuard::new(Instant::now());
        assert_eq!(ended.check(), Err(Halt::LeaseEnded));
        ended.extend(soon());
        assert_eq!(ended.check(), Ok(()), "it was extended after all");
    }

    #[test]
    fn an_answer_that_comes_late_shortens_no_lease() {
        let guard = LeaseGuard::new(soon());
        guard.extend(Instant::now());
        assert_eq!(guard.check(), Ok(()));
    }

    #[test]
    fn a_lease_that_another_has_taken_is_not_extended() {
        let guard = LeaseGuard::new(soon());
        guard.end();
        guard.extend(soon() + Duration::from_secs(3_600));
        assert_eq!(guard.check(), Err(Halt::LeaseEnded));
        assert_eq!(SinkError::from(Halt::LeaseEnded).refusal, Refusal::Superseded);
    }

    #[test]
    fn a_cancelled_run_stops_whatever_its_lease_says() {
        let guard = LeaseGuard::new(soon());
        guard.cancel();
        guard.extend(soon());
        assert_eq!(guard.check(), Err(Halt::Cancelled));
        assert_eq!(SinkError::from(Halt::Cancelled).refusal, Refusal::Cancelled);
    }
}
