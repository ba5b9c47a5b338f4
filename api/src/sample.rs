//! One of everything, for tests.

use model::{
    AttemptId, AttemptState, EventTime, Interval, JobId, JobState, Receipt, RunId, RunKind,
    RunState, WindowId, WindowState, WriteCounts,
};
use uuid::Uuid;

use crate::run::{
    AttemptDetail, BadRow, JobDetail, JobProgress, RunDetail, RunSummary, WindowDetail,
};

const BEGIN: EventTime = EventTime::from_micros(1_704_067_200_000_000);

fn interval() -> Interval {
    Interval::new(EventTime::EPOCH, BEGIN)
}

fn receipt() -> Receipt {
    Receipt {
        rows_read: 12,
        entities: 10,
        counts: WriteCounts { written: 6, stale: 2, tombstoned: 1 },
        refused: 1,
        swept: 0,
        bytes_written: 512,
        event_time_min: Some(EventTime::EPOCH),
        event_time_max: None,
    }
}

/// A run at work whose one job has landed after one and a half seconds.
pub(crate) fn run_detail() -> RunDetail {
    RunDetail { run: run_summary(), warnings: vec!["slow".to_owned()], jobs: vec![job()] }
}

pub(crate) fn run_summary() -> RunSummary {
    RunSummary {
        run_id: RunId::from_uuid(Uuid::from_u128(1)),
        project: "shop".to_owned(),
        kind: RunKind::Incremental,
        state: RunState::Running,
        correct: false,
        rebuild: false,
        requested_start: None,
        requested_end: Some(BEGIN),
        views: vec!["orders".to_owned()],
        idempotency_key: Some("k".to_owned()),
        admitted_at: BEGIN,
        started_at: Some(BEGIN),
        finished_at: None,
        jobs_total: 1,
        jobs_landed: 1,
        host: Some("h".to_owned()),
        pid: Some(7),
        heartbeat_at: Some(BEGIN),
        program_version: "0.1.0".to_owned(),
        cancel_requested: false,
    }
}

fn job() -> JobDetail {
    JobDetail {
        job_id: JobId::from_uuid(Uuid::from_u128(2)),
        view: "orders".to_owned(),
        storage_name: "orders".to_owned(),
        version: None,
        state: JobState::Succeeded,
        interval: Some(interval()),
        reason: None,
        warnings: Vec::new(),
        receipt: Some(receipt()),
        bad_rows: vec![BadRow {
            file: "a.parquet".to_owned(),
            row: Some(3),
            column: "total".to_owned(),
            reason: "too large".to_owned(),
        }],
        progress: Some(JobProgress { rows_read: 12, ..JobProgress::default() }),
        started_at: BEGIN,
        finished_at: Some(BEGIN.plus_nanos(1_500_000_000)),
        windows: vec![window()],
    }
}

fn window() -> WindowDetail {
    WindowDetail {
        window_id: WindowId::from_uuid(Uuid::from_u128(3)),
        interval: interval(),
        state: WindowState::Committed,
        rows_max: 20,
        bytes: 4_096,
        partitions: 2,
        partitions_done: 2,
        source_path: "s3://bucket/orders".to_owned(),
        source_files: 1,
        receipt: Some(receipt()),
        watermark_before: None,
        watermark_after: Some(BEGIN),
        error: None,
        opened_at: Some(BEGIN),
        closed_at: Some(BEGIN),
        attempts: vec![AttemptDetail {
            attempt_id: AttemptId::from_uuid(Uuid::from_u128(4)),
            number: 1,
            token: 9,
            correcting: false,
            state: AttemptState::Committed,
            error: None,
            started_at: BEGIN,
            ended_at: None,
        }],
    }
}
