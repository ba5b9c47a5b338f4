//! What any ledger must do, whichever database holds it.
//!
//! Each function is one claim and takes an empty place: a SQLite path with no file, or an empty
//! PostgreSQL database. [`conformance_tests!`](crate::conformance_tests) makes a test of each, so
//! that no suite leaves one out. What concerns SQLite files alone is tested in `/tests/sqlite.rs`.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod fixture;

use futures::future::join_all;
use model::{EventTime, JobState, Receipt, RunState};
use serde_json::json;

use self::fixture::{Fixture, at, interval, new_run, receipt, window_id};
use crate::{Error, Ledger, LedgerUrl, MirrorRow, NewRun, RUNS_KEPT_MAX, WindowState};

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
            an_interrupted_run_takes_no_more_work
            a_run_that_gives_signs_of_life_is_left_alone
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

/// A commit closes the window and its job, and covers the interval.
pub async fn a_commit_covers_its_interval(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let window = fixture.window(interval(0, 10)).await;
    let committed = fixture.ledger.commit(&fixture.commit(&window)).await.unwrap();
    assert_eq!(committed.watermark_before, None);
    assert_eq!(committed.watermark_after, Some(at(10)));
    assert_eq!(committed.coverage.intervals().as_slice(), [interval(0, 10)]);
    let state = fixture.state().await;
    assert_eq!(state.coverage, committed.coverage);
    assert_eq!(state.features, Some(vec!["f".to_owned()]));
    let job = fixture.job(window.job_id).await;
    assert_eq!(job.job.state, JobState::Succeeded);
    assert_eq!(job.job.receipt, Some(receipt(3)));
    assert_eq!(job.windows[0].state, WindowState::Committed);
    assert_eq!(job.windows[0].watermark_after, Some(at(10)));
}

/// Repeating a commit whose answer was lost returns the same and changes nothing.
pub async fn a_second_commit_changes_nothing(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let window = fixture.window(interval(0, 10)).await;
    let mut commit = fixture.commit(&window);
    commit.mirror = Some(fixture.mirror());
    let first = fixture.ledger.commit(&commit).await.unwrap();
    let before = (fixture.state().await, fixture.job(window.job_id).await);
    commit.at = at(999);
    assert_eq!(fixture.ledger.commit(&commit).await.unwrap(), first);
    assert_eq!((fixture.state().await, fixture.job(window.job_id).await), before);
    let due = fixture.ledger.pending_mirrors("p").await.unwrap();
    assert_eq!(due.len(), 1);
    fixture.ledger.mirror_done(due[0].id).await.unwrap();
    fixture.ledger.commit(&commit).await.unwrap();
    assert_eq!(fixture.ledger.pending_mirrors("p").await.unwrap(), [], "it is not due again");
}

/// A committed window keeps its receipt.
pub async fn a_second_commit_with_another_receipt_is_refused(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let window = fixture.window(interval(0, 10)).await;
    let mut commit = fixture.commit(&window);
    fixture.ledger.commit(&commit).await.unwrap();
    commit.receipt = receipt(4);
    let refused = fixture.ledger.commit(&commit).await.unwrap_err();
    assert!(matches!(refused, Error::AlreadyCommitted { .. }), "{refused:?}");
    assert_eq!(fixture.job(window.job_id).await.job.receipt, Some(receipt(3)));
}

/// A commit must name what the window was opened for.
pub async fn a_commit_of_anything_else_is_refused(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let window = fixture.window(interval(0, 10)).await;
    let other = fixture.window(interval(10, 20)).await;
    let good = fixture.commit(&window);

    let mut wider = good.clone();
    wider.interval = interval(0, 11);
    let mut foreign = good.clone();
    foreign.job_id = other.job_id;
    let mut elsewhere = good.clone();
    elsewhere.view = fixture.adopt_view("elsewhere").await;
    for (commit, differs) in [(wider, "interval"), (foreign, "job"), (elsewhere, "view")] {
        let refused = fixture.ledger.commit(&commit).await.unwrap_err();
        assert!(
            matches!(&refused, Error::WindowMismatch { what, .. } if *what == differs),
            "{refused:?}"
        );
    }
    assert!(fixture.state().await.coverage.intervals().is_empty());
}

