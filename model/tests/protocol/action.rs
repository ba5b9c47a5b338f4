//! What can happen next.

use crate::part::Part;
use crate::protocol::Protocol;
use crate::scenario::{Job, When};
use crate::source::ENTITIES;
use crate::state::{Number, Stage, State};

/// One atomic step of somebody.
///
/// There is none by which a process dies: it may simply never take its next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    /// A process takes the lease and records its plan, with the source as it is by then.
    Begin(Job, usize),
    /// The lease ends by itself; its holder does not know.
    LeaseEnds,
    /// An attempt compares store and ledger and notes which store it is.
    Look(Number),
    /// An attempt installs its fence, after waiting for whoever sends without one.
    Announce(Number),
    /// An entity's row is applied and acknowledged.
    Write(Number, usize),
    /// What an attempt sent for an entity is applied, perhaps once more; nobody hears of it.
    Late(Number, usize),
    /// The marker is applied and acknowledged.
    Mark(Number),
    /// A marker is applied once more.
    LateMark(Number),
    /// An attempt asks whether the store is the one it noted.
    Ask(Number),
    /// The ledger commits. The answer may be lost, so it may be asked for again.
    Commit(Number),
    /// The source is replaced by its next version, where nothing pins it.
    SourceChanges,
    /// The store loses everything.
    Flush,
    /// The replica of the store gets what the store has.
    Replicate,
    /// The replica takes the place of the store.
    FailOver,
    /// The ledger is backed up.
    BackUp,
    /// The ledger is restored from its backup.
    Restore,
}

impl Action {
    /// Tells whether something is lost by it.
    pub(crate) fn is_fault(self) -> bool {
        matches!(self, Self::Flush | Self::FailOver | Self::Restore)
    }
}

/// Adds everything that can happen next.
pub(crate) fn possible(protocol: &Protocol, state: &State, actions: &mut Vec<Action>) {
    begins(protocol, state, actions);
    for number in 0..state.attempts.len() {
        steps(protocol, state, number, actions);
    }
    surroundings(protocol, state, actions);
}

fn begins(protocol: &Protocol, state: &State, actions: &mut Vec<Action>) {
    // Where nobody can begin any more, it does not matter whether the lease has ended.
    if state.attempts.len() == protocol.scenario.attempts {
        return;
    }
    if state.ledger.lease.as_ref().is_some_and(|lease| !lease.has_ended) {
        if protocol.parts.has(Part::LeaseEnds) {
            actions.push(Action::LeaseEnds);
        }
        return;
    }
    let jobs = protocol.scenario.jobs.iter().copied();
    let wanted = jobs.filter(|job| match job.when {
        When::Missing => !state.ledger.has_landed(job.interval),
        When::Landed => state.ledger.has_landed(job.interval),
        When::Lost => !protocol.is_sound(state),
    });
    // What is pinned does not change, so the source need not be replaced before the next plan.
    let newest = if protocol.parts.has(Part::PinnedSource) {
        protocol.scenario.versions.len()
    } else {
        state.version + 1
    };
    for job in wanted {
        actions.extend((state.version..newest).map(|version| Action::Begin(job, version)));
    }
}

fn steps(protocol: &Protocol, state: &State, number: Number, actions: &mut Vec<Action>) {
    let attempt = &state.attempts[number];
    let waits_for_rows = protocol.parts.has(Part::AcknowledgedRows);
    match attempt.stage {
        Stage::Begun => actions.push(Action::Look(number)),
        Stage::Looked => actions.push(Action::Announce(number)),
        Stage::Writing => {
            let unacknowledged = (0..ENTITIES).filter(|&entity| !attempt.acknowledged[entity]);
            actions.extend(unacknowledged.map(|entity| Action::Write(number, entity)));
            if !waits_for_rows || attempt.acknowledged.iter().all(|&is_done| is_done) {
                actions.push(Action::Mark(number));
            }
        }
        Stage::Marked => actions.push(Action::Ask(number)),
        Stage::Asked => actions.push(Action::Commit(number)),
        Stage::Ended => {}
    }
    if attempt.is_sending {
        actions.extend((0..ENTITIES).map(|entity| Action::Late(number, entity)));
    }
    if !protocol.parts.has(Part::MarkerOnce) && attempt.has_marked {
        actions.push(Action::LateMark(number));
    }
}

fn surroundings(protocol: &Protocol, state: &State, actions: &mut Vec<Action>) {
    let scenario = &protocol.scenario;
    let is_pinned = protocol.parts.has(Part::PinnedSource);
    if !is_pinned && state.version + 1 < scenario.versions.len() {
        actions.push(Action::SourceChanges);
    }
    if state.flushes < scenario.flushes {
        actions.push(Action::Flush);
    }
    if state.failovers < scenario.failovers {
        actions.push(if state.replica.is_none() { Action::Replicate } else { Action::FailOver });
    }
    if state.restores < scenario.restores {
        actions.push(if state.backup.is_none() { Action::BackUp } else { Action::Restore });
    }
}
