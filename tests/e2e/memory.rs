//! A Redis with too little memory, and one that must not be written to faster than is set.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use feast::ValueType;
use harness::{Redis, Reply};
use serde_json::{Value, json};
use tests::definition::{Project, View};
use tests::ledger::Ledger;
use tests::online;
use tests::parquet::{ints, texts, times, write_small};
use tests::repo::{Repo, configuration, redis_store};

use crate::sample::{PROJECT, Shop, at, fill, iso, landed, many, view};

const REFUSE: &str = "--refuse-over-memory";

fn arguments() -> Vec<String> {
    vec!["materialize".to_owned(), iso(at(0)), iso(at(9))]
}

fn with_refusal() -> Vec<String> {
    [arguments(), vec![REFUSE.to_owned()]].concat()
}

/// A shop on a Redis with this limit and policy.
fn limited(bytes: u64, policy: &str, views: impl IntoIterator<Item = View>) -> Result<Shop> {
    let options = ["--maxmemory", &bytes.to_string(), "--maxmemory-policy", policy];
    let redis = Redis::start_with(&options)?;
    let repo = Repo::with_project(&Project::new(PROJECT, views), redis_store(redis.port()))?;
    Ok(Shop { redis, repo })
}

/// A number of `INFO`.
fn info(redis: &Redis, section: &str, name: &str) -> Result<u64> {
    let reply = redis.command(&["INFO", section])?;
    let text = String::from_utf8_lossy(reply.bytes().context("it is text")?).into_owned();
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(':')?.parse().ok();
    text.lines().find_map(value).with_context(|| format!("no `{name}`: {text}"))
}

fn job_reason(report: &Value, index: usize) -> &str {
    report["jobs"][index]["reason"].as_str().unwrap_or_default()
}

/// Nothing of these views is in Redis, in the ledger's intervals or in the registry.
fn ensure_nothing_landed(shop: &Shop, views: &[&str]) -> Result<()> {
    let coverage = Ledger::Sqlite(shop.repo.ledger()).coverage()?;
    for view in views {
        let known = coverage.get(*view).cloned().unwrap_or_default();
        ensure!(known.intervals.is_empty() && known.watermark.is_none(), "{view}: {known:?}");
        ensure!(shop.intervals(view)?.is_empty(), "`{view}` is in the registry");
    }
    Ok(())
}

#[test]
fn a_run_that_may_not_fit_warns_and_still_runs() -> Result<()> {
    let shop = limited(64 << 20, "noeviction", [view("v")])?;
    let rows = many(20_000, at(5));
    fill(&shop.repo, "v", &rows)?;
    let quiet = shop.repo.json(&arguments())?;
    assert_eq!(quiet["warnings"], json!([]), "it fits");
    let used = info(&shop.redis, "memory", "used_memory")?;
    // Room for what comes and goes, and not for as many rows again; but they are there already.
    shop.redis.command(&["CONFIG", "SET", "maxmemory", &(used + (2 << 20)).to_string()])?;

    let ended = shop.repo.succeed(&arguments())?;
    for words in
        ["warning: Redis at `127.0.0.1:", "`maxmemory`", "20000 rows", "(`noeviction`)", "raise"]
    {
        ended.says(words)?;
    }
    assert!(shop.stored()? == landed("v", &rows), "every row, and nothing else");
    Ok(())
}

#[test]
fn a_run_that_may_not_fit_is_refused_when_asked_before_anything_is_written() -> Result<()> {
    let shop = limited(4 << 20, "noeviction", [view("a"), view("b")])?;
    let rows = many(10_000, at(5));
    fill(&shop.repo, "a", &rows)?;
    fill(&shop.repo, "b", &rows)?;
    let json = ["--output".to_owned(), "json".to_owned()];
    let report = shop.repo.run(&[&json[..], &with_refusal()].concat())?.with_code(1)?.json()?;
    for index in [0, 1] {
        assert_eq!(report["jobs"][index]["state"], "refused", "{report}");
        let reason = job_reason(&report, index);
        for words in ["`maxmemory` of 4.0 MiB", "20000 rows", "`noeviction`", "raise `maxmemory`"] {
            assert!(reason.contains(words), "{words}: {reason}");
        }
    }
    assert!(shop.stored()?.is_empty());
    ensure_nothing_landed(&shop, &["a", "b"])?;
    let ledger = Ledger::Sqlite(shop.repo.ledger());
    assert_eq!(ledger.count("jobs", "state = 'refused'")?, 2);
    assert_eq!(ledger.count("windows", "1 = 1")?, 0);

    // Each of the two fits by itself.
    shop.repo.succeed(&[with_refusal(), vec!["-v".to_owned(), "a".to_owned()]].concat())?;
    assert!(shop.stored()? == landed("a", &rows), "every row, and nothing else");
    ensure_nothing_landed(&shop, &["b"])?;
    Ok(())
}

#[test]
fn the_setting_refuses_as_the_option_does() -> Result<()> {
    let shop = limited(2 << 20, "noeviction", [view("v")])?;
    fill(&shop.repo, "v", &many(20_000, at(5)))?;
    let mut settings = configuration(PROJECT, redis_store(shop.redis.port()));
    settings["tidegate"] = json!({ "refuse_over_memory": true });
    shop.repo.configure(&settings)?;
    shop.repo.run(&arguments())?.with_code(1)?.says("v: refused: Redis at")?;
    assert!(shop.stored()?.is_empty());
    Ok(())
}

