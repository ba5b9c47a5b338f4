//! `status`, `runs` and the shape of `--output json`.

use anyhow::Result;
use serde_json::{Value, json};

use crate::sample::{Row, Shop, at, fill, iso, only_job, view};

const ROWS: [Row; 3] = [
    (1, 1_704_070_800_000_000, 10),
    (1, 1_704_074_400_000_000, 11),
    (2, 1_704_070_800_000_000, 20),
];

#[test]
fn a_run_reports_its_receipts() -> Result<()> {
    let shop = Shop::new([view("v")])?;
    fill(&shop.repo, "v", &ROWS)?;
    let report = shop.interval(0, 9)?;
    assert_eq!((&report["project"], &report["state"]), (&json!("shop"), &json!("succeeded")));
    let job = only_job(&report);
    assert_eq!((&job["view"], &job["state"]), (&json!("v"), &json!("succeeded")));
    assert_eq!(job["interval"]["start"], iso(at(0)));
    let receipt = &job["receipt"];
    for (count, wanted) in [
        ("rows_read", 3),
        ("entities", 2),
        ("written", 2),
        ("stale", 0),
        ("tombstoned", 0),
        ("refused", 0),
    ] {
        assert_eq!(receipt[count], wanted, "{count}: {receipt}");
    }
    assert_eq!(receipt["event_time_min"], iso(at(1)));
    assert_eq!(receipt["event_time_max"], iso(at(2)));

    let again = shop.interval(0, 9)?;
    let receipt = &only_job(&again)["receipt"];
    assert_eq!((&receipt["written"], &receipt["stale"]), (&json!(0), &json!(2)), "{receipt}");
    Ok(())
}

#[test]
fn status_tells_how_far_each_view_has_got() -> Result<()> {
    let mut gappy = view("gappy");
    gappy.intervals = vec![(at(0), at(1)), (at(5), at(6))];
    let shop = Shop::new([view("v"), gappy, view("never")])?;
    fill(&shop.repo, "v", &ROWS)?;
    shop.repo.succeed(&["materialize", &iso(at(0)), &iso(at(9)), "-v", "v"])?;
    let status = shop.repo.json(&["status"])?;
    let views = status["views"].as_array().expect("a list of views");
    assert_eq!(views.len(), 3);
    let view =
        |name: &str| views.iter().find(|view| view["view"] == name).expect("every view is listed");
    assert_eq!(view("v")["watermark"], iso(at(9)));
    assert!(view("v")["freshness_seconds"].as_i64().is_some_and(|seconds| seconds > 0));
    assert_eq!(view("v")["last_job"]["receipt"]["written"], 2, "{}", view("v"));
    assert_eq!(view("gappy")["watermark"], iso(at(1)), "the end of what has no gap");
    assert_eq!(view("gappy")["gaps"].as_array().map(Vec::len), Some(1));
    assert_eq!(view("never")["watermark"], Value::Null);
    let ended = shop.repo.succeed(&["status"])?;
    ended.says("gappy: not materialized: 2024-01-01T01:00:00.000000001+00:00")?;
    ended.says("never")?;
    Ok(())
}

#[test]
fn runs_are_listed_newest_first_and_can_be_shown() -> Result<()> {
    let shop = Shop::new([view("v"), view("missing")])?;
    fill(&shop.repo, "v", &ROWS)?;
    assert_eq!(shop.repo.json(&["runs"])?, json!([]));
    shop.repo.run(&["materialize", &iso(at(0)), &iso(at(9))])?.with_code(1)?;
    shop.repo.succeed(&["materialize-incremental", &iso(at(12)), "-v", "v"])?;
    let runs = shop.repo.json(&["runs"])?;
    let of = |key: &str| {
        let list = runs.as_array().expect("a list of runs");
        list.iter().map(|run| run[key].clone()).collect::<Vec<_>>()
    };
    assert_eq!(of("kind"), ["incremental", "interval"]);
    assert_eq!(of("state"), ["succeeded", "failed"]);
    assert_eq!(of("jobs_landed"), [1, 1]);
    assert_eq!(shop.repo.json(&["runs", "--limit", "1"])?.as_array().map(Vec::len), Some(1));

    let failed = of("run_id")[1].as_str().expect("an id").to_owned();
    let shown = shop.repo.json(&["runs", "show", &failed])?;
    assert_eq!(shown["run_id"], failed.as_str());
    let jobs = shown["jobs"].as_array().expect("a list of jobs");
    assert_eq!(jobs.len(), 2);
    let job =
        |view: &str| jobs.iter().find(|job| job["view"] == view).expect("every view has a job");
    assert_eq!(job("v")["state"], "succeeded");
    assert_eq!(job("v")["receipt"]["written"], 2);
    let window = &job("v")["windows"][0];
    assert_eq!((&window["state"], &window["source_files"]), (&json!("committed"), &json!(1)));
    let path = window["source_path"].as_str().expect("a path");
    assert!(path.ends_with("data/v.parquet"), "{path}");
    let attempts = window["attempts"].as_array().expect("a list of attempts");
    assert_eq!((attempts.len(), &attempts[0]["state"]), (1, &json!("committed")));
    assert_eq!(job("missing")["state"], "failed");
    let reason = job("missing")["reason"].as_str().expect("a reason");
    assert!(reason.contains("no Parquet file at"), "{reason}");

    let ended = shop.repo.succeed(&["runs", "show", &failed])?;
    ended.says("missing: failed: no Parquet file at")?;
    ended.says("pinned to 1 files")?;
    shop.repo.run(&["runs", "show", "nonsense"])?.with_code(2)?.says("is no run id")?;
    let unknown = "01900000-0000-7000-8000-000000000000";
    shop.repo.run(&["runs", "show", unknown])?.with_code(1)?.says("there is no run")?;
    Ok(())
}

#[test]
fn a_ledger_can_live_elsewhere() -> Result<()> {
    let shop = Shop::new([view("v")])?;
    fill(&shop.repo, "v", &ROWS)?;
    let elsewhere = shop.repo.path("elsewhere.sqlite");
    let url = format!("sqlite:///{}", elsewhere.display());
    shop.repo.succeed(&["--metastore", &url, "materialize", &iso(at(0)), &iso(at(9))])?;
    assert!(elsewhere.is_file() && !shop.repo.ledger().exists());
    let migrated = shop.repo.json(&["--metastore", &url, "migrate"])?;
    assert!(migrated["schema_version"].as_i64().is_some_and(|version| version > 0), "{migrated}");
    Ok(())
}
