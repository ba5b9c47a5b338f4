//! Doing once more what did not land: of a run, of a window, of an interval; and runs that are cut
//! into windows, of which one fails.

use anyhow::Result;
use feast::ValueType;
use serde_json::{Value, json};
use tests::definition::View;
use tests::parquet::{doubles, ints, times, write_small};

use crate::sample::{Row, Shop, at, fill, iso, landed, only_job, view};

const DAYS: i64 = 3;
/// The last instant of the last day.
const LAST_HOUR: i64 = DAYS * 24 - 1;

/// A view of a file a day, a row each, of which the second day's is spoilt.
fn days() -> Result<Shop> {
    let shop = Shop::new([View::new("v", "data/v", &[("f", ValueType::Int64)])])?;
    for day in 1..=DAYS {
        write_day(&shop, day, if day == 2 { f64::INFINITY } else { day as f64 })?;
    }
    Ok(shop)
}

fn write_day(shop: &Shop, day: i64, value: f64) -> Result<()> {
    write_small(
        &shop.repo.path(format!("data/v/{day}.parquet")),
        &[("id", ints([day])), ("ts", times([noon(day)])), ("f", doubles([value]))],
    )
}

fn noon(day: i64) -> i64 {
    at((day - 1) * 24 + 12)
}

fn row(day: i64) -> Row {
    (day, noon(day), day)
}

/// Materializes all days, a window a day, which fails on the second.
fn fail(shop: &Shop, more: &[&str]) -> Result<Value> {
    let (start, end) = (iso(at(0)), iso(at(LAST_HOUR)));
    let all = ["--output", "json", "materialize", &start, &end, "--window", "1d"];
    shop.repo.run(&[&all[..], more].concat())?.with_code(1)?.json()
}

fn run_id(report: &Value) -> &str {
    report["run_id"].as_str().expect("a report names its run")
}

/// The windows of a run's one job, in the order of their intervals.
fn windows(shop: &Shop, run: &str) -> Result<Vec<Value>> {
    let shown = shop.repo.json(&["runs", "show", run])?;
    let mut windows = only_job(&shown)["windows"].as_array().expect("windows").clone();
    windows.sort_by_key(|window| window["interval"]["start"].to_string());
    Ok(windows)
}

fn states(windows: &[Value]) -> Vec<&str> {
    windows.iter().map(|window| window["state"].as_str().expect("a state")).collect()
}

#[test]
fn windows_that_landed_stay_and_a_rerun_does_the_rest() -> Result<()> {
    let shop = days()?;
    let report = fail(&shop, &[])?;
    assert_eq!(shop.stored()?, landed("v", &[row(1)]));
    let cut = windows(&shop, run_id(&report))?;
    assert_eq!(cut.len(), 3, "{cut:?}");
    assert_eq!(states(&cut)[..2], ["committed", "failed"]);
    assert_eq!(shop.intervals("v")?.len(), 1, "the first day has landed");
    assert!(shop.intervals("v")?[0].1 < at(25));

    write_day(&shop, 2, 2.0)?;
    let again = shop.repo.json(&["rerun", "--run", run_id(&report)])?;
    let job = only_job(&again);
    assert_eq!((&job["state"], &job["receipt"]["rows_read"]), (&json!("succeeded"), &json!(2)));
    assert_eq!(shop.stored()?, landed("v", &[row(1), row(2), row(3)]));
    assert_eq!(shop.intervals("v")?, [(at(0), at(LAST_HOUR))], "one without a gap");
    let shown = shop.repo.json(&["runs"])?;
    assert_eq!(shown[0]["kind"], "rerun");
    Ok(())
}

#[test]
fn the_newest_window_can_be_the_first() -> Result<()> {
    let shop = days()?;
    let report = fail(&shop, &["--newest-first"])?;
    assert_eq!(shop.stored()?, landed("v", &[row(3)]));
    assert_eq!(states(&windows(&shop, run_id(&report))?)[1..], ["failed", "committed"]);
    write_day(&shop, 2, 2.0)?;
    shop.repo.succeed(&["rerun", "--run", run_id(&report), "--newest-first"])?;
    assert_eq!(shop.stored()?, landed("v", &[row(1), row(2), row(3)]));
    assert_eq!(shop.intervals("v")?, [(at(0), at(LAST_HOUR))]);
    Ok(())
}

#[test]
fn one_window_can_be_run_again() -> Result<()> {
    let shop = days()?;
    let report = fail(&shop, &[])?;
    let failed = windows(&shop, run_id(&report))?[1].clone();
    let id = failed["window_id"].as_str().expect("an id");
    write_day(&shop, 2, 2.0)?;
    let again = shop.repo.json(&["rerun", "--window-id", id])?;
    let job = only_job(&again);
    assert_eq!(job["interval"], failed["interval"]);
    assert_eq!(job["receipt"]["rows_read"], 1);
    assert_eq!(shop.stored()?, landed("v", &[row(1), row(2)]));
    Ok(())
}

