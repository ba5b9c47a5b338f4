//! Retry policy as data; the loop that obeys it is at the edge that retries.

use std::time::Duration;

/// How often and how long to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Tries in all, the first included.
    pub attempts_max: u32,
    /// Pause before the second try; it doubles from there.
    pub backoff_first: Duration,
    /// The longest pause.
    pub backoff_max: Duration,
}

impl RetryPolicy {
    /// The pause after the given number of failed tries; `None` when no try is left.
    pub fn pause_after(&self, failed: u32) -> Option<Duration> {
        (failed < self.attempts_max).then(|| {
            let doubled = 2_u32.saturating_pow(failed.saturating_sub(1));
            self.backoff_first.saturating_mul(doubled).min(self.backoff_max)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_limit_and_end() {
        let policy = RetryPolicy {
            attempts_max: 4,
            backoff_first: Duration::from_millis(10),
            backoff_max: Duration::from_millis(25),
        };
        let pauses: Vec<_> = (1..=4).map(|failed| policy.pause_after(failed)).collect();
        let millis = |n| Some(Duration::from_millis(n));
        assert_eq!(pauses, [millis(10), millis(20), millis(25), None]);
    }
}
