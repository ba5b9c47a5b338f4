//! Claims on runs and jobs: life, death, repetition, pruning, and what people are shown.

use model::{EventTime, JobState, Receipt, RunState};
use serde_json::json;

use super::fixture::{Fixture, at, interval, new_run, receipt, window_id};
use crate::{Error, Ledger, LedgerUrl, NewRun, RUNS_KEPT_MAX};

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

/// A run that gives a sign of life while it is being judged goes on.
pub async fn a_sign_of_life_during_judgement_saves_a_run(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let window = fixture.window(interval(0, 10)).await;
    let beat = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let ledger = Ledger::open(url).await.unwrap();
            assert!(ledger.heartbeat(fixture.run_id, at(5)).await.unwrap());
            ledger.close().await;
        });
    };
    let is_alive = |_| {
        // On a thread of its own: the judge's runtime is in the middle of this very call.
        std::thread::scope(|scope| scope.spawn(beat).join().unwrap());
        false
    };
    let judged = fixture.ledger.interrupt_dead_runs("p", "here", &is_alive, at(9), i64::MAX).await;
    assert_eq!(judged.unwrap(), []);
    let run = fixture.run().await;
    assert_eq!((run.run.state, run.run.heartbeat_at), (RunState::Running, at(5)));
    fixture.ledger.commit(&fixture.commit(&window)).await.unwrap();
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
