//! Claims on admission: keys, repetition, pruning, and the numbers of events.

use futures::future::join_all;
use model::machine::AttemptEnd;
use model::{JobState, RunId, RunState, WindowId};
use uuid::Uuid;

use super::fixture::{ENDED, Fixture, LONG, POLICY, at, interval, mirror, new_job, new_run};
use crate::{
    Admitted, Commit, Error, EventKind, Idempotency, Ledger, LedgerUrl, NewAttempt, NewRun,
    RUNS_KEPT_MAX, RunBeat,
};

/// Whoever asks again under a key is told of the run, also when all ask at once.
pub async fn a_key_admits_one_run(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let mut ledgers = Vec::new();
    for _ in 0..4 {
        ledgers.push(Ledger::open(url).await.unwrap());
    }
    let runs: Vec<_> = (0..20).map(|_| keyed("nightly", "one")).collect();
    let ledgers = ledgers.iter().cycle();
    let admitted = join_all(runs.iter().zip(ledgers).map(|(run, ledger)| ledger.admit(run))).await;
    let admitted: Vec<_> = admitted.into_iter().map(Result::unwrap).collect();
    let news = runs.iter().zip(&admitted).filter(|(_, admitted)| **admitted == Admitted::New);
    let news: Vec<RunId> = news.map(|(run, _)| run.run_id).collect();
    assert_eq!(news.len(), 1);
    let known = admitted.iter().filter(|admitted| **admitted == Admitted::Known(news[0]));
    assert_eq!(known.count(), 19);
    assert_eq!((fixture.count("runs").await, fixture.count("jobs").await), (1, 1));

    let other = keyed("weekly", "one");
    assert_eq!(fixture.ledger.admit(&other).await.unwrap(), Admitted::New);
    let elsewhere = NewRun { project: "q".to_owned(), ..keyed("nightly", "one") };
    assert_eq!(fixture.ledger.admit(&elsewhere).await.unwrap(), Admitted::New);
    for _ in 0..2 {
        assert_eq!(fixture.ledger.admit(&new_run(&[])).await.unwrap(), Admitted::New, "no key");
    }
}

/// A key stands for what was first asked for under it.
pub async fn a_key_with_another_body_is_refused(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let first = keyed("nightly", "one");
    fixture.ledger.admit(&first).await.unwrap();
    let admitted = fixture.ledger.admit(&keyed("nightly", "two")).await.unwrap();
    assert_eq!(admitted, Admitted::KeyTaken(first.run_id));
    let again = fixture.ledger.admit(&first).await.unwrap();
    assert_eq!(again, Admitted::Known(first.run_id), "the answer to the first call was lost");
    assert_eq!(fixture.count("runs").await, 1);
}

fn keyed(key: &str, digest: &str) -> NewRun {
    let idempotency = Idempotency { key: key.to_owned(), digest: digest.to_owned() };
    NewRun { idempotency: Some(idempotency), ..new_run(&["v"]) }
}