#[test]
fn without_a_limit_nothing_is_refused() -> Result<()> {
    let shop = Shop::new([view("v")])?;
    let rows = many(1_000, at(5));
    fill(&shop.repo, "v", &rows)?;
    let report = shop.repo.json(&with_refusal())?;
    assert_eq!(report["warnings"], json!([]), "{report}");
    assert_eq!(shop.stored()?, landed("v", &rows));
    Ok(())
}

#[test]
fn a_server_that_may_not_be_asked_is_written_with_a_warning() -> Result<()> {
    let user = ["--user", "writer", "on", ">hunter2", "~*", "+@all", "-info"];
    let redis = Redis::start_with(&[&user[..], &["--maxmemory", "4mb"]].concat())?;
    let connection = format!("127.0.0.1:{},username=writer,password=hunter2", redis.port());
    let store = json!({ "type": "redis", "connection_string": connection });
    let repo = Repo::with_project(&Project::new(PROJECT, [view("v")]), store)?;
    let rows = many(100, at(5));
    fill(&repo, "v", &rows)?;
    let ended = repo.succeed(&with_refusal())?;
    ended.says("does not tell its memory, so nothing was checked")?;
    assert_eq!(online::hashes(&redis, 0)?, landed("v", &rows));
    Ok(())
}

#[test]
fn evictions_fail_the_run_and_nothing_is_committed() -> Result<()> {
    let shop = limited(4 << 20, "allkeys-lru", [view("v")])?;
    let rows = many(60_000, at(5));
    fill(&shop.repo, "v", &rows)?;
    let ended = shop.repo.run(&arguments())?.with_code(1)?;
    ended.says("At the limit it evicts keys (`allkeys-lru`)")?;
    ended.says("keys while rows were being written; raise `maxmemory`")?;
    ended.says("nothing was committed")?;
    assert!(info(&shop.redis, "stats", "evicted_keys")? > 0);
    ensure_nothing_landed(&shop, &["v"])?;
    // Once: another attempt would evict as many.
    let ledger = Ledger::Sqlite(shop.repo.ledger());
    assert_eq!(ledger.count("windows", "1 = 1")?, 1);
    assert_eq!(ledger.count("jobs", "state = 'failed'")?, 1);

    shop.redis.command(&["CONFIG", "SET", "maxmemory", "0"])?;
    shop.repo.succeed(&arguments())?;
    assert!(shop.stored()? == landed("v", &rows), "every row, and nothing else");
    Ok(())
}

#[test]
fn evictions_of_before_the_run_do_not_count() -> Result<()> {
    let shop = limited(4 << 20, "allkeys-lru", [view("v")])?;
    for key in 0..40 {
        shop.redis.command(&["SET", &format!("other{key}"), &"x".repeat(200_000)])?;
    }
    assert!(info(&shop.redis, "stats", "evicted_keys")? > 0);
    assert_eq!(shop.redis.command(&["FLUSHALL"])?, Reply::Status("OK".to_owned()));
    let rows = many(100, at(5));
    fill(&shop.repo, "v", &rows)?;
    shop.repo.succeed(&arguments())?;
    assert_eq!(shop.stored()?, landed("v", &rows));
    Ok(())
}

/// Materializes so many rows at a ceiling, and says how long it took.
fn paced(repo: &Repo, rows: i64, rows_per_second: u64, store: Value) -> Result<Duration> {
    fill(repo, "v", &many(rows, at(5)))?;
    let mut settings = configuration(PROJECT, store);
    settings["tidegate"] = json!({ "max_rows_per_second": rows_per_second });
    repo.configure(&settings)?;
    let begun = Instant::now();
    repo.succeed(&arguments())?;
    Ok(begun.elapsed())
}

#[test]
fn a_ceiling_makes_a_run_as_long_as_its_rows_need() -> Result<()> {
    let shop = Shop::new([view("v")])?;
    let store = redis_store(shop.redis.port());
    let taken = paced(&shop.repo, 6_000, 2_000, store)?;
    assert!(taken >= Duration::from_secs(3), "{taken:?}");
    assert_eq!(shop.stored()?, landed("v", &many(6_000, at(5))));
    Ok(())
}

#[test]
fn a_ceiling_holds_for_sqlite_too() -> Result<()> {
    let repo = Repo::with_sqlite_store(&Project::new(PROJECT, [view("v")]))?;
    let store = json!({ "type": "sqlite", "path": "data/online.db" });
    let taken = paced(&repo, 600, 200, store)?;
    assert!(taken >= Duration::from_secs(3), "{taken:?}");
    let rows = online::rows(&repo.path("data/online.db"), "shop_v")?;
    assert_eq!(rows.map(|rows| rows.len()), Some(600));
    Ok(())
}

#[test]
fn the_size_of_texts_counts() -> Result<()> {
    let features = [("f", ValueType::String)];
    let shop = limited(4 << 20, "noeviction", [View::new("v", "data/v.parquet", &features)])?;
    let long = "x".repeat(10_000);
    write_small(
        &shop.repo.path("data/v.parquet"),
        &[
            ("id", ints(0..500)),
            ("ts", times((0..500).map(|_| at(5)))),
            ("f", texts((0..500).map(|_| long.as_str()))),
        ],
    )?;
    // 500 rows of 10 kB each, which a dictionary makes 10 kB in all.
    shop.repo.run(&with_refusal())?.with_code(1)?.says("500 rows")?;
    assert!(shop.stored()?.is_empty());
    Ok(())
}
