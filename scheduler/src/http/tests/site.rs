//! A server on a small repository, with a ledger in a file and an online store in memory.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray};
use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use daemon::Auth;
use feast::config::RepoConfig;
use feast::registry::{Definitions, ViewDefinition};
use feast::{DataSource, Entity, Field, ValueType};
use futures::StreamExt;
use futures::stream::BoxStream;
use jobs::{FeatureSink, FeatureSinks, KnownKeys, Refusal, Session, SessionOptions, SinkError};
use metastore::{Ledger, LedgerUrl};
use model::{
    EncodedBatch, Interval, Marker, MemoryState, OnlineView, RowSize, ViewRef, WriteCounts,
    WriteMode,
};
use parquet::arrow::ArrowWriter;
use registry::Registry;
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tower::ServiceExt;
use uuid::Uuid;

use crate::http::{Limits, Server, router};
use crate::work::Stop;
use crate::{Parts, Process, Scheduler, Settings};

pub(super) const PROJECT: &str = "shop";
/// 2024-01-01, in microseconds.
pub(super) const BEGIN: i64 = 1_704_067_200_000_000;
const HOUR: i64 = 3_600_000_000;

/// An online store that remembers its markers, and writes only while its gate is open.
#[derive(Debug)]
pub(super) struct Store {
    markers: Arc<Mutex<HashMap<ViewRef, Marker>>>,
    gate: watch::Sender<bool>,
    is_away: AtomicBool,
}

impl Store {
    pub(super) fn open_gate(&self) {
        self.gate.send_replace(true);
    }

    pub(super) fn shut_gate(&self) {
        self.gate.send_replace(false);
    }

    pub(super) fn go_away(&self) {
        self.is_away.store(true, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct StoreOfView {
    view: ViewRef,
    markers: Arc<Mutex<HashMap<ViewRef, Marker>>>,
    gate: watch::Receiver<bool>,
}

#[async_trait]
impl FeatureSinks for Store {
    fn key_suffix(&self, _: &str) -> Vec<u8> {
        Vec::new()
    }

    async fn open(
        &self,
        view: &OnlineView,
        _: &WriteMode,
    ) -> Result<Arc<dyn FeatureSink>, SinkError> {
        Ok(Arc::new(StoreOfView {
            view: view.view.clone(),
            markers: Arc::clone(&self.markers),
            gate: self.gate.subscribe(),
        }))
    }

    async fn marker(&self, view: &ViewRef) -> Result<Option<Marker>, SinkError> {
        Ok(self.markers.lock().expect("no panic").get(view).copied())
    }

    async fn memory(&self) -> Result<Vec<MemoryState>, SinkError> {
        if self.is_away.load(Ordering::Relaxed) {
            let source = "redis://u:hunter2@h is away".into();
            return Err(SinkError { refusal: Refusal::Passing, source });
        }
        Ok(Vec::new())
    }

    fn row_bytes(&self, _: &OnlineView, _: &RowSize) -> u64 {
        100
    }

    fn slowed(&self) -> Duration {
        Duration::ZERO
    }
}

#[async_trait]
impl FeatureSink for StoreOfView {
    async fn write(&self, batch: EncodedBatch) -> Result<WriteCounts, SinkError> {
        let mut gate = self.gate.clone();
        gate.wait_for(|is_open| *is_open).await.expect("the store outlives its views");
        Ok(WriteCounts { written: batch.len() as u64, ..WriteCounts::default() })
    }

    async fn confirm(&self) -> Result<(), SinkError> {
        Ok(())
    }

    fn identity(&self) -> String {
        "memory".to_owned()
    }

    async fn mark(&self, marker: &Marker, _: u32) -> Result<(), SinkError> {
        self.markers.lock().expect("no panic").insert(self.view.clone(), *marker);
        Ok(())
    }

    fn stored_inside<'a>(
        &'a self,
        _: Interval,
        _: KnownKeys<'a>,
    ) -> BoxStream<'a, Result<Vec<Vec<u8>>, SinkError>> {
        futures::stream::empty().boxed()
    }

    async fn remove(&self, _: &[Vec<u8>]) -> Result<u64, SinkError> {
        Ok(0)
    }
}

/// A server, and the work behind it once it is begun.
pub(super) struct Site {
    pub(super) router: Router,
    pub(super) store: Arc<Store>,
    pub(super) stop: Stop,
    pub(super) server: Arc<Server>,
    _directory: TempDir,
}

/// What was answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    /// Checks that it is a problem of a code.
    pub(super) fn is(&self, code: api::Code) -> Value {
        assert_eq!(self.header("content-type"), api::PROBLEM_JSON, "{}", self.text());
        let problem = self.json();
        assert_eq!(problem["code"], code.as_str(), "{problem}");
        assert_eq!(self.status.as_u16(), code.status(), "{problem}");
        assert_eq!(problem["status"], code.status(), "{problem}");
        problem
    }
}

