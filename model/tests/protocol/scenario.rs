//! What is searched: which source, which jobs, which losses, how many attempts.

use std::fmt;

use model::Interval;

use crate::property::{COMMIT, CORRECTION, FORCED, REBUILT, STORE_LOSS, SWEEP, TAKEOVER, WHOLE};
use crate::source::{EVER, INACTIVE, Version, between};
use crate::state::Kind;

/// A bounded world.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// The source as it is, and what replaces it, one after the other.
    pub(crate) versions: &'static [Version],
    pub(crate) jobs: &'static [Job],
    pub(crate) attempts: usize,
    pub(crate) flushes: u8,
    pub(crate) failovers: u8,
    pub(crate) restores: u8,
    /// There is a backup from before the first attempt, and no other.
    pub(crate) has_first_backup: bool,
    /// What must be reachable for the search to mean something.
    pub(crate) reaches: &'static [&'static str],
}

/// What somebody may ask for.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Job {
    pub(crate) kind: Kind,
    pub(crate) interval: Interval,
    pub(crate) when: When,
}

/// Short, for a trace has many.
impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Rebuild => write!(f, "{:?}", self.kind),
            _ => {
                let Interval { start, end } = self.interval;
                write!(f, "{:?} [{}, {})", self.kind, start.nanos(), end.nanos())
            }
        }
    }
}

/// When a job is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum When {
    /// Its interval has not landed.
    Missing,
    /// Its interval has landed.
    Landed,
    /// Store and ledger were found to disagree.
    Lost,
}

const FIRST: Interval = between(0, 2);
const SECOND: Interval = between(2, 4);

/// Both windows have both entities; one of them is no longer active at the end.
const DEACTIVATED: Version = &[(0, 0, 1), (0, 2, 2), (1, 1, 3), (1, 3, INACTIVE)];

/// Two windows with as few rows as show which of them are missing.
const SPARSE: &[Version] = &[&[(0, 0, 1), (1, 2, 2)]];

/// One value changes at an equal event time.
const ONE_CHANGED: &[Version] = &[&[(0, 0, 1)], &[(0, 0, 2)]];

/// The same beside a row that does not change.
const HALF_CHANGED: &[Version] = &[&[(0, 0, 1), (1, 1, 3)], &[(0, 0, 2), (1, 1, 3)]];

/// In the first window one value changes at an equal event time and one entity is withdrawn.
const CHANGED: &[Version] = &[&[(0, 0, 1), (1, 1, 2), (1, 3, 4)], &[(0, 0, 3), (1, 3, 4)]];

/// In the second window an entity is withdrawn and a late row appears below a stored one.
const WITHDRAWN: &[Version] = &[&[(0, 0, 1), (0, 2, 2), (1, 3, 3)], &[(0, 0, 1), (1, 2, 4)]];

/// The first window changes twice.
const TWICE: &[Version] = &[&[(0, 1, 1), (1, 0, 1)], &[(0, 1, 2)], &[(0, 0, 3), (1, 0, 3)]];

const fn job(kind: Kind, interval: Interval, when: When) -> Job {
    Job { kind, interval, when }
}

const LAND_FIRST: Job = job(Kind::Plain, FIRST, When::Missing);
const LAND_SECOND: Job = job(Kind::Plain, SECOND, When::Missing);
const RERUN_FIRST: Job = job(Kind::Plain, FIRST, When::Landed);
const CORRECT_FIRST: Job = job(Kind::Correction, FIRST, When::Landed);
const CORRECT_SECOND: Job = job(Kind::Correction, SECOND, When::Landed);
const REBUILD: Job = job(Kind::Rebuild, EVER, When::Lost);

/// One landing of each window, and nothing lost.
const QUIET: Scenario = Scenario {
    name: "",
    versions: &[DEACTIVATED],
    jobs: &[LAND_FIRST, LAND_SECOND],
    attempts: 3,
    flushes: 0,
    failovers: 0,
    restores: 0,
    has_first_backup: false,
    reaches: &[],
};

pub(crate) const TAKEOVERS: Scenario =
    Scenario { name: "takeovers", attempts: 4, reaches: &[COMMIT, WHOLE, TAKEOVER], ..QUIET };

pub(crate) const CHANGING_SOURCE: Scenario = Scenario {
    name: "a source that changes under open attempts",
    versions: TWICE,
    jobs: &[LAND_FIRST],
    attempts: 4,
    reaches: &[COMMIT, WHOLE, TAKEOVER, CORRECTION, FORCED, SWEEP],
    ..QUIET
};

pub(crate) const CORRECTION_OF_THE_FIRST_WINDOW: Scenario = Scenario {
    name: "a correction of the first window",
    versions: CHANGED,
    jobs: &[LAND_FIRST, RERUN_FIRST, CORRECT_FIRST],
    attempts: 4,
    reaches: &[COMMIT, WHOLE, TAKEOVER, CORRECTION, SWEEP],
    ..QUIET
};