/// A receipt that does not account for every entity moves nothing.
pub async fn an_unbalanced_receipt_is_refused(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let window = fixture.window(interval(0, 10)).await;
    let mut commit = fixture.commit(&window);
    commit.receipt.counts.written -= 1;
    let refused = fixture.ledger.commit(&commit).await.unwrap_err();
    assert!(matches!(refused, Error::Unbalanced { .. }), "{refused:?}");
    assert!(fixture.state().await.coverage.intervals().is_empty());
}

/// Once a run was taken for dead, its process cannot commit, even if it lives.
pub async fn an_interrupted_window_cannot_commit(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let window = fixture.window(interval(0, 10)).await;
    let dead = fixture.interrupt_as_gone().await;
    assert_eq!(dead, [fixture.run_id]);
    let refused = fixture.ledger.commit(&fixture.commit(&window)).await.unwrap_err();
    assert!(
        matches!(&refused, Error::WindowClosed { state, .. } if state == "interrupted"),
        "{refused:?}"
    );
    assert!(fixture.state().await.coverage.intervals().is_empty());
    let job = fixture.job(window.job_id).await;
    assert_eq!(job.job.state, JobState::Interrupted);
    assert_eq!(job.windows[0].state, WindowState::Interrupted);
    assert_eq!(fixture.interrupt_as_gone().await, [], "a run dies once");
}

/// An attempt that gave up cannot commit.
pub async fn a_failed_window_cannot_commit(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let window = fixture.window(interval(0, 10)).await;
    fixture.ledger.fail_window(window.window_id, "out of memory", at(5)).await.unwrap();
    let refused = fixture.ledger.commit(&fixture.commit(&window)).await.unwrap_err();
    assert!(
        matches!(&refused, Error::WindowClosed { state, .. } if state == "failed"),
        "{refused:?}"
    );
    let row = &fixture.job(window.job_id).await.windows[0];
    assert_eq!(row.error.as_deref(), Some("out of memory"));
    assert_eq!(row.closed_at, Some(at(5)));
}

/// Ending a job closes the windows it left open; ending a committed one changes nothing.
pub async fn a_finished_job_cannot_commit(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let window = fixture.window(interval(0, 10)).await;
    let finish = async |state, reason| {
        fixture.ledger.finish_job(window.job_id, state, Some(reason), at(5)).await.unwrap();
    };
    finish(JobState::Failed, "broken").await;
    let refused = fixture.ledger.commit(&fixture.commit(&window)).await.unwrap_err();
    assert!(matches!(refused, Error::WindowClosed { .. }), "{refused:?}");
    finish(JobState::Succeeded, "mended").await;
    let job = fixture.job(window.job_id).await.job;
    assert_eq!((job.state, job.reason.as_deref()), (JobState::Failed, Some("broken")));

    let landed = fixture.window(interval(0, 10)).await;
    fixture.ledger.commit(&fixture.commit(&landed)).await.unwrap();
    fixture.ledger.finish_job(landed.job_id, JobState::Failed, None, at(6)).await.unwrap();
    assert_eq!(fixture.job(landed.job_id).await.job.state, JobState::Succeeded);
}

/// A run that was taken for dead is told so and can start nothing.
pub async fn an_interrupted_run_takes_no_more_work(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let ledger = &fixture.ledger;
    let job = fixture.new_job(interval(0, 10));
    ledger.start_job(&job).await.unwrap();
    fixture.interrupt_as_gone().await;
    assert!(!ledger.heartbeat(fixture.run_id, at(50)).await.unwrap());
    let refused = ledger.start_job(&fixture.new_job(interval(0, 10))).await.unwrap_err();
    assert!(
        matches!(&refused, Error::RunEnded { state, .. } if state == "interrupted"),
        "{refused:?}"
    );
    let refused = ledger.open_window(&fixture.new_window(&job)).await.unwrap_err();
    assert!(matches!(refused, Error::JobEnded { .. }), "{refused:?}");
    ledger.finish_run(fixture.run_id, RunState::Succeeded, at(60)).await.unwrap();
    assert_eq!(fixture.run().await.run.state, RunState::Interrupted);
}

