//! Latencies of many requests, counted in buckets instead of kept: an hour of them takes no more
//! room than a second.

use std::fmt;
use std::time::Duration;

/// A power of two has so many buckets, as a power of two: a latency is off by less than 1 %.
const STEPS_LOG2: u32 = 7;
const STEPS: usize = 1 << STEPS_LOG2;
/// Of every number of 64 bits; those below the first step have a bucket each.
const BUCKETS: usize = (64 - STEPS_LOG2 as usize + 1) * STEPS;

/// How many requests took how long.
#[derive(Clone)]
pub struct Latencies {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0 }
    }
}

impl fmt::Debug for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (total, p50) = (self.total, self.quantile(0.5));
        f.debug_struct("Latencies").field("total", &total).field("p50", &p50).finish()
    }
}

impl Latencies {
    /// Counts a request.
    pub fn note(&mut self, took: Duration) {
        self.counts[bucket(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX))] += 1;
        self.total += 1;
    }

    /// Adds what another has counted.
    pub fn add(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
        self.total += other.total;
    }

    /// How many requests.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// What a share of them, such as 0.99, took at most; zero when there are none.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Duration {
        let rank = ((share * self.total as f64).ceil() as u64).max(1);
        let mut seen = 0;
        let reaches = |count: &u64| {
            seen += count;
            seen >= rank
        };
        let found = self.counts.iter().position(reaches);
        Duration::from_nanos(found.map_or(0, middle))
    }
}

fn bucket(nanos: u64) -> usize {
    // The step is the number's first eight bits.
    let shift = nanos.checked_ilog2().unwrap_or_default().saturating_sub(STEPS_LOG2);
    shift as usize * STEPS + (nanos >> shift) as usize
}

fn middle(bucket: usize) -> u64 {
    let shift = (bucket / STEPS).saturating_sub(1);
    let first = ((bucket - shift * STEPS) as u64) << shift;
    first + (1 << shift) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_latency_has_a_bucket_within_one_percent() {
        for nanos in (0..64).flat_map(|bit| [1_u64 << bit, (1 << bit) + (1 << bit) / 3, u64::MAX]) {
            assert!(bucket(nanos) < BUCKETS, "{nanos}");
            let off = middle(bucket(nanos)).abs_diff(nanos);
            assert!(off <= nanos / 100, "{nanos} is off by {off}");
        }
        assert_eq!(bucket(0), 0);
    }

    #[test]
    fn quantiles_are_those_of_all_requests() {
        let (mut odd, mut even) = (Latencies::default(), Latencies::default());
        for millis in 1..=1_000 {
            let side = if millis % 2 == 0 { &mut even } else { &mut odd };
            side.note(Duration::from_millis(millis));
        }
        odd.add(&even);
        assert_eq!(odd.total(), 1_000);
        for (share, millis) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1_000.0), (0.0, 1.0)] {
            let found = odd.quantile(share).as_secs_f64() * 1e3;
            assert!((found / millis - 1.0).abs() < 0.01, "{share}: {found} ms");
        }
        assert_eq!(Latencies::default().quantile(0.5), Duration::ZERO);
    }
}
