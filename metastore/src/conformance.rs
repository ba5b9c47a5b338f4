//! What any ledger must do, whichever database holds it.
//!
//! Each function is one claim and takes an empty place: a SQLite path with no file, or an empty
//! PostgreSQL database. [`conformance_tests!`](crate::conformance_tests) makes a test of each, so
//! that no suite leaves one out. What concerns SQLite files alone is tested in `/tests/sqlite.rs`.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod admit;
mod attempt;
mod claim;
mod commit;
mod end;
mod fixture;
mod race;
mod schema;
mod show;
mod upgrade;
mod view;

pub use self::admit::*;
pub use self::attempt::*;
pub use self::claim::*;
pub use self::commit::*;
pub use self::end::*;
pub use self::race::*;
pub use self::schema::*;
pub use self::show::*;
pub use self::upgrade::*;
pub use self::view::*;

/// Makes a `#[tokio::test]` of every claim. The argument names an async function without parameters
/// that returns an empty place: anything with a method `url(&self) -> &LedgerUrl`.
#[macro_export]
macro_rules! conformance_tests {
    ($fresh:path) => {
        $crate::conformance_tests! { $fresh:
            a_key_admits_one_run
            a_key_with_another_body_is_refused
            events_are_numbered_without_gaps
            every_step_may_run_twice
            unknown_ids_are_refused
            old_runs_are_removed_with_all_that_is_theirs
            a_run_without_work_ends_as_it_begins
            a_lease_is_taken_by_one
            an_expired_lease_is_taken_with_a_greater_token
            a_beat_extends_a_lease
            a_handed_back_job_is_claimed_at_once
            parallel_limits_claims
            two_runs_of_one_view_take_turns
            a_run_of_one_process_is_not_claimed_by_another
            a_waiting_run_is_begun_once
            leases_of_a_gone_process_are_freed
            a_superseded_holder_changes_nothing
            a_taken_over_attempt_cannot_checkpoint_nor_end
            a_resumed_attempt_knows_what_is_done
            checkpoints_of_another_basis_are_forgotten
            a_failed_last_attempt_fails_the_job_and_not_the_others_of_its_run
            what_has_ended_is_not_attempted
            uncommitted_attempts_are_remembered_until_something_lands_over_them
            an_unfenced_attempt_is_remembered_until_it_is_over
            an_attempt_of_the_ledger_is_known
            a_commit_covers_its_interval
            the_last_window_ends_job_and_run
            a_second_commit_changes_nothing
            a_second_commit_with_another_receipt_is_refused
            a_commit_of_anything_else_is_refused
            an_unbalanced_receipt_is_refused
            stale_token_cannot_commit
            a_late_holder_may_commit_what_nobody_has_taken
            another_store_cannot_commit
            a_marker_sequence_never_repeats
            an_interrupted_window_cannot_commit
            a_failed_window_cannot_commit
            a_finished_job_cannot_commit
            a_window_of_an_ended_job_cannot_commit
            windows_of_one_job_add_up
            the_outbox_keeps_what_is_not_done
            a_cancelled_run_ends_jobs_nobody_holds
            a_cancelled_run_tells_its_holder
            a_wish_that_came_too_late_is_not_granted
            an_interrupted_run_takes_no_more_work
            a_run_that_gives_signs_of_life_is_left_alone
            a_sign_of_life_during_judgement_saves_a_run
            intervals_merge
            a_gap_holds_the_watermark
            concurrent_commits_lose_nothing
            adopting_again_changes_nothing
            features_are_remembered_until_the_next_commit
            a_recreated_view_starts_afresh
            a_lost_view_is_found_again_by_a_rebuild
            everything_at_once_does_not_deadlock
            status_and_runs_tell_what_happened
            runs_are_listed_page_by_page
            extreme_values_are_kept
            long_lists_come_quickly
            two_processes_may_open_at_once
            a_newer_schema_is_refused
            an_altered_migration_is_refused
            reading_creates_nothing
            a_read_only_ledger_refuses_to_write
            a_ledger_of_the_last_release_is_carried_over
        }
    };
    ($fresh:path: $($claim:ident)+) => {
        $(
            #[tokio::test]
            async fn $claim() {
                let place = $fresh().await;
                $crate::conformance::$claim(place.url()).await;
            }
        )+
    };
}