/// A follower that asks for what came after a number misses nothing, however many work at once.
pub async fn events_are_numbered_without_gaps(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let names: Vec<_> = (0..4).map(|n| format!("v{n}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    for name in &names {
        fixture.adopt_view(name).await;
    }
    let run = fixture.run_of(&names).await;
    let land = async || {
        let own = Fixture { ledger: Ledger::open(url).await.unwrap(), view: fixture.view.clone() };
        let work = own.work_on(run, &[interval(0, 10)], LONG).await;
        let first = own.attempt(&work, 0).await;
        own.end(&work, &first, 1, AttemptEnd::Transient).await;
        let second = own.attempt(&work, 0).await;
        own.ledger.commit(&own.commit(&work, &second).await).await.unwrap();
    };
    join_all(names.iter().map(|_| land())).await;

    let events = fixture.events(run).await;
    let numbers: Vec<_> = events.iter().map(|event| event.event_id).collect();
    assert_eq!(numbers, (1..=events.len() as u64).collect::<Vec<_>>());
    // Admitted, begun and ended; of each job: taken, two attempts, one failure, window, end.
    assert_eq!(events.len(), 3 + names.len() * 6);
    assert_eq!(fixture.run(run).await.run.state, RunState::Succeeded);
    let last = events.last().unwrap();
    assert_eq!((last.kind, last.subject.clone()), (EventKind::Run, run.to_string()));
    let attempts = events.iter().filter(|event| event.kind == EventKind::Attempt);
    let subjects: std::collections::BTreeSet<_> = attempts.map(|event| &event.subject).collect();
    assert_eq!(subjects.len(), 2 * names.len(), "an event names its own attempt");
    let page = fixture.ledger.events(run, 5, 3).await.unwrap();
    assert_eq!(page, events[5..8]);
    assert_eq!(fixture.ledger.events(run, 999, 3).await.unwrap(), []);
}

/// Any call may be repeated after a lost answer.
pub async fn every_step_may_run_twice(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let ledger = &fixture.ledger;
    let run = new_run(&["v"]);
    ledger.admit(&run).await.unwrap();
    let again = NewRun { project: "other".to_owned(), at: at(77), ..run.clone() };
    assert_eq!(ledger.admit(&again).await.unwrap(), Admitted::Known(run.run_id));
    for now in [1, 77] {
        ledger.begin_run(run.run_id, &[], None, at(now)).await.unwrap();
    }
    assert_eq!(fixture.run(run.run_id).await.run.project, "p", "the first record stands");
    let work = fixture.work_on(run.run_id, &[interval(0, 10)], LONG).await;
    ledger.cut_job(&work.job, work.token, &work.windows, &[], at(77)).await.unwrap();
    let attempt = work.attempt(0);
    let first = fixture.begin_attempt(&work, &attempt).await;
    assert_eq!(fixture.begin_attempt(&work, &attempt).await, first);
    for now in [5, 77] {
        let end = (1, AttemptEnd::Permanent);
        ledger.end_attempt(&work.job, &attempt, end, &POLICY, "why", at(now)).await.unwrap();
        let state = JobState::Failed;
        ledger.close_job(&work.job, work.token, state, Some("why"), at(now)).await.unwrap();
    }
    let run = fixture.run(run.run_id).await;
    assert_eq!((run.run.state, run.run.finished_at), (RunState::Failed, Some(at(5))));
    assert_eq!(run.jobs[0].job.finished_at, Some(at(5)));
    assert_eq!(run.jobs[0].windows[0].window.closed_at, Some(at(5)));
    assert_eq!(run.jobs[0].windows[0].attempts.len(), 1);
    let told: Vec<_> = fixture.events(run.run.run_id).await;
    let told: Vec<_> = told.iter().filter_map(|event| event.state.as_deref()).collect();
    assert_eq!(
        told,
        ["pending", "running", "running", "running", "failed", "failed", "failed"],
        "nothing is told twice"
    );
    ledger.mirror_done(attempt.window_id).await.unwrap();
}

/// What was never recorded cannot be worked on.
pub async fn unknown_ids_are_refused(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let ledger = &fixture.ledger;
    let work = fixture.work(&[interval(0, 10)]).await;
    let attempt = fixture.attempt(&work, 0).await;
    let good = fixture.commit(&work, &attempt).await;

    let stranger = WindowId::from_uuid(Uuid::now_v7());
    let elsewhere = NewAttempt { window_id: stranger, ..work.attempt(0) };
    let refused = ledger.begin_attempt(&work.job, &elsewhere).await.unwrap_err();
    assert!(matches!(refused, Error::WindowUnknown { .. }), "{refused:?}");
    let refused = ledger.commit(&Commit { window_id: stranger, ..good }).await.unwrap_err();
    assert!(matches!(refused, Error::WindowUnknown { .. }), "{refused:?}");
    assert_eq!(ledger.window(stranger).await.unwrap(), None);

    let run = fixture.run_of(&["never adopted"]).await;
    let work = fixture.work_on(run, &[interval(0, 10)], LONG).await;
    let attempt = fixture.attempt(&work, 0).await;
    let refused = ledger.commit(&fixture.commit(&work, &attempt).await).await.unwrap_err();
    assert!(matches!(refused, Error::ViewUnknown { .. }), "{refused:?}");
    assert_eq!(ledger.coverage(&work.job.view).await.unwrap(), None);

    let stranger = new_run(&[]).run_id;
    assert_eq!(ledger.heartbeat(stranger).await.unwrap(), RunBeat::Ended);
    ledger.begin_run(stranger, &[], None, at(1)).await.unwrap();
    assert_eq!(ledger.run(stranger).await.unwrap(), None);
    assert_eq!(ledger.run_row(stranger).await.unwrap(), None);
}

/// The ledger keeps a bounded number of runs, and never removes one at work nor what has landed.
pub async fn old_runs_are_removed_with_all_that_is_theirs(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let ledger = &fixture.ledger;
    let run = fixture.run_of(&["v"]).await;
    let work = fixture.work_on(run, &[interval(0, 10)], LONG).await;
    let attempt = fixture.attempt(&work, 0).await;
    fixture.insert_ended_runs(RUNS_KEPT_MAX).await;
    let count = async |table: &str| fixture.count(table).await;

    ledger.admit(&NewRun { at: at(50_000), ..new_run(&[]) }).await.unwrap();
    assert_eq!(count("runs").await, RUNS_KEPT_MAX + 1, "the oldest run is still at work");
    let mut commit = fixture.commit(&work, &attempt).await;
    commit.mirror = Some(mirror());
    ledger.commit(&commit).await.unwrap();
    let other = NewRun { project: "q".to_owned(), at: at(50_002), ..new_run(&[]) };
    ledger.admit(&other).await.unwrap();
    assert_eq!(count("runs").await, RUNS_KEPT_MAX + 2, "another project's run removes none");
    ledger.admit(&NewRun { at: at(50_003), ..new_run(&[]) }).await.unwrap();

    assert_eq!(count("runs").await, RUNS_KEPT_MAX + 1);
    assert_eq!(ledger.run(run).await.unwrap(), None);
    assert_eq!((count("jobs").await, count("windows").await, count("attempts").await), (0, 0, 0));
    assert_eq!(ledger.events(run, 0, 9).await.unwrap(), []);
    assert_eq!(fixture.state().await.coverage.watermark(), Some(at(10)));
    assert_eq!(ledger.pending_mirrors("p").await.unwrap().len(), 1);
}

/// A run without work to do ends as it begins; one whose jobs are all refused has failed.
pub async fn a_run_without_work_ends_as_it_begins(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let nothing = fixture.run_of(&[]).await;
    assert_eq!(fixture.run(nothing).await.run.state, RunState::Succeeded);
    let refusal = Some("a view with a transformation".to_owned());
    let job = crate::NewJob { refusal: refusal.clone(), version: Some(3), ..new_job(0, "v") };
    let run = fixture.begin(NewRun { jobs: vec![job], ..new_run(&[]) }).await;
    let run = fixture.run(run).await;
    assert_eq!((run.run.state, run.run.jobs_total), (RunState::Failed, 1));
    let job = &run.jobs[0].job;
    assert_eq!((job.state, &job.reason, job.version), (JobState::Refused, &refusal, Some(3)));
    assert_eq!((job.interval, job.finished_at), (None, Some(at(0))));
    assert_eq!(fixture.claim(run.run.run_id, ENDED).await, None);
}
