//! The claim that what an earlier release recorded is still there.

use model::{
    AttemptId, AttemptState, FencingToken, JobId, JobState, RunId, RunKind, RunState, WindowId,
    WindowState,
};
use serde_json::json;
use uuid::Uuid;

use super::fixture::{Fixture, LONG, at, interval, new_run, receipt, view};
use crate::{Ledger, LedgerUrl, RunFilter};

/// The newest migration of release 0.1.
const RELEASED: i64 = 4;

/// A run that ended and one at work; a job in each way; a window in each; what else there was.
const ROWS: [&str; 6] = [
    "INSERT INTO runs (run_id, project, kind, state, requested_start, requested_end, views, host,
        pid, program_version, started_at, heartbeat_at, finished_at)
    VALUES
        ('00000000-0000-7000-8000-000000000001', 'p', 'incremental', 'failed', NULL, 30,
            '[\"v\",\"w\"]', 'here', 7, '0.1.0', 100, 110, 120),
        ('00000000-0000-7000-8000-000000000002', 'p', 'interval', 'running', 30, 40,
            '[\"v\"]', 'here', 7, '0.1.0', 200, 210, NULL)",
    "INSERT INTO jobs (job_id, run_id, project, storage_name, view_name, version, interval_start,
        interval_end, state, reason, receipt, started_at, finished_at)
    VALUES
        ('00000000-0000-7000-8000-000000000011', '00000000-0000-7000-8000-000000000001', 'p', 'v',
            'v', 3, 0, 10, 'succeeded', NULL, '{\"rows_read\":3,\"entities\":3,\"written\":3}', 101,
            103),
        ('00000000-0000-7000-8000-000000000012', '00000000-0000-7000-8000-000000000001', 'p', 'v',
            'v', NULL, 10, 20, 'failed', 'out of memory', NULL, 104, 106),
        ('00000000-0000-7000-8000-000000000013', '00000000-0000-7000-8000-000000000001', 'p', 'w',
            'w', NULL, NULL, NULL, 'refused', 'a transformation', NULL, 107, 107),
        ('00000000-0000-7000-8000-000000000014', '00000000-0000-7000-8000-000000000002', 'p', 'v',
            'v', NULL, 30, 40, 'running', NULL, NULL, 201, NULL)",
    "INSERT INTO views (project, storage_name, feast_created, watermark, features, updated_at)
    VALUES ('p', 'v', 1, 10, '[\"f\"]', 103), ('p', 'w', NULL, NULL, NULL, 99)",
    "INSERT INTO intervals (project, storage_name, interval_start, interval_end)
    VALUES ('p', 'v', 0, 10)",
    "INSERT INTO windows (window_id, job_id, project, storage_name, interval_start, interval_end,
        state, source, receipt, watermark_before, watermark_after, error, opened_at, closed_at)
    VALUES
        ('00000000-0000-7000-8000-000000000021', '00000000-0000-7000-8000-000000000011', 'p', 'v',
            0, 10, 'committed', '[\"a\"]', '{\"rows_read\":3,\"entities\":3,\"written\":3}', NULL,
            10, NULL, 102, 103),
        ('00000000-0000-7000-8000-000000000022', '00000000-0000-7000-8000-000000000012', 'p', 'v',
            10, 20, 'failed', '[\"b\"]', NULL, NULL, NULL, 'out of memory', 105, 106),
        ('00000000-0000-7000-8000-000000000024', '00000000-0000-7000-8000-000000000014', 'p', 'v',
            30, 40, 'open', '[\"c\"]', NULL, NULL, NULL, NULL, 202, NULL)",
    "INSERT INTO mirrors (window_id, project, view_name, kind, start_micros, end_micros,
        committed_at)
    VALUES ('00000000-0000-7000-8000-000000000021', 'p', 'v', 'feature_view', 0, 1, 103)",
];

fn id(number: u128) -> Uuid {
    Uuid::from_u128(0x0000_0000_0000_7000_8000_0000_0000_0000 + number)
}

/// What the last release recorded is read back after the migrations, and worked on with.
pub async fn a_ledger_of_the_last_release_is_carried_over(url: &LedgerUrl) {
    let old = Ledger::open_at(url, RELEASED).await.unwrap();
    for text in ROWS {
        sqlx::query(text).execute(old.pool()).await.unwrap();
    }
    old.close().await;
    let fixture = Fixture { ledger: Ledger::open(url).await.unwrap(), view: view("v") };
    let ledger = &fixture.ledger;

    let runs = ledger.runs(&RunFilter::default(), 9).await.unwrap();
    let ids: Vec<_> = runs.iter().map(|run| run.run_id).collect();
    assert_eq!(ids, [2, 1].map(|number| RunId::from_uuid(id(number))));
    let ended = fixture.run(ids[1]).await;
    assert_eq!((ended.run.kind, ended.run.state), (RunKind::Incremental, RunState::Failed));
    assert_eq!((ended.run.requested_start, ended.run.requested_end), (None, Some(at(30))));
    assert_eq!((ended.run.admitted_at, ended.run.finished_at), (at(100), Some(at(120))));
    assert_eq!((ended.run.views, ended.run.is_served), (vec!["v".into(), "w".into()], false));
    let states: Vec<_> = ended.jobs.iter().map(|job| job.job.state).collect();
    assert_eq!(states, [JobState::Succeeded, JobState::Failed, JobState::Refused]);
    assert_eq!(ended.jobs[0].job.job_id, JobId::from_uuid(id(0x11)));
    assert_eq!((ended.jobs[0].job.version, ended.jobs[0].job.receipt), (Some(3), Some(receipt(3))));
    assert_eq!(ended.jobs[1].job.interval, Some(interval(10, 20)));
    let window = &ended.jobs[0].windows[0];
    assert_eq!(window.window.window_id, WindowId::from_uuid(id(0x21)));
    assert_eq!(
        (window.window.state, window.window.receipt),
        (WindowState::Committed, Some(receipt(3)))
    );
    assert_eq!(window.attempts[0].state, AttemptState::Committed);
    assert_eq!(window.attempts[0].source, json!(["a"]));

    assert_eq!(fixture.state().await.coverage.watermark(), Some(at(10)));
    let views = ledger.views("p").await.unwrap();
    assert_eq!(views[0].last_job.as_ref().unwrap().job_id, JobId::from_uuid(id(0x14)));
    assert_eq!(ledger.pending_mirrors("p").await.unwrap()[0].id, WindowId::from_uuid(id(0x21)));
    let left =
        ledger.uncommitted_attempts(&fixture.view, interval(0, 99), AttemptId::from_uuid(id(0)));
    let left = left.await.unwrap();
    let sources: Vec<_> = left.iter().map(|attempt| (&attempt.source, attempt.token)).collect();
    assert_eq!(sources, [(&json!(["b"]), FencingToken(0)), (&json!(["c"]), FencingToken(0))]);

    assert_eq!(fixture.interrupt_as_gone().await, [ids[0]]);
    let dead = fixture.run(ids[0]).await;
    assert_eq!(dead.jobs[0].windows[0].attempts[0].state, AttemptState::Interrupted);
    fixture.land(interval(10, 40)).await;
    assert_eq!(fixture.state().await.coverage.intervals().as_slice(), [interval(0, 40)]);
    assert_eq!(fixture.claim(ids[0], LONG).await, None);
    ledger.admit(&new_run(&["v"])).await.unwrap();
}
