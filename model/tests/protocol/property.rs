//! What must always hold, and what must be reachable for that to mean something.

use stateright::{Expectation, Property};

use crate::ledger::is_made_good;
use crate::protocol::Protocol;
use crate::source::{ENTITIES, Row, Rows, at, value};
use crate::state::{Kind, Ledger, Record, State, id};
use crate::store::{time, visible};

pub(crate) const EQUALS_REFERENCE: &str = "the store equals the reference";
pub(crate) const NOTHING_MISSING: &str = "the watermark passes no row that is not there";
pub(crate) const FORWARD: &str = "no older row replaces a newer one";
pub(crate) const CURRENT: &str = "a superseded token never commits";
pub(crate) const ONCE: &str = "an attempt commits once";
pub(crate) const STICKS: &str = "a correction sticks";

pub(crate) const COMMIT: &str = "a commit";
pub(crate) const WHOLE: &str = "everything has landed";
pub(crate) const TAKEOVER: &str = "a commit after a takeover";
pub(crate) const CORRECTION: &str = "a correction is committed";
pub(crate) const FORCED: &str = "a changed source makes a correction";
pub(crate) const SWEEP: &str = "an entity is swept";
pub(crate) const STORE_LOSS: &str = "a loss is noticed";
pub(crate) const REBUILT: &str = "a loss is made good";

/// A name, and where it holds.
type Claim = (&'static str, fn(&Protocol, &State) -> bool);

/// Everything that is checked in each state.
pub(crate) fn all() -> Vec<Property<Protocol>> {
    let sometimes: [Claim; 8] = [
        (COMMIT, |_, state| state.ledger.last.is_some()),
        (WHOLE, is_whole),
        (TAKEOVER, |_, state| is_taken_over(&state.ledger)),
        (CORRECTION, |_, state| committed(&state.ledger).any(|r| r.kind == Kind::Correction)),
        (FORCED, is_forced),
        (SWEEP, is_swept),
        (STORE_LOSS, |protocol, state| !protocol.is_sound(state)),
        (REBUILT, |protocol, state| {
            protocol.is_sound(state) && committed(&state.ledger).any(|r| r.kind == Kind::Rebuild)
        }),
    ];
    let always: [Claim; 6] = [
        (EQUALS_REFERENCE, equals_reference),
        (NOTHING_MISSING, nothing_is_missing),
        (FORWARD, |_, state| !state.breaches.went_back),
        (CURRENT, |_, state| !state.breaches.superseded),
        (ONCE, |_, state| !state.breaches.twice),
        (STICKS, |_, state| !state.breaches.overwritten),
    ];
    let property = |expectation: Expectation| {
        move |(name, condition): Claim| Property {
            expectation: expectation.clone(),
            name,
            condition,
        }
    };
    let always = always.map(property(Expectation::Always));
    always.into_iter().chain(sometimes.map(property(Expectation::Sometimes))).collect()
}

/// The newest landed row of each entity.
pub(crate) fn reference(ledger: &Ledger) -> Rows {
    ledger.landed.map(|instants| {
        let newest = instants.iter().rposition(Option::is_some)?;
        instants[newest].map(|value| Row { time: at(newest), value })
    })
}

/// Attempts that may have left rows in the store which no commit accounts for.
fn open(state: &State) -> impl Iterator<Item = Record> {
    state.attempts.iter().enumerate().filter(|(_, attempt)| attempt.has_sent).filter_map(
        |(number, attempt)| {
            let record = Record {
                attempt: number,
                interval: attempt.interval,
                version: attempt.version,
                kind: attempt.kind,
                is_committed: state.ledger.record(number).is_some_and(|known| known.is_committed),
            };
            (!record.is_committed && !is_made_good(&state.ledger, &record)).then_some(record)
        },
    )
}

/// Wherever nothing is open and the next contact finds no loss. What committed or superseded
/// attempts may still send is no excuse.
fn equals_reference(protocol: &Protocol, state: &State) -> bool {
    let reference = reference(&state.ledger);
    open(state).next().is_some()
        || !protocol.is_sound(state)
        || (0..ENTITIES)
            .all(|entity| visible(state.store.rows[entity]) == visible(reference[entity]))
}

/// Only a correction that is under way may have taken a row away: one that its source lacks.
fn nothing_is_missing(protocol: &Protocol, state: &State) -> bool {
    let reference = reference(&state.ledger);
    let is_withdrawn = |entity: usize, row: Row| {
        open(state).filter(|record| record.kind != Kind::Plain).any(|record| {
            let version = protocol.scenario.versions[record.version];
            record.interval.contains(row.time)
                && value(version, entity, row.time.nanos() as usize).is_none()
        })
    };
    let is_there = |entity: usize| {
        visible(reference[entity]).is_none_or(|row| {
            time(state.store.rows[entity]) >= row.time || is_withdrawn(entity, row)
        })
    };
    !protocol.is_sound(state) || (0..ENTITIES).all(is_there)
}

fn committed(ledger: &Ledger) -> impl Iterator<Item = &Record> {
    ledger.records.iter().filter(|record| record.is_committed)
}

/// Every window that is ever missing has landed, and the store shows it.
pub(crate) fn is_whole(protocol: &Protocol, state: &State) -> bool {
    protocol
        .scenario
        .jobs
        .iter()
        .all(|job| job.kind == Kind::Rebuild || state.ledger.has_landed(job.interval))
        && protocol.is_sound(state)
        && open(state).next().is_none()
}

fn is_taken_over(ledger: &Ledger) -> bool {
    committed(ledger).any(|late| {
        ledger.records.iter().any(|early| {
            !early.is_committed && early.attempt < late.attempt && early.interval == late.interval
        })
    })
}

fn is_forced(protocol: &Protocol, state: &State) -> bool {
    let is_asked = |record: &Record| {
        protocol
            .scenario
            .jobs
            .iter()
            .any(|job| job.kind == record.kind && job.interval == record.interval)
    };
    committed(&state.ledger).any(|record| record.kind == Kind::Correction && !is_asked(record))
}

fn is_swept(_: &Protocol, state: &State) -> bool {
    committed(&state.ledger).any(|record| {
        let attempt = state.attempts.get(record.attempt);
        record.kind == Kind::Correction
            && attempt.is_some_and(|attempt| attempt.rows.iter().any(Option::is_none))
            && state.store.marker.is_some_and(|marker| marker.attempt == id(record.attempt))
    })
}
