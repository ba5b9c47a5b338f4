//! A small shop: views of INT64 features over rows that a test lists.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use feast::ValueType;
use harness::Redis;
use model::EventTime;
use serde_json::Value;
use tests::definition::{Project, View};
use tests::online::{self, Hashes, int_hash, redis_key};
use tests::parquet::{ints, times, write_small};
use tests::repo::{Repo, redis_store};

/// The project of most tests.
pub(crate) const PROJECT: &str = "shop";
/// 2024-01-01T00:00:00Z.
const NEW_YEAR_MICROS: i64 = 1_704_067_200_000_000;
const HOUR_MICROS: i64 = 3_600_000_000;

/// Microseconds of so many hours after the new year of 2024.
pub(crate) fn at(hours: i64) -> i64 {
    NEW_YEAR_MICROS + hours * HOUR_MICROS
}

/// Microseconds of so many hours before now.
pub(crate) fn ago(hours: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_micros();
    i64::try_from(now).expect("it is before 292000") - hours * HOUR_MICROS
}

/// An instant as the command line takes it and as it is printed.
pub(crate) fn iso(micros: i64) -> String {
    EventTime::from_micros(micros).to_string()
}

/// A view `name` of one feature `f` over `data/<name>.parquet`.
pub(crate) fn view(name: &str) -> View {
    View::new(name, &format!("data/{name}.parquet"), &[("f", ValueType::Int64)])
}

/// An entity, an event time in microseconds, and the value of `f`.
pub(crate) type Row = (i64, i64, i64);

/// Writes rows to a Parquet file.
pub(crate) fn write_rows(path: &Path, rows: &[Row]) -> Result<()> {
    write_small(
        path,
        &[
            ("id", ints(rows.iter().map(|row| row.0))),
            ("ts", times(rows.iter().map(|row| row.1))),
            ("f", ints(rows.iter().map(|row| row.2))),
        ],
    )
}

/// The rows of a view's file.
pub(crate) fn fill(repo: &Repo, view: &str, rows: &[Row]) -> Result<()> {
    write_rows(&repo.path(format!("data/{view}.parquet")), rows)
}

/// So many entities at one time, each with its id as the value.
pub(crate) fn many(entities: i64, micros: i64) -> Vec<Row> {
    (0..entities).map(|id| (id, micros, id)).collect()
}

/// What Redis holds once a view's rows, one an entity, have landed.
pub(crate) fn landed(view: &str, rows: &[Row]) -> Hashes {
    let hash = |row: &Row| (redis_key(PROJECT, row.0), int_hash(view, row.1, &[("f", row.2)]));
    rows.iter().map(hash).collect()
}

/// A shop on a Redis of its own.
pub(crate) struct Shop {
    pub(crate) redis: Redis,
    pub(crate) repo: Repo,
}

impl Shop {
    /// Opens a shop of some views.
    pub(crate) fn new(views: impl IntoIterator<Item = View>) -> Result<Self> {
        Self::of(&Project::new(PROJECT, views))
    }

    /// Opens the shop of a project.
    pub(crate) fn of(project: &Project) -> Result<Self> {
        let redis = Redis::start()?;
        let repo = Repo::with_project(project, redis_store(redis.port()))?;
        Ok(Self { redis, repo })
    }

    /// Everything that is in Redis.
    pub(crate) fn stored(&self) -> Result<Hashes> {
        online::hashes(&self.redis, 0)
    }

    /// Materializes from and to so many hours after the new year of 2024.
    pub(crate) fn interval(&self, from: i64, to: i64) -> Result<Value> {
        self.repo.json(&["materialize", &iso(at(from)), &iso(at(to))])
    }

    /// Materializes to so many hours after the new year of 2024.
    pub(crate) fn incremental(&self, to: i64) -> Result<Value> {
        self.repo.json(&["materialize-incremental", &iso(at(to))])
    }

    /// The intervals of a view in Feast's registry.
    pub(crate) fn intervals(&self, view: &str) -> Result<Vec<(i64, i64)>> {
        Ok(self.repo.registry().state()?.intervals(view))
    }
}

/// The one job of a report.
pub(crate) fn only_job(report: &Value) -> &Value {
    let jobs = report["jobs"].as_array().expect("a report has jobs");
    assert_eq!(jobs.len(), 1, "{report}");
    &jobs[0]
}

/// All warnings of a job, one after the other.
pub(crate) fn warnings(job: &Value) -> String {
    job["warnings"].to_string()
}
