//! How fast rows may go to the online store: a ceiling that is configured, and back-pressure.
//!
//! A file of its own because every writer of the process shares it, whatever it writes to.
//! [`Bucket`] spreads rows over time and `governor` turns latencies into a rate, both by times that
//! are passed in; [`Pace`] only waits.

mod governor;

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use governor::{Change, Governor};

/// The seconds of rows that an idle writer may save up: a short pause of the source costs no
/// time, and no reader of the store notices a burst of a tenth of a second.
const SAVED_SECONDS: f64 = 0.1;
/// How long to wait before the rate is looked at again, since it changes while we wait.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// The timer's own step; a shorter wait would only spin.
const WAIT_MIN: Duration = Duration::from_millis(1);

/// What a store may be asked to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PaceLimits {
    /// Rows a second of all writers of the process together; `None` for no ceiling.
    pub rows_per_second_max: Option<NonZeroU64>,
    /// The latency of our own writes above which they slow down.
    ///
    /// From handing rows to the connection to their last answer, our own queue included. What may
    /// be in flight keeps a healthy Redis busy for some tens of milliseconds, so ten times that
    /// means that it is short of processor or network, and that its readers wait as well.
    pub latency_max: Duration,
}

impl Default for PaceLimits {
    fn default() -> Self {
        Self { rows_per_second_max: None, latency_max: Duration::from_millis(500) }
    }
}

/// The pace of all writers of one store.
#[derive(Debug)]
pub(crate) struct Pace {
    limits: PaceLimits,
    /// Held while waiting: whoever came first goes first.
    turn: tokio::sync::Mutex<Bucket>,
    governor: Mutex<Governor>,
    slowed_nanos: AtomicU64,
}

/// Rows a second at present.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rate {
    rows_per_second: f64,
    /// Tells whether it is below the ceiling because of latency.
    is_slowed: bool,
}

impl Pace {
    pub(crate) fn new(limits: PaceLimits) -> Self {
        let now = Instant::now();
        Self {
            limits,
            turn: tokio::sync::Mutex::new(Bucket { saved: 0.0, at: now }),
            governor: Mutex::new(Governor::new(limits.latency_max, now)),
            slowed_nanos: AtomicU64::new(0),
        }
    }

    /// Waits until `rows` more rows may be sent.
    ///
    /// From its making on, no more rows are let through in any time than the ceiling allows for
    /// it.
    ///
    /// # Cancel safety
    /// One that is dropped while it waits has used up nothing.
    pub(crate) async fn admit(&self, rows: usize) {
        if self.rate().is_none() {
            return;
        }
        let mut bucket = self.turn.lock().await;
        loop {
            let begun = Instant::now();
            // Looked at anew each time: latency may have changed it.
            let Some(rate) = self.rate() else { return };
            let Err(wait) = bucket.take(rows, rate.rows_per_second, begun) else { return };
            tokio::time::sleep(wait.clamp(WAIT_MIN, LOOK_AGAIN)).await;
            if rate.is_slowed {
                let nanos = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
                self.slowed_nanos.fetch_add(nanos, Ordering::Relaxed);
            }
        }
    }

    /// Takes in how long the store took to answer for `rows` rows.
    pub(crate) fn observe(&self, rows: usize, latency: Duration) {
        let mut governor = self.governor.lock().unwrap_or_else(PoisonError::into_inner);
        let change = governor.observe(rows, latency, Instant::now());
        drop(governor);
        match change {
            Some(Change::Slowing { latency, rows_per_second }) => tracing::warn!(
                ?latency,
                limit = ?self.limits.latency_max,
                rows_per_second = rows_per_second.round(),
                "the online store answers slowly; writing slows down"
            ),
            Some(Change::Recovered) => {
                tracing::info!(slowed = ?self.slowed(), "the online store answers in time again");
            }
            None => {}
        }
    }

    /// How long writing was held back because of latency so far, by the clock on the wall.
    pub(crate) fn slowed(&self) -> Duration {
        Duration::from_nanos(self.slowed_nanos.load(Ordering::Relaxed))
    }

    /// The lower of ceiling and back-pressure; `None` when there is neither.
    fn rate(&self) -> Option<Rate> {
        let governor = self.governor.lock().unwrap_or_else(PoisonError::into_inner);
        let slowed = governor.rate();
        drop(governor);
        let ceiling = self.limits.rows_per_second_max.map(|rows| rows.get() as f64);
        match (slowed, ceiling) {
            (Some(slowed), ceiling) if ceiling.is_none_or(|ceiling| slowed < ceiling) => {
                Some(Rate { rows_per_second: slowed, is_slowed: true })
            }
            (_, ceiling) => {
                ceiling.map(|rows_per_second| Rate { rows_per_second, is_slowed: false })
            }
        }
    }
}

/// A token bucket, empty at first: rows accrue with time and are taken by writers.
#[derive(Debug)]
struct Bucket {
    saved: f64,
    at: Instant,
}

