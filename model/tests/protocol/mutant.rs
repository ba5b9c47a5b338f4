//! What happens without each part of the protocol: where, and which property breaks.

use crate::part::{Part, Parts};
use crate::property::{CURRENT, EQUALS_REFERENCE, FORWARD, NOTHING_MISSING, ONCE, STICKS};
use crate::scenario::{
    BOTH_FORGET, CHANGING_SOURCE, CORRECTION_ABOVE_A_GAP, CORRECTION_BELOW_A_LANDED_WINDOW,
    CORRECTION_OF_THE_FIRST_WINDOW, FAILOVER, FLUSH, FLUSH_AND_A_CORRECTION,
    INTERVALS_THAT_OVERLAP, RESTORED_LEDGER, RESTORED_LEDGER_OF_TWO_WINDOWS, TAKEOVERS,
    TWO_LOSSES_OF_THE_STORE,
};
use crate::search::{breaks, holds_with, is_needed};

#[test]
fn rows_go_backwards_unless_the_store_compares_them_itself() {
    is_needed(Part::NewerWins, TAKEOVERS, FORWARD);
    is_needed(Part::AtomicComparison, TAKEOVERS, FORWARD);
    is_needed(Part::Tombstone, TAKEOVERS, EQUALS_REFERENCE);
}

#[test]
fn a_commit_needs_acknowledgements_a_current_token_and_a_name() {
    is_needed(Part::AcknowledgedRows, TAKEOVERS, NOTHING_MISSING);
    is_needed(Part::TokenInCommit, TAKEOVERS, CURRENT);
    is_needed(Part::CommitNamesAttempt, TAKEOVERS, ONCE);
}

#[test]
fn a_window_means_other_rows_in_another_attempt_unless_it_is_pinned() {
    is_needed(Part::PinnedSource, CHANGING_SOURCE, EQUALS_REFERENCE);
    is_needed(Part::DurablePlan, FLUSH_AND_A_CORRECTION, EQUALS_REFERENCE);
}

#[test]
fn what_an_open_attempt_left_stays_unless_the_next_one_corrects() {
    is_needed(Part::ChangedSource, CHANGING_SOURCE, EQUALS_REFERENCE);
    is_needed(Part::EveryOpenAttempt, INTERVALS_THAT_OVERLAP, EQUALS_REFERENCE);
    is_needed(Part::OpenCorrection, CORRECTION_OF_THE_FIRST_WINDOW, EQUALS_REFERENCE);
}

#[test]
fn a_correction_replaces_its_own_interval_and_no_more() {
    is_needed(Part::CorrectsInside, CORRECTION_OF_THE_FIRST_WINDOW, EQUALS_REFERENCE);
    is_needed(Part::CorrectsOnlyInside, CORRECTION_BELOW_A_LANDED_WINDOW, FORWARD);
    is_needed(Part::Sweep, CORRECTION_OF_THE_FIRST_WINDOW, EQUALS_REFERENCE);
    is_needed(Part::SweepWithinCoverage, CORRECTION_ABOVE_A_GAP, EQUALS_REFERENCE);
}

#[test]
fn a_correction_is_overwritten_without_the_fence_and_the_wait_for_it() {
    is_needed(Part::Fence, CHANGING_SOURCE, STICKS);
    is_needed(Part::Wait, CHANGING_SOURCE, STICKS);
    is_needed(Part::WaitFinished, CHANGING_SOURCE, STICKS);
}

#[test]
fn a_loss_of_the_store_goes_unnoticed_without_marker_and_identity() {
    is_needed(Part::Marker, FLUSH, NOTHING_MISSING);
    is_needed(Part::MarkerFenced, FLUSH, NOTHING_MISSING);
    is_needed(Part::MarkerOnce, FAILOVER, NOTHING_MISSING);
    is_needed(Part::AnnouncementCompares, FLUSH, NOTHING_MISSING);
    is_needed(Part::Identity, FAILOVER, NOTHING_MISSING);
}

#[test]
fn a_restored_ledger_goes_unnoticed_without_names() {
    is_needed(Part::KnownHistory, RESTORED_LEDGER, EQUALS_REFERENCE);
    is_needed(Part::Announcement, RESTORED_LEDGER, EQUALS_REFERENCE);
}

#[test]
fn a_rebuild_that_is_no_correction_or_counts_too_early_makes_nothing_good() {
    is_needed(Part::RebuildCorrects, FLUSH_AND_A_CORRECTION, EQUALS_REFERENCE);
    is_needed(Part::RebuildNotPrepared, TWO_LOSSES_OF_THE_STORE, NOTHING_MISSING);
}

/// These find a loss sooner, or cost nothing; the other parts find it later.
#[test]
fn second_guards_carry_nothing_alone() {
    let parts = [Part::Nonce, Part::MarkerAtCommit, Part::FenceEquality]
        .into_iter()
        .fold(Parts::ALL, Parts::without);
    for scenario in [CHANGING_SOURCE, FLUSH_AND_A_CORRECTION, RESTORED_LEDGER_OF_TWO_WINDOWS] {
        holds_with(parts, scenario);
    }
}

/// The limit of the protocol: a witness must be left. It takes a fence on every write, from the
/// first attempt on, to do without one.
#[test]
fn what_both_sides_forget_at_once_nobody_notices() {
    let actions = breaks(Parts::ALL, BOTH_FORGET, EQUALS_REFERENCE);
    assert_eq!(actions.iter().filter(|action| action.is_fault()).count(), 2);
}