/// A run is judged by its process on its own host, and by its silence elsewhere.
pub async fn a_run_that_gives_signs_of_life_is_left_alone(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let ledger = &fixture.ledger;
    let dead = async |host, alive: bool, now| {
        ledger.interrupt_dead_runs("p", host, &|_| alive, at(now), 10).await.unwrap()
    };
    assert_eq!(dead("here", true, 10).await, []);
    assert_eq!(dead("there", false, 10).await, []);
    assert!(ledger.heartbeat(fixture.run_id, at(100)).await.unwrap());
    assert_eq!(dead("there", false, 110).await, []);
    let others = ledger.interrupt_dead_runs("q", "here", &|_| false, at(999), 10).await.unwrap();
    assert_eq!(others, [], "another project's runs are not judged");
    assert_eq!(dead("there", false, 111).await, [fixture.run_id]);
    let run = fixture.run().await.run;
    assert_eq!((run.state, run.heartbeat_at), (RunState::Interrupted, at(100)));
    assert_eq!(run.finished_at, Some(at(111)));
}

/// However many runs land, what is stored is one interval per stretch without a gap.
pub async fn intervals_merge(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    for (start, end) in [(0, 10), (10, 20), (15, 25), (40, 50), (60, 70), (5, 8), (25, 60)] {
        fixture.land(interval(start, end)).await;
    }
    let state = fixture.state().await;
    assert_eq!(state.coverage.intervals().as_slice(), [interval(0, 70)]);
    assert_eq!(state.coverage.watermark(), Some(at(70)));
    let stored: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM intervals")
        .fetch_one(fixture.ledger.pool())
        .await
        .unwrap();
    assert_eq!(stored, 1);
}

/// An interval beyond a gap is recorded and moves no watermark; an empty one changes nothing.
pub async fn a_gap_holds_the_watermark(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    fixture.land(interval(0, 10)).await;
    let beyond = fixture.land(interval(20, 30)).await;
    assert_eq!((beyond.watermark_before, beyond.watermark_after), (Some(at(10)), Some(at(10))));
    let empty = fixture.land(interval(90, 80)).await;
    assert_eq!(empty.coverage, beyond.coverage);
    assert_eq!(fixture.state().await.coverage.gaps(), [interval(10, 20)]);
    let closing = fixture.land(interval(10, 20)).await;
    assert_eq!(closing.watermark_after, Some(at(30)));
    let below = fixture.land(interval(-20, -10)).await;
    assert_eq!(below.watermark_after, Some(at(30)));
}

/// Commits of one view from several processes at once all count.
pub async fn concurrent_commits_lose_nothing(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let mut commits = Vec::new();
    for step in 0..12 {
        let window = fixture.window(interval(step * 10, step * 10 + 10)).await;
        let commit = fixture.commit(&window);
        commits.push((Ledger::open(url).await.unwrap(), commit));
    }
    let landed = join_all(commits.iter().map(|(ledger, commit)| ledger.commit(commit))).await;
    for committed in landed {
        assert!(committed.unwrap().watermark_after.is_some());
    }
    let state = fixture.state().await;
    assert_eq!(state.coverage.intervals().as_slice(), [interval(0, 120)]);
    assert_eq!(state.coverage.watermark().map(|end| end > at(0)), Some(true));
}

/// A job's receipt is the sum of its windows'.
pub async fn windows_of_one_job_add_up(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let job = fixture.new_job(interval(0, 20));
    fixture.ledger.start_job(&job).await.unwrap();
    let mut windows = Vec::new();
    for slice in [interval(0, 10), interval(10, 20)] {
        let mut window = fixture.new_window(&job);
        window.interval = slice;
        fixture.ledger.open_window(&window).await.unwrap();
        windows.push(window);
    }
    for window in &windows {
        fixture.ledger.commit(&fixture.commit(window)).await.unwrap();
    }
    let mut sum = receipt(3);
    sum.add(&receipt(3));
    let detail = fixture.job(job.job_id).await;
    assert_eq!(detail.job.receipt, Some(sum));
    assert_eq!(detail.windows.len(), 2);
}