impl Bucket {
    /// Takes rows at a rate a second, or says how long it takes for them to accrue.
    fn take(&mut self, rows: usize, rate: f64, now: Instant) -> Result<(), Duration> {
        let wanted = rows as f64;
        let elapsed = now.saturating_duration_since(self.at).as_secs_f64();
        // A call of more rows than may be saved up has to wait for all of them.
        let saved_max = (rate * SAVED_SECONDS).max(wanted);
        self.saved = (self.saved + rate * elapsed).min(saved_max);
        self.at = now;
        if self.saved >= wanted {
            self.saved -= wanted;
            return Ok(());
        }
        Err(Duration::from_secs_f64((wanted - self.saved) / rate))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use tokio::time::timeout;

    use super::*;

    fn ceiling(rows_per_second: u64) -> Arc<Pace> {
        let rows_per_second_max = NonZeroU64::new(rows_per_second);
        Arc::new(Pace::new(PaceLimits { rows_per_second_max, ..PaceLimits::default() }))
    }

    proptest! {
        #[test]
        fn no_more_rows_than_the_ceiling_allows_in_any_time(
            rate in 1_u32..1_000_000,
            calls in prop::collection::vec((0_usize..5_000, 0_u64..400), 1..60),
        ) {
            let begun = Instant::now();
            let (mut now, mut sum) = (begun, 0_usize);
            let mut bucket = Bucket { saved: 0.0, at: now };
            for (rows, idle_millis) in calls {
                now += Duration::from_millis(idle_millis);
                let before = now;
                while let Err(wait) = bucket.take(rows, f64::from(rate), now) {
                    now += wait.max(WAIT_MIN);
                }
                sum += rows;
                let allowed = f64::from(rate) * (now - begun).as_secs_f64();
                prop_assert!(sum as f64 <= allowed + 0.01, "{sum} rows, {allowed} allowed");
                // Nor does anybody wait for more than its own rows.
                let due = rows as f64 / f64::from(rate) + WAIT_MIN.as_secs_f64();
                prop_assert!((now - before).as_secs_f64() <= due + 1e-6);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_ceiling_nobody_waits() {
        let pace = Pace::new(PaceLimits::default());
        let begun = Instant::now();
        for _ in 0..1_000 {
            pace.admit(1_000_000).await;
            pace.observe(1_000, Duration::from_millis(100));
        }
        assert_eq!(begun.elapsed(), Duration::ZERO);
        assert_eq!(pace.slowed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn writers_share_the_ceiling_in_the_order_of_their_coming() {
        let pace = ceiling(1_000);
        let begun = Instant::now();
        let order = Arc::new(Mutex::new(Vec::new()));
        let writer = |name: usize| {
            let (pace, order) = (Arc::clone(&pace), Arc::clone(&order));
            tokio::spawn(async move {
                for _ in 0..10 {
                    pace.admit(100).await;
                    order.lock().expect("nobody panicked").push(name);
                }
            })
        };
        for writer in [writer(0), writer(1), writer(2)] {
            writer.await.expect("the writer does not panic");
        }
        // 30 calls of 100 rows at 1,000 a second.
        let elapsed = begun.elapsed();
        assert!(elapsed >= Duration::from_secs(3), "{elapsed:?}");
        assert!(elapsed < Duration::from_millis(3_100), "{elapsed:?}");
        let order = order.lock().expect("nobody panicked");
        for turn in order.chunks(3) {
            assert_eq!(turn.iter().sum::<usize>(), 3, "{order:?}");
        }
        assert_eq!(pace.slowed(), Duration::ZERO, "the ceiling is no back-pressure");
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_writer_saves_up_a_tenth_of_a_second() {
        let pace = ceiling(1_000);
        tokio::time::sleep(Duration::from_secs(60)).await;
        let begun = Instant::now();
        pace.admit(100).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
        pace.admit(100).await;
        assert!(begun.elapsed() >= Duration::from_millis(100), "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_wait_uses_up_nothing() {
        let pace = ceiling(1_000);
        let begun = Instant::now();
        for _ in 0..10 {
            let dropped = timeout(Duration::from_millis(10), pace.admit(5_000)).await;
            assert!(dropped.is_err(), "5,000 rows take five seconds");
        }
        pace.admit(1_000).await;
        let elapsed = begun.elapsed();
        assert!(elapsed <= Duration::from_millis(1_010), "{elapsed:?}");
        assert!(elapsed >= Duration::from_secs(1), "{elapsed:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_store_is_held_back_from_and_the_time_is_told() {
        let pace = Pace::new(PaceLimits::default());
        let answer = async |latency: Duration| {
            pace.admit(100).await;
            tokio::time::sleep(latency).await;
            pace.observe(100, latency);
        };
        for _ in 0..5 {
            answer(Duration::from_secs(1)).await;
        }
        let slowed = pace.slowed();
        assert!(slowed > Duration::ZERO && slowed < Duration::from_secs(5), "{slowed:?}");
        for _ in 0..2_000 {
            answer(Duration::from_millis(5)).await;
        }
        let held_back = pace.slowed();
        for _ in 0..2_000 {
            answer(Duration::from_millis(5)).await;
        }
        assert_eq!(pace.slowed(), held_back, "a store that answers in time is not held back from");
    }

    #[tokio::test(start_paused = true)]
    async fn a_ceiling_holds_while_the_store_is_slow_too() {
        let pace = ceiling(50);
        let begun = Instant::now();
        for _ in 0..20 {
            pace.admit(50).await;
            pace.observe(50, Duration::from_millis(700));
        }
        assert!(begun.elapsed() >= Duration::from_secs(20), "{:?}", begun.elapsed());
    }
}
