//! Claims on the commit: what it covers, what it refuses.

use model::JobState;

use super::fixture::{Fixture, at, interval, receipt};
use crate::{Error, LedgerUrl, MirrorRow, WindowState};

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

/// A window that is open although its job has ended cannot be committed: it was opened in the very
/// moment in which its run was taken for dead.
pub async fn a_window_of_an_ended_job_cannot_commit(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let window = fixture.window(interval(0, 10)).await;
    sqlx::query("UPDATE jobs SET state = 'interrupted'")
        .execute(fixture.ledger.pool())
        .await
        .unwrap();
    let refused = fixture.ledger.commit(&fixture.commit(&window)).await.unwrap_err();
    assert!(matches!(refused, Error::WindowClosed { .. }), "{refused:?}");
    assert!(fixture.state().await.coverage.intervals().is_empty());
    assert_eq!(fixture.job(window.job_id).await.windows[0].state, WindowState::Open);
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
