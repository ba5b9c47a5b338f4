//! Claims on the commit: what it covers, what it ends, what it refuses.

use model::machine::AttemptEnd;
use model::{AttemptId, JobState, RunState, WindowState};
use uuid::Uuid;

use super::fixture::{ENDED, Fixture, LONG, at, interval, mirror, receipt};
use crate::{Beat, Error, LedgerUrl, MirrorRow};

/// A commit closes the window and its job, and covers the interval.
pub async fn a_commit_covers_its_interval(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let work = fixture.work(&[interval(0, 10)]).await;
    let attempt = fixture.attempt(&work, 0).await;
    let committed = fixture.ledger.commit(&fixture.commit(&work, &attempt).await).await.unwrap();
    assert_eq!(committed.watermark_before, None);
    assert_eq!(committed.watermark_after, Some(at(10)));
    assert_eq!(committed.coverage.intervals().as_slice(), [interval(0, 10)]);
    let state = fixture.state().await;
    assert_eq!(state.coverage, committed.coverage);
    assert_eq!(state.features, Some(vec!["f".to_owned()]));
    let marker = state.committed.unwrap();
    assert_eq!((marker.sequence, marker.attempt), (1, attempt.attempt_id));
    let job = fixture.job(&work.job).await;
    assert_eq!((job.job.state, job.job.finished_at), (JobState::Succeeded, Some(at(4))));
    assert_eq!(job.job.receipt, Some(receipt(3)));
    let window = &job.windows[0].window;
    assert_eq!((window.state, window.watermark_after), (WindowState::Committed, Some(at(10))));
    assert_eq!(job.windows[0].attempts[0].state, model::AttemptState::Committed);
}

/// The last window ends its job, gives its view back, and ends the run with its last job.
pub async fn the_last_window_ends_job_and_run(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let ledger = &fixture.ledger;
    fixture.adopt_view("w").await;
    let run = fixture.run_of(&["v", "w"]).await;
    let slices = [interval(0, 10), interval(10, 20)];
    let work = fixture.work_on(run, &slices, LONG).await;
    for (window, states) in [(0, JobState::Running), (1, JobState::Succeeded)].into_iter() {
        let attempt = fixture.attempt(&work, window).await;
        ledger.commit(&fixture.commit(&work, &attempt).await).await.unwrap();
        assert_eq!(fixture.job(&work.job).await.job.state, states);
    }
    assert_eq!(ledger.leases("p").await.unwrap(), []);
    let progress = serde_json::json!({});
    let beat = ledger.beat(&work.job, work.token, &progress, LONG).await.unwrap();
    assert_eq!(beat, Beat::Extended, "a beat that crosses the last commit alarms nobody");
    assert_eq!(fixture.run(run).await.run.state, RunState::Running);

    let other = fixture.work_on(run, &[interval(0, 10)], LONG).await;
    let attempt = fixture.attempt(&other, 0).await;
    ledger.commit(&fixture.commit(&other, &attempt).await).await.unwrap();
    let run = fixture.run(run).await;
    assert_eq!((run.run.state, run.run.finished_at), (RunState::Succeeded, Some(at(4))));
    let last = fixture.events(run.run.run_id).await.pop().unwrap();
    assert_eq!(last.state.as_deref(), Some("succeeded"));
    ledger.close_job(&work.job, work.token, JobState::Succeeded, None, at(9)).await.unwrap();
    assert_eq!(fixture.run(run.run.run_id).await, run);
}

