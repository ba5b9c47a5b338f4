//! Which intervals of Feast's list become one when another is recorded.
//!
//! Apart from `edit.rs`, which knows bytes: what merges is decided on plain numbers, so that it can
//! be tested on any list.

use std::collections::BTreeSet;

/// An interval closed at both ends, in microseconds; reversed when its end comes first.
type Closed = (i64, i64);

/// What recording an interval makes of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Compacted {
    /// The recorded interval with everything that it touches.
    pub(super) union: Closed,
    /// Positions of the listed intervals that are part of the union, ascending.
    pub(super) absorbed: BTreeSet<usize>,
}

impl Compacted {
    /// Tells whether the list has the union, and nothing else of it.
    pub(super) fn is_listed(&self, listed: &[Closed]) -> bool {
        let mut absorbed = self.absorbed.iter();
        absorbed.next().is_some_and(|only| listed[*only] == self.union) && absorbed.next().is_none()
    }
}

/// Merges an interval with all listed ones that overlap or adjoin it, or that do so to those.
///
/// Feast never merges, but all it asks of the list is the greatest end, and that stays. Intervals
/// adjoin when one starts in the microsecond in which the other ends, as `materialize-incremental`
/// leaves them, or in the next: a window of ours that ends before midnight lists
/// `23:59:59.999999`, and the next one midnight. The list knows no part of a microsecond, so a
/// smaller gap is none. A reversed interval covers nothing and touches nothing; its end may still
/// be the greatest, so it stays, and as a record it is added as it is.
///
/// # Units
/// Microseconds since the epoch.
/// # Source
/// Feast 0.67 `FeatureView.most_recent_end_time`: `max` over the ends.
pub(super) fn compact(listed: &[Closed], added: Closed) -> Compacted {
    let positions = listed.iter().enumerate();
    if is_reversed(added) {
        let same = positions.filter(|(_, held)| **held == added).map(|(position, _)| position);
        return Compacted { union: added, absorbed: same.take(1).collect() };
    }
    let mut ascending: Vec<(Closed, Option<usize>)> = positions
        .filter(|(_, held)| !is_reversed(**held))
        .map(|(position, held)| (*held, Some(position)))
        .chain([(added, None)])
        .collect();
    ascending.sort_unstable();
    let groups = ascending.iter().fold(Vec::<Group>::new(), |mut groups, (held, position)| {
        match groups.last_mut().filter(|group| held.0 <= group.union.1.saturating_add(1)) {
            Some(group) => group.take(*held, *position),
            None => groups.push(Group::of(*held, *position)),
        }
        groups
    });
    let group = groups.into_iter().find(|group| group.has_added);
    let group = group.unwrap_or_else(|| Group::of(added, None));
    Compacted { union: group.union, absorbed: group.positions }
}

fn is_reversed((start, end): Closed) -> bool {
    start > end
}

/// Intervals without a gap between them.
struct Group {
    union: Closed,
    positions: BTreeSet<usize>,
    has_added: bool,
}

impl Group {
    fn of(interval: Closed, position: Option<usize>) -> Self {
        let positions = position.into_iter().collect();
        Self { union: interval, positions, has_added: position.is_none() }
    }

