//! Claims on what people are shown, and how long they wait for it.

use std::time::{Duration, Instant};

use model::{EventTime, JobState, Receipt, RunState};
use serde_json::json;

use super::fixture::{Fixture, LONG, at, interval, new_run, receipt};
use crate::{LedgerUrl, NewRun, RunFilter, RunPlace};

/// A hundred times what a listing takes, for machines that are busy; what it took is printed.
const LISTING_MAX: Duration = Duration::from_secs(10);

/// What people are shown is what was recorded.
pub async fn status_and_runs_tell_what_happened(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let ledger = &fixture.ledger;
    fixture.adopt_view("untouched").await;
    let run = fixture.run_of(&["v", "w"]).await;
    let work = fixture.work_on(run, &[interval(0, 10)], LONG).await;
    let attempt = fixture.attempt(&work, 0).await;
    ledger.commit(&fixture.commit(&work, &attempt).await).await.unwrap();
    let other = fixture.claim(run, LONG).await.unwrap();
    let (warnings, bad) = (vec!["w".to_owned()], json!([{"file": "a", "row": 1}]));
    ledger.remark(other.job.job_id, &warnings, &bad).await.unwrap();
    ledger.warn_run(run, &["as a whole".to_owned()]).await.unwrap();
    let reason = Some("no rows");
    ledger.close_job(&other.job, other.token, JobState::Refused, reason, at(50)).await.unwrap();

    let run = fixture.run(run).await;
    assert_eq!((run.run.jobs_total, run.run.jobs_landed), (2, 1));
    assert_eq!((run.run.state, run.run.finished_at), (RunState::Failed, Some(at(50))));
    assert_eq!(
        (&run.run.views, &run.run.request),
        (&vec!["v".into(), "w".into()], &json!({"views": ["v", "w"]}))
    );
    assert_eq!(run.run.warnings, ["as a whole"]);
    let window = &run.jobs[0].windows[0];
    assert_eq!(window.attempts[0].source, json!([{"path": "a.parquet", "size": 1}]));
    assert_eq!((window.window.partitions, window.window.rows_max, window.window.bytes), (2, 3, 4));
    assert_eq!(run.jobs[1].job.reason.as_deref(), reason);
    assert_eq!((&run.jobs[1].job.warnings, &run.jobs[1].job.bad_rows), (&warnings, &bad));
    let text = serde_json::to_value(&run).unwrap();
    assert_eq!(text["run"]["finished_at"], json!(at(50)));
    assert_eq!(text["jobs"][0]["receipt"]["written"], json!(3));
    let place = ledger.window(attempt.window_id).await.unwrap().unwrap();
    assert_eq!((place.view, place.window), (work.job.view.clone(), window.window.clone()));
    assert_eq!(ledger.jobs(run.run.run_id).await.unwrap()[1], run.jobs[1].job);

    let views = ledger.views("p").await.unwrap();
    let names: Vec<_> = views.iter().map(|view| view.view.storage_name.as_str()).collect();
    assert_eq!(names, ["untouched", "v"]);
    assert_eq!(views[0].last_job, None);
    assert_eq!(views[1].coverage.watermark(), Some(at(10)));
    assert_eq!(views[1].last_job, Some(run.jobs[0].job.clone()));
}

