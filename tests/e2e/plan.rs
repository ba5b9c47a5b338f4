//! `plan`: what would be read, and that finding out changes nothing.

use anyhow::Result;
use feast::ValueType;
use serde_json::{Value, json};
use tests::definition::View;
use tests::parquet::{ints, times, write};

use crate::sample::{Shop, at, fill, iso, view, write_rows};

/// Rows of one file, one an hour.
const FILE_ROWS: i64 = 100;
const GROUP_ROWS: usize = 10;

/// A file of a hundred hours in ten row groups.
fn hourly(shop: &Shop, path: &str, first_hour: i64) -> Result<()> {
    let hours: Vec<i64> = (first_hour..first_hour + FILE_ROWS).collect();
    write(
        &shop.repo.path(path),
        &[
            ("id", ints(hours.iter().copied())),
            ("ts", times(hours.iter().map(|&hour| at(hour)))),
            ("f", ints(hours.iter().copied())),
        ],
        GROUP_ROWS,
    )
}

fn plan(shop: &Shop, from: i64, to: i64) -> Result<Value> {
    let report = shop.repo.json(&["plan", "materialize", &iso(at(from)), &iso(at(to))])?;
    Ok(report["views"][0].clone())
}

#[test]
fn only_the_row_groups_of_the_interval_are_read() -> Result<()> {
    let shop = Shop::new([View::new("v", "data/v", &[("f", ValueType::Int64)])])?;
    for (file, first) in
        [("data/v/a.parquet", 0), ("data/v/b.parquet", 100), ("data/v/c.parquet", 200)]
    {
        hourly(&shop, file, first)?;
    }
    let planned = plan(&shop, 95, 105)?;
    assert_eq!(planned["files"], 3, "{planned}");
    assert_eq!(planned["files_read"], 2, "{planned}");
    assert_eq!(planned["row_groups"], 30, "{planned}");
    assert_eq!(planned["row_groups_read"], 2, "{planned}");
    assert_eq!(planned["rows"], 20, "{planned}");
    assert_eq!(
        planned["interval"],
        json!({ "start": iso(at(95)), "end": "2024-01-05T09:00:00.000000001+00:00" })
    );
    assert!(planned["bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{planned}");
    let list = planned["file_list"].as_array().expect("files are listed");
    let ends_with =
        |file: &Value, name: &str| file["path"].as_str().is_some_and(|path| path.ends_with(name));
    assert!(ends_with(&list[0], "data/v/a.parquet") && ends_with(&list[1], "data/v/b.parquet"));
    assert_eq!((&list[0]["row_groups"], &list[0]["row_groups_read"]), (&json!(10), &json!(1)));

    // What was planned is what is read.
    let report = shop.interval(95, 105)?;
    assert_eq!(report["jobs"][0]["receipt"]["rows_read"], 11, "{report}");
    assert_eq!(shop.stored()?.len(), 11);
    Ok(())
}

#[test]
fn an_interval_without_rows_reads_no_row_group() -> Result<()> {
    let shop = Shop::new([View::new("v", "data/v", &[("f", ValueType::Int64)])])?;
    hourly(&shop, "data/v/a.parquet", 0)?;
    let planned = plan(&shop, 1_000, 1_001)?;
    assert_eq!(
        (&planned["row_groups_read"], &planned["rows"]),
        (&json!(0), &json!(0)),
        "{planned}"
    );
    let report = shop.interval(1_000, 1_001)?;
    assert_eq!(report["jobs"][0]["state"], "succeeded");
    assert_eq!(shop.intervals("v")?, [(at(1_000), at(1_001))], "it has landed all the same");
    Ok(())
}

#[test]
fn a_date_partition_leaves_out_whole_directories() -> Result<()> {
    let source = View::new("v", "data/v", &[("f", ValueType::Int64)]);
    let shop = Shop::new([source.tag("tidegate.date_partition", "day")])?;
    for day in 1..=4 {
        let path = shop.repo.path(format!("data/v/day=2024-01-0{day}/part.parquet"));
        let hours: Vec<i64> = (0..24).map(|hour| (day - 1) * 24 + hour).collect();
        write(
            &path,
            &[
                ("id", ints(hours.iter().copied())),
                ("ts", times(hours.iter().map(|&hour| at(hour)))),
                ("f", ints(hours.iter().copied())),
            ],
            GROUP_ROWS,
        )?;
    }
    // Its event times lie inside, but its directory says that they do not: the tag is a promise.
    write_rows(&shop.repo.path("data/v/day=2024-01-09/part.parquet"), &[(1_000, at(35), 1_000)])?;
    let planned = plan(&shop, 30, 40)?;
    assert_eq!(planned["files_read"], 1, "{planned}");
    shop.interval(30, 40)?;
    assert_eq!(shop.stored()?.len(), 11);
    Ok(())
}

#[test]
fn planning_writes_nothing() -> Result<()> {
    let shop = Shop::new([view("v")])?;
    fill(&shop.repo, "v", &[(1, at(5), 10)])?;
    let before = std::fs::read(shop.repo.path("data/registry.db"))?;
    for arguments in [
        vec!["plan", "materialize", "2024-01-01", "2024-01-02"],
        vec!["plan", "materialize-incremental", "2024-01-02"],
        vec!["status"],
        vec!["runs"],
    ] {
        shop.repo.succeed(&arguments)?;
        assert_eq!(std::fs::read(shop.repo.path("data/registry.db"))?, before, "{arguments:?}");
        assert!(!shop.repo.ledger().exists(), "{arguments:?}");
        assert!(shop.stored()?.is_empty(), "{arguments:?}");
    }
    // With a ledger that is there, its bytes stay too.
    shop.interval(0, 9)?;
    let ledger = std::fs::read(shop.repo.ledger())?;
    let stored = shop.stored()?;
    shop.repo.succeed(&["plan", "materialize-incremental", "2024-01-03"])?;
    assert_eq!(std::fs::read(shop.repo.ledger())?, ledger);
    assert_eq!(shop.stored()?, stored);
    Ok(())
}

#[test]
fn a_plan_tells_what_would_fail() -> Result<()> {
    let mut function = view("function");
    function.has_function = true;
    let shop = Shop::new([view("missing"), function, view("v")])?;
    fill(&shop.repo, "v", &[(1, at(5), 10)])?;
    let ended =
        shop.repo.run(&["plan", "materialize", "2024-01-01", "2024-01-02"])?.with_code(1)?;
    ended.says("missing: would fail: no Parquet file at")?;
    ended.says("function: would fail: refused: it has a Python transformation")?;
    ended.says("v: reads")?;
    Ok(())
}
