//! A ledger with one adopted view, and the usual steps of a run over it.

use std::time::Duration;

use model::machine::{AttemptEnd, Next};
use model::{
    AttemptId, EventTime, FencingToken, Interval, JobId, Receipt, RetryPolicy, RunId, RunKind,
    ViewRef, WindowId,
};
use serde_json::json;
use uuid::Uuid;

use crate::{
    Begun, ClaimedJob, Commit, Committed, Error, EventRow, Holder, JobDetail, JobRow, Ledger,
    LedgerUrl, MirrorRow, NewAttempt, NewJob, NewRun, NewWindow, RunDetail, ViewState, WindowRow,
};

/// A lease that does not end within a test.
pub(super) const LONG: Duration = Duration::from_hours(1);

/// A lease that has ended once it is taken, so that no test waits for an end.
pub(super) const ENDED: Duration = Duration::ZERO;

/// Two tries in all.
pub(super) const POLICY: RetryPolicy = RetryPolicy {
    attempts_max: 2,
    backoff_first: Duration::from_millis(1),
    backoff_max: Duration::from_millis(1),
};

/// The names of the tables whose rows are counted, with the texts that count them.
const COUNTS: [(&str, &str); 8] = [
    ("runs", "SELECT COUNT(*) FROM runs"),
    ("jobs", "SELECT COUNT(*) FROM jobs"),
    ("intervals", "SELECT COUNT(*) FROM intervals"),
    ("windows", "SELECT COUNT(*) FROM windows"),
    ("attempts", "SELECT COUNT(*) FROM attempts"),
    ("checkpoints", "SELECT COUNT(*) FROM checkpoints"),
    ("events", "SELECT COUNT(*) FROM events"),
    ("leases", "SELECT COUNT(*) FROM leases"),
];

pub(super) struct Fixture {
    pub(super) ledger: Ledger,
    pub(super) view: ViewRef,
}

/// A job that is held and cut.
pub(super) struct Work {
    pub(super) job: JobRow,
    pub(super) token: FencingToken,
    pub(super) windows: Vec<NewWindow>,
}

impl Fixture {
    /// Opens the ledger and adopts a view created at time 1.
    pub(super) async fn new(url: &LedgerUrl) -> Self {
        let ledger = Ledger::open(url).await.unwrap();
        let fixture = Self { ledger, view: view("v") };
        fixture.adopt_view("v").await;
        fixture
    }

    pub(super) async fn adopt_view(&self, name: &str) -> ViewRef {
        let view = view(name);
        let features = ["f".to_owned()];
        self.ledger.adopt(&view, Some(at(1)), &[], &features, at(1)).await.unwrap();
        view
    }

    /// Admits a run of some views and begins it.
    pub(super) async fn run_of(&self, views: &[&str]) -> RunId {
        self.begin(new_run(views)).await
    }

    pub(super) async fn begin(&self, run: NewRun) -> RunId {
        self.ledger.admit(&run).await.unwrap();
        self.ledger.begin_run(run.run_id, &[], None, at(1)).await.unwrap();
        run.run_id
    }

    pub(super) async fn claim(&self, run: RunId, lasts: Duration) -> Option<ClaimedJob> {
        self.ledger.claim_job("p", Some(run), &holder("here-7", 7), lasts).await.unwrap()
    }

    /// A job of a new run over the view, held and cut into slices.
    pub(super) async fn work(&self, slices: &[Interval]) -> Work {
        let run = self.run_of(&["v"]).await;
        self.work_on(run, slices, LONG).await
    }

    /// Claims a job of a run and cuts it, if nobody has.
    pub(super) async fn work_on(&self, run: RunId, slices: &[Interval], lasts: Duration) -> Work {
        let claimed = self.claim(run, lasts).await.unwrap();
        self.cut(claimed, slices).await
    }

    pub(super) async fn cut(&self, claimed: ClaimedJob, slices: &[Interval]) -> Work {
        self.cut_or_resume(claimed, slices).await.unwrap()
    }

    /// Cuts a job, or goes on with the windows that another holder has cut.
    pub(super) async fn cut_or_resume(
        &self,
        claimed: ClaimedJob,
        slices: &[Interval],
    ) -> Result<Work, Error> {
        let (job, token) = (claimed.job, claimed.token);
        let new = (0..).zip(slices).map(|(n, slice)| new_window(n, *slice));
        let mut windows: Vec<_> = claimed.windows.iter().map(known_window).collect();
        if windows.is_empty() {
            windows = new.collect();
            self.ledger.cut_job(&job, token, &windows, &[], at(2)).await?;
        }
        Ok(Work { job, token, windows })
    }

    pub(super) async fn begin_attempt(&self, work: &Work, attempt: &NewAttempt) -> Begun {
        self.ledger.begin_attempt(&work.job, attempt).await.unwrap()
    }

