//! Claims on ends from outside: cancelled runs, and runs whose process has stopped.

use model::machine::AttemptEnd;
use model::{JobState, RunState, WindowState};
use serde_json::json;

use super::fixture::{ENDED, Fixture, LONG, at, interval, new_run};
use crate::{Beat, Cancelled, Error, Ledger, LedgerUrl, NewRun, RunBeat};

/// Nobody need hear of the end of a run that nobody works on.
pub async fn a_cancelled_run_ends_jobs_nobody_holds(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let ledger = &fixture.ledger;
    let waiting = new_run(&["v", "w"]);
    ledger.admit(&waiting).await.unwrap();
    assert_eq!(ledger.cancel(waiting.run_id, at(5)).await.unwrap(), Cancelled::Requested);
    let run = fixture.run(waiting.run_id).await;
    assert_eq!((run.run.state, run.run.finished_at), (RunState::Cancelled, Some(at(5))));
    assert!(run.jobs.iter().all(|job| job.job.state == JobState::Cancelled));
    assert_eq!(ledger.waiting_run("p").await.unwrap(), None);

    let left = fixture.run_of(&["v"]).await;
    let slow = fixture.work_on(left, &[interval(0, 10)], ENDED).await;
    let attempt = fixture.attempt(&slow, 0).await;
    let commit = fixture.commit(&slow, &attempt).await;
    assert_eq!(ledger.cancel(left, at(6)).await.unwrap(), Cancelled::Requested);
    let run = fixture.run(left).await;
    assert_eq!((run.run.state, run.jobs[0].job.state), (RunState::Cancelled, JobState::Cancelled));
    assert_eq!(run.jobs[0].windows[0].window.state, WindowState::Interrupted);
    let refused = ledger.commit(&commit).await.unwrap_err();
    assert!(matches!(refused, Error::WindowClosed { .. }), "{refused:?}");
    let ended = ledger.cancel(left, at(7)).await.unwrap();
    assert_eq!(ended, Cancelled::Ended(RunState::Cancelled));
    assert_eq!(fixture.run(left).await, run);
    let told: Vec<_> = fixture.events(left).await.into_iter().filter_map(|e| e.state).collect();
    let expected =
        ["pending", "running", "running", "running", "cancel_requested", "cancelled", "cancelled"];
    assert_eq!(told, expected);
    let refused = ledger.cancel(new_run(&[]).run_id, at(7)).await.unwrap_err();
    assert!(matches!(refused, Error::RunUnknown { .. }), "{refused:?}");
}

/// Whoever works on a cancelled run hears of it by its next sign of life, and ends it itself.
pub async fn a_cancelled_run_tells_its_holder(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let ledger = &fixture.ledger;
    let run = fixture.run_of(&["v", "w"]).await;
    let work = fixture.work_on(run, &[interval(0, 10)], LONG).await;
    let attempt = fixture.attempt(&work, 0).await;
    assert_eq!(ledger.heartbeat(run).await.unwrap(), RunBeat::GoesOn);
    for now in [5, 6] {
        assert_eq!(ledger.cancel(run, at(now)).await.unwrap(), Cancelled::Requested);
    }
    assert_eq!(ledger.heartbeat(run).await.unwrap(), RunBeat::Cancelled);
    let beat = ledger.beat(&work.job, work.token, &json!({}), LONG).await.unwrap();
    assert_eq!(beat, Beat::Cancelled);
    let detail = fixture.run(run).await;
    assert_eq!(detail.run.state, RunState::Running);
    assert!(detail.run.cancel_requested);
    assert_eq!(detail.jobs[1].job.state, JobState::Cancelled);

    fixture.end(&work, &attempt, 1, AttemptEnd::Cancelled).await;
    let detail = fixture.run(run).await;
    assert_eq!(detail.run.state, RunState::Cancelled);
    assert_eq!(detail.jobs[0].windows[0].window.state, WindowState::Interrupted);
    assert_eq!(ledger.heartbeat(run).await.unwrap(), RunBeat::Ended);
    let states = fixture.events(run).await.into_iter().filter_map(|event| event.state);
    assert_eq!(states.filter(|state| state == "cancel_requested").count(), 1);
}

