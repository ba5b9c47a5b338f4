//! A ledger with one run and one adopted view, and the usual requests to it.

use model::{EventTime, Interval, JobId, JobState, Receipt, RunId, RunKind, ViewRef, WindowId};
use serde_json::json;
use uuid::Uuid;

use crate::{
    Commit, Committed, JobDetail, Ledger, LedgerUrl, MirrorRow, NewJob, NewRun, NewWindow,
    RunDetail, ViewState,
};

/// Silence that is never reached.
const PATIENT: i64 = i64::MAX;

/// The names of the tables whose rows are counted, with the texts that count them.
const COUNTS: [(&str, &str); 4] = [
    ("runs", "SELECT COUNT(*) FROM runs"),
    ("jobs", "SELECT COUNT(*) FROM jobs"),
    ("intervals", "SELECT COUNT(*) FROM intervals"),
    ("windows", "SELECT COUNT(*) FROM windows"),
];

pub(super) struct Fixture {
    pub(super) ledger: Ledger,
    pub(super) run_id: RunId,
    pub(super) view: ViewRef,
}

impl Fixture {
    /// Opens the ledger, admits a run at time 0 and adopts a view created at time 1.
    pub(super) async fn new(url: &LedgerUrl) -> Self {
        let ledger = Ledger::open(url).await.unwrap();
        let run = new_run("p");
        ledger.admit(&run).await.unwrap();
        let view = ViewRef { project: "p".to_owned(), storage_name: "v".to_owned() };
        let fixture = Self { ledger, run_id: run.run_id, view };
        fixture.adopt_view("v").await;
        fixture
    }

    pub(super) async fn adopt_view(&self, name: &str) -> ViewRef {
        let view = ViewRef { project: "p".to_owned(), storage_name: name.to_owned() };
        let features = ["f".to_owned()];
        self.ledger.adopt(&view, Some(at(1)), &[], &features, at(1)).await.unwrap();
        view
    }

    pub(super) fn new_job(&self, interval: Interval) -> NewJob {
        NewJob {
            job_id: JobId::from_uuid(Uuid::now_v7()),
            run_id: self.run_id,
            view: self.view.clone(),
            view_name: "v".to_owned(),
            version: None,
            interval: Some(interval),
            state: JobState::Pending,
            reason: None,
            at: at(2),
        }
    }

    pub(super) fn new_window(&self, job: &NewJob) -> NewWindow {
        NewWindow {
            window_id: window_id(),
            job_id: job.job_id,
            view: job.view.clone(),
            interval: job.interval.unwrap(),
            source: json!([{"path": "a.parquet", "size": 1}]),
            at: at(3),
        }
    }

    /// Starts a job and opens a window over its whole interval.
    pub(super) async fn window(&self, interval: Interval) -> NewWindow {
        let job = self.new_job(interval);
        self.ledger.start_job(&job).await.unwrap();
        let window = self.new_window(&job);
        self.ledger.open_window(&window).await.unwrap();
        window
    }

    pub(super) fn commit(&self, window: &NewWindow) -> Commit {
        Commit {
            window_id: window.window_id,
            job_id: window.job_id,
            view: window.view.clone(),
            interval: window.interval,
            receipt: receipt(3),
            features: vec!["f".to_owned()],
            mirror: None,
            at: at(4),
        }
    }

    pub(super) async fn land(&self, interval: Interval) -> Committed {
        let window = self.window(interval).await;
        self.ledger.commit(&self.commit(&window)).await.unwrap()
    }

    pub(super) fn mirror(&self) -> MirrorRow {
        MirrorRow {
            view_name: "v".to_owned(),
            kind: "feature_view".to_owned(),
            start_micros: 0,
            end_micros: 1,
        }
    }

    pub(super) async fn state(&self) -> ViewState {
        self.ledger.coverage(&self.view).await.unwrap().unwrap()
    }

    pub(super) async fn run(&self) -> RunDetail {
        self.ledger.run(self.run_id).await.unwrap().unwrap()
    }

    pub(super) async fn job(&self, job: JobId) -> JobDetail {
        self.run().await.jobs.into_iter().find(|detail| detail.job.job_id == job).unwrap()
    }

    /// Judges as the run's own host would after its process is gone.
    pub(super) async fn interrupt_as_gone(&self) -> Vec<RunId> {
        self.ledger.interrupt_dead_runs("p", "here", &|pid| pid != 7, at(9), PATIENT).await.unwrap()
    }

    /// Inserts runs that ended after the fixture's own was admitted, all in one statement: to admit
    /// them one by one would take a test a thousand commits.
    pub(super) async fn insert_ended_runs(&self, count: i64) {
        sqlx::query(
            "WITH RECURSIVE numbers (n) AS (
                SELECT CAST(1 AS BIGINT) UNION ALL SELECT n + 1 FROM numbers WHERE n < $1
            )
            INSERT INTO runs (run_id, project, kind, state, requested_end, views, host, pid,
                program_version, started_at, heartbeat_at, finished_at)
            SELECT 'run ' || n, 'p', 'interval', 'failed', 0, '[]', 'here', 1, '0', n, n, n
            FROM numbers",
        )
        .bind(count)
        .execute(self.ledger.pool())
        .await
        .unwrap();
    }

    pub(super) async fn count(&self, table: &str) -> i64 {
        let (_, sql) = COUNTS.into_iter().find(|(name, _)| *name == table).unwrap();
        sqlx::query_scalar(sql).fetch_one(self.ledger.pool()).await.unwrap()
    }
}

pub(super) fn at(nanos: i64) -> EventTime {
    EventTime::from_nanos(nanos)
}

pub(super) fn interval(start: i64, end: i64) -> Interval {
    Interval::new(at(start), at(end))
}

pub(super) fn window_id() -> WindowId {
    WindowId::from_uuid(Uuid::now_v7())
}

/// A run of process 7 on host `here`, admitted at time 0.
pub(super) fn new_run(project: &str) -> NewRun {
    NewRun {
        run_id: RunId::from_uuid(Uuid::now_v7()),
        project: project.to_owned(),
        kind: RunKind::Incremental,
        requested_start: None,
        requested_end: at(100),
        views: vec!["v".to_owned(), "w".to_owned()],
        host: "here".to_owned(),
        pid: 7,
        program_version: "0.1.0".to_owned(),
        at: at(0),
    }
}

/// A receipt of so many rows, all written.
pub(super) fn receipt(rows: u64) -> Receipt {
    Receipt {
        rows_read: rows,
        entities: rows,
        counts: model::WriteCounts { written: rows, ..Default::default() },
        ..Default::default()
    }
}