/// A repository with two views of files, `orders` and `broken`, whose file is missing, and a view
/// that no run takes by itself, `<i>spare</i>`, which is also a name to be escaped.
pub(super) fn definitions() -> Definitions {
    let field = Field {
        name: "total".to_owned(),
        value_type: ValueType::Int64,
        vector_length: 0,
        vector_index: false,
    };
    let source = |name: &str| DataSource {
        name: format!("{name}_source"),
        path: format!("{name}.parquet"),
        type_code: 1,
        timestamp_field: "at".to_owned(),
        ..DataSource::default()
    };
    let view = |name: &str, source: &str, online: bool| ViewDefinition {
        name: name.to_owned(),
        entities: vec!["customer".to_owned()],
        features: vec![field.clone()],
        source: format!("{source}_source"),
        online,
        ..ViewDefinition::default()
    };
    Definitions {
        project: PROJECT.to_owned(),
        created_micros: BEGIN,
        entities: vec![Entity {
            name: "customer".to_owned(),
            join_key: "id".to_owned(),
            value_type: Some(ValueType::Int64),
        }],
        sources: vec![source("orders"), source("broken")],
        views: vec![
            view("orders", "orders", true),
            view("broken", "broken", true),
            view("<i>spare</i>", "orders", false),
        ],
        ..Definitions::default()
    }
}

/// Two days of rows, one an hour.
fn write_orders(path: &Path) {
    let hours = 0..48_i64;
    let times = hours.clone().map(|hour| BEGIN + hour * HOUR);
    let columns: [(&str, ArrayRef); 3] = [
        ("id", Arc::new(Int64Array::from_iter_values(hours.clone().map(|hour| hour % 7)))),
        ("at", Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"))),
        ("total", Arc::new(Int64Array::from_iter_values(hours))),
    ];
    let batch = RecordBatch::try_from_iter(columns).expect("columns of one length");
    let file = std::fs::File::create(path).expect("the directory is ours");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a schema");
    writer.write(&batch).expect("rows");
    writer.close().expect("a footer");
}

impl Site {
    /// A server that everybody on this machine may call.
    pub(super) async fn start() -> Self {
        Self::with(Auth::none(([127, 0, 0, 1], 80).into()).expect("loopback"), Limits::default())
            .await
    }

    pub(super) async fn with(auth: Auth, limits: Limits) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let repo_dir = directory.path().to_owned();
        let registry = definitions().encode(|| Uuid::new_v4().to_string()).expect("a registry");
        std::fs::write(repo_dir.join("registry.db"), registry).expect("the directory is ours");
        write_orders(&repo_dir.join("orders.parquet"));
        let yaml = format!(
            "project: {PROJECT}\nprovider: local\nregistry: registry.db\n\
             entity_key_serialization_version: 3\noffline_store: {{type: file}}\n\
             online_store: {{type: sqlite, path: online.db}}\n"
        );
        let config =
            RepoConfig::parse(&yaml, &repo_dir, &repo_dir, &|_| None).expect("a configuration");
        let registry =
            Registry::open(&config.registry, &BTreeMap::new()).await.expect("a registry");
        let url = LedgerUrl::parse(&repo_dir.join("ledger.sqlite").display().to_string());
        let ledger = Ledger::open(&url.expect("a path")).await.expect("a ledger");
        let session = Session::new(SessionOptions {
            partitions: 1,
            memory_limit_bytes: 64 << 20,
            object_store: BTreeMap::new(),
        });
        let process = Process {
            host: "here".to_owned(),
            pid: std::process::id(),
            version: "1.2.3".to_owned(),
        };
        let scheduler = Arc::new(Scheduler::new(Parts {
            repo_dir,
            config,
            registry,
            ledger: Some(Arc::new(ledger)),
            session: session.expect("a session"),
            process,
            settings: Settings { beat: Duration::from_millis(50), ..Settings::default() },
        }));
        let store = Arc::new(Store {
            markers: Arc::default(),
            gate: watch::Sender::new(true),
            is_away: AtomicBool::new(false),
        });
        let stop = Stop::default();
        let sinks: Arc<dyn FeatureSinks> = Arc::clone(&store) as _;
        let server = Arc::new(Server::new(scheduler, sinks, auth, limits, stop.clone()));
        let router = router(Arc::clone(&server));
        Self { router, store, stop, server, _directory: directory }
    }

    /// Works on what was admitted until the site is stopped.
    pub(super) fn work(&self) -> tokio::task::JoinHandle<()> {
        let scheduler = Arc::clone(&self.server.scheduler);
        let sinks: Arc<dyn FeatureSinks> = Arc::clone(&self.store) as _;
        let stop = self.stop.clone();
        let runtime = Handle::current();
        // A thread of its own, because what it borrows keeps it from being sent to one.
        tokio::task::spawn_blocking(move || runtime.block_on(scheduler.serve(sinks, stop)))
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.expect("it always answers");
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.expect("a body");
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.send(request(Method::GET, path, &[], "")).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Answer {
        let headers = [("content-type", "application/json")];
        self.send(request(Method::POST, path, &headers, &body.to_string())).await
    }

    /// Sends what a form of ours would.
    pub(super) async fn form(&self, path: &str, body: &str) -> Answer {
        let headers = [
            ("content-type", "application/x-www-form-urlencoded"),
            ("sec-fetch-site", "same-origin"),
            ("accept", "text/html"),
        ];
        self.send(request(Method::POST, path, &headers, body)).await
    }

    /// Waits until a run has ended, and gives its detail.
    pub(super) async fn ended(&self, run: &str) -> Value {
        loop {
            let detail = self.get(&format!("/v1/runs/{run}")).await.json();
            if !detail["finished_at"].is_null() {
                return detail;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

pub(super) fn request(
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::from(body.to_owned())).expect("a request")
}