/// A run that did all it was asked for was not cancelled.
pub async fn a_wish_that_came_too_late_is_not_granted(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let work = fixture.work(&[interval(0, 10)]).await;
    let attempt = fixture.attempt(&work, 0).await;
    fixture.ledger.cancel(work.job.run_id, at(5)).await.unwrap();
    fixture.ledger.commit(&fixture.commit(&work, &attempt).await).await.unwrap();
    assert_eq!(fixture.run(work.job.run_id).await.run.state, RunState::Succeeded);
}

/// A run that was taken for dead is told so and can do nothing more.
pub async fn an_interrupted_run_takes_no_more_work(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let ledger = &fixture.ledger;
    let run = fixture.begin(NewRun { is_served: false, ..new_run(&["v", "w"]) }).await;
    let work = fixture.work_on(run, &[interval(0, 10)], LONG).await;
    assert_eq!(fixture.interrupt_as_gone().await, [run]);
    assert_eq!(ledger.heartbeat(run).await.unwrap(), RunBeat::Ended);
    assert_eq!(fixture.claim(run, LONG).await, None);
    let beat = ledger.beat(&work.job, work.token, &json!({}), LONG).await.unwrap();
    assert_eq!(beat, Beat::Superseded);
    let refused = ledger.begin_attempt(&work.job, &work.attempt(0)).await.unwrap_err();
    assert!(matches!(refused, Error::Superseded { .. }), "{refused:?}");
    ledger.begin_run(run, &[], None, at(60)).await.unwrap();
    let detail = fixture.run(run).await;
    assert_eq!(detail.run.state, RunState::Interrupted);
    assert!(detail.jobs.iter().all(|job| job.job.state == JobState::Interrupted));
    assert_eq!(detail.jobs[1].job.reason.as_deref(), Some("its process is gone"));
    assert_eq!(ledger.leases("p").await.unwrap(), []);
}

/// A run is judged by its process on its own host, and by its silence elsewhere. The clock of its
/// process is not asked.
pub async fn a_run_that_gives_signs_of_life_is_left_alone(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let ledger = &fixture.ledger;
    let run = fixture.begin(NewRun { is_served: false, ..new_run(&["v"]) }).await;
    let served = fixture.run_of(&["w"]).await;
    let hour = 3_600_000_000_000;
    let dead = async |host, alive: bool, silent_for| {
        ledger.interrupt_dead_runs("p", host, &|_| alive, silent_for).await.unwrap()
    };
    assert_eq!(dead("here", true, hour).await, []);
    assert_eq!(dead("there", false, hour).await, []);
    assert_eq!(ledger.heartbeat(run).await.unwrap(), RunBeat::GoesOn);
    assert_eq!(dead("there", false, hour).await, []);
    let others = ledger.interrupt_dead_runs("q", "here", &|_| false, -hour).await.unwrap();
    assert_eq!(others, [], "another project's runs are not judged");
    assert_eq!(dead("there", false, -hour).await, [run], "silent for longer than it may be");
    let row = fixture.run(run).await.run;
    assert_eq!(row.state, RunState::Interrupted);
    assert!(row.finished_at >= Some(row.heartbeat_at));
    let served = fixture.run(served).await.run;
    assert_eq!(served.state, RunState::Running, "any process may go on with it");
}

/// A run that gives a sign of life while it is being judged goes on.
pub async fn a_sign_of_life_during_judgement_saves_a_run(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let run = fixture.begin(NewRun { is_served: false, ..new_run(&["v"]) }).await;
    let work = fixture.work_on(run, &[interval(0, 10)], LONG).await;
    let attempt = fixture.attempt(&work, 0).await;
    let before = fixture.run(run).await.run.heartbeat_at;
    let beat = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let ledger = Ledger::open(url).await.unwrap();
            while ledger.run_row(run).await.unwrap().unwrap().heartbeat_at == before {
                assert_eq!(ledger.heartbeat(run).await.unwrap(), RunBeat::GoesOn);
            }
            ledger.close().await;
        });
    };
    let is_alive = |_| {
        // On a thread of its own: the judge's runtime is in the middle of this very call.
        std::thread::scope(|scope| scope.spawn(beat).join().unwrap());
        false
    };
    let judged = fixture.ledger.interrupt_dead_runs("p", "here", &is_alive, i64::MAX).await;
    assert_eq!(judged.unwrap(), []);
    assert_eq!(fixture.run(run).await.run.state, RunState::Running);
    fixture.ledger.commit(&fixture.commit(&work, &attempt).await).await.unwrap();
}