    /// Takes an interval that starts no earlier than those before it.
    fn take(&mut self, interval: Closed, position: Option<usize>) {
        self.union.1 = self.union.1.max(interval.1);
        self.positions.extend(position);
        self.has_added |= position.is_none();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The list as it is afterwards, in the order of `edit.rs`.
    fn recorded(listed: &[Closed], added: Closed) -> Vec<Closed> {
        let compacted = compact(listed, added);
        let mut after = Vec::new();
        for (position, held) in listed.iter().enumerate() {
            if compacted.absorbed.first() == Some(&position) {
                after.push(compacted.union);
            } else if !compacted.absorbed.contains(&position) {
                after.push(*held);
            }
        }
        if compacted.absorbed.is_empty() {
            after.push(compacted.union);
        }
        after
    }

    fn covered(listed: &[Closed]) -> BTreeSet<i64> {
        listed.iter().flat_map(|(start, end)| *start..=*end).collect()
    }

    #[test]
    fn what_materialize_incremental_leaves_becomes_one() {
        assert_eq!(recorded(&[(0, 10), (10, 20)], (20, 30)), [(0, 30)]);
    }

    #[test]
    fn the_next_microsecond_adjoins_and_the_one_after_it_does_not() {
        assert_eq!(recorded(&[(0, 9)], (10, 20)), [(0, 20)]);
        assert_eq!(recorded(&[(0, 8)], (10, 20)), [(0, 8), (10, 20)]);
        assert_eq!(recorded(&[(10, 20)], (0, 9)), [(0, 20)]);
        assert_eq!(recorded(&[(10, 20)], (0, 8)), [(10, 20), (0, 8)]);
    }

    #[test]
    fn an_interval_that_closes_a_gap_merges_both_sides() {
        assert_eq!(recorded(&[(50, 60), (0, 10), (20, 30)], (10, 20)), [(50, 60), (0, 30)]);
    }

    #[test]
    fn what_is_apart_stays_as_it_is() {
        let apart = [(100, 110), (110, 120), (100, 110)];
        let after = [&apart[..], &[(0, 10)]].concat();
        assert_eq!(recorded(&apart, (0, 10)), after);
    }

    #[test]
    fn reversed_intervals_touch_nothing_and_are_not_listed_twice() {
        assert_eq!(recorded(&[(30, 15)], (10, 20)), [(30, 15), (10, 20)]);
        assert_eq!(recorded(&[(10, 20)], (30, 15)), [(10, 20), (30, 15)]);
        assert_eq!(recorded(&[(30, 15), (10, 20)], (30, 15)), [(30, 15), (10, 20)]);
    }

    #[test]
    fn the_last_microsecond_of_all_overflows_nothing() {
        let last = (0, i64::MAX);
        assert_eq!(recorded(&[last], (i64::MAX, i64::MAX)), [last]);
    }

    fn interval() -> impl Strategy<Value = Closed> {
        (-40_i64..40, -3_i64..9).prop_map(|(start, length)| (start, start + length))
    }

    proptest! {
        #[test]
        fn nothing_is_lost_nothing_is_claimed_and_the_union_stands_alone(
            listed in proptest::collection::vec(interval(), 0..12),
            added in interval(),
        ) {
            let after = recorded(&listed, added);
            let before = [&listed[..], &[added]].concat();
            prop_assert_eq!(covered(&after), covered(&before));
            let greatest = |list: &[Closed]| list.iter().map(|(_, end)| *end).max();
            prop_assert_eq!(greatest(&after), greatest(&before));

            let union = compact(&listed, added).union;
            let (ours, others): (Vec<Closed>, Vec<Closed>) =
                after.iter().partition(|held| **held == union);
            if !is_reversed(added) {
                prop_assert_eq!(ours.len(), 1);
                for other in others.iter().filter(|other| !is_reversed(**other)) {
                    prop_assert!(other.1 + 1 < union.0 || union.1 + 1 < other.0, "{:?}", after);
                }
            }
            let others_before: Vec<Closed> =
                listed.iter().copied().filter(|held| others.contains(held)).collect();
            prop_assert_eq!(others, others_before, "the others keep their order");
        }

        #[test]
        fn a_second_time_changes_nothing(
            listed in proptest::collection::vec(interval(), 0..12),
            added in interval(),
        ) {
            let once = recorded(&listed, added);
            prop_assert!(compact(&once, added).is_listed(&once));
            prop_assert_eq!(recorded(&once, added), once);
        }

        #[test]
        fn the_list_is_no_longer_than_its_gaps_ask_for(
            records in proptest::collection::vec(interval(), 1..40),
        ) {
            let records = records.into_iter().filter(|record| !is_reversed(*record));
            let list = records.fold(Vec::new(), |list, record| recorded(&list, record));
            let held = covered(&list);
            let starts = held.iter().filter(|instant| !held.contains(&(**instant - 1))).count();
            prop_assert_eq!(list.len(), starts);
        }
    }
}
