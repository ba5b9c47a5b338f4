//! Placeholder until the real one is merged.
use std::time::Duration;
use crate::interval::Interval;
/// One window.
pub fn cut_windows(interval: Interval, _: &[(Interval, u64)], _: u64, _: Option<Duration>) -> Vec<Interval> { vec![interval] }
