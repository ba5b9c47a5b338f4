//! The rule by which a view's watermark advances.
//!
//! Kept apart from the SQL that stores it so that the rule can be read, and tested, alone.

use serde::Serialize;

use crate::interval::{Interval, IntervalSet};
use crate::time::EventTime;

/// What has been materialized of one view, and up to where without a gap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Coverage {
    intervals: IntervalSet,
    watermark: Option<EventTime>,
}

impl Coverage {
    /// Takes up a stored state.
    pub fn new(intervals: IntervalSet, watermark: Option<EventTime>) -> Self {
        Self { intervals, watermark }
    }

    /// The merged intervals.
    pub fn intervals(&self) -> &IntervalSet {
        &self.intervals
    }

    /// The first instant that may not have been materialized; `None` before the first interval.
    pub fn watermark(&self) -> Option<EventTime> {
        self.watermark
    }

    /// What lies above the watermark's own interval and below a later one.
    pub fn gaps(&self) -> Vec<Interval> {
        let watermark = self.watermark.unwrap_or(EventTime::MIN);
        self.intervals.gaps().into_iter().filter(|gap| gap.start >= watermark).collect()
    }

    /// Adds intervals that have landed, and advances the watermark.
    ///
    /// The watermark is the end of the interval that holds it: an interval beyond a gap is
    /// recorded and moves nothing, one that closes the gap moves the watermark past both, and one
    /// wholly below never moves it back. The first watermark is the end of the earliest interval.
    pub fn cover(&mut self, landed: impl IntoIterator<Item = Interval>) {
        for interval in landed {
            self.intervals.insert(interval);
        }
        let base = self.watermark.or_else(|| Some(self.intervals.as_slice().first()?.end));
        self.watermark =
            base.map(|base| self.intervals.touching(base).map_or(base, |held| held.end.max(base)));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn interval(start: i64, end: i64) -> Interval {
        Interval::new(EventTime::from_nanos(start), EventTime::from_nanos(end))
    }

    fn at(nanos: i64) -> Option<EventTime> {
        Some(EventTime::from_nanos(nanos))
    }

    #[test]
    fn an_interval_beyond_a_gap_does_not_move_the_watermark() {
        let mut coverage = Coverage::default();
        coverage.cover([interval(0, 10)]);
        coverage.cover([interval(20, 30)]);
        assert_eq!(coverage.watermark(), at(10));
        assert_eq!(coverage.gaps(), [interval(10, 20)]);
        coverage.cover([interval(10, 20)]);
        assert_eq!(coverage.watermark(), at(30));
        assert!(coverage.gaps().is_empty());
    }

    #[test]
    fn a_backfill_does_not_move_the_watermark_back() {
        let mut coverage = Coverage::default();
        coverage.cover([interval(100, 110)]);
        coverage.cover([interval(0, 50)]);
        assert_eq!(coverage.watermark(), at(110));
        assert!(coverage.gaps().is_empty(), "a gap below the watermark is history, not debt");
    }

    #[test]
    fn an_adopted_history_with_a_gap_stops_at_the_gap() {
        let mut coverage = Coverage::default();
        coverage.cover([interval(20, 30), interval(0, 10)]);
        assert_eq!(coverage.watermark(), at(10));
    }

    proptest! {
        #[test]
        fn the_watermark_never_moves_back_nor_over_a_gap(
            pairs in prop::collection::vec((0_i64..60, 0_i64..60), 1..20),
        ) {
            let mut coverage = Coverage::default();
            let mut before = None;
            for (a, b) in pairs {
                coverage.cover([interval(a, b)]);
                prop_assert!(coverage.watermark() >= before);
                if let Some(watermark) = coverage.watermark() {
                    let below = watermark.plus_nanos(-1);
                    prop_assert!(coverage.intervals().as_slice().iter().any(|i| i.contains(below)));
                }
                before = coverage.watermark();
            }
        }
    }
}