/// What Feast lists is merged once; contacts that bring nothing new change nothing.
pub async fn adopting_again_changes_nothing(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let history = [interval(20, 30), interval(0, 10), interval(0, 10)];
    let adopt = async |now| {
        let (created, features) = (Some(at(1)), ["f".to_owned()]);
        let ledger = &fixture.ledger;
        ledger.adopt(&fixture.view, created, &history, &features, at(now)).await.unwrap()
    };
    let first = adopt(5).await;
    assert_eq!(first.coverage.intervals().as_slice(), [interval(0, 10), interval(20, 30)]);
    assert_eq!(first.coverage.watermark(), Some(at(10)));
    assert!(!first.reset);
    let state = fixture.state().await;
    assert_eq!(state.updated_at, at(5));
    let second = adopt(6).await;
    assert_eq!(second.coverage, first.coverage);
    assert_eq!(fixture.state().await, state);
}

/// A feature added in Feast is noticed at every contact until rows with it have landed.
pub async fn features_are_remembered_until_the_next_commit(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let (old, new) = (vec!["f".to_owned()], vec!["f".to_owned(), "g\u{1F30A}".to_owned()]);
    let known = async || {
        let contact = fixture.ledger.adopt(&fixture.view, Some(at(1)), &[], &new, at(7)).await;
        contact.unwrap().features_at_last_commit
    };
    assert_eq!(known().await, Some(old.clone()));
    assert_eq!(known().await, Some(old));
    let window = fixture.window(interval(0, 10)).await;
    let mut commit = fixture.commit(&window);
    commit.features.clone_from(&new);
    fixture.ledger.commit(&commit).await.unwrap();
    assert_eq!(known().await, Some(new.clone()));
    let other = model::ViewRef { storage_name: "new".to_owned(), ..fixture.view.clone() };
    let first = fixture.ledger.adopt(&other, None, &[], &new, at(7)).await.unwrap();
    assert_eq!(first.features_at_last_commit, None);
}

/// A view that was deleted and made anew in Feast has nothing landed, and no attempt of the old one
/// counts.
pub async fn a_recreated_view_starts_afresh(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    fixture.land(interval(0, 10)).await;
    let window = fixture.window(interval(10, 20)).await;
    let features = ["g".to_owned()];
    let contact = async || {
        let (created, intervals) = (Some(at(2)), [interval(40, 50)]);
        let ledger = &fixture.ledger;
        ledger.adopt(&fixture.view, created, &intervals, &features, at(7)).await.unwrap()
    };
    let adopted = contact().await;
    assert!(adopted.reset);
    assert_eq!(adopted.features_at_last_commit, None);
    assert_eq!(adopted.coverage.intervals().as_slice(), [interval(40, 50)]);
    assert_eq!(adopted.coverage.watermark(), Some(at(50)));
    assert_eq!(fixture.state().await.feast_created, Some(at(2)));
    let refused = fixture.ledger.commit(&fixture.commit(&window)).await.unwrap_err();
    assert!(matches!(refused, Error::WindowClosed { .. }), "{refused:?}");
    let again = contact().await;
    assert!(!again.reset);
    assert_eq!(again.features_at_last_commit, Some(features.to_vec()));
}

/// Any call may be repeated after a lost answer.
pub async fn every_step_may_run_twice(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let ledger = &fixture.ledger;
    let run = NewRun { run_id: fixture.run_id, at: at(77), ..new_run("other") };
    ledger.admit(&run).await.unwrap();
    assert_eq!(fixture.run().await.run.project, "p", "the first record stands");
    let job = fixture.new_job(interval(0, 10));
    let window = fixture.new_window(&job);
    for _ in 0..2 {
        ledger.start_job(&job).await.unwrap();
        ledger.open_window(&window).await.unwrap();
    }
    assert_eq!(fixture.job(job.job_id).await.windows.len(), 1);
    for now in [5, 6] {
        ledger.fail_window(window.window_id, "why", at(now)).await.unwrap();
        ledger.finish_job(job.job_id, JobState::Failed, Some("why"), at(now)).await.unwrap();
        ledger.finish_run(fixture.run_id, RunState::Failed, at(now)).await.unwrap();
    }
    // Answers that were lost before the run ended are still answers.
    ledger.start_job(&job).await.unwrap();
    ledger.open_window(&window).await.unwrap();
    let run = fixture.run().await;
    assert_eq!((run.run.state, run.run.finished_at), (RunState::Failed, Some(at(5))));
    assert_eq!(run.jobs[0].job.finished_at, Some(at(5)));
    assert_eq!(run.jobs[0].windows[0].closed_at, Some(at(5)));
    ledger.mirror_done(window_id()).await.unwrap();
}