/// Repeating a commit whose answer was lost returns the same and changes nothing.
pub async fn a_second_commit_changes_nothing(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let work = fixture.work(&[interval(0, 10)]).await;
    let attempt = fixture.attempt(&work, 0).await;
    let mut commit = fixture.commit(&work, &attempt).await;
    commit.mirror = Some(mirror());
    let first = fixture.ledger.commit(&commit).await.unwrap();
    let before = (fixture.state().await, fixture.run(work.job.run_id).await);
    let events = fixture.events(work.job.run_id).await;
    commit.at = at(999);
    assert_eq!(fixture.ledger.commit(&commit).await.unwrap(), first);
    assert_eq!((fixture.state().await, fixture.run(work.job.run_id).await), before);
    assert_eq!(fixture.events(work.job.run_id).await, events);
    let due = fixture.ledger.pending_mirrors("p").await.unwrap();
    assert_eq!(due.len(), 1);
    fixture.ledger.mirror_done(due[0].id).await.unwrap();
    fixture.ledger.commit(&commit).await.unwrap();
    assert_eq!(fixture.ledger.pending_mirrors("p").await.unwrap(), [], "it is not due again");
}

/// A committed window keeps its receipt.
pub async fn a_second_commit_with_another_receipt_is_refused(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let work = fixture.work(&[interval(0, 10)]).await;
    let attempt = fixture.attempt(&work, 0).await;
    let mut commit = fixture.commit(&work, &attempt).await;
    fixture.ledger.commit(&commit).await.unwrap();
    commit.receipt = receipt(4);
    let refused = fixture.ledger.commit(&commit).await.unwrap_err();
    assert!(matches!(refused, Error::AlreadyCommitted { .. }), "{refused:?}");
    assert_eq!(fixture.job(&work.job).await.job.receipt, Some(receipt(3)));
}

