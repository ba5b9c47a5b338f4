//! An answer: what was found for each row and feature, and what that is called.
//!
//! Pure. The two protocols write it down in `answer::json` and `answer::proto`.

pub(crate) mod json;
pub(crate) mod proto;

use std::sync::Arc;

use feast::redis_layout::decode_timestamp;
use feast::serving::FieldStatus as Status;
use feast::value::answer::is_null;
use online_store::FetchedRow;

use crate::bind::Bound;
use crate::catalog::CountedPlan;
use crate::metric::{Asked, Found};
use crate::plan::{Column, Source};
use crate::settings::{Expired, Settings};

const NANOS_PER_SECOND: i128 = 1_000_000_000;

/// A value as it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    /// Where it is: the group's row has it at this place; `None` for null.
    pub at: Option<usize>,
    /// What it is.
    pub status: Status,
    /// When it was true: seconds since the epoch and the nanoseconds above them; the epoch when
    /// nothing is stored.
    pub event_time: (i64, u32),
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub(crate) plan: Arc<CountedPlan>,
    pub(crate) bound: Bound,
    /// For each group a row for each entity; none where a key was not said in full.
    pub(crate) rows: Vec<Option<Vec<FetchedRow>>>,
    pub(crate) settings: Settings,
    pub(crate) view_versions: bool,
    /// Since the epoch.
    pub(crate) now_nanos: i128,
}

impl Answer {
    /// What it took.
    pub fn asked(&self) -> Asked {
        let plan = &self.plan.plan;
        Asked { entities: self.bound.rows, features: plan.columns.len(), views: plan.views.len() }
    }

    /// A row's value of a column of the plan.
    fn cell(&self, column: &Column, row: usize) -> Cell {
        let nothing = |status| Cell { at: None, status, event_time: (0, 0) };
        let Source::Stored { group, time, cell, view } = column.source else {
            return nothing(Status::Invalid);
        };
        let Some(rows) = &self.rows[group] else { return nothing(Status::NotFound) };
        let stored = &rows[row];
        let event_time = stored.cell(time).and_then(decode_timestamp);
        let event_time = event_time.map(|(seconds, nanos)| (seconds, nanos.max(0) as u32));
        let at_time = |status, at| Cell { at, status, event_time: event_time.unwrap_or((0, 0)) };
        let Some(value) = stored.cell(cell) else { return at_time(Status::NotFound, None) };
        let age = |(seconds, nanos): (i64, u32)| {
            self.now_nanos - (i128::from(seconds) * NANOS_PER_SECOND + i128::from(nanos))
        };
        let ttl = self.plan.plan.views[view].ttl_nanos;
        let is_expired = ttl.zip(event_time).is_some_and(|(ttl, time)| age(time) > ttl);
        if is_expired && !self.settings.is_feast() {
            let is_kept = self.settings.expired == Expired::Keep;
            return at_time(Status::OutsideMaxAge, is_kept.then_some(cell));
        }
        let status = if is_null(value) { Status::NullValue } else { Status::Present };
        at_time(status, Some(cell))
    }

    /// The status as it is told.
    fn told(&self, status: Status) -> Status {
        if self.settings.is_feast() && status != Status::Invalid { Status::Present } else { status }
    }

    /// A cell of the store that a value is in.
    fn stored(&self, column: &Column, row: usize, cell: Cell) -> Option<(&FetchedRow, usize)> {
        let Source::Stored { group, .. } = column.source else { return None };
        Some((&self.rows[group].as_ref()?[row], cell.at?))
    }

    /// Adds what a column holds to the counters of its view.
    fn count(&self, column: &Column, found: Found) {
        if let Source::Stored { view, .. } = column.source {
            self.plan.counters[view].add(found);
        }
    }
}

fn note(found: &mut Found, status: Status) {
    match status {
        Status::Invalid => {}
        Status::Present => found.hits += 1,
        Status::NullValue => found.nulls += 1,
        Status::NotFound => found.misses += 1,
        Status::OutsideMaxAge => found.stale += 1,
    }
}

#[cfg(test)]
mod tests;