#[test]
fn an_interval_is_run_again_by_what_became_of_it() -> Result<()> {
    let shop = days()?;
    fail(&shop, &[])?;
    write_day(&shop, 2, 2.0)?;
    let (from, to) = (iso(at(0)), iso(at(LAST_HOUR)));
    let rerun = |state: &[&str]| {
        let all = ["rerun", "--view", "v", "--from", &from, "--to", &to];
        shop.repo.json(&[&all[..], state].concat())
    };
    let failed = rerun(&["--state", "failed"])?;
    assert!(only_job(&failed)["receipt"]["rows_read"].as_u64().is_some_and(|rows| rows >= 1));
    let missing = rerun(&["--state", "missing"])?;
    assert!(matches!(only_job(&missing)["state"].as_str(), Some("succeeded" | "up_to_date")));
    assert_eq!(shop.stored()?, landed("v", &[row(1), row(2), row(3)]));
    for state in ["failed", "missing"] {
        let nothing = rerun(&["--state", state])?;
        assert_eq!(only_job(&nothing)["state"], "up_to_date", "{state}: {nothing}");
    }
    // Without a state it is all of it, as whoever types it expects.
    let everything = rerun(&[])?;
    assert_eq!(only_job(&everything)["receipt"]["rows_read"], 3);
    assert_eq!(only_job(&everything)["receipt"]["stale"], 3);
    Ok(())
}

#[test]
fn a_rerun_takes_only_the_views_that_failed() -> Result<()> {
    let shop = Shop::new([view("good"), view("spoilt")])?;
    fill(&shop.repo, "good", &[(1, at(5), 10)])?;
    let spoilt = |value: f64| {
        let columns = [("id", ints([1])), ("ts", times([at(5)])), ("f", doubles([value]))];
        write_small(&shop.repo.path("data/spoilt.parquet"), &columns)
    };
    spoilt(f64::INFINITY)?;
    let arguments = ["--output", "json", "materialize", &iso(at(0)), &iso(at(9))];
    let report = shop.repo.run(&arguments)?.with_code(1)?.json()?;
    spoilt(7.0)?;
    let again = shop.repo.json(&["rerun", "--run", run_id(&report)])?;
    assert_eq!(only_job(&again)["view"], "spoilt");
    assert_eq!(only_job(&again)["state"], "succeeded");
    assert_eq!(shop.intervals("spoilt")?, [(at(0), at(9))]);
    // Nothing of it is left now, which is a mistake of whoever asks and not a success.
    let done = run_id(&again).to_owned();
    let ended = shop.repo.run(&["rerun", "--run", &done])?.with_code(2)?;
    ended.says("so there is nothing to run again")?;
    Ok(())
}

#[test]
fn a_rerun_of_what_does_not_exist_is_a_usage_error() -> Result<()> {
    let shop = days()?;
    fail(&shop, &[])?;
    let unknown = "01900000-0000-7000-8000-000000000000";
    for (arguments, says) in [
        (vec!["rerun", "--run", unknown], "there is no run"),
        (vec!["rerun", "--window-id", unknown], "there is no window"),
        (vec!["rerun", "--run", "mine"], "`mine` is no run id"),
        (vec!["rerun", "--state", "failed"], "--from"),
        (vec!["rerun"], "required"),
    ] {
        shop.repo.run(&arguments)?.with_code(2)?.says(says)?;
    }
    Ok(())
}

#[test]
fn a_dry_run_shows_the_plan_and_writes_nothing() -> Result<()> {
    let shop = days()?;
    let (from, to) = (iso(at(0)), iso(at(LAST_HOUR)));
    let lines = [
        vec!["materialize", &from, &to, "--window", "1d"],
        vec!["materialize-incremental", &to, "--window", "1d"],
        vec!["rerun", "--from", &from, "--to", &to, "--window", "1d"],
    ];
    for line in &lines {
        let dry = shop.repo.json(&[&line[..], &["--dry-run"]].concat())?;
        let planned = shop.repo.json(&[&["plan"], &line[..]].concat())?;
        let of = |report: &Value| report["views"][0]["windows"].as_array().map(Vec::len);
        assert_eq!(of(&dry), of(&planned), "{line:?}");
        assert!(shop.stored()?.is_empty(), "{line:?}");
        assert!(!shop.repo.ledger().exists(), "{line:?}");
    }
    let windows = shop.repo.json(&[&["plan"], &lines[0][..]].concat())?;
    assert_eq!(windows["views"][0]["windows"].as_array().map(Vec::len), Some(3), "{windows}");
    shop.repo.succeed(&[&["plan"], &lines[0][..]].concat())?.says("v: in 3 windows")?;
    // What would fail is told by the exit code, as `plan` does.
    std::fs::remove_dir_all(shop.repo.path("data/v"))?;
    shop.repo.run(&[&lines[0][..], &["--dry-run"]].concat())?.with_code(1)?.says("would fail")?;
    Ok(())
}
