//! What the online store does with a write: each function is one atomic step inside the store.

use model::{EventTime, WriteMode};

use crate::part::{Part, Parts};
use crate::source::{INACTIVE, Row, Rows};
use crate::state::{Attempt, Fence, Number, Store};

/// The store refused a write because of its fence.
#[derive(Debug)]
pub(crate) struct Refused;

/// What became of a row that was not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// The store is as it was.
    Kept,
    /// The store changed as the protocol allows.
    Changed,
    /// An older row took the place of a newer one that was not the attempt's to correct.
    WentBack,
}

impl Attempt {
    /// How its rows are to be written.
    pub(crate) fn mode(&self) -> WriteMode {
        WriteMode {
            fence: self.is_fenced.then_some(self.token),
            correct: self.is_correcting().then_some(self.interval),
        }
    }

    /// Tells whether it installs a fence before its first write.
    pub(crate) fn announces(&self, parts: Parts) -> bool {
        parts.has(Part::Announcement) || (self.is_fenced && parts.has(Part::Fence))
    }
}

/// Writes what an attempt has to say of one entity.
///
/// `rows` and `earlier` are what it read, which is not always what was pinned.
pub(crate) fn write(
    store: &mut Store,
    parts: Parts,
    (number, attempt): (Number, &Attempt),
    entity: usize,
    (rows, earlier): (Rows, Rows),
) -> Result<Written, Refused> {
    let mode = attempt.mode();
    if parts.has(Part::Fence) && mode.fence.is_some_and(|_| !fits(store, parts, number, attempt)) {
        return Err(Refused);
    }
    let stored = store.rows[entity];
    let judged = match &attempt.seen {
        Some(seen) if !parts.has(Part::AtomicComparison) => {
            seen.rows.map_or(stored, |rows| rows[entity])
        }
        _ => stored,
    };
    let is_inside = |row: Option<Row>| {
        row.zip(mode.correct).is_some_and(|(row, interval)| interval.contains(row.time))
    };
    let (next, is_back) = match rows[entity] {
        Some(row) if replaces(parts, mode, row, judged, is_inside(judged)) => {
            (keep(parts, row), row.time < time(stored) && !is_inside(stored))
        }
        None if parts.has(Part::Sweep) && is_inside(stored) => {
            (earlier[entity].and_then(|row| keep(parts, row)), false)
        }
        _ => return Ok(Written::Kept),
    };
    store.rows[entity] = next;
    Ok(match is_back {
        true => Written::WentBack,
        false if next == stored => Written::Kept,
        false => Written::Changed,
    })
}

/// Tells whether the fence in the store is the attempt's own.
fn fits(store: &Store, parts: Parts, number: Number, attempt: &Attempt) -> bool {
    match store.fence {
        Some(fence) if parts.has(Part::FenceEquality) => {
            fence.token == attempt.token
                && (!parts.has(Part::Announcement) || fence.attempt == number)
        }
        Some(fence) => fence.token <= attempt.token,
        None => !parts.has(Part::FenceEquality),
    }
}

/// Newer wins; in a correction any row wins over a stored one of its own interval.
fn replaces(parts: Parts, mode: WriteMode, row: Row, stored: Option<Row>, is_inside: bool) -> bool {
    let Some(stored) = stored else { return true };
    if mode.correct.is_some() && !parts.has(Part::CorrectsOnlyInside) {
        return true;
    }
    !parts.has(Part::NewerWins)
        || row.time > stored.time
        || (is_inside && parts.has(Part::CorrectsInside))
}

/// A row as it is stored: an inactive one keeps only its event time.
fn keep(parts: Parts, row: Row) -> Option<Row> {
    (row.value != INACTIVE || parts.has(Part::Tombstone)).then_some(row)
}

/// What a reader sees.
pub(crate) fn visible(row: Option<Row>) -> Option<Row> {
    row.filter(|row| row.value != INACTIVE)
}

/// The event time of a row; the earliest of all where there is none.
pub(crate) fn time(row: Option<Row>) -> EventTime {
    row.map_or(EventTime::MIN, |row| row.time)
}

/// Installs an attempt's fence, unless there is a greater one or the store is no longer as it was
/// when it was compared with the ledger.
pub(crate) fn announce(
    store: &mut Store,
    parts: Parts,
    number: Number,
    attempt: &Attempt,
) -> Result<(), Refused> {
    let is_compared =
        attempt.seen.as_ref().is_some_and(|s| (s.marker, s.fence) == (store.marker, store.fence));
    let is_greater = store.fence.is_some_and(|held| held.token >= attempt.token);
    if is_greater || (parts.has(Part::AnnouncementCompares) && !is_compared) {
        return Err(Refused);
    }
    store.fence = Some(Fence { token: attempt.token, attempt: number });
    Ok(())
}

/// Leaves an attempt's marker.
pub(crate) fn mark(
    store: &mut Store,
    parts: Parts,
    number: Number,
    attempt: &Attempt,
) -> Result<(), Refused> {
    let fence = Fence { token: attempt.token, attempt: number };
    let has_announced = attempt.announces(parts) && parts.has(Part::MarkerFenced);
    if has_announced && store.fence != Some(fence) {
        return Err(Refused);
    }
    store.marker = attempt.marker(number);
    Ok(())
}
