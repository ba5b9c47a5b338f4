//! The protocol as a model to be checked: what each action does to the world.

use model::{Agreement, FencingToken};
use stateright::{Model, Property};

use crate::action::{Action, possible};
use crate::part::{Part, Parts};
use crate::scenario::{Job, Scenario};
use crate::source::{Rows, latest};
use crate::state::{Breaches, Kind, Ledger, Number, Seen, Stage, State, Store, id};
use crate::store::Written;
use crate::{ledger, property, store};

/// A scenario under some of the parts.
#[derive(Clone, Debug)]
pub(crate) struct Protocol {
    pub(crate) parts: Parts,
    pub(crate) scenario: Scenario,
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            version: 0,
            ledger: Ledger::default(),
            backup: self.scenario.has_first_backup.then(Ledger::default),
            store: Store::default(),
            replica: None,
            attempts: Vec::new(),
            nonces: 0,
            flushes: 0,
            failovers: 0,
            restores: 0,
            breaches: Breaches::default(),
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        possible(self, state, actions);
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        match action {
            Action::Begin(job, version) => {
                state.version = version;
                self.begin(&mut state, job);
            }
            Action::LeaseEnds => state.ledger.lease.as_mut()?.has_ended = true,
            Action::Look(number) => self.look(&mut state, number),
            Action::Announce(number) => self.announce(&mut state, number),
            Action::Write(number, entity) => self.write(&mut state, number, entity),
            Action::Late(number, entity) => self.late(&mut state, number, entity),
            Action::Mark(number) => self.mark(&mut state, number),
            Action::LateMark(number) => self.late_mark(&mut state, number),
            Action::Ask(number) => self.ask(&mut state, number),
            Action::Commit(number) => self.commit(&mut state, number),
            Action::SourceChanges => state.version += 1,
            Action::Flush => {
                state.store = Store { run: state.store.run, ..Store::default() };
                state.flushes += 1;
            }
            Action::Replicate => state.replica = Some(state.store.clone()),
            Action::FailOver => {
                state.store = Store { run: state.store.run + 1, ..state.replica.take()? };
                state.failovers += 1;
            }
            Action::BackUp => state.backup = Some(state.ledger.clone()),
            Action::Restore => {
                state.ledger = state.backup.take()?;
                state.restores += 1;
            }
        }
        (state != *before).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        property::all()
    }
}

impl Protocol {
    /// What the next contact of store and ledger would say.
    pub(crate) fn is_sound(&self, state: &State) -> bool {
        if !self.parts.has(Part::Marker) {
            return true;
        }
        let (ledger, store) = (&state.ledger, &state.store);
        let is_known = store.marker.is_some_and(|marker| {
            ledger.records.iter().any(|record| {
                let is_prepared =
                    record.kind != Kind::Rebuild || !self.parts.has(Part::RebuildNotPrepared);
                id(record.attempt) == marker.attempt && is_prepared
            })
        });
        let is_known = is_known || !self.parts.has(Part::KnownHistory);
        let agreement = Agreement::of(ledger.last, store.marker, is_known);
        let names = [Part::Announcement, Part::KnownHistory].iter().all(|&p| self.parts.has(p));
        let announced = store.fence.filter(|_| names);
        let knows_announced = announced.is_none_or(|fence| ledger.record(fence.attempt).is_some());
        agreement.is_sound() && knows_announced
    }

    fn begin(&self, state: &mut State, job: Job) {
        let number = state.attempts.len();
        let (ledger, version) = (&mut state.ledger, state.version);
        let attempt = ledger::begin(ledger, self.parts, &self.scenario, version, number, job);
        state.attempts.push(attempt);
    }

    fn look(&self, state: &mut State, number: Number) {
        let is_sound = self.is_sound(state);
        let attempt = &mut state.attempts[number];
        if !is_sound && !attempt.is_rebuild() {
            return attempt.end();
        }
        let greater = state.store.fence.filter(|fence| fence.token >= attempt.token);
        if let Some(fence) = greater.filter(|_| attempt.announces(self.parts)) {
            if attempt.is_rebuild() && self.parts.has(Part::TokenLifted) {
                let lifted: FencingToken = state.ledger.token.max(fence.token);
                state.ledger.token = lifted;
            }
            return attempt.end();
        }
        if state.store.nonce.is_none() {
            state.nonces += 1;
            state.store.nonce = Some(state.nonces);
        }
        attempt.seen = Some(Seen {
            marker: state.store.marker,
            fence: state.store.fence,
            run: state.store.run,
            nonce: state.store.nonce,
            rows: (!self.parts.has(Part::AtomicComparison)).then_some(state.store.rows),
        });
        attempt.stage = Stage::Looked;
    }

