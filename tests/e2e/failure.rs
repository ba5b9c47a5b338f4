//! What cannot land is named, does not stop the rest, and leaves nothing behind.

use std::sync::Arc;

use anyhow::Result;
use arrow::array::{ArrayRef, Int64Array};
use feast::{ValueType, ViewKind};
use serde_json::{Value, json};
use tests::definition::{Project, View};
use tests::ledger::Ledger;
use tests::parquet::{doubles, ints, times, write_small};
use tests::repo::{configuration, redis_store};

use crate::redis::{until_writing, wait};
use crate::sample::{PROJECT, Row, Shop, ago, at, fill, iso, landed, many, only_job, view};

/// Enough that a run is still writing when its first rows are seen.
const MANY: i64 = 200_000;
const ROWS: [Row; 2] = [(1, at_five(), 10), (2, at_five(), 20)];

/// Five o'clock on the first of January 2024.
const fn at_five() -> i64 {
    1_704_067_200_000_000 + 5 * 3_600_000_000
}

fn job<'a>(report: &'a Value, view: &str) -> &'a Value {
    let jobs = report["jobs"].as_array().expect("a report has jobs");
    jobs.iter().find(|job| job["view"] == view).expect("every view has a job")
}

#[test]
fn no_view_at_all_is_an_error_unless_allowed() -> Result<()> {
    let shop = Shop::new([])?;
    let arguments = ["materialize", &iso(at(0)), &iso(at(9))];
    let ended = shop.repo.run(&arguments)?.with_code(1)?;
    ended.says("no feature view to materialize in project `shop`")?;
    shop.repo.succeed(&[&arguments[..], &["--allow-empty"]].concat())?;
    Ok(())
}

#[test]
fn what_makes_no_sense_is_a_usage_error_and_begins_nothing() -> Result<()> {
    let mut disabled = view("disabled");
    disabled.disabled = true;
    let mut stored_offline = view("not_online");
    stored_offline.online = false;
    let shop = Shop::new([view("v"), disabled, stored_offline])?;
    fill(&shop.repo, "v", &ROWS)?;
    let (start, end, future) = (iso(at(0)), iso(at(9)), iso(ago(-24)));
    let later = iso(ago(-48));
    for (arguments, says) in [
        (vec!["materialize", &start, &end, "-v", "nobody"], "there is no feature view `nobody`"),
        (vec!["materialize", &start, &end, "-v", "disabled"], "is disabled"),
        (vec!["materialize", &start, &end, "-v", "not_online"], "is not online"),
        (vec!["materialize", &end, &start], "is after end"),
        (vec!["materialize", &future, &later], "is in the future"),
        (vec!["materialize", &start], "<END>"),
        (vec!["materialize", "yesterday", &end], "`yesterday` is no date and time"),
        (vec!["materialize-incremental", "Jan 1 2024"], "is no date and time"),
        (vec!["materialize", "--disable-event-timestamp", &start, &end], "cannot be used with"),
        (vec!["materialize", &start, &end, "-v", "v", "--version", "v1"], "versioning: true"),
        (vec!["materialize", &start, &end, "--version", "v1"], "exactly one --views"),
        (vec!["materialize", &start, &end, "-v", "v", "--version", "new"], "`new` is no version"),
        (vec!["materialise"], "unrecognized subcommand"),
    ] {
        let ended = shop.repo.run(&arguments)?.with_code(2)?;
        ended.says(says)?;
    }
    assert!(shop.stored()?.is_empty());
    assert!(shop.intervals("v")?.is_empty());
    Ok(())
}

