//! `--correct`: a source that was recomputed replaces what was stored of it, and nothing else.

use anyhow::Result;
use serde_json::json;

use crate::sample::{Row, Shop, at, fill, iso, landed, only_job, view};

fn correct(shop: &Shop, from: i64, to: i64) -> Result<serde_json::Value> {
    shop.repo.json(&["materialize", &iso(at(from)), &iso(at(to)), "--correct"])
}

/// A shop whose view has landed these rows, from and to so many hours.
fn shop_with(rows: &[Row], from: i64, to: i64) -> Result<Shop> {
    let shop = Shop::new([view("v")])?;
    fill(&shop.repo, "v", rows)?;
    shop.interval(from, to)?;
    Ok(shop)
}

#[test]
fn a_changed_value_of_equal_time_is_replaced_only_by_a_correction() -> Result<()> {
    let (before, after) = ([(1, at(5), 10), (2, at(5), 20)], [(1, at(5), 11), (2, at(5), 20)]);
    let shop = shop_with(&before, 0, 9)?;
    fill(&shop.repo, "v", &after)?;
    shop.interval(0, 9)?;
    assert_eq!(shop.stored()?, landed("v", &before), "equal keeps what is stored");
    let report = correct(&shop, 0, 9)?;
    assert_eq!(only_job(&report)["state"], "succeeded", "{report}");
    assert_eq!(shop.stored()?, landed("v", &after));
    assert_eq!(shop.intervals("v")?, [(at(0), at(9))]);
    let runs = shop.repo.json(&["runs"])?;
    assert_eq!((&runs[0]["correct"], &runs[1]["correct"]), (&json!(true), &json!(false)));
    Ok(())
}

#[test]
fn a_correction_may_go_back_in_time_inside_its_interval() -> Result<()> {
    let shop = shop_with(&[(1, at(7), 10)], 0, 9)?;
    let after = [(1, at(5), 11)];
    fill(&shop.repo, "v", &after)?;
    correct(&shop, 0, 9)?;
    assert_eq!(shop.stored()?, landed("v", &after));
    Ok(())
}

#[test]
fn the_earlier_row_of_a_withdrawn_one_comes_back() -> Result<()> {
    let (earlier, withdrawn, other) = ((1, at(2), 5), (1, at(6), 10), (2, at(6), 20));
    let shop = shop_with(&[earlier, withdrawn, other], 0, 9)?;
    fill(&shop.repo, "v", &[earlier, other])?;
    correct(&shop, 4, 9)?;
    assert_eq!(shop.stored()?, landed("v", &[earlier, other]));
    Ok(())
}

#[test]
fn a_withdrawn_row_without_an_earlier_one_is_removed() -> Result<()> {
    let (withdrawn, other) = ((1, at(6), 10), (2, at(6), 20));
    let shop = shop_with(&[withdrawn, other], 0, 9)?;
    fill(&shop.repo, "v", &[other])?;
    correct(&shop, 4, 9)?;
    assert_eq!(shop.stored()?, landed("v", &[other]));
    Ok(())
}

#[test]
fn rows_outside_the_interval_are_left_alone() -> Result<()> {
    let (below, above) = ((1, at(3), 10), (2, at(12), 20));
    let shop = shop_with(&[below, above], 0, 20)?;
    // The source has lost the one, and has something older for the other.
    let (inside, new) = ((2, at(5), 1), (3, at(6), 30));
    fill(&shop.repo, "v", &[inside, new])?;
    correct(&shop, 4, 9)?;
    assert_eq!(shop.stored()?, landed("v", &[below, above, new]));
    Ok(())
}

#[test]
fn another_view_of_the_same_entity_is_left_alone() -> Result<()> {
    let shop = Shop::new([view("v"), view("other")])?;
    let rows = [(1, at(5), 10)];
    fill(&shop.repo, "v", &rows)?;
    fill(&shop.repo, "other", &rows)?;
    shop.interval(0, 9)?;
    fill(&shop.repo, "v", &[(2, at(5), 20)])?;
    fill(&shop.repo, "other", &[(1, at(5), 99)])?;
    shop.repo.succeed(&["materialize", &iso(at(0)), &iso(at(9)), "--correct", "-v", "v"])?;
    let mut wanted = landed("other", &rows);
    wanted.extend(landed("v", &[(2, at(5), 20)]));
    assert_eq!(shop.stored()?, wanted);
    Ok(())
}

#[test]
fn runs_after_a_correction_go_on_as_before() -> Result<()> {
    let shop = shop_with(&[(1, at(5), 10)], 0, 9)?;
    fill(&shop.repo, "v", &[(1, at(5), 11)])?;
    correct(&shop, 0, 9)?;
    let rows = [(1, at(12), 12), (2, at(13), 20)];
    fill(&shop.repo, "v", &rows)?;
    shop.incremental(20)?;
    assert_eq!(shop.stored()?, landed("v", &rows));
    assert_eq!(shop.intervals("v")?, [(at(0), at(20))]);
    let status = shop.repo.json(&["status"])?;
    assert_eq!(status["views"][0]["fenced"], true);
    Ok(())
}

#[test]
fn a_plan_says_that_it_corrects() -> Result<()> {
    let shop = shop_with(&[(1, at(5), 10)], 0, 9)?;
    let line = ["materialize", &iso(at(0)), &iso(at(9)), "--correct"];
    let planned = shop.repo.json(&[&["plan"], &line[..]].concat())?;
    assert_eq!(planned["views"][0]["correct"], true);
    let ended = shop.repo.succeed(&[&line[..], &["--dry-run"]].concat())?;
    ended.says("v: corrects what is stored of the interval")?;
    assert_eq!(shop.stored()?, landed("v", &[(1, at(5), 10)]));
    Ok(())
}