    fn announce(&self, state: &mut State, number: Number) {
        let attempt = &state.attempts[number];
        if attempt.is_correcting() && self.waits(&state.ledger, attempt.is_first_correction) {
            self.settle(state, number);
        }
        let attempt = &mut state.attempts[number];
        if attempt.announces(self.parts)
            && store::announce(&mut state.store, self.parts, number, attempt).is_err()
        {
            return attempt.end();
        }
        attempt.stage = Stage::Writing;
        attempt.is_sending = true;
        attempt.has_sent = true;
        let says_nothing = !attempt.is_correcting() && self.parts.has(Part::PinnedSource);
        attempt.acknowledged = attempt.rows.map(|row| row.is_none() && says_nothing);
    }

    fn waits(&self, ledger: &Ledger, is_first: bool) -> bool {
        let is_unfinished =
            if self.parts.has(Part::WaitFinished) { !ledger.is_settled } else { is_first };
        self.parts.has(Part::Wait) && is_unfinished
    }

    /// Time passes until no attempt without a fence can be sending.
    fn settle(&self, state: &mut State, number: Number) {
        for earlier in &mut state.attempts[..number] {
            if !earlier.is_fenced {
                earlier.is_sending = false;
                earlier.end();
            }
        }
        if state.ledger.record(number).is_some() {
            state.ledger.is_settled = true;
        }
    }

    /// What an attempt reads: the files that were pinned, or whatever is there now.
    fn read(&self, state: &State, number: Number) -> (Rows, Rows) {
        let attempt = &state.attempts[number];
        if self.parts.has(Part::PinnedSource) {
            return (attempt.rows, attempt.earlier);
        }
        let version = self.scenario.versions[state.version];
        let interval = [attempt.interval].into_iter().collect();
        (latest(version, &interval), attempt.earlier)
    }

    fn apply(
        &self,
        state: &mut State,
        number: Number,
        entity: usize,
    ) -> Result<(), store::Refused> {
        let read = self.read(state, number);
        let attempt = (number, &state.attempts[number]);
        let written = store::write(&mut state.store, self.parts, attempt, entity, read)?;
        let is_after_a_correction = state.ledger.records.iter().any(|record| {
            record.is_committed && record.kind != Kind::Plain && record.attempt > number
        });
        state.breaches.went_back |= written == Written::WentBack;
        state.breaches.overwritten |=
            written != Written::Kept && is_after_a_correction && self.is_sound(state);
        Ok(())
    }

    fn write(&self, state: &mut State, number: Number, entity: usize) {
        let written = self.apply(state, number, entity);
        let attempt = &mut state.attempts[number];
        match written {
            Ok(()) => attempt.acknowledged[entity] = true,
            Err(store::Refused) => attempt.end(),
        }
    }

    /// A refusal changes nothing, and nobody hears of it.
    fn late(&self, state: &mut State, number: Number, entity: usize) {
        let _nobody_hears = self.apply(state, number, entity);
    }

    fn mark(&self, state: &mut State, number: Number) {
        let attempt = &mut state.attempts[number];
        if self.parts.has(Part::Marker)
            && store::mark(&mut state.store, self.parts, number, attempt).is_err()
        {
            return attempt.end();
        }
        attempt.has_marked = !self.parts.has(Part::MarkerOnce);
        attempt.stage = Stage::Marked;
    }

    fn late_mark(&self, state: &mut State, number: Number) {
        let attempt = &state.attempts[number];
        let _nobody_hears = store::mark(&mut state.store, self.parts, number, attempt);
    }

    fn ask(&self, state: &mut State, number: Number) {
        let attempt = &mut state.attempts[number];
        let store = &state.store;
        let has_nonce = self.parts.has(Part::Nonce);
        let is_same = attempt
            .seen
            .as_ref()
            .is_some_and(|seen| seen.run == store.run && (!has_nonce || seen.nonce == store.nonce));
        let is_marked = store.marker == attempt.marker(number);
        if (self.parts.has(Part::Identity) && !is_same)
            || (self.parts.has(Part::Marker) && self.parts.has(Part::MarkerAtCommit) && !is_marked)
        {
            return attempt.end();
        }
        attempt.stage = Stage::Asked;
    }

    fn commit(&self, state: &mut State, number: Number) {
        let attempt = (number, &state.attempts[number]);
        let (scenario, breaches) = (&self.scenario, &mut state.breaches);
        if ledger::commit(&mut state.ledger, self.parts, scenario, attempt, breaches).is_err() {
            state.attempts[number].end();
        }
    }
}
