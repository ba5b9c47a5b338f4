//! The source: tables of rows that replace each other, and what an attempt reads from one.

use model::{EventTime, Interval, IntervalSet};

/// Entities of the view.
pub(crate) const ENTITIES: usize = 2;
/// Event times are `0..TIMES`.
pub(crate) const TIMES: usize = 4;
/// The value of a row whose entity is no longer active.
pub(crate) const INACTIVE: u8 = 0;

/// A row as the online store holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Row {
    pub(crate) time: EventTime,
    pub(crate) value: u8,
}

/// A row for each entity, where there is one.
pub(crate) type Rows = [Option<Row>; ENTITIES];

/// One state of the source: entity, event time, value.
pub(crate) type Version = &'static [(usize, usize, u8)];

/// The event time of an instant of the model.
pub(crate) const fn at(instant: usize) -> EventTime {
    EventTime::from_nanos(instant as i64)
}

/// An interval of the model.
pub(crate) const fn between(start: usize, end: usize) -> Interval {
    Interval::new(at(start), at(end))
}

/// All of time.
pub(crate) const EVER: Interval = Interval::new(EventTime::MIN, EventTime::MAX);

/// The value of an entity at exactly one event time.
pub(crate) fn value(version: Version, entity: usize, instant: usize) -> Option<u8> {
    version.iter().find(|row| row.0 == entity && row.1 == instant).map(|row| row.2)
}

/// The newest row of each entity within intervals.
pub(crate) fn latest(version: Version, intervals: &IntervalSet) -> Rows {
    let mut rows = Rows::default();
    for &(entity, instant, value) in version {
        let row = Row { time: at(instant), value };
        let is_within = intervals.as_slice().iter().any(|within| within.contains(row.time));
        if is_within && rows[entity].is_none_or(|known| known.time < row.time) {
            rows[entity] = Some(row);
        }
    }
    rows
}

/// What two sets of intervals have in common, below an instant.
pub(crate) fn below(intervals: &IntervalSet, end: EventTime) -> IntervalSet {
    intervals.as_slice().iter().map(|held| Interval::new(held.start, held.end.min(end))).collect()
}