#[test]
fn a_failing_view_does_not_stop_the_others() -> Result<()> {
    let shop = Shop::new([view("a"), view("missing"), view("z")])?;
    fill(&shop.repo, "a", &ROWS)?;
    fill(&shop.repo, "z", &ROWS)?;
    let arguments = ["materialize", &iso(at(0)), &iso(at(9)), "--parallel", "1"];
    let ended = shop.repo.run(&arguments)?.with_code(1)?;
    ended.says("missing: failed: no Parquet file at")?;
    ended.says("2 of 3 views landed")?;
    let both = landed("a", &ROWS).into_iter().map(|(key, mut hash)| {
        hash.extend(landed("z", &ROWS)[&key].clone());
        (key, hash)
    });
    assert_eq!(shop.stored()?, both.collect());
    let state = shop.repo.registry().state()?;
    assert_eq!(state.intervals("a"), [(at(0), at(9))]);
    assert_eq!(state.intervals("z"), [(at(0), at(9))]);
    assert!(state.intervals("missing").is_empty());
    assert_eq!(state.views["missing"].state, 2, "its state is as it was");
    Ok(())
}

#[test]
fn refused_kinds_are_named_while_others_land() -> Result<()> {
    let mut function = view("function");
    function.has_function = true;
    let mut joined = view("joined");
    joined.has_source_views = true;
    let mut written_back = view("written_back");
    written_back.offline = true;
    let mut on_demand = view("on_demand");
    on_demand.kind = ViewKind::OnDemand;
    let shop = Shop::new([function, joined, written_back, on_demand, view("v")])?;
    fill(&shop.repo, "v", &ROWS)?;
    let arguments = ["--output", "json", "materialize", &iso(at(0)), &iso(at(9))];
    let report = shop.repo.run(&arguments)?.with_code(1)?.json()?;
    for (view, why) in [
        ("function", "Python transformation"),
        ("joined", "source_views"),
        ("written_back", "offline: true"),
        ("on_demand", "on-demand view"),
    ] {
        let job = job(&report, view);
        assert_eq!(job["state"], "refused", "{job}");
        assert!(job["reason"].as_str().is_some_and(|reason| reason.contains(why)), "{job}");
    }
    assert_eq!(job(&report, "v")["state"], "succeeded");
    assert_eq!(shop.stored()?, landed("v", &ROWS));
    Ok(())
}

#[test]
fn only_the_views_asked_for_are_materialized() -> Result<()> {
    let shop = Shop::new([view("a"), view("b")])?;
    fill(&shop.repo, "a", &ROWS)?;
    fill(&shop.repo, "b", &ROWS)?;
    shop.repo.succeed(&["materialize", &iso(at(0)), &iso(at(9)), "-v", "b", "--views", "b"])?;
    assert_eq!(shop.stored()?, landed("b", &ROWS));
    assert!(shop.intervals("a")?.is_empty());
    Ok(())
}

/// A view of one INT64 feature over a column of doubles, of which one is infinite.
fn with_infinity() -> Result<Shop> {
    let shop = Shop::new([view("v")])?;
    write_small(
        &shop.repo.path("data/v.parquet"),
        &[
            ("id", ints([1, 2, 3])),
            ("ts", times([at(5), at(5), at(5)])),
            ("f", doubles([1.5, f64::INFINITY, 3.0])),
        ],
    )?;
    Ok(shop)
}

#[test]
fn a_value_that_does_not_fit_is_named_by_file_row_and_column() -> Result<()> {
    let shop = with_infinity()?;
    let ended = shop.repo.run(&["materialize", &iso(at(0)), &iso(at(9))])?.with_code(1)?;
    ended.says("column `f` of row 1")?;
    ended.says("data/v.parquet")?;
    ended.says("tidegate.on_bad_row: skip")?;
    assert!(shop.intervals("v")?.is_empty());
    assert!(Ledger::Sqlite(shop.repo.ledger()).coverage()?["v"].intervals.is_empty());
    Ok(())
}

#[test]
fn a_null_key_is_named_by_file_row_and_column() -> Result<()> {
    let shop = Shop::new([view("v")])?;
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
    write_small(
        &shop.repo.path("data/v.parquet"),
        &[("id", ids), ("ts", times([at(5), at(5)])), ("f", ints([1, 2]))],
    )?;
    let ended = shop.repo.run(&["materialize", &iso(at(0)), &iso(at(9))])?.with_code(1)?;
    ended.says("column `id` of row 1")?;
    ended.says("data/v.parquet")?;
    Ok(())
}

