//! Entities that are no longer active (`tidegate.active_when`): gone for readers, and no older row
//! brings them back.

use std::collections::BTreeMap;

use anyhow::Result;
use feast::redis_layout::timestamp_field;
use serde_json::Value;
use tests::definition::View;
use tests::online::{int_hash, redis_key};
use tests::parquet::{bools, ints, times, write_small};
use tests::repo::Repo;

use crate::sample::{PROJECT, Shop, at, iso, only_job, view};

/// An entity, its event time in hours, its value, and whether it is active.
type Row = (i64, i64, i64, Option<bool>);

fn employees() -> View {
    view("v").tag("tidegate.active_when", "active AND f >= 0")
}

fn fill(repo: &Repo, rows: &[Row]) -> Result<()> {
    write_small(
        &repo.path("data/v.parquet"),
        &[
            ("id", ints(rows.iter().map(|row| row.0))),
            ("ts", times(rows.iter().map(|row| at(row.1)))),
            ("f", ints(rows.iter().map(|row| row.2))),
            ("active", bools(rows.iter().map(|row| row.3))),
        ],
    )
}

fn hash(shop: &Shop, id: i64) -> Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    Ok(shop.stored()?.remove(&redis_key(PROJECT, id)).unwrap_or_default())
}

/// The event time of a tombstone, and nothing else.
fn tombstone(hours: i64) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut hash = int_hash("v", at(hours), &[]);
    hash.retain(|field, _| *field == timestamp_field("v"));
    hash
}

fn receipt<'a>(report: &'a Value, count: &str) -> &'a Value {
    &only_job(report)["receipt"][count]
}

#[test]
fn a_deactivated_entity_vanishes_and_only_a_newer_row_brings_it_back() -> Result<()> {
    let shop = Shop::new([employees()])?;
    fill(&shop.repo, &[(1, 1, 10, Some(true)), (2, 1, 20, Some(true))])?;
    shop.interval(0, 9)?;
    assert_eq!(hash(&shop, 1)?, int_hash("v", at(1), &[("f", 10)]));

    fill(&shop.repo, &[(1, 5, 11, Some(false))])?;
    let report = shop.interval(0, 9)?;
    assert_eq!(receipt(&report, "tombstoned"), 1);
    assert_eq!(hash(&shop, 1)?, tombstone(5));
    assert_eq!(hash(&shop, 2)?, int_hash("v", at(1), &[("f", 20)]), "others stay");

    fill(&shop.repo, &[(1, 3, 12, Some(true))])?;
    let report = shop.interval(0, 9)?;
    assert_eq!(receipt(&report, "stale"), 1);
    assert_eq!(hash(&shop, 1)?, tombstone(5), "an older row does not bring it back");

    fill(&shop.repo, &[(1, 7, 13, Some(true))])?;
    let report = shop.interval(0, 9)?;
    assert_eq!(receipt(&report, "written"), 1);
    assert_eq!(hash(&shop, 1)?, int_hash("v", at(7), &[("f", 13)]));
    Ok(())
}

#[test]
fn the_newest_row_decides() -> Result<()> {
    let shop = Shop::new([employees()])?;
    fill(
        &shop.repo,
        &[
            (1, 1, 10, Some(false)),
            (1, 2, 11, Some(true)),
            (2, 1, 20, Some(true)),
            (2, 2, 21, Some(false)),
            (3, 1, 30, None),
            (4, 1, -1, Some(true)),
        ],
    )?;
    let report = shop.interval(0, 9)?;
    assert_eq!(hash(&shop, 1)?, int_hash("v", at(2), &[("f", 11)]));
    assert_eq!(hash(&shop, 2)?, tombstone(2));
    assert_eq!(hash(&shop, 3)?, tombstone(1), "null is not active");
    assert_eq!(hash(&shop, 4)?, tombstone(1), "the whole predicate counts");
    assert_eq!(receipt(&report, "tombstoned"), 3);
    Ok(())
}

#[test]
fn other_views_of_the_entity_stay() -> Result<()> {
    let shop = Shop::new([employees(), view("w")])?;
    fill(&shop.repo, &[(1, 1, 10, Some(true))])?;
    crate::sample::fill(&shop.repo, "w", &[(1, at(1), 99)])?;
    shop.interval(0, 9)?;
    fill(&shop.repo, &[(1, 5, 11, Some(false))])?;
    shop.interval(0, 9)?;
    let mut wanted = tombstone(5);
    wanted.extend(int_hash("w", at(1), &[("f", 99)]));
    assert_eq!(hash(&shop, 1)?, wanted);
    Ok(())
}

#[test]
fn tombstones_work_in_feasts_sqlite_store() -> Result<()> {
    let project = tests::definition::Project::new(PROJECT, [employees()]);
    let repo = Repo::with_sqlite_store(&project)?;
    let arguments = ["materialize", &iso(at(0)), &iso(at(9))];
    let stored = || tests::online::rows(&repo.path("data/online.db"), "shop_v");
    for (row, values) in [
        ((1, 1, 10, Some(true)), vec![Some("10".to_owned())]),
        ((1, 5, 11, Some(false)), vec![]),
        ((1, 3, 12, Some(true)), vec![]),
        ((1, 7, 13, Some(true)), vec![Some("13".to_owned())]),
    ] {
        fill(&repo, &[row])?;
        repo.succeed(&arguments)?;
        let rows = stored()?.expect("the table is there");
        assert_eq!(
            rows.values().map(|row| row.text.clone()).collect::<Vec<_>>(),
            values,
            "{row:?}"
        );
    }
    Ok(())
}

#[test]
fn a_predicate_that_cannot_be_judged_fails_the_view() -> Result<()> {
    for predicate in ["nothing = 1", "f +", "f", "1 = 1; DROP TABLE t"] {
        let shop = Shop::new([view("v").tag("tidegate.active_when", predicate)])?;
        fill(&shop.repo, &[(1, 1, 10, Some(true))])?;
        let ended = shop.repo.run(&["materialize", &iso(at(0)), &iso(at(9))])?.with_code(1)?;
        ended.says(&format!("tag `tidegate.active_when` = `{predicate}`"))?;
        assert!(shop.stored()?.is_empty());
    }
    Ok(())
}
