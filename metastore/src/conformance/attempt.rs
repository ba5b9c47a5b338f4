//! Claims on attempts: what they leave behind, and who may go on from it.

use std::collections::BTreeMap;

use model::machine::AttemptEnd;
use model::{AttemptId, AttemptState, JobState, Marker, RunState, WindowState};
use uuid::Uuid;

use super::fixture::{ENDED, Fixture, LONG, POLICY, at, interval, receipt};
use crate::{Error, LedgerUrl, NewAttempt};

/// An attempt whose view was taken over leaves no more traces.
pub async fn a_taken_over_attempt_cannot_checkpoint_nor_end(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let ledger = &fixture.ledger;
    let run = fixture.run_of(&["v"]).await;
    let slow = fixture.work_on(run, &[interval(0, 10)], ENDED).await;
    let attempt = fixture.attempt(&slow, 0).await;
    fixture.claim(run, LONG).await.unwrap();
    let before = fixture.run(run).await;
    let end = (1, AttemptEnd::Permanent);
    let refusals = [
        ledger.checkpoint(&fixture.view, &attempt, 0, &receipt(1)).await,
        ledger.end_attempt(&slow.job, &attempt, end, &POLICY, "why", at(5)).await.map(drop),
        ledger.begin_attempt(&slow.job, &slow.attempt(0)).await.map(drop),
    ];
    for refused in refusals {
        let refused = refused.unwrap_err();
        assert!(matches!(refused, Error::Superseded { .. }), "{refused:?}");
    }
    assert_eq!(fixture.run(run).await, before);
    let abandoned = &before.jobs[0].windows[0].attempts[0];
    assert_eq!(abandoned.state, AttemptState::Interrupted);
    assert_eq!(before.jobs[0].windows[0].window.state, WindowState::Open);
    assert_eq!(before.jobs[0].windows[0].window.partitions_done, 0);
}

/// What an attempt had acknowledged, the next on the same basis need not write again.
pub async fn a_resumed_attempt_knows_what_is_done(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let run = fixture.run_of(&["v"]).await;
    let mut work = fixture.work_on(run, &[interval(0, 10)], ENDED).await;
    let first = work.attempt(0);
    let begun = fixture.begin_attempt(&work, &first).await;
    assert_eq!((begun.number, begun.done), (1, BTreeMap::new()));
    for rows in [2, 1] {
        fixture.ledger.checkpoint(&fixture.view, &first, 1, &receipt(rows)).await.unwrap();
    }
    let next = fixture.claim(run, LONG).await.unwrap();
    assert_eq!(next.windows[0].partitions_done, 1);
    work.token = next.token;
    let second = work.attempt(0);
    for _ in 0..2 {
        let begun = fixture.begin_attempt(&work, &second).await;
        assert_eq!((begun.number, begun.done), (2, BTreeMap::from([(1, receipt(1))])));
    }
    fixture.ledger.checkpoint(&fixture.view, &second, 0, &receipt(2)).await.unwrap();
    fixture.ledger.commit(&fixture.commit(&work, &second).await).await.unwrap();
    assert_eq!(fixture.count("checkpoints").await, 0, "the receipt has them");
    fixture.ledger.checkpoint(&fixture.view, &second, 0, &receipt(2)).await.unwrap_err();
}

/// What was acknowledged under another plan, of other files or by another server, counts no more.
pub async fn checkpoints_of_another_basis_are_forgotten(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let work = fixture.work(&[interval(0, 10), interval(10, 20)]).await;
    for window in [0, 1] {
        let first = fixture.attempt(&work, window).await;
        fixture.ledger.checkpoint(&fixture.view, &first, 0, &receipt(1)).await.unwrap();
        fixture.end(&work, &first, 1, AttemptEnd::Transient).await;
        fixture.ledger.checkpoint(&fixture.view, &first, 1, &receipt(1)).await.unwrap();
    }
    assert_eq!(fixture.count("checkpoints").await, 2, "an ended attempt adds none");
    let other = NewAttempt { basis: "plan 2".to_owned(), ..work.attempt(0) };
    assert_eq!(fixture.begin_attempt(&work, &other).await.done, BTreeMap::new());
    fixture.end(&work, &other, 2, AttemptEnd::HandedBack).await;
    assert_eq!(fixture.begin_attempt(&work, &work.attempt(0)).await.done, BTreeMap::new());
    assert_eq!(fixture.begin_attempt(&work, &work.attempt(1)).await.done.len(), 1);
}

/// Attempts give up one after the other; the last takes its job with it, and nothing else.
pub async fn a_failed_last_attempt_fails_the_job_and_not_the_others_of_its_run(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    fixture.adopt_view("w").await;
    let run = fixture.run_of(&["v", "w"]).await;
    let slices = [interval(0, 10), interval(10, 20)];
    let work = fixture.work_on(run, &slices, LONG).await;
    let first = fixture.attempt(&work, 0).await;
    let next = fixture.end(&work, &first, 1, AttemptEnd::Transient).await;
    assert_eq!(next.again_after, Some(POLICY.backoff_first));
    assert_eq!(fixture.job(&work.job).await.job.state, JobState::Running);
    let second = fixture.attempt(&work, 0).await;
    for _ in 0..2 {
        // The second call repeats the first, as after a lost answer.
        let next = fixture.end(&work, &second, 2, AttemptEnd::Transient).await;
        assert_eq!((next.window, next.job), (WindowState::Failed, JobState::Failed));
    }
    let job = fixture.job(&work.job).await;
    assert_eq!((job.job.state, job.job.reason.as_deref()), (JobState::Failed, Some("why")));
    assert!(job.windows.iter().all(|window| window.window.state == WindowState::Failed));
    assert_eq!(fixture.run(run).await.run.state, RunState::Running);
    let told =
        fixture.events(run).await.into_iter().filter(|e| e.state.as_deref() == Some("failed"));
    assert_eq!(told.count(), 3, "two attempts and a job");

    let other = fixture.work_on(run, &[interval(0, 10)], LONG).await;
    let attempt = fixture.attempt(&other, 0).await;
    fixture.ledger.commit(&fixture.commit(&other, &attempt).await).await.unwrap();
    let run = fixture.run(run).await.run;
    assert_eq!((run.state, run.jobs_landed), (RunState::Failed, 1));
}

