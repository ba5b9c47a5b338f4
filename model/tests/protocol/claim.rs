//! The protocol holds: each test searches all of one scenario with all parts.

use crate::part::{Part, Parts};
use crate::progress::{agrees, stuck};
use crate::property::is_whole;
use crate::protocol::Protocol;
use crate::scenario::{
    CHANGING_SOURCE, CORRECTION_ABOVE_A_GAP, CORRECTION_BELOW_A_LANDED_WINDOW,
    CORRECTION_OF_THE_FIRST_WINDOW, FAILOVER, FAILOVER_AND_A_CORRECTION, FLUSH,
    FLUSH_AND_A_CORRECTION, GREATER_FENCE, INTERVALS_THAT_OVERLAP, RESTORED_LEDGER,
    RESTORED_LEDGER_AND_A_CORRECTION, RESTORED_LEDGER_OF_TWO_WINDOWS, Scenario, TAKEOVERS,
    TWO_LOSSES_OF_THE_STORE,
};
use crate::search::{holds, say};
use crate::state::State;

#[test]
fn superseded_processes_do_no_harm() {
    holds(TAKEOVERS);
}

#[test]
fn a_source_may_change_under_open_attempts() {
    holds(CHANGING_SOURCE);
}

#[test]
fn attempts_may_overlap() {
    holds(INTERVALS_THAT_OVERLAP);
}

#[test]
fn a_correction_sticks() {
    holds(CORRECTION_OF_THE_FIRST_WINDOW);
    holds(CORRECTION_BELOW_A_LANDED_WINDOW);
}

#[test]
fn a_correction_above_a_gap_brings_nothing_from_it() {
    holds(CORRECTION_ABOVE_A_GAP);
}

#[test]
fn a_flush_is_noticed_and_made_good() {
    holds(FLUSH);
    holds(FLUSH_AND_A_CORRECTION);
}

#[test]
fn a_failover_to_a_stale_copy_is_noticed_and_made_good() {
    holds(FAILOVER);
    holds(FAILOVER_AND_A_CORRECTION);
}

#[test]
fn a_second_loss_during_a_rebuild_is_noticed() {
    holds(TWO_LOSSES_OF_THE_STORE);
}

#[test]
fn a_restored_ledger_is_noticed_and_made_good() {
    holds(RESTORED_LEDGER);
    holds(RESTORED_LEDGER_OF_TWO_WINDOWS);
    holds(RESTORED_LEDGER_AND_A_CORRECTION);
}

#[test]
fn tokens_given_twice_by_a_restored_ledger_do_no_harm() {
    holds(GREATER_FENCE);
}

/// One of the two may still be refused: by a loss, which it reports, or by its store having
/// changed under it.
const TRIES: usize = 2;

fn is_stuck(parts: Parts, scenario: Scenario, is_good: fn(&Protocol, &State) -> bool) -> bool {
    let found = stuck(&Protocol { parts, scenario }, TRIES, is_good);
    if let Ok(states) = found {
        say(&format!("{}: a way on from each of {states} states", scenario.name));
    }
    found.is_err()
}

#[test]
fn no_window_stays_held_once_its_lease_has_ended() {
    assert!(!is_stuck(Parts::ALL, TAKEOVERS, is_whole));
    assert!(!is_stuck(Parts::ALL, CORRECTION_OF_THE_FIRST_WINDOW, is_whole));
    assert!(is_stuck(Parts::ALL.without(Part::LeaseEnds), TAKEOVERS, is_whole));
}

#[test]
fn two_tries_make_store_and_ledger_agree_again() {
    assert!(!is_stuck(Parts::ALL, FLUSH_AND_A_CORRECTION, agrees));
    assert!(!is_stuck(Parts::ALL, GREATER_FENCE, agrees));
    let parts = Parts::ALL.without(Part::TokenLifted);
    assert!(is_stuck(parts, GREATER_FENCE, agrees));
}