/// What was never recorded cannot be worked on.
pub async fn unknown_ids_are_refused(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let ledger = &fixture.ledger;
    let job = fixture.new_job(interval(0, 10));
    let window = fixture.new_window(&job);

    let refused = ledger.open_window(&window).await.unwrap_err();
    assert!(matches!(refused, Error::JobUnknown { .. }), "{refused:?}");
    let refused = ledger.finish_job(job.job_id, JobState::Failed, None, at(1)).await.unwrap_err();
    assert!(matches!(refused, Error::JobUnknown { .. }), "{refused:?}");
    let refused = ledger.commit(&fixture.commit(&window)).await.unwrap_err();
    assert!(matches!(refused, Error::WindowUnknown { .. }), "{refused:?}");
    let refused = ledger.fail_window(window.window_id, "why", at(1)).await.unwrap_err();
    assert!(matches!(refused, Error::WindowUnknown { .. }), "{refused:?}");

    let stranger = new_run("p").run_id;
    let refused = ledger.finish_run(stranger, RunState::Failed, at(1)).await.unwrap_err();
    assert!(matches!(refused, Error::RunUnknown { .. }), "{refused:?}");
    let mut orphan = job.clone();
    orphan.run_id = stranger;
    let refused = ledger.start_job(&orphan).await.unwrap_err();
    assert!(matches!(refused, Error::RunUnknown { .. }), "{refused:?}");
    assert!(!ledger.heartbeat(stranger, at(1)).await.unwrap());
    assert_eq!(ledger.run(stranger).await.unwrap(), None);

    ledger.start_job(&job).await.unwrap();
    let mut elsewhere = window.clone();
    elsewhere.view.storage_name = "never adopted".to_owned();
    let refused = ledger.open_window(&elsewhere).await.unwrap_err();
    assert!(matches!(refused, Error::ViewUnknown { .. }), "{refused:?}");
    assert_eq!(ledger.coverage(&elsewhere.view).await.unwrap(), None);
}

/// An interval stays due until it is ticked off, across runs, in the order of commits.
pub async fn the_outbox_keeps_what_is_not_done(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let mut ids = Vec::new();
    for step in 0..3 {
        let window = fixture.window(interval(step, step + 1)).await;
        let mut commit = fixture.commit(&window);
        commit.at = at(100 + step);
        let bounds = MirrorRow { start_micros: step, end_micros: i64::MAX, ..fixture.mirror() };
        commit.mirror = Some(bounds);
        fixture.ledger.commit(&commit).await.unwrap();
        ids.push(window.window_id);
    }
    fixture.land(interval(50, 60)).await;
    fixture.ledger.mirror_done(ids[1]).await.unwrap();
    let due = fixture.ledger.pending_mirrors("p").await.unwrap();
    assert_eq!(due.iter().map(|mirror| mirror.id).collect::<Vec<_>>(), [ids[0], ids[2]]);
    let last = &due[1];
    assert_eq!((last.project.as_str(), last.view_name.as_str()), ("p", "v"));
    assert_eq!(last.kind, "feature_view");
    assert_eq!((last.start_micros, last.end_micros), (2, i64::MAX));
    assert_eq!(fixture.ledger.pending_mirrors("q").await.unwrap(), []);
}

