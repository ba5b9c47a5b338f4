//! What the searched world consists of.
//!
//! Everything here is compared and hashed, so nothing is kept that no later step can see.

use model::{AttemptId, Coverage, EventTime, FencingToken, Interval, IntervalSet, Marker};
use uuid::Uuid;

use crate::source::{ENTITIES, EVER, Rows, TIMES};

/// Attempts are numbered in the order in which they began, over all histories of the ledger.
pub(crate) type Number = usize;

/// The world.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    /// Which version of the source is there.
    pub(crate) version: usize,
    pub(crate) ledger: Ledger,
    /// An older state of the ledger, to which it can be restored.
    pub(crate) backup: Option<Ledger>,
    pub(crate) store: Store,
    /// An older state of the store, to which it can fail over.
    pub(crate) replica: Option<Store>,
    pub(crate) attempts: Vec<Attempt>,
    /// Nonces drawn so far.
    pub(crate) nonces: u8,
    pub(crate) flushes: u8,
    pub(crate) failovers: u8,
    pub(crate) restores: u8,
    /// What has happened that never may.
    pub(crate) breaches: Breaches,
}

/// The ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Ledger {
    /// The last token that was given.
    pub(crate) token: FencingToken,
    pub(crate) lease: Option<Lease>,
    pub(crate) records: Vec<Record>,
    pub(crate) coverage: Coverage,
    /// The last commit.
    pub(crate) last: Option<Marker>,
    /// The view was corrected once, so attempts carry the fence.
    pub(crate) is_fenced: bool,
    /// Attempts without a fence no longer send.
    pub(crate) is_settled: bool,
    /// The reference: what the committed attempts read, by entity and instant.
    pub(crate) landed: [[Option<u8>; TIMES]; ENTITIES],
}

/// The claim on the view.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Lease {
    pub(crate) holder: Number,
    pub(crate) token: FencingToken,
    pub(crate) has_ended: bool,
}

/// What the ledger knows of an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Record {
    pub(crate) attempt: Number,
    pub(crate) interval: Interval,
    pub(crate) version: usize,
    pub(crate) kind: Kind,
    pub(crate) is_committed: bool,
}

/// How an attempt treats stored rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Plain,
    Correction,
    Rebuild,
}

/// The online store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Store {
    pub(crate) rows: Rows,
    pub(crate) fence: Option<Fence>,
    pub(crate) marker: Option<Marker>,
    /// Drawn by the server at each start.
    pub(crate) run: u8,
    /// Drawn by the first attempt that finds none; a flush takes it away.
    pub(crate) nonce: Option<u8>,
}

/// The fence in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Fence {
    pub(crate) token: FencingToken,
    pub(crate) attempt: Number,
}

/// A process's own view of its attempt.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Attempt {
    pub(crate) token: FencingToken,
    pub(crate) interval: Interval,
    /// What its commit adds to the coverage.
    pub(crate) covers: IntervalSet,
    pub(crate) version: usize,
    pub(crate) kind: Kind,
    pub(crate) is_fenced: bool,
    /// It is the one that made the view a fenced one.
    pub(crate) is_first_correction: bool,
    /// The newest rows of the interval, in the pinned source.
    pub(crate) rows: Rows,
    /// What a sweep puts back: the newest rows below the interval.
    pub(crate) earlier: Rows,
    /// The ledger's last commit when the attempt began.
    pub(crate) last: Option<Marker>,
    /// The watermark when the attempt began.
    pub(crate) watermark: Option<EventTime>,
    /// The store when the attempt first looked.
    pub(crate) seen: Option<Seen>,
    pub(crate) stage: Stage,
    pub(crate) acknowledged: [bool; ENTITIES],
    /// Rows of it may be under way.
    pub(crate) is_sending: bool,
    /// Rows of it may have been applied.
    pub(crate) has_sent: bool,
    /// Its marker may be under way, though it was acknowledged.
    pub(crate) has_marked: bool,
}

/// What an attempt noted of the store at its start.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Seen {
    pub(crate) marker: Option<Marker>,
    pub(crate) fence: Option<Fence>,
    pub(crate) run: u8,
    pub(crate) nonce: Option<u8>,
    /// Stored rows, as far as a comparison outside the store uses them.
    pub(crate) rows: Option<Rows>,
}

/// How far a process has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Stage {
    /// It has the lease and a plan, both in the ledger.
    Begun,
    /// It has compared store and ledger.
    Looked,
    /// It sends rows.
    Writing,
    /// Its marker was acknowledged.
    Marked,
    /// The store was found to be the same one still.
    Asked,
    /// It gave up. One that committed does not get here: it may ask again.
    Ended,
}

/// What never may happen, seen as it happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Breaches {
    /// An older row replaced a newer one, outside a correction's interval.
    pub(crate) went_back: bool,
    /// A superseded token committed.
    pub(crate) superseded: bool,
    /// An attempt committed twice.
    pub(crate) twice: bool,
    /// A committed correction was changed by an attempt that is older than it.
    pub(crate) overwritten: bool,
}

/// The id under which the rules of `model` know an attempt.
pub(crate) fn id(attempt: Number) -> AttemptId {
    AttemptId::from_uuid(Uuid::from_u128(attempt as u128))
}

impl Attempt {
    /// Stops the process. What it sent may still be applied.
    pub(crate) fn end(&mut self) {
        self.stage = Stage::Ended;
        self.watermark = None;
        if !self.has_marked {
            self.last = None;
            self.seen = None;
        }
        self.acknowledged = [false; ENTITIES];
        self.covers = IntervalSet::default();
        if !self.is_sending {
            self.rows = Rows::default();
            self.earlier = Rows::default();
        }
    }

    /// Tells whether stored rows inside its interval give way.
    pub(crate) fn is_correcting(&self) -> bool {
        self.kind != Kind::Plain
    }

    /// Tells whether it goes on where store and ledger disagree.
    pub(crate) fn is_rebuild(&self) -> bool {
        self.interval == EVER
    }

    /// The marker it leaves: one more than anything that ledger or store have counted.
    pub(crate) fn marker(&self, number: Number) -> Option<Marker> {
        let sequence = |marker: Option<Marker>| marker.map_or(0, |marker| marker.sequence);
        let stored = sequence(self.seen.as_ref()?.marker);
        let base = sequence(self.last);
        let base = if self.is_rebuild() { base.max(stored) } else { base };
        Some(Marker { sequence: base + 1, attempt: id(number) })
    }
}

impl Ledger {
    /// What it knows of an attempt.
    pub(crate) fn record(&self, attempt: Number) -> Option<&Record> {
        self.records.iter().find(|record| record.attempt == attempt)
    }

    /// Tells whether intervals have landed as a whole.
    pub(crate) fn has_landed(&self, interval: Interval) -> bool {
        self.coverage
            .intervals()
            .as_slice()
            .iter()
            .any(|held| held.start <= interval.start && interval.end <= held.end)
    }
}