    /// Begins an attempt at one of the windows.
    pub(super) async fn attempt(&self, work: &Work, window: usize) -> NewAttempt {
        let attempt = work.attempt(window);
        self.begin_attempt(work, &attempt).await;
        attempt
    }

    pub(super) async fn end(
        &self,
        work: &Work,
        attempt: &NewAttempt,
        number: u32,
        end: AttemptEnd,
    ) -> Next {
        let end = (number, end);
        self.ledger.end_attempt(&work.job, attempt, end, &POLICY, "why", at(5)).await.unwrap()
    }

    /// Lands an interval by a run of its own.
    pub(super) async fn land(&self, interval: Interval) -> Committed {
        let work = self.work(&[interval]).await;
        let attempt = self.attempt(&work, 0).await;
        self.ledger.commit(&self.commit(&work, &attempt).await).await.unwrap()
    }

    /// The commit of an attempt that has written three rows, with the marker that is next.
    pub(super) async fn commit(&self, work: &Work, attempt: &NewAttempt) -> Commit {
        let window = work.windows.iter().find(|w| w.window_id == attempt.window_id).unwrap();
        Commit {
            window_id: attempt.window_id,
            attempt_id: attempt.attempt_id,
            job: work.job.clone(),
            token: work.token,
            interval: window.interval,
            receipt: receipt(3),
            identity: attempt.identity.clone(),
            sequence: self.next_sequence(&work.job.view).await,
            is_rebuild: false,
            features: vec!["f".to_owned()],
            mirror: None,
            at: at(4),
        }
    }

    async fn next_sequence(&self, view: &ViewRef) -> u64 {
        let state = self.ledger.coverage(view).await.unwrap();
        state.and_then(|state| state.committed).map_or(1, |last| last.sequence + 1)
    }

    pub(super) async fn state(&self) -> ViewState {
        self.ledger.coverage(&self.view).await.unwrap().unwrap()
    }

    pub(super) async fn run(&self, run: RunId) -> RunDetail {
        self.ledger.run(run).await.unwrap().unwrap()
    }

    pub(super) async fn job(&self, job: &JobRow) -> JobDetail {
        let jobs = self.run(job.run_id).await.jobs;
        jobs.into_iter().find(|detail| detail.job.job_id == job.job_id).unwrap()
    }

    pub(super) async fn events(&self, run: RunId) -> Vec<EventRow> {
        self.ledger.events(run, 0, u32::MAX).await.unwrap()
    }

    /// Judges as the run's own host would after its process is gone.
    pub(super) async fn interrupt_as_gone(&self) -> Vec<RunId> {
        let is_alive = |pid| pid != 7;
        self.ledger.interrupt_dead_runs("p", "here", &is_alive, i64::MAX).await.unwrap()
    }

    /// Inserts runs that ended from time 1 on, all in one statement: to admit them one by one would
    /// take a test a thousand commits.
    pub(super) async fn insert_ended_runs(&self, count: i64) {
        sqlx::query(
            "WITH RECURSIVE numbers (n) AS (
                SELECT CAST(1 AS BIGINT) UNION ALL SELECT n + 1 FROM numbers WHERE n < $1
            )
            INSERT INTO runs (run_id, project, kind, state, request, is_served, parallel, views,
                warnings, cancel_requested, events, host, pid, program_version, admitted_at,
                started_at, heartbeat_at, finished_at)
            SELECT '00000000-0000-7000-8000-' || CAST(100000000000 + n AS TEXT), 'p', 'interval',
                CASE WHEN n % 100 = 0 THEN 'failed' ELSE 'succeeded' END, '{}', 1, 1, '[]', '[]', 0,
                0, 'here', 1, '0', n, n, n, n
            FROM numbers",
        )
        .bind(count)
        .execute(self.ledger.pool())
        .await
        .unwrap();
    }

    /// Gives each of the runs of [`Self::insert_ended_runs`] a job that landed, over so many views.
    pub(super) async fn insert_history(&self, runs: i64, views: i64) {
        const NUMBERS: &str = "WITH RECURSIVE numbers (n) AS (
            SELECT CAST(1 AS BIGINT) UNION ALL SELECT n + 1 FROM numbers WHERE n < $1
        )";
        let texts = [
            "INSERT INTO views (project, storage_name, features, updated_at)
            SELECT 'p', 'view ' || CAST(n % $2 AS TEXT), '[]', n FROM numbers WHERE n <= $2",
            "INSERT INTO intervals (project, storage_name, interval_start, interval_end)
            SELECT 'p', 'view ' || CAST(n % $2 AS TEXT), 1, n + 1 FROM numbers WHERE n <= $2",
            "INSERT INTO jobs (job_id, run_id, position, project, storage_name, view_name, state,
                warnings, bad_rows, admitted_at, finished_at)
            SELECT '00000000-0000-7000-9000-' || CAST(100000000000 + n AS TEXT),
                '00000000-0000-7000-8000-' || CAST(100000000000 + n AS TEXT), 0, 'p',
                'view ' || CAST(n % $2 AS TEXT), 'view ' || CAST(n % $2 AS TEXT), 'succeeded', '[]',
                '[]', n, n
            FROM numbers",
            "INSERT INTO windows (window_id, job_id, position, project, storage_name,
                interval_start, interval_end, state, partitions, rows_max, bytes, receipt,
                planned_at, opened_at, closed_at)
            SELECT job_id, job_id, 0, project, storage_name, admitted_at, admitted_at + 1,
                'committed', 1, 0, 0, '{}', 1, 1, 1 FROM jobs WHERE admitted_at BETWEEN 1 AND $1
                AND $2 > 0",
            "INSERT INTO attempts (attempt_id, window_id, number, token, correcting, fenced, state,
                source, identity, basis, started_at, ended_at)
            SELECT window_id, window_id, 1, 1, 0, 0, 'committed', '[]', '', '', 1, 1 FROM windows
            WHERE interval_start BETWEEN 1 AND $1 AND $2 > 0",
        ];
        for text in texts {
            let sql = text.replacen("SELECT", &format!("{NUMBERS} SELECT"), 1);
            sqlx::query(sqlx::AssertSqlSafe(sql))
                .bind(runs)
                .bind(views)
                .execute(self.ledger.pool())
                .await
                .unwrap();
        }
        if self.ledger.backend() == crate::Backend::Postgres {
            // As the server would do by itself within a minute.
            sqlx::query("ANALYZE").execute(self.ledger.pool()).await.unwrap();
        }
    }

    pub(super) async fn count(&self, table: &str) -> i64 {
        let (_, sql) = COUNTS.into_iter().find(|(name, _)| *name == table).unwrap();
        sqlx::query_scalar(sql).fetch_one(self.ledger.pool()).await.unwrap()
    }
}