/// The ledger keeps a bounded number of runs, and never removes one at work nor what has landed.
pub async fn old_runs_are_removed_with_all_that_is_theirs(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let window = fixture.window(interval(0, 10)).await;
    let mut commit = fixture.commit(&window);
    commit.mirror = Some(fixture.mirror());
    fixture.ledger.commit(&commit).await.unwrap();
    fixture.insert_ended_runs(RUNS_KEPT_MAX).await;
    let count = async |table: &str| fixture.count(table).await;

    fixture.ledger.admit(&NewRun { at: at(5_000), ..new_run("p") }).await.unwrap();
    assert_eq!(count("runs").await, RUNS_KEPT_MAX + 1, "the oldest run is still at work");
    fixture.ledger.finish_run(fixture.run_id, RunState::Succeeded, at(5_001)).await.unwrap();
    fixture.ledger.admit(&NewRun { at: at(5_002), ..new_run("q") }).await.unwrap();
    assert_eq!(count("runs").await, RUNS_KEPT_MAX + 2, "another project's run removes none");
    fixture.ledger.admit(&NewRun { at: at(5_003), ..new_run("p") }).await.unwrap();

    assert_eq!(count("runs").await, RUNS_KEPT_MAX + 1);
    assert_eq!(fixture.ledger.run(fixture.run_id).await.unwrap(), None);
    assert_eq!((count("jobs").await, count("windows").await), (0, 0));
    assert_eq!(fixture.state().await.coverage.watermark(), Some(at(10)));
    assert_eq!(fixture.ledger.pending_mirrors("p").await.unwrap().len(), 1);
}

/// What people are shown is what was recorded.
pub async fn status_and_runs_tell_what_happened(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let ledger = &fixture.ledger;
    fixture.adopt_view("untouched").await;
    let landed = fixture.window(interval(0, 10)).await;
    ledger.commit(&fixture.commit(&landed)).await.unwrap();
    let mut refused = fixture.new_job(interval(0, 0));
    refused.interval = None;
    refused.state = JobState::Refused;
    refused.reason = Some("a view with a transformation".to_owned());
    refused.version = Some(3);
    refused.at = at(40);
    ledger.start_job(&refused).await.unwrap();
    ledger.finish_run(fixture.run_id, RunState::Failed, at(50)).await.unwrap();
    ledger.admit(&NewRun { at: at(60), ..new_run("q") }).await.unwrap();

    let run = fixture.run().await;
    assert_eq!((run.run.jobs_total, run.run.jobs_landed), (2, 1));
    assert_eq!(run.run.views, ["v", "w"]);
    assert_eq!(run.jobs[0].windows[0].source, json!([{"path": "a.parquet", "size": 1}]));
    assert_eq!(run.jobs[1].job.reason, refused.reason);
    assert_eq!((run.jobs[1].job.interval, run.jobs[1].job.version), (None, Some(3)));
    assert_eq!(run.jobs[1].job.finished_at, Some(at(40)));

    let views = ledger.views("p").await.unwrap();
    let names: Vec<_> = views.iter().map(|view| view.view.storage_name.as_str()).collect();
    assert_eq!(names, ["untouched", "v"]);
    assert_eq!(views[0].last_job, None);
    assert_eq!(views[1].coverage.watermark(), Some(at(10)));
    assert_eq!(views[1].last_job.as_ref().map(|job| job.job_id), Some(refused.job_id));

    let projects = async |project, limit| -> Vec<String> {
        let runs = ledger.runs(project, limit).await.unwrap();
        runs.into_iter().map(|run| run.project).collect()
    };
    assert_eq!(projects(None, 9).await, ["q", "p"]);
    assert_eq!(projects(None, 1).await, ["q"]);
    assert_eq!(projects(Some("p"), 9).await, ["p"]);
    let text = serde_json::to_value(&run).unwrap();
    assert_eq!(text["run"]["finished_at"], json!(at(50)));
    assert_eq!(text["jobs"][0]["receipt"]["written"], json!(3));
}

/// Event times keep their nanoseconds and texts their characters.
pub async fn extreme_values_are_kept(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let whole = model::Interval::new(EventTime::MIN, EventTime::MAX);
    let window = fixture.window(whole).await;
    let mut commit = fixture.commit(&window);
    commit.receipt = Receipt {
        event_time_min: Some(EventTime::MIN),
        event_time_max: Some(EventTime::from_nanos(1_700_000_000_123_456_789)),
        ..receipt(u64::MAX / 2)
    };
    let committed = fixture.ledger.commit(&commit).await.unwrap();
    assert_eq!(committed.watermark_after, Some(EventTime::MAX));
    assert_eq!(fixture.state().await.coverage.intervals().as_slice(), [whole]);
    assert_eq!(fixture.job(window.job_id).await.job.receipt, Some(commit.receipt));

    let mut run = new_run("proj\u{e9}t '\"\\ \u{1F30A}");
    run.requested_start = Some(EventTime::MIN);
    run.requested_end = EventTime::MAX;
    run.pid = u32::MAX;
    run.views = vec!["\u{fc}\n\"".to_owned()];
    fixture.ledger.admit(&run).await.unwrap();
    let row = fixture.ledger.run(run.run_id).await.unwrap().unwrap().run;
    assert_eq!((row.project, row.views), (run.project, run.views));
    assert_eq!((row.requested_start, row.requested_end), (run.requested_start, run.requested_end));
    assert_eq!(row.pid, u32::MAX);
}