/// A list of any length is read in pages, and nothing is shown twice or left out.
pub async fn runs_are_listed_page_by_page(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let ledger = &fixture.ledger;
    // Several at one instant: the place in the list is more than a time.
    for now in [0, 1, 1, 1, 2] {
        ledger.admit(&NewRun { at: at(now), ..new_run(&["v"]) }).await.unwrap();
    }
    let other = NewRun { project: "q".to_owned(), at: at(3), ..new_run(&["w"]) };
    ledger.admit(&other).await.unwrap();
    ledger.cancel(other.run_id, at(4)).await.unwrap();

    let all = ledger.runs(&RunFilter::default(), 99).await.unwrap();
    assert_eq!(all.len(), 6);
    assert!(all.windows(2).all(|pair| pair[0].admitted_at >= pair[1].admitted_at));
    let mut paged = Vec::new();
    let mut filter = RunFilter::default();
    loop {
        let page = ledger.runs(&filter, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        filter.after = Some(RunPlace { admitted_at: last.admitted_at, run_id: last.run_id });
        paged.extend(page);
    }
    assert_eq!(paged, all);

    let count = async |filter: RunFilter| ledger.runs(&filter, 99).await.unwrap().len();
    let some = |text: &str| Some(text.to_owned());
    let none = RunFilter::default;
    assert_eq!(count(RunFilter { project: some("p"), ..none() }).await, 5);
    assert_eq!(count(RunFilter { view: some("w"), ..none() }).await, 1);
    assert_eq!(count(RunFilter { project: some("p"), view: some("w"), ..none() }).await, 0);
    assert_eq!(count(RunFilter { state: Some(RunState::Cancelled), ..none() }).await, 1);
    assert_eq!(count(RunFilter { since: Some(at(1)), ..none() }).await, 5);
    let place = RunPlace { admitted_at: at(1), run_id: all[2].run_id };
    assert_eq!(count(RunFilter { after: Some(place), since: Some(at(1)), ..none() }).await, 2);
}

/// Event times keep their nanoseconds and texts their characters.
pub async fn extreme_values_are_kept(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let whole = model::Interval::new(EventTime::MIN, EventTime::MAX);
    let work = fixture.work(&[whole]).await;
    let attempt = fixture.attempt(&work, 0).await;
    let mut commit = fixture.commit(&work, &attempt).await;
    commit.receipt = Receipt {
        event_time_min: Some(EventTime::MIN),
        event_time_max: Some(EventTime::from_nanos(1_700_000_000_123_456_789)),
        ..receipt(u64::MAX / 2)
    };
    let committed = fixture.ledger.commit(&commit).await.unwrap();
    assert_eq!(committed.watermark_after, Some(EventTime::MAX));
    assert_eq!(fixture.state().await.coverage.intervals().as_slice(), [whole]);
    assert_eq!(fixture.job(&work.job).await.job.receipt, Some(commit.receipt));

    let mut run = new_run(&["\u{fc}\n\""]);
    run.project = "proj\u{e9}t '\"\\ \u{1F30A}".to_owned();
    run.requested_start = Some(EventTime::MIN);
    run.requested_end = Some(EventTime::MAX);
    run.pid = u32::MAX;
    run.parallel = u32::MAX;
    run.request = json!({"\u{1F30A}": ["'", 1.5, null]});
    fixture.ledger.admit(&run).await.unwrap();
    let row = fixture.run(run.run_id).await.run;
    assert_eq!((row.project, row.views, row.request), (run.project, run.views, run.request));
    assert_eq!((row.requested_start, row.requested_end), (run.requested_start, run.requested_end));
    assert_eq!((row.pid, row.parallel), (u32::MAX, u32::MAX));
}

/// Lists of ten thousand runs and a thousand views come at once.
pub async fn long_lists_come_quickly(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let ledger = &fixture.ledger;
    fixture.insert_ended_runs(10_000).await;
    fixture.insert_history(10_000, 1_000).await;
    let names: Vec<_> = (0..1_000).map(|n| format!("view {n}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let run = timed("admit a run of all views", fixture.run_of(&names)).await;
    let work = fixture.claim(run, LONG).await.unwrap();
    let claimed = timed("claim", fixture.claim(run, LONG)).await.unwrap();
    assert_ne!(work.job.job_id, claimed.job.job_id);

    let some = |text: &str| Some(text.to_owned());
    let p = || RunFilter { project: some("p"), ..RunFilter::default() };
    let place = RunPlace { admitted_at: at(5_000), run_id: run };
    let filters = [
        ("of all projects", RunFilter::default(), 100),
        ("of a project", p(), 100),
        ("from the middle", RunFilter { after: Some(place), ..p() }, 100),
        ("that failed", RunFilter { state: Some(RunState::Failed), ..p() }, 100),
        ("that wait", RunFilter { state: Some(RunState::Pending), ..p() }, 0),
        ("of a view", RunFilter { view: some("view 7"), ..p() }, 11),
        ("of no view", RunFilter { view: some("none"), ..p() }, 0),
    ];
    for (what, filter, found) in filters {
        let runs = timed(&format!("runs {what}"), ledger.runs(&filter, 100)).await.unwrap();
        assert_eq!(runs.len(), found, "{what}");
    }
    let views = timed("views", ledger.views("p")).await.unwrap();
    assert_eq!(views.len(), 1_001);
    assert!(views.iter().filter(|view| view.last_job.is_some()).count() == 1_000);
    let detail = timed("a run of all views", ledger.run(run)).await.unwrap().unwrap();
    assert_eq!(detail.jobs.len(), 1_000);
    let except = model::AttemptId::from_uuid(uuid::Uuid::nil());
    let left = ledger.uncommitted_attempts(&detail.jobs[7].job.view, interval(0, 20_000), except);
    timed("attempts to look out for", left).await.unwrap();
    let left = timed("windows left", ledger.windows_left(&detail.jobs[7].job.view)).await;
    assert_eq!(left.unwrap().len(), 0);
    timed("cancel a run of all views", ledger.cancel(run, at(30_000))).await.unwrap();
    assert_eq!(fixture.events(run).await.len(), 5 + 998);
}

#[expect(clippy::print_stdout, reason = "a test runner shows what a test prints")]
async fn timed<T>(what: &str, future: impl Future<Output = T>) -> T {
    let start = Instant::now();
    let result = future.await;
    let took = start.elapsed();
    println!("{what}: {took:?}");
    assert!(took < LISTING_MAX, "{what} took {took:?}");
    result
}
