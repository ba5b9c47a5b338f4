//! What the ledger does: each function is one transaction.

use model::{FencingToken, IntervalSet, Marker};

use crate::part::{Part, Parts};
use crate::scenario::{Job, Scenario};
use crate::source::{ENTITIES, EVER, Rows, TIMES, at, below, latest, value};
use crate::state::{Attempt, Breaches, Kind, Lease, Ledger, Number, Record, Stage};

/// The commit was refused.
#[derive(Debug)]
pub(crate) struct Refused;

/// Gives the lease to a new attempt and records its plan.
pub(crate) fn begin(
    ledger: &mut Ledger,
    parts: Parts,
    scenario: &Scenario,
    version: usize,
    number: Number,
    job: Job,
) -> Attempt {
    ledger.token = FencingToken(ledger.token.0 + 1);
    let token = ledger.token;
    ledger.lease = Some(Lease { holder: number, token, has_ended: false });
    let kind = kind(ledger, parts, version, job);
    let is_first_correction = kind != Kind::Plain && !ledger.is_fenced;
    ledger.is_fenced |= kind != Kind::Plain;
    let interval = if job.kind == Kind::Rebuild { EVER } else { job.interval };
    let landed = ledger.coverage.intervals();
    let covers =
        if job.kind == Kind::Rebuild { landed.clone() } else { [interval].into_iter().collect() };
    let known = if parts.has(Part::SweepWithinCoverage) {
        landed.clone()
    } else {
        [EVER].into_iter().collect()
    };
    if parts.has(Part::DurablePlan) {
        ledger.records.push(Record {
            attempt: number,
            interval,
            version,
            kind: recorded(kind, job),
            is_committed: false,
        });
    }
    let rows = latest(scenario.versions[version], &covers);
    let earlier = match kind {
        Kind::Plain => Rows::default(),
        _ => latest(scenario.versions[version], &below(&known, interval.start)),
    };
    Attempt {
        token,
        interval,
        covers,
        version,
        kind,
        is_fenced: ledger.is_fenced,
        is_first_correction,
        rows,
        earlier,
        last: ledger.last,
        watermark: ledger.coverage.watermark(),
        seen: None,
        stage: Stage::Begun,
        acknowledged: [false; ENTITIES],
        is_sending: false,
        has_sent: false,
        has_marked: false,
    }
}

/// A rebuild stays known as one, even where its rows are written like those of any other attempt.
fn recorded(kind: Kind, job: Job) -> Kind {
    if job.kind == Kind::Rebuild { Kind::Rebuild } else { kind }
}

/// What was asked for, unless something is left in the store that only a correction removes.
fn kind(ledger: &Ledger, parts: Parts, version: usize, job: Job) -> Kind {
    match job.kind {
        Kind::Rebuild if parts.has(Part::RebuildCorrects) => Kind::Rebuild,
        Kind::Correction => Kind::Correction,
        Kind::Plain | Kind::Rebuild if needs_correction(ledger, parts, version, job) => {
            Kind::Correction
        }
        Kind::Plain | Kind::Rebuild => Kind::Plain,
    }
}

/// Tells whether an attempt that was not committed may have left rows that newer-wins would keep.
fn needs_correction(ledger: &Ledger, parts: Parts, version: usize, job: Job) -> bool {
    let overlaps = |record: &&Record| {
        record.interval.start < job.interval.end && job.interval.start < record.interval.end
    };
    let open = |record: &&Record| !record.is_committed && !is_made_good(ledger, record);
    let mut left: Vec<&Record> = ledger.records.iter().filter(overlaps).filter(open).collect();
    if !parts.has(Part::EveryOpenAttempt) {
        left.drain(..left.len().saturating_sub(1));
    }
    left.into_iter().any(|record| {
        (parts.has(Part::ChangedSource) && record.version != version)
            || (parts.has(Part::OpenCorrection) && record.kind != Kind::Plain)
    })
}

/// Tells whether a later commit contains all that an attempt can have left.
pub(crate) fn is_made_good(ledger: &Ledger, left: &Record) -> bool {
    ledger.records.iter().any(|record| {
        record.is_committed
            && record.attempt > left.attempt
            && record.interval.start <= left.interval.start
            && left.interval.end <= record.interval.end
    })
}

/// Commits an attempt, or finds that it was committed already.
pub(crate) fn commit(
    ledger: &mut Ledger,
    parts: Parts,
    scenario: &Scenario,
    (number, attempt): (Number, &Attempt),
    breaches: &mut Breaches,
) -> Result<(), Refused> {
    let is_committed = ledger.record(number).map(|record| record.is_committed);
    match is_committed {
        Some(true) if parts.has(Part::CommitNamesAttempt) => return Ok(()),
        None if parts.has(Part::CommitNamesAttempt) && parts.has(Part::DurablePlan) => {
            return Err(Refused);
        }
        _ => {}
    }
    let holder = ledger.lease.as_ref();
    let is_current = if parts.has(Part::TokenInCommit) {
        holder.is_some_and(|lease| lease.token == attempt.token)
            || (!parts.has(Part::CommitNamesAttempt) && is_committed == Some(true))
    } else {
        ledger.coverage.watermark() == attempt.watermark
    };
    if !is_current {
        return Err(Refused);
    }
    breaches.superseded |= holder.is_some_and(|lease| lease.holder != number);
    breaches.twice |= is_committed == Some(true);
    land(ledger, scenario, attempt, number, attempt.marker(number));
    Ok(())
}

fn land(
    ledger: &mut Ledger,
    scenario: &Scenario,
    attempt: &Attempt,
    number: Number,
    marker: Option<Marker>,
) {
    let kind = ledger.record(number).map_or(attempt.kind, |record| record.kind);
    ledger.records.retain(|record| record.attempt != number);
    ledger.records.push(Record {
        attempt: number,
        interval: attempt.interval,
        version: attempt.version,
        kind,
        is_committed: true,
    });
    ledger.records.sort_by_key(|record| record.attempt);
    refer(ledger, scenario, attempt, kind);
    ledger.coverage.cover(attempt.covers.as_slice().iter().copied());
    ledger.last = marker;
    ledger.lease = None;
}

/// Adds what an attempt read to the reference: a plain one adds what was not there, a correction
/// replaces.
fn refer(ledger: &mut Ledger, scenario: &Scenario, attempt: &Attempt, kind: Kind) {
    let contains = |within: &IntervalSet, instant| {
        within.as_slice().iter().any(|interval| interval.contains(at(instant)))
    };
    for entity in 0..ENTITIES {
        for instant in (0..TIMES).filter(|&instant| contains(&attempt.covers, instant)) {
            let read = value(scenario.versions[attempt.version], entity, instant);
            let landed = &mut ledger.landed[entity][instant];
            *landed = if kind == Kind::Plain { landed.or(read) } else { read };
        }
    }
}