/// Processes that start at once on an empty place all succeed, and none migrates twice.
pub async fn two_processes_may_open_at_once(url: &LedgerUrl) {
    let opened = join_all((0..6).map(|_| Ledger::open(url))).await;
    for ledger in opened {
        let ledger = ledger.unwrap();
        ledger.admit(&new_run("p")).await.unwrap();
        ledger.close().await;
    }
    let ledger = Ledger::open(url).await.unwrap();
    assert_eq!(ledger.runs(Some("p"), 99).await.unwrap().len(), 6);
}

/// A program never touches a ledger whose schema it does not know.
pub async fn a_newer_schema_is_refused(url: &LedgerUrl) {
    let ledger = Ledger::open(url).await.unwrap();
    sqlx::query("INSERT INTO migrations (version, name, checksum) VALUES ($1, 'later', '')")
        .bind(Ledger::schema_version() + 1)
        .execute(ledger.pool())
        .await
        .unwrap();
    ledger.close().await;
    let refusals = [Ledger::open(url).await.map(drop), Ledger::open_read_only(url).await.map(drop)];
    for refused in refusals {
        let error = refused.unwrap_err();
        assert!(
            matches!(error, Error::NewerSchema { found, known } if found == known + 1),
            "{error:?}"
        );
    }
}

/// A ledger made by an unreleased build is not worked with as if it were another; one that lacks a
/// migration is not read.
pub async fn an_altered_migration_is_refused(url: &LedgerUrl) {
    let ledger = Ledger::open(url).await.unwrap();
    let run = async |sql| sqlx::query(sql).execute(ledger.pool()).await.map(drop).unwrap();
    run("DELETE FROM migrations WHERE version = 4").await;
    let error = Ledger::open_read_only(url).await.map(drop).unwrap_err();
    assert!(matches!(error, Error::OlderSchema { found: 3, .. }), "{error:?}");
    run("UPDATE migrations SET checksum = 'x' WHERE version = 3").await;
    let error = Ledger::open(url).await.map(drop).unwrap_err();
    assert!(matches!(error, Error::AlteredMigration { version: 3, .. }), "{error:?}");
}

/// Looking for a ledger does not make one.
pub async fn reading_creates_nothing(url: &LedgerUrl) {
    assert!(Ledger::open_read_only(url).await.unwrap().is_none());
    assert!(Ledger::open_read_only(url).await.unwrap().is_none());
    let fixture = Fixture::new(url).await;
    fixture.land(interval(0, 10)).await;
    let reader = Ledger::open_read_only(url).await.unwrap().unwrap();
    assert_eq!(reader.coverage(&fixture.view).await.unwrap(), Some(fixture.state().await));
    fixture.land(interval(10, 20)).await;
    assert_eq!(reader.coverage(&fixture.view).await.unwrap(), Some(fixture.state().await));
}

/// A ledger opened for reading cannot be changed by mistake.
pub async fn a_read_only_ledger_refuses_to_write(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let reader = Ledger::open_read_only(url).await.unwrap().unwrap();
    let refused = reader.admit(&new_run("p")).await.unwrap_err();
    assert!(matches!(refused, Error::Admit { .. }), "{refused:?}");
    assert!(!refused.is_retryable());
    assert!(reader.heartbeat(fixture.run_id, at(9)).await.is_err());
    assert_eq!(reader.runs(None, 9).await.unwrap().len(), 1);
    assert_eq!(fixture.run().await.run.heartbeat_at, at(0));
}
