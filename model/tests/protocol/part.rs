//! The parts of the protocol, each of which can be left out to see what it is for.

/// A part of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Part {
    /// A row replaces only an older one.
    NewerWins,
    /// The comparison happens in the store, in one step with the write.
    AtomicComparison,
    /// An inactive entity keeps its event time.
    Tombstone,
    /// The marker and the commit wait for the acknowledgement of every row.
    AcknowledgedRows,
    /// The commit checks in its own transaction that the lease's token is still current.
    TokenInCommit,
    /// The commit names its attempt: it must be known, and counts once.
    CommitNamesAttempt,
    /// Rows are read from the files that were pinned, not from what is there now.
    PinnedSource,
    /// An attempt is in the ledger before its first write.
    DurablePlan,
    /// A correction replaces stored rows whose event time lies inside its interval.
    CorrectsInside,
    /// A correction leaves newer rows outside its interval alone.
    CorrectsOnlyInside,
    /// A correction sweeps entities that its rows no longer contain.
    Sweep,
    /// What a sweep puts back comes from intervals that have landed.
    SweepWithinCoverage,
    /// Once a view was corrected, every write carries the fence.
    Fence,
    /// The fence is compared for equality, and a missing one refuses.
    FenceEquality,
    /// A correction waits until attempts without a fence no longer send.
    Wait,
    /// Whoever corrects waits as long as nobody has finished waiting, first or not.
    WaitFinished,
    /// A window that was attempted with another source is run as a correction.
    ChangedSource,
    /// Every open attempt counts for that, not only the last one.
    EveryOpenAttempt,
    /// A window with an open correction is run as a correction, whatever its source.
    OpenCorrection,
    /// The marker is written and compared with the ledger before a run.
    Marker,
    /// The marker is compared again before the commit.
    MarkerAtCommit,
    /// The write of the marker carries the fence.
    MarkerFenced,
    /// A marker whose answer was lost is not sent again.
    MarkerOnce,
    /// A ledger that does not know the attempt in the marker is a restored one.
    KnownHistory,
    /// The store's identity is noted at the start and compared before the commit.
    Identity,
    /// The identity has a nonce, which a flush takes away, besides the server's own.
    Nonce,
    /// Every attempt installs a fence that names it, and an unknown name is a restored ledger.
    Announcement,
    /// The fence is installed only where marker and fence are still those that were compared.
    AnnouncementCompares,
    /// A rebuild is a correction over all of time.
    RebuildCorrects,
    /// A rebuild that was not committed does not count as prepared.
    RebuildNotPrepared,
    /// A rebuild lifts the ledger's token above the store's fence.
    TokenLifted,
    /// A lease ends by itself.
    LeaseEnds,
}

/// Which parts are in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parts(u32);

impl Parts {
    /// The protocol.
    pub(crate) const ALL: Self = Self(u32::MAX);

    /// The protocol without a part.
    pub(crate) const fn without(self, part: Part) -> Self {
        Self(self.0 & !(1 << part as u32))
    }

    /// Tells whether a part is in force.
    pub(crate) const fn has(self, part: Part) -> bool {
        self.0 & (1 << part as u32) != 0
    }
}