/// A commit must name what was recorded before the first write.
pub async fn a_commit_of_anything_else_is_refused(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    fixture.adopt_view("w").await;
    let run = fixture.run_of(&["v", "w"]).await;
    let work = fixture.work_on(run, &[interval(0, 10), interval(10, 20)], LONG).await;
    let other = fixture.work_on(run, &[interval(0, 10)], LONG).await;
    let attempt = fixture.attempt(&work, 0).await;
    let next = fixture.attempt(&work, 1).await;
    let good = fixture.commit(&work, &attempt).await;

    let mut wider = good.clone();
    wider.interval = interval(0, 11);
    let mut foreign = good.clone();
    foreign.job.job_id = other.job.job_id;
    let mut elsewhere = good.clone();
    elsewhere.job.view = other.job.view.clone();
    let mut crossed = good.clone();
    crossed.attempt_id = next.attempt_id;
    let mut unheard = good.clone();
    unheard.attempt_id = AttemptId::from_uuid(Uuid::now_v7());
    let cases = [
        (wider, "interval"),
        (foreign, "job"),
        (elsewhere, "view"),
        (crossed, "attempt"),
        (unheard, "attempt"),
    ];
    for (commit, differs) in cases {
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
    let work = fixture.work(&[interval(0, 10)]).await;
    let attempt = fixture.attempt(&work, 0).await;
    let mut commit = fixture.commit(&work, &attempt).await;
    commit.receipt.counts.written -= 1;
    let refused = fixture.ledger.commit(&commit).await.unwrap_err();
    assert!(matches!(refused, Error::Unbalanced { .. }), "{refused:?}");
    assert!(fixture.state().await.coverage.intervals().is_empty());
}

/// Once a job was taken over, what its first holder wrote does not count, even if it lives.
pub async fn stale_token_cannot_commit(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let run = fixture.run_of(&["v"]).await;
    let slow = fixture.work_on(run, &[interval(0, 10)], ENDED).await;
    let attempt = fixture.attempt(&slow, 0).await;
    let stale = fixture.commit(&slow, &attempt).await;
    let claimed = fixture.claim(run, LONG).await.unwrap();
    let refused = fixture.ledger.commit(&stale).await.unwrap_err();
    assert!(matches!(refused, Error::Superseded { .. }), "{refused:?}");
    assert!(!refused.is_retryable());
    assert!(fixture.state().await.coverage.intervals().is_empty());

    let mut quick = fixture.cut(claimed, &[]).await;
    quick.windows = slow.windows.clone();
    let attempt = fixture.attempt(&quick, 0).await;
    fixture.ledger.commit(&fixture.commit(&quick, &attempt).await).await.unwrap();
    let refused = fixture.ledger.commit(&stale).await.unwrap_err();
    assert!(
        matches!(refused, Error::Superseded { .. }),
        "not even what the other did: {refused:?}"
    );
}

/// A holder that is late may still commit while nobody has taken its view.
pub async fn a_late_holder_may_commit_what_nobody_has_taken(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let run = fixture.run_of(&["v"]).await;
    let work = fixture.work_on(run, &[interval(0, 10)], ENDED).await;
    let attempt = fixture.attempt(&work, 0).await;
    fixture.ledger.commit(&fixture.commit(&work, &attempt).await).await.unwrap();
    assert_eq!(fixture.run(run).await.run.state, RunState::Succeeded);
}

/// What one online store acknowledged says nothing of the one that took its place.
pub async fn another_store_cannot_commit(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let work = fixture.work(&[interval(0, 10)]).await;
    let attempt = fixture.attempt(&work, 0).await;
    let mut commit = fixture.commit(&work, &attempt).await;
    commit.identity = "server 2".to_owned();
    let refused = fixture.ledger.commit(&commit).await.unwrap_err();
    assert!(matches!(refused, Error::OtherStore { .. }), "{refused:?}");
    assert!(fixture.state().await.coverage.intervals().is_empty());
}

/// The number of a marker names one commit of the view for ever, also of one created anew.
pub async fn a_marker_sequence_never_repeats(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    fixture.land(interval(0, 10)).await;
    fixture.ledger.adopt(&fixture.view, Some(at(2)), &[], &[], at(7)).await.unwrap();
    fixture.land(interval(0, 10)).await;
    let last = fixture.state().await.committed.unwrap();
    assert_eq!(last.sequence, 2);
    let work = fixture.work(&[interval(10, 20)]).await;
    let attempt = fixture.attempt(&work, 0).await;
    let mut commit = fixture.commit(&work, &attempt).await;
    for sequence in [1, 2] {
        commit.sequence = sequence;
        let refused = fixture.ledger.commit(&commit).await.unwrap_err();
        assert!(matches!(refused, Error::WindowMismatch { .. }), "{refused:?}");
    }
    assert_eq!(fixture.state().await.committed, Some(last));
    commit.sequence = 3;
    fixture.ledger.commit(&commit).await.unwrap();
}

/// Once a run was taken for dead, its process cannot commit, even if it lives.
pub async fn an_interrupted_window_cannot_commit(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let run = crate::NewRun { is_served: false, ..super::fixture::new_run(&["v"]) };
    let run = fixture.begin(run).await;
    let work = fixture.work_on(run, &[interval(0, 10)], LONG).await;
    let attempt = fixture.attempt(&work, 0).await;
    let commit = fixture.commit(&work, &attempt).await;
    assert_eq!(fixture.interrupt_as_gone().await, [run]);
    let refused = fixture.ledger.commit(&commit).await.unwrap_err();
    assert!(
        matches!(&refused, Error::WindowClosed { state, .. } if state == "interrupted"),
        "{refused:?}"
    );
    assert!(fixture.state().await.coverage.intervals().is_empty());
    let job = fixture.job(&work.job).await;
    assert_eq!(job.job.state, JobState::Interrupted);
    assert_eq!(job.windows[0].window.state, WindowState::Interrupted);
    assert_eq!(job.windows[0].attempts[0].state, model::AttemptState::Interrupted);
    assert_eq!(fixture.interrupt_as_gone().await, [], "a run dies once");
}

/// A window whose last attempt gave up cannot be committed.
pub async fn a_failed_window_cannot_commit(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let work = fixture.work(&[interval(0, 10)]).await;
    let attempt = fixture.attempt(&work, 0).await;
    let commit = fixture.commit(&work, &attempt).await;
    fixture.end(&work, &attempt, 1, AttemptEnd::Permanent).await;
    let refused = fixture.ledger.commit(&commit).await.unwrap_err();
    assert!(
        matches!(&refused, Error::WindowClosed { state, .. } if state == "failed"),
        "{refused:?}"
    );
    let row = &fixture.job(&work.job).await.windows[0].window;
    assert_eq!(row.error.as_deref(), Some("why"));
    assert_eq!(row.closed_at, Some(at(5)));
}

/// Ending a job closes the windows it left open; ending a committed one changes nothing.
pub async fn a_finished_job_cannot_commit(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let ledger = &fixture.ledger;
    let work = fixture.work(&[interval(0, 10)]).await;
    let attempt = fixture.attempt(&work, 0).await;
    let commit = fixture.commit(&work, &attempt).await;
    let close = async |state| ledger.close_job(&work.job, work.token, state, None, at(5)).await;
    close(JobState::Failed).await.unwrap();
    let refused = ledger.commit(&commit).await.unwrap_err();
    assert!(matches!(refused, Error::WindowClosed { .. }), "{refused:?}");
    let refused = close(JobState::Succeeded).await.unwrap_err();
    assert!(matches!(refused, Error::Superseded { .. }), "{refused:?}");
    assert_eq!(fixture.job(&work.job).await.job.state, JobState::Failed);

    let landed = fixture.work(&[interval(0, 10)]).await;
    let attempt = fixture.attempt(&landed, 0).await;
    ledger.commit(&fixture.commit(&landed, &attempt).await).await.unwrap();
    ledger.close_job(&landed.job, landed.token, JobState::Failed, None, at(6)).await.unwrap_err();
    assert_eq!(fixture.job(&landed.job).await.job.state, JobState::Succeeded);
}

/// A window that is open although its job has ended cannot be committed.
pub async fn a_window_of_an_ended_job_cannot_commit(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let work = fixture.work(&[interval(0, 10)]).await;
    let attempt = fixture.attempt(&work, 0).await;
    sqlx::query("UPDATE jobs SET state = 'interrupted'")
        .execute(fixture.ledger.pool())
        .await
        .unwrap();
    let refused = fixture.ledger.commit(&fixture.commit(&work, &attempt).await).await.unwrap_err();
    assert!(matches!(refused, Error::WindowClosed { .. }), "{refused:?}");
    assert!(fixture.state().await.coverage.intervals().is_empty());
    assert_eq!(fixture.job(&work.job).await.windows[0].window.state, WindowState::Open);
}

/// A job's receipt is the sum of its windows'.
pub async fn windows_of_one_job_add_up(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let work = fixture.work(&[interval(0, 10), interval(10, 20)]).await;
    for window in [1, 0] {
        let attempt = fixture.attempt(&work, window).await;
        fixture.ledger.commit(&fixture.commit(&work, &attempt).await).await.unwrap();
    }
    let mut sum = receipt(3);
    sum.add(&receipt(3));
    let detail = fixture.job(&work.job).await;
    assert_eq!(detail.job.receipt, Some(sum));
    assert_eq!(detail.job.interval, Some(interval(0, 20)));
    assert_eq!(detail.windows.len(), 2);
}

/// An interval stays due until it is ticked off, across runs, in the order of commits.
pub async fn the_outbox_keeps_what_is_not_done(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let mut ids = Vec::new();
    for step in 0..3 {
        let work = fixture.work(&[interval(step, step + 1)]).await;
        let attempt = fixture.attempt(&work, 0).await;
        let mut commit = fixture.commit(&work, &attempt).await;
        commit.at = at(100 + step);
        commit.mirror = Some(MirrorRow { start_micros: step, end_micros: i64::MAX, ..mirror() });
        fixture.ledger.commit(&commit).await.unwrap();
        ids.push(commit.window_id);
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