#[test]
fn bad_rows_can_be_skipped_and_are_counted() -> Result<()> {
    let shop = with_infinity()?;
    let mut settings = configuration(PROJECT, redis_store(shop.redis.port()));
    settings["tidegate"] = json!({ "on_bad_row": "skip" });
    shop.repo.configure(&settings)?;
    let report = shop.interval(0, 9)?;
    let job = only_job(&report);
    assert_eq!(job["receipt"]["refused"], 1, "{job}");
    assert_eq!(job["receipt"]["written"], 2, "{job}");
    let bad = &job["bad_rows"][0];
    assert_eq!((&bad["column"], &bad["row"]), (&json!("f"), &json!(1)), "{job}");
    assert!(bad["file"].as_str().is_some_and(|file| file.ends_with("data/v.parquet")), "{job}");
    assert_eq!(shop.stored()?, landed("v", &[(1, at(5), 1), (3, at(5), 3)]));
    assert_eq!(shop.intervals("v")?, [(at(0), at(9))]);
    let ended = shop.repo.succeed(&["materialize", &iso(at(0)), &iso(at(9))])?;
    ended.says("skipped: v: column `f` of row 1")?;
    Ok(())
}

#[test]
fn a_file_that_is_no_parquet_is_named() -> Result<()> {
    let shop = Shop::new([view("v")])?;
    shop.repo.write("data/v.parquet", b"PAR1 and nothing else")?;
    let ended = shop.repo.run(&["materialize", &iso(at(0)), &iso(at(9))])?.with_code(1)?;
    ended.says("data/v.parquet")?;
    ended.says("is not a complete Parquet file")?;
    Ok(())
}

#[test]
fn two_features_in_one_hash_field_are_refused() -> Result<()> {
    // C7.15: their names have the same 32-bit hash in a view `fv`.
    let features = [("f18433", ValueType::Int64), ("f68910", ValueType::Int64)];
    let colliding = View::new("fv", "data/fv.parquet", &features);
    let shop = Shop::of(&Project::new(PROJECT, [colliding]))?;
    write_small(
        &shop.repo.path("data/fv.parquet"),
        &[("id", ints([1])), ("ts", times([at(5)])), ("f18433", ints([1])), ("f68910", ints([2]))],
    )?;
    let ended = shop.repo.run(&["materialize", &iso(at(0)), &iso(at(9))])?.with_code(1)?;
    ended.says("`f18433`")?;
    ended.says("`f68910`")?;
    assert!(shop.stored()?.is_empty());
    Ok(())
}

#[test]
fn a_run_that_is_told_to_stop_commits_nothing_and_says_so() -> Result<()> {
    let shop = Shop::new([view("v")])?;
    let rows = many(MANY, at(5));
    fill(&shop.repo, "v", &rows)?;
    let arguments = ["materialize".to_owned(), iso(at(0)), iso(at(9))];
    let mut run = shop.repo.spawn(&arguments)?;
    until_writing(&shop.redis, &mut run)?;
    let told = std::process::Command::new("kill").arg(run.id().to_string()).status()?;
    assert!(told.success());
    let ended = wait(run)?.with_code(1)?;
    ended.says("interrupted")?;
    assert!(shop.intervals("v")?.is_empty());
    let ledger = Ledger::Sqlite(shop.repo.ledger());
    assert_eq!(ledger.count("runs", "state = 'interrupted'")?, 1);
    assert_eq!(ledger.count("windows", "state = 'open'")?, 0);

    shop.repo.succeed(&arguments)?;
    assert!(shop.stored()? == landed("v", &rows), "every row, and nothing else");
    Ok(())
}

#[test]
fn a_missing_repository_or_registry_is_named() -> Result<()> {
    let shop = Shop::new([view("v")])?;
    std::fs::remove_file(shop.repo.path("data/registry.db"))?;
    let ended = shop.repo.run(&["status"])?.with_code(1)?;
    ended.says("data/registry.db")?;
    ended.says("feast apply")?;
    std::fs::remove_file(shop.repo.path("feature_store.yaml"))?;
    let ended = shop.repo.run(&["status"])?.with_code(1)?;
    ended.says("feature_store.yaml")?;
    Ok(())
}