/// A window, a job or an attempt that has ended is not begun again.
pub async fn what_has_ended_is_not_attempted(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let work = fixture.work(&[interval(0, 10), interval(10, 20)]).await;
    let committed = fixture.attempt(&work, 0).await;
    fixture.ledger.commit(&fixture.commit(&work, &committed).await).await.unwrap();
    let ended = fixture.attempt(&work, 1).await;
    fixture.end(&work, &ended, 1, AttemptEnd::Transient).await;
    for (attempt, said) in [(work.attempt(0), "committed"), (ended, "running")] {
        let refused = fixture.ledger.begin_attempt(&work.job, &attempt).await.unwrap_err();
        assert!(
            matches!(&refused, Error::WindowClosed { state, .. } if state == said),
            "{refused:?}"
        );
    }
}

/// What an attempt left behind is remembered with its source, until a later one that knew of it has
/// landed over all of its window.
pub async fn uncommitted_attempts_are_remembered_until_something_lands_over_them(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let given_up = fixture.work(&[interval(10, 20)]).await;
    let first = fixture.attempt(&given_up, 0).await;
    fixture.end(&given_up, &first, 1, AttemptEnd::Permanent).await;
    let left = async |start, end| {
        let except = AttemptId::from_uuid(Uuid::nil());
        let found =
            fixture.ledger.uncommitted_attempts(&fixture.view, interval(start, end), except);
        found.await.unwrap().into_iter().map(|attempt| attempt.attempt_id).collect::<Vec<_>>()
    };
    assert_eq!(left(0, 100).await, [first.attempt_id]);
    assert_eq!(left(19, 20).await, [first.attempt_id]);
    assert_eq!((left(0, 10).await, left(20, 30).await), (vec![], vec![]));
    fixture.land(interval(10, 15)).await;
    assert_eq!(left(0, 100).await, [first.attempt_id], "half of it may still be there");

    let retried = fixture.work(&[interval(0, 20)]).await;
    let second = fixture.attempt(&retried, 0).await;
    fixture.end(&retried, &second, 1, AttemptEnd::Transient).await;
    let third = fixture.attempt(&retried, 0).await;
    let (view, own) = (&fixture.view, third.attempt_id);
    let others = fixture.ledger.uncommitted_attempts(view, interval(0, 20), own).await.unwrap();
    assert_eq!(others.len(), 2);
    assert_eq!((&others[0].source, others[0].number), (&first.source, 1));
    fixture.ledger.commit(&fixture.commit(&retried, &third).await).await.unwrap();
    assert_eq!(left(0, 100).await, []);

    let later = fixture.work(&[interval(10, 20)]).await;
    let fourth = fixture.attempt(&later, 0).await;
    assert_eq!(left(0, 100).await, [fourth.attempt_id], "an older commit does not excuse it");
}

/// Attempts that write without the fence are told of, the last of them, with when it was over.
pub async fn an_unfenced_attempt_is_remembered_until_it_is_over(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let ledger = &fixture.ledger;
    fixture.land(interval(0, 10)).await;
    let bound = fixture.run_of(&["v"]).await;
    let slow = fixture.work_on(bound, &[interval(10, 20)], ENDED).await;
    assert_eq!(ledger.fence(&fixture.view, slow.token).await.unwrap(), None, "what landed is over");
    assert!(fixture.state().await.fenced);
    fixture.attempt(&slow, 0).await;
    let (last, now) = ledger.fence(&fixture.view, slow.token).await.unwrap().unwrap();
    assert_eq!(last, now, "it is at work");

    // Another run takes the view over, and with it ends the other's attempt.
    let run = fixture.run_of(&["v"]).await;
    let quick = fixture.work_on(run, &[interval(10, 20)], LONG).await;
    let over = fixture.job(&slow.job).await.windows[0].attempts[0].clone();
    assert_eq!(over.state, AttemptState::Interrupted);
    let fenced = NewAttempt { fenced: true, ..quick.attempt(0) };
    fixture.begin_attempt(&quick, &fenced).await;
    let (last, then) = ledger.fence(&fixture.view, quick.token).await.unwrap().unwrap();
    assert_eq!(Some(last), over.ended_at);
    assert!(now <= last && last <= then, "{now} {last} {then}");
}

/// An attempt that the online store names is recognized, and one of a forgotten past is not.
pub async fn an_attempt_of_the_ledger_is_known(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let work = fixture.work(&[interval(0, 10)]).await;
    let attempt = fixture.attempt(&work, 0).await.attempt_id;
    assert!(fixture.ledger.knows(&Marker { sequence: 1, attempt }).await.unwrap());
    let attempt = AttemptId::from_uuid(Uuid::now_v7());
    assert!(!fixture.ledger.knows(&Marker { sequence: 1, attempt }).await.unwrap());
}
