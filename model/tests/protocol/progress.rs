//! Nobody is ever stuck: wherever every process dies, new ones find a way to where it ought to end.
//!
//! A search of its own, because `stateright` checks what happens on every path, and this asks for
//! one good path from each state, on which those who were there before take no part.

use std::collections::HashSet;

use stateright::Model;

use crate::action::Action;
use crate::protocol::Protocol;
use crate::state::{Number, State};

/// Finds the first state from which so many new attempts do not get where it is good.
///
/// # Errors
/// That state.
pub(crate) fn stuck(
    protocol: &Protocol,
    attempts: usize,
    is_good: fn(&Protocol, &State) -> bool,
) -> Result<usize, Box<State>> {
    let has_attempts =
        |state: &State| state.attempts.len() + attempts <= protocol.scenario.attempts;
    let mut known: HashSet<State> = protocol.init_states().into_iter().collect();
    let mut open: Vec<State> = known.iter().cloned().collect();
    while let Some(state) = open.pop() {
        if !has_way(protocol, &state, is_good) {
            return Err(Box::new(state));
        }
        for next in protocol.next_states(&state) {
            if has_attempts(&next) && known.insert(next.clone()) {
                open.push(next);
            }
        }
    }
    Ok(known.len())
}

/// Looks for a way that new processes can go undisturbed.
fn has_way(protocol: &Protocol, from: &State, is_good: fn(&Protocol, &State) -> bool) -> bool {
    let first = from.attempts.len();
    let mut known = HashSet::from([from.clone()]);
    let mut open = vec![from.clone()];
    while let Some(state) = open.pop() {
        if is_good(protocol, &state) {
            return true;
        }
        let steps = protocol.next_steps(&state).into_iter();
        for (_, next) in steps.filter(|(action, _)| is_of_new_process(*action, first)) {
            if known.insert(next.clone()) {
                open.push(next);
            }
        }
    }
    false
}

fn is_of_new_process(action: Action, first: Number) -> bool {
    match action {
        Action::Begin(..) | Action::LeaseEnds => true,
        Action::Look(number)
        | Action::Announce(number)
        | Action::Write(number, _)
        | Action::Mark(number)
        | Action::Ask(number)
        | Action::Commit(number) => number >= first,
        _ => false,
    }
}

/// Store and ledger say the same of each other.
pub(crate) fn agrees(protocol: &Protocol, state: &State) -> bool {
    protocol.is_sound(state)
}