pub(crate) const CORRECTION_BELOW_A_LANDED_WINDOW: Scenario = Scenario {
    name: "a correction below a landed window",
    versions: CHANGED,
    jobs: &[LAND_FIRST, LAND_SECOND, CORRECT_FIRST],
    attempts: 3,
    reaches: &[COMMIT, WHOLE, CORRECTION, SWEEP],
    ..QUIET
};

pub(crate) const CORRECTION_ABOVE_A_GAP: Scenario = Scenario {
    name: "a correction above a gap",
    versions: WITHDRAWN,
    jobs: &[LAND_FIRST, LAND_SECOND, CORRECT_SECOND],
    attempts: 3,
    reaches: &[COMMIT, WHOLE, TAKEOVER, CORRECTION, SWEEP],
    ..QUIET
};

pub(crate) const INTERVALS_THAT_OVERLAP: Scenario = Scenario {
    name: "intervals that overlap",
    versions: HALF_CHANGED,
    jobs: &[
        job(Kind::Plain, between(0, 1), When::Missing),
        job(Kind::Plain, between(1, 2), When::Missing),
        LAND_FIRST,
    ],
    reaches: &[COMMIT, WHOLE, TAKEOVER, CORRECTION, FORCED],
    ..QUIET
};

pub(crate) const FLUSH: Scenario = Scenario {
    name: "a flush",
    versions: SPARSE,
    flushes: 1,
    jobs: &[LAND_FIRST, LAND_SECOND, REBUILD],
    reaches: &[COMMIT, WHOLE, TAKEOVER, STORE_LOSS, REBUILT],
    ..QUIET
};

pub(crate) const FLUSH_AND_A_CORRECTION: Scenario = Scenario {
    name: "a flush and a correction",
    versions: CHANGED,
    flushes: 1,
    jobs: &[LAND_FIRST, CORRECT_FIRST, REBUILD],
    reaches: &[COMMIT, WHOLE, TAKEOVER, CORRECTION, STORE_LOSS, REBUILT],
    ..QUIET
};

pub(crate) const TWO_LOSSES_OF_THE_STORE: Scenario = Scenario {
    name: "two losses of the store",
    versions: SPARSE,
    flushes: 1,
    failovers: 1,
    jobs: &[LAND_FIRST, REBUILD],
    reaches: &[COMMIT, WHOLE, TAKEOVER, STORE_LOSS, REBUILT],
    ..QUIET
};

pub(crate) const FAILOVER: Scenario = Scenario {
    name: "a failover",
    versions: SPARSE,
    failovers: 1,
    jobs: &[LAND_FIRST, LAND_SECOND, REBUILD],
    reaches: &[COMMIT, WHOLE, TAKEOVER, STORE_LOSS, REBUILT],
    ..QUIET
};

pub(crate) const FAILOVER_AND_A_CORRECTION: Scenario = Scenario {
    name: "a failover and a correction",
    versions: CHANGED,
    failovers: 1,
    jobs: &[LAND_FIRST, CORRECT_FIRST, REBUILD],
    reaches: &[COMMIT, WHOLE, TAKEOVER, CORRECTION, STORE_LOSS, REBUILT],
    ..QUIET
};

pub(crate) const RESTORED_LEDGER: Scenario = Scenario {
    name: "a restored ledger",
    versions: CHANGED,
    restores: 1,
    jobs: &[LAND_FIRST, REBUILD],
    reaches: &[COMMIT, WHOLE, TAKEOVER, CORRECTION, STORE_LOSS, REBUILT],
    ..QUIET
};

pub(crate) const RESTORED_LEDGER_OF_TWO_WINDOWS: Scenario = Scenario {
    name: "a restored ledger of two windows",
    versions: SPARSE,
    restores: 1,
    jobs: &[LAND_FIRST, LAND_SECOND, REBUILD],
    reaches: &[COMMIT, WHOLE, TAKEOVER, STORE_LOSS, REBUILT],
    ..QUIET
};

pub(crate) const RESTORED_LEDGER_AND_A_CORRECTION: Scenario = Scenario {
    name: "a restored ledger and a correction",
    versions: CHANGED,
    restores: 1,
    jobs: &[LAND_FIRST, CORRECT_FIRST, REBUILD],
    reaches: &[COMMIT, WHOLE, TAKEOVER, CORRECTION, STORE_LOSS, REBUILT],
    ..QUIET
};

pub(crate) const GREATER_FENCE: Scenario = Scenario {
    name: "a restored ledger and a greater fence",
    versions: ONE_CHANGED,
    restores: 1,
    has_first_backup: true,
    attempts: 4,
    jobs: &[LAND_FIRST, REBUILD],
    reaches: &[COMMIT, WHOLE, TAKEOVER, CORRECTION, STORE_LOSS, REBUILT],
    ..QUIET
};

/// Both sides forget, at a moment at which neither had a commit by which to notice.
pub(crate) const BOTH_FORGET: Scenario = Scenario {
    name: "both sides forget",
    versions: ONE_CHANGED,
    jobs: &[LAND_FIRST],
    attempts: 2,
    flushes: 1,
    restores: 1,
    ..QUIET
};
