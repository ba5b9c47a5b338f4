//! Half-open interval arithmetic in event time.
//!
//! Feast's intervals are closed at both ends; the conversion lives in `feast::interval` alone.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::time::EventTime;

/// `[start, end)` in event time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Interval {
    /// The first instant inside.
    pub start: EventTime,
    /// The first instant after it.
    pub end: EventTime,
}

impl Interval {
    /// Makes an interval; `start >= end` makes an empty one.
    pub const fn new(start: EventTime, end: EventTime) -> Self {
        Self { start, end }
    }

    /// Tells whether no instant lies inside.
    pub fn is_empty(&self) -> bool {
        self.start >= self.end
    }

    /// Tells whether the instant lies inside.
    pub fn contains(&self, instant: EventTime) -> bool {
        self.start <= instant && instant < self.end
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {})", self.start, self.end)
    }
}

/// Disjoint, non-touching, non-empty intervals in ascending order.
///
/// Adding one that touches or overlaps others merges them, so the set's size is the number of
/// gaps plus one, however many runs went into it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IntervalSet(Vec<Interval>);

impl IntervalSet {
    /// Adds an interval, merging what it touches; an empty one changes nothing.
    pub fn insert(&mut self, added: Interval) {
        if added.is_empty() {
            return;
        }
        let first = self.0.partition_point(|held| held.end < added.start);
        let last = self.0.partition_point(|held| held.start <= added.end);
        let merged = self.0[first..last].iter().fold(added, |sum, held| {
            Interval::new(sum.start.min(held.start), sum.end.max(held.end))
        });
        self.0.splice(first..last, [merged]);
    }

    /// The intervals, ascending.
    pub fn as_slice(&self) -> &[Interval] {
        &self.0
    }

    /// From the first instant to the last, gaps included; `None` when nothing is covered.
    pub fn hull(&self) -> Option<Interval> {
        let (first, last) = self.0.first().zip(self.0.last())?;
        Some(Interval::new(first.start, last.end))
    }

    /// Adds all that another set covers.
    pub fn insert_all(&mut self, other: &Self) {
        other.0.iter().for_each(|&interval| self.insert(interval));
    }

    /// Tells whether nothing is covered.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The interval that contains the instant or ends at it, if any.
    pub fn touching(&self, instant: EventTime) -> Option<Interval> {
        self.0.iter().copied().find(|held| held.start <= instant && instant <= held.end)
    }

    /// What this set covers and the other does not, ascending.
    pub fn minus(&self, other: &Self) -> Vec<Interval> {
        let mut left = Vec::new();
        for held in &self.0 {
            let mut start = held.start;
            for cut in other.0.iter().filter(|cut| cut.end > held.start && cut.start < held.end) {
                left.push(Interval::new(start, cut.start));
                start = cut.end;
            }
            left.push(Interval::new(start, held.end));
        }
        left.retain(|interval| !interval.is_empty());
        left
    }

    /// What lies between the intervals, ascending.
    pub fn gaps(&self) -> Vec<Interval> {
        self.0.windows(2).map(|pair| Interval::new(pair[0].end, pair[1].start)).collect()
    }
}

impl FromIterator<Interval> for IntervalSet {
    fn from_iter<I: IntoIterator<Item = Interval>>(intervals: I) -> Self {
        let mut set = Self::default();
        intervals.into_iter().for_each(|interval| set.insert(interval));
        set
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn interval(start: i64, end: i64) -> Interval {
        Interval::new(EventTime::from_nanos(start), EventTime::from_nanos(end))
    }

    #[test]
    fn touching_intervals_merge() {
        let set: IntervalSet =
            [interval(0, 2), interval(4, 6), interval(2, 4)].into_iter().collect();
        assert_eq!(set.as_slice(), [interval(0, 6)]);
    }

    #[test]
    fn a_hull_spans_the_gaps() {
        let mut set: IntervalSet = [interval(4, 6)].into_iter().collect();
        set.insert_all(&[interval(0, 2), interval(6, 8)].into_iter().collect());
        assert_eq!(set.as_slice(), [interval(0, 2), interval(4, 8)]);
        assert_eq!(set.hull(), Some(interval(0, 8)));
        assert_eq!(IntervalSet::default().hull(), None);
    }

    #[test]
    fn a_reversed_interval_covers_nothing() {
        let set: IntervalSet = [interval(5, 1)].into_iter().collect();
        assert!(set.is_empty());
    }

    proptest! {
        #[test]
        fn a_difference_is_what_one_covers_and_the_other_does_not(
            left in prop::collection::vec((0_i64..40, 0_i64..40), 0..8),
            right in prop::collection::vec((0_i64..40, 0_i64..40), 0..8),
        ) {
            let set = |pairs: &[(i64, i64)]| -> IntervalSet {
                pairs.iter().map(|&(a, b)| interval(a, b)).collect()
            };
            let (left, right) = (set(&left), set(&right));
            let difference = left.minus(&right);
            let within = |intervals: &[Interval], at| intervals.iter().any(|i| i.contains(at));
            for instant in 0..40 {
                let at = EventTime::from_nanos(instant);
                let expected = within(left.as_slice(), at) && !within(right.as_slice(), at);
                prop_assert_eq!(within(&difference, at), expected);
            }
        }

        #[test]
        fn a_set_covers_exactly_what_was_inserted(
            pairs in prop::collection::vec((0_i64..60, 0_i64..60), 0..20),
        ) {
            let set: IntervalSet = pairs.iter().map(|&(a, b)| interval(a, b)).collect();
            for instant in 0..60 {
                let instant = EventTime::from_nanos(instant);
                let inserted = pairs.iter().any(|&(a, b)| interval(a, b).contains(instant));
                let held = set.as_slice().iter().any(|held| held.contains(instant));
                prop_assert_eq!(inserted, held);
            }
            for pair in set.as_slice().windows(2) {
                prop_assert!(pair[0].end < pair[1].start);
            }
        }
    }
}
