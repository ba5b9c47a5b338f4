//! Sources and the registry on S3: what is read from it, and what becomes of a run when it
//! throttles, hangs, or gives other files than it listed.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use feast::ValueType;
use harness::{Answer, Proxy, Redis, Request, S3};
use serde_json::{Value, json};
use tests::definition::{Project, View};
use tests::ledger::Ledger;
use tests::online;
use tests::registry::{Place, file_bytes};
use tests::repo::{Repo, configuration, redis_store};

use crate::sample::{PROJECT, Row, at, iso, landed, many, only_job, warnings, write_rows};

/// Entities of a source; an object of so many takes one request for its footer, one for its rows.
const ENTITIES: i64 = 1_000;
/// Settings with which a test need not wait long until a run gives up.
const IMPATIENT: [(&str, &str); 4] =
    [("timeout", "2s"), ("connect_timeout", "2s"), ("max_retries", "3"), ("retry_timeout", "20s")];

/// A shop whose sources are in a bucket, behind a proxy.
struct Bucket {
    redis: Redis,
    server: S3,
    proxy: Proxy,
    repo: Repo,
}

impl Bucket {
    fn new(views: impl IntoIterator<Item = View>) -> Result<Self> {
        let (redis, server) = (Redis::start()?, S3::start()?);
        let proxy = Proxy::start(server.port())?;
        let repo = Repo::with_project(&Project::new(PROJECT, views), redis_store(redis.port()))?;
        let bucket = Self { redis, server, proxy, repo };
        bucket.configure(&json!("data/registry.db"))?;
        Ok(bucket)
    }

    fn configure(&self, registry: &Value) -> Result<()> {
        let mut settings = configuration(PROJECT, redis_store(self.redis.port()));
        let mut options: BTreeMap<String, String> = S3::options(self.proxy.port());
        options.extend(IMPATIENT.map(|(name, value)| (name.to_owned(), value.to_owned())));
        settings["registry"] = registry.clone();
        settings["tidegate"] = json!({
            "object_store": options,
            "metastore": format!("sqlite:///{}", self.repo.ledger().display()),
        });
        self.repo.configure(&settings)
    }

    /// Puts rows into an object, at once as a whole.
    fn put(&self, key: &str, rows: &[Row]) -> Result<()> {
        put(&self.server.path(key), rows)
    }

    fn materialize(&self) -> Result<Value> {
        self.repo.json(&arguments())
    }

    /// Checks that nothing has landed: not in the ledger, and not in Feast's registry.
    fn nothing_is_committed(&self) -> Result<()> {
        let ledger = Ledger::Sqlite(self.repo.ledger());
        assert_eq!(ledger.count("intervals", "true")?, 0);
        assert_eq!(ledger.count("windows", "state = 'committed'")?, 0);
        assert_eq!(ledger.count("mirrors", "true")?, 0);
        assert!(self.repo.registry().state()?.intervals("v").is_empty());
        Ok(())
    }
}

fn put(path: &std::path::Path, rows: &[Row]) -> Result<()> {
    let staged = path.with_extension("staged");
    write_rows(&staged, rows)?;
    Ok(fs::rename(staged, path)?)
}

fn arguments() -> [String; 3] {
    ["materialize".to_owned(), iso(at(0)), iso(at(9))]
}

/// A view of a path in the bucket. A directory is written with a slash at its end: to the server, a
/// directory of its file system, `d` without one is an error of its own.
fn view(path: &str) -> View {
    View::new("v", &format!("s3://bucket/{path}"), &[("f", ValueType::Int64)])
}

/// Tells whether a request reads of an object, its footer or its rows.
fn is_get(request: &Request) -> bool {
    request.method == "GET" && request.target.contains(".parquet")
}

#[test]
fn one_object_lands() -> Result<()> {
    let bucket = Bucket::new([view("v.parquet")])?;
    let rows = many(ENTITIES, at(5));
    bucket.put("v.parquet", &rows)?;
    bucket.materialize()?;
    assert!(online::hashes(&bucket.redis, 0)? == landed("v", &rows), "every row, and nothing else");
    // One to look for the object, one for its footer, one for its rows.
    assert_eq!(bucket.proxy.requests(), 3);
    Ok(())
}

#[test]
fn a_directory_of_objects_lands() -> Result<()> {
    let bucket = Bucket::new([view("d/")])?;
    let rows = many(ENTITIES, at(5));
    for (number, part) in rows.chunks(100).enumerate() {
        bucket.put(&format!("d/{number}.parquet"), part)?;
    }
    bucket.put("elsewhere/x.parquet", &[(1, at(6), -1)])?;
    bucket.materialize()?;
    assert!(online::hashes(&bucket.redis, 0)? == landed("v", &rows), "every row, and nothing else");
    Ok(())
}

#[test]
fn hive_partitions_of_other_days_are_not_asked_for() -> Result<()> {
    let bucket = Bucket::new([view("d/").tag("tidegate.date_partition", "day")])?;
    let rows = many(ENTITIES, at(5));
    bucket.put("d/day=2024-01-01/a.parquet", &rows)?;
    bucket.put("d/day=2024-03-01/a.parquet", &[(1, at(1_450), 1)])?;
    bucket.proxy.rule(|request| {
        let is_other = is_get(request) && request.target.contains("2024-03-01");
        if is_other { Answer::Hang } else { Answer::Pass }
    });
    bucket.materialize()?;
    assert!(online::hashes(&bucket.redis, 0)? == landed("v", &rows), "every row, and nothing else");
    Ok(())
}

