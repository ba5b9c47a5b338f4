//! An online store that was emptied: an incremental run does not pass it over, and a rebuild brings
//! back what had landed.

use anyhow::Result;
use serde_json::json;
use tests::repo::{configuration, redis_store};
use tests::wait::until;

use crate::sample::{PROJECT, Row, Shop, at, fill, iso, landed, only_job, view};

const ROWS: [Row; 3] = [
    (1, 1_704_085_200_000_000, 10),
    (2, 1_704_085_200_000_000, 20),
    (3, 1_704_088_800_000_000, 30),
];

/// A shop whose rows had landed before its Redis was emptied.
fn emptied() -> Result<Shop> {
    let shop = Shop::new([view("v")])?;
    fill(&shop.repo, "v", &ROWS)?;
    shop.interval(0, 10)?;
    assert_eq!(shop.stored()?, landed("v", &ROWS));
    shop.redis.command(&["FLUSHALL"])?;
    Ok(shop)
}

#[test]
fn an_incremental_run_refuses_an_emptied_store_until_it_is_rebuilt() -> Result<()> {
    let shop = emptied()?;
    let line = ["materialize-incremental", &iso(at(20))];
    let ended = shop.repo.run(&line)?.with_code(1)?;
    ended.says("v: refused:")?;
    ended.says("--rebuild")?;
    assert!(shop.stored()?.is_empty());
    assert_eq!(shop.intervals("v")?, [(at(0), at(10))], "nothing was added to what had landed");
    // From now on everybody is told, without the store being asked.
    let status = shop.repo.json(&["status"])?;
    assert!(status["views"][0]["lost"].is_string(), "{status}");
    shop.repo.succeed(&["status"])?.says("v: the online store may lack what has landed")?;
    let planned = shop.repo.run(&[&["plan"], &line[..]].concat())?.with_code(1)?;
    planned.says("v: would fail: refused:")?;

    let new = (4, at(15), 40);
    fill(&shop.repo, "v", &[&ROWS[..], &[new]].concat())?;
    let report = shop.repo.json(&[&line[..], &["--rebuild"]].concat())?;
    assert_eq!(only_job(&report)["receipt"]["written"], 4, "{report}");
    assert_eq!(shop.stored()?, landed("v", &[&ROWS[..], &[new]].concat()));
    assert_eq!(shop.intervals("v")?, [(at(0), at(20))]);
    let status = shop.repo.json(&["status"])?;
    assert_eq!(status["views"][0]["lost"], json!(null));
    shop.incremental(30)?;
    Ok(())
}

#[test]
fn what_landed_comes_back_where_nothing_has_been_added() -> Result<()> {
    let shop = emptied()?;
    let report = shop.repo.json(&["materialize-incremental", &iso(at(10)), "--rebuild"])?;
    assert_eq!(only_job(&report)["receipt"]["written"], 3, "{report}");
    assert_eq!(shop.stored()?, landed("v", &ROWS));
    assert_eq!(shop.intervals("v")?, [(at(0), at(10))]);
    let runs = shop.repo.json(&["runs"])?;
    assert_eq!(runs[0]["rebuild"], true);
    Ok(())
}

#[test]
fn a_store_is_rebuilt_by_itself_where_that_is_set() -> Result<()> {
    let shop = emptied()?;
    let mut settings = configuration(PROJECT, redis_store(shop.redis.port()));
    settings["tidegate"] = json!({ "rebuild_lost": true });
    shop.repo.configure(&settings)?;
    let report = shop.incremental(20)?;
    assert_eq!(only_job(&report)["receipt"]["written"], 3, "{report}");
    assert_eq!(shop.stored()?, landed("v", &ROWS));
    assert_eq!(shop.intervals("v")?, [(at(0), at(20))]);
    Ok(())
}

/// The windows after the loss land and leave a marker; what the first ones wrote is gone.
#[test]
fn a_loss_between_the_windows_of_a_run_is_not_covered_up_by_the_later_ones() -> Result<()> {
    const ROWS_PER_WINDOW: i64 = 60;
    let shop = Shop::new([view("v")])?;
    let mut settings = configuration(PROJECT, redis_store(shop.redis.port()));
    settings["tidegate"] = json!({ "max_rows_per_second": 100 });
    shop.repo.configure(&settings)?;
    let rows: Vec<Row> = (0..4 * ROWS_PER_WINDOW).map(|n| (n, at(0) + n * 60_000_000, n)).collect();
    fill(&shop.repo, "v", &rows)?;
    let mut run = shop.repo.spawn(&["materialize", &iso(at(0)), &iso(at(4)), "--window", "1h"])?;
    // The first window is committed, and those after it take half a second each.
    until("a window has landed", || Ok(!shop.intervals("v")?.is_empty()))?;
    shop.redis.command(&["FLUSHALL"])?;
    run.wait()?;
    assert!(shop.stored()?.len() < rows.len(), "the first window's rows are gone");
    let line = ["materialize-incremental", &iso(at(5))];
    shop.repo.run(&line)?.with_code(1)?.says("v: refused:")?;
    shop.repo.run(&[&line[..], &["--rebuild"]].concat())?.with_code(0)?;
    assert_eq!(shop.stored()?, landed("v", &rows));
    Ok(())
}

#[test]
fn a_store_that_is_whole_is_not_taken_for_lost() -> Result<()> {
    let shop = emptied()?;
    shop.repo.succeed(&["materialize-incremental", &iso(at(10)), "--rebuild"])?;
    let report = shop.incremental(20)?;
    assert_eq!(only_job(&report)["state"], "succeeded", "{report}");
    Ok(())
}