impl Work {
    /// An attempt at one of the windows, unfenced.
    pub(super) fn attempt(&self, window: usize) -> NewAttempt {
        NewAttempt {
            attempt_id: AttemptId::from_uuid(Uuid::now_v7()),
            window_id: self.windows[window].window_id,
            token: self.token,
            correcting: false,
            fenced: false,
            source: json!([{"path": "a.parquet", "size": 1}]),
            identity: "server 1".to_owned(),
            basis: "plan 1".to_owned(),
            at: at(3),
        }
    }
}

pub(super) fn at(nanos: i64) -> EventTime {
    EventTime::from_nanos(nanos)
}

pub(super) fn interval(start: i64, end: i64) -> Interval {
    Interval::new(at(start), at(end))
}

pub(super) fn view(name: &str) -> ViewRef {
    ViewRef { project: "p".to_owned(), storage_name: name.to_owned() }
}

pub(super) fn holder(name: &str, pid: u32) -> Holder {
    Holder { name: name.to_owned(), host: "here".to_owned(), pid }
}

/// A run of process 7 on host `here`, admitted at time 0, that any process may go on with.
pub(super) fn new_run(views: &[&str]) -> NewRun {
    NewRun {
        run_id: RunId::from_uuid(Uuid::now_v7()),
        project: "p".to_owned(),
        kind: RunKind::Incremental,
        request: json!({"views": views}),
        idempotency: None,
        is_served: true,
        parallel: 99,
        requested_start: None,
        requested_end: Some(at(100)),
        views: views.iter().map(|&view| view.to_owned()).collect(),
        jobs: (0..).zip(views).map(|(position, view)| new_job(position, view)).collect(),
        host: "here".to_owned(),
        pid: 7,
        program_version: "0.1.0".to_owned(),
        at: at(0),
    }
}

pub(super) fn new_job(position: u32, view: &str) -> NewJob {
    NewJob {
        job_id: JobId::from_uuid(Uuid::now_v7()),
        position,
        storage_name: view.to_owned(),
        view_name: view.to_owned(),
        version: None,
        refusal: None,
        at: at(0),
    }
}

fn new_window(position: u32, interval: Interval) -> NewWindow {
    let window_id = WindowId::from_uuid(Uuid::now_v7());
    NewWindow { window_id, position, interval, partitions: 2, rows_max: 3, bytes: 4 }
}

fn known_window(row: &WindowRow) -> NewWindow {
    let WindowRow { window_id, position, interval, partitions, rows_max, bytes, .. } = *row;
    NewWindow { window_id, position, interval, partitions, rows_max, bytes }
}

pub(super) fn mirror() -> MirrorRow {
    MirrorRow {
        view_name: "v".to_owned(),
        kind: "feature_view".to_owned(),
        start_micros: 0,
        end_micros: 1,
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