#[test]
fn a_registry_on_s3_is_read_and_recorded_in() -> Result<()> {
    let bucket = Bucket::new([view("v.parquet")])?;
    let object = bucket.server.path("registry.db");
    let project = Project::new(PROJECT, [view("v.parquet")]);
    fs::write(&object, file_bytes(&project))?;
    fs::remove_file(bucket.repo.path("data/registry.db"))?;
    bucket.configure(&json!("s3://bucket/registry.db"))?;
    let rows = many(ENTITIES, at(5));
    bucket.put("v.parquet", &rows)?;
    bucket.materialize()?;
    assert!(online::hashes(&bucket.redis, 0)? == landed("v", &rows), "every row, and nothing else");
    let state = Place::File(object).state()?;
    assert_eq!((state.intervals("v"), state.views["v"].state), (vec![(at(0), at(9))], 4));
    Ok(())
}

#[test]
fn slow_down_is_survived() -> Result<()> {
    let bucket = Bucket::new([view("d/")])?;
    let rows = many(ENTITIES, at(5));
    for (number, part) in rows.chunks(250).enumerate() {
        bucket.put(&format!("d/{number}.parquet"), part)?;
    }
    let mut refused: BTreeMap<Request, u32> = BTreeMap::new();
    bucket.proxy.rule(move |request| {
        let times = refused.entry(request.clone()).or_default();
        *times += 1;
        if *times <= 2 { Answer::SlowDown } else { Answer::Pass }
    });
    bucket.materialize()?;
    assert!(online::hashes(&bucket.redis, 0)? == landed("v", &rows), "every row, and nothing else");
    Ok(())
}

#[test]
fn slow_down_without_end_fails_the_view_and_says_so() -> Result<()> {
    let bucket = Bucket::new([view("v.parquet")])?;
    bucket.put("v.parquet", &many(ENTITIES, at(5)))?;
    let answer = |request: &Request| {
        if is_get(request) { Answer::SlowDown } else { Answer::Pass }
    };
    bucket.proxy.rule(answer);
    let ended = bucket.repo.run(&arguments())?.with_code(1)?;
    ended.says("failed to read `s3://bucket/v.parquet`")?;
    ended.says("SlowDown")?;
    ended.says("`max_retries`")?;
    bucket.nothing_is_committed()
}

#[test]
fn a_server_that_hangs_fails_the_view_in_time() -> Result<()> {
    for hangs_at in [1, 2] {
        let bucket = Bucket::new([view("v.parquet")])?;
        bucket.put("v.parquet", &many(ENTITIES, at(5)))?;
        let mut asked = 0;
        bucket.proxy.rule(move |request| {
            asked += u32::from(is_get(request));
            if asked >= hangs_at { Answer::Hang } else { Answer::Pass }
        });
        let begun = Instant::now();
        let ended = bucket.repo.run(&arguments())?.with_code(1)?;
        // Four tries of two seconds, and the pauses between them.
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
        ended.says("failed to read `s3://bucket/v.parquet`")?;
        ended.says("`timeout`")?;
        bucket.nothing_is_committed()?;
    }
    Ok(())
}

/// Replaces the object whenever its rows are about to be read, so many times.
fn replace_under_the_reader(bucket: &Bucket, times: i64) {
    let path = bucket.server.path("v.parquet");
    let (mut asked, mut replaced) = (0_u32, 0);
    bucket.proxy.rule(move |request| {
        asked += u32::from(is_get(request));
        // Every attempt reads the footer first and then the rows.
        if is_get(request) && asked.is_multiple_of(2) && replaced < times {
            replaced += 1;
            let rows: Vec<Row> = (0..ENTITIES).map(|id| (id, at(5), id + replaced)).collect();
            put(&path, &rows).expect("there is room");
        }
        Answer::Pass
    });
}

#[test]
fn an_object_that_is_replaced_under_the_reader_is_read_anew() -> Result<()> {
    let bucket = Bucket::new([view("v.parquet")])?;
    bucket.put("v.parquet", &many(ENTITIES, at(5)))?;
    replace_under_the_reader(&bucket, 1);
    let report = bucket.materialize()?;
    assert!(warnings(only_job(&report)).contains("attempted again"), "{report}");
    let rows: Vec<Row> = (0..ENTITIES).map(|id| (id, at(5), id + 1)).collect();
    assert!(online::hashes(&bucket.redis, 0)? == landed("v", &rows), "the new rows alone");
    let ledger = Ledger::Sqlite(bucket.repo.ledger());
    assert_eq!(ledger.count("attempts", "state = 'failed'")?, 1);
    assert_eq!(ledger.count("windows", "state = 'committed'")?, 1);
    Ok(())
}

#[test]
fn an_object_that_keeps_changing_fails_the_view_and_nothing_is_committed() -> Result<()> {
    let bucket = Bucket::new([view("v.parquet")])?;
    bucket.put("v.parquet", &many(ENTITIES, at(5)))?;
    replace_under_the_reader(&bucket, i64::MAX);
    let ended = bucket.repo.run(&arguments())?.with_code(1)?;
    ended.says("`s3://bucket/v.parquet` was replaced or removed while it was being read")?;
    assert!(online::hashes(&bucket.redis, 0)?.is_empty(), "no version of it was written");
    bucket.nothing_is_committed()?;
    let failed = Ledger::Sqlite(bucket.repo.ledger()).count("attempts", "state = 'failed'")?;
    assert_eq!(failed, 3, "each attempt is in the ledger");
    Ok(())
}

#[test]
fn a_missing_bucket_is_named() -> Result<()> {
    let mut missing = view("v.parquet");
    missing.path = "s3://nobody/v/".to_owned();
    let bucket = Bucket::new([missing])?;
    let ended = bucket.repo.run(&arguments())?.with_code(1)?;
    ended.says("s3://nobody/v/").context("the bucket is not named")?;
    bucket.nothing_is_committed()
}
