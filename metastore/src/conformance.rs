//! What any ledger must do, whichever database holds it.
//!
//! Each function is one claim and takes an empty place: a SQLite path with no file, or an empty
//! PostgreSQL database. [`conformance_tests!`](crate::conformance_tests) makes a test of each, so
//! that no suite leaves one out. What concerns SQLite files alone is tested in `/tests/sqlite.rs`.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod commit;
mod fixture;
mod run;
mod schema;
mod view;

pub use self::commit::*;
pub use self::run::*;
pub use self::schema::*;
pub use self::view::*;

/// Makes a `#[tokio::test]` of every claim. The argument names an async function without parameters
/// that returns an empty place: anything with a method `url(&self) -> &LedgerUrl`.
#[macro_export]
macro_rules! conformance_tests {
    ($fresh:path) => {
        $crate::conformance_tests! { $fresh:
            a_commit_covers_its_interval
            a_second_commit_changes_nothing
            a_second_commit_with_another_receipt_is_refused
            a_commit_of_anything_else_is_refused
            an_unbalanced_receipt_is_refused
            an_interrupted_window_cannot_commit
            a_failed_window_cannot_commit
            a_finished_job_cannot_commit
            a_window_of_an_ended_job_cannot_commit
            an_interrupted_run_takes_no_more_work
            a_run_that_gives_signs_of_life_is_left_alone
            a_sign_of_life_during_judgement_saves_a_run
            intervals_merge
            a_gap_holds_the_watermark
            concurrent_commits_lose_nothing
            windows_of_one_job_add_up
            adopting_again_changes_nothing
            features_are_remembered_until_the_next_commit
            a_recreated_view_starts_afresh
            every_step_may_run_twice
            unknown_ids_are_refused
            the_outbox_keeps_what_is_not_done
            old_runs_are_removed_with_all_that_is_theirs
            status_and_runs_tell_what_happened
            extreme_values_are_kept
            two_processes_may_open_at_once
            a_newer_schema_is_refused
            an_altered_migration_is_refused
            reading_creates_nothing
            a_read_only_ledger_refuses_to_write
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
