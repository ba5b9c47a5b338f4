//! Seeing to single runs: listing some, watching one, ending one.

use std::collections::BTreeSet;

use anyhow::Result;
use serde_json::{Value, json};
use tests::repo::{configuration, redis_store};
use tests::wait::until;

use crate::redis::{until_writing, wait};
use crate::sample::{PROJECT, Shop, at, fill, iso, landed, many, view};

/// Written at the speed below, these take long enough to be cancelled.
const MANY: i64 = 200_000;
const ROWS_PER_SECOND: u64 = 20_000;

/// A shop that writes slowly, and whose leases are extended often.
fn slow_shop() -> Result<Shop> {
    let shop = Shop::new([view("v")])?;
    let mut settings = configuration(PROJECT, redis_store(shop.redis.port()));
    settings["tidegate"] = json!({ "max_rows_per_second": ROWS_PER_SECOND, "lease_ttl": "1s" });
    shop.repo.configure(&settings)?;
    fill(&shop.repo, "v", &many(MANY, at(5)))?;
    Ok(shop)
}

fn running(shop: &Shop) -> Result<Option<String>> {
    let runs = shop.repo.json(&["runs", "--state", "running"])?;
    Ok(runs[0]["run_id"].as_str().map(str::to_owned))
}

#[test]
fn a_run_can_be_cancelled_by_somebody_else() -> Result<()> {
    let shop = slow_shop()?;
    let mut run = shop.repo.spawn(&["materialize", &iso(at(0)), &iso(at(9))])?;
    until_writing(&shop.redis, &mut run)?;
    let id = running(&shop)?.expect("it is running");
    let cancelled = shop.repo.json(&["runs", "cancel", &id])?;
    assert_eq!((&cancelled["run_id"], &cancelled["cancel_requested"]), (&json!(id), &json!(true)));
    let watched = shop.repo.run(&["runs", "watch", &id])?.with_code(1)?;
    watched.says("run")?;
    watched.says("cancelled")?;
    let ended = wait(run)?.with_code(1)?;
    ended.says("0 of 1 views landed before it was cancelled")?;
    assert!(shop.intervals("v")?.is_empty());
    assert_eq!(shop.repo.json(&["runs"])?[0]["state"], "cancelled");
    shop.repo.run(&["runs", "cancel", &id])?.with_code(1)?.says("has ended: cancelled")?;

    let mut settings = configuration(PROJECT, redis_store(shop.redis.port()));
    settings["tidegate"] = json!({ "lease_ttl": "1s" });
    shop.repo.configure(&settings)?;
    shop.repo.succeed(&["rerun", "--run", &id])?;
    assert!(shop.stored()? == landed("v", &many(MANY, at(5))), "every row, and nothing else");
    Ok(())
}

#[test]
fn a_view_that_is_being_written_is_told_of_by_status() -> Result<()> {
    let shop = slow_shop()?;
    let mut run = shop.repo.spawn(&["materialize", &iso(at(0)), &iso(at(9))])?;
    until_writing(&shop.redis, &mut run)?;
    let status = shop.repo.json(&["status"])?;
    assert!(status["views"][0]["lease"]["token"].as_u64().is_some(), "{status}");
    shop.repo.succeed(&["status"])?.says("v: held by")?;
    let id = running(&shop)?.expect("it is running");
    shop.repo.succeed(&["runs", "cancel", &id])?;
    wait(run)?.with_code(1)?;
    until("the view is free", || {
        Ok(shop.repo.json(&["status"])?["views"][0]["lease"] == Value::Null)
    })
}

#[test]
fn a_run_that_has_ended_is_watched_to_its_end() -> Result<()> {
    let shop = Shop::new([view("v"), view("missing")])?;
    fill(&shop.repo, "v", &[(1, at(5), 10)])?;
    shop.repo.succeed(&["materialize", &iso(at(0)), &iso(at(9)), "-v", "v"])?;
    shop.repo.run(&["materialize", &iso(at(0)), &iso(at(9))])?.with_code(1)?;
    let runs = shop.repo.json(&["runs"])?;
    let id = |index: usize| runs[index]["run_id"].as_str().expect("an id").to_owned();
    let good = shop.repo.succeed(&["runs", "watch", &id(1)])?;
    good.says("v: job succeeded")?;
    good.says(&format!("run {} succeeded", id(1)))?;
    let bad = shop.repo.run(&["runs", "watch", &id(0)])?.with_code(1)?;
    bad.says("missing: job failed: no Parquet file at")?;
    // A line an event, for programs.
    let lines = shop.repo.run(&["--output", "json", "runs", "watch", &id(1)])?.with_code(0)?;
    let kinds = lines.stdout.lines().map(|line| {
        let event: Value = serde_json::from_str(line)?;
        Ok(event["kind"].as_str().unwrap_or_default().to_owned())
    });
    let kinds: BTreeSet<String> = kinds.collect::<Result<_>>()?;
    assert!(kinds.is_superset(&["run", "job", "window"].map(str::to_owned).into()), "{kinds:?}");
    Ok(())
}

#[test]
fn runs_are_listed_by_state_view_and_time() -> Result<()> {
    let shop = Shop::new([view("v"), view("missing")])?;
    fill(&shop.repo, "v", &[(1, at(5), 10)])?;
    shop.repo.succeed(&["materialize", &iso(at(0)), &iso(at(9)), "-v", "v"])?;
    shop.repo.run(&["materialize", &iso(at(0)), &iso(at(9)), "-v", "missing"])?.with_code(1)?;
    let count = |more: &[&str]| -> Result<Option<usize>> {
        Ok(shop.repo.json(&[&["runs"], more].concat())?.as_array().map(Vec::len))
    };
    assert_eq!(count(&[])?, Some(2));
    assert_eq!(count(&["--state", "failed"])?, Some(1));
    assert_eq!(count(&["--state", "running"])?, Some(0));
    assert_eq!(count(&["--view", "v"])?, Some(1));
    assert_eq!(count(&["--since", "1h"])?, Some(2));
    assert_eq!(count(&["--since", "2100-01-01"])?, Some(0));
    assert_eq!(count(&["--limit", "1"])?, Some(1));
    shop.repo.succeed(&["runs", "--state", "running"])?.says("no such runs")?;
    shop.repo.run(&["runs", "--state", "tired"])?.with_code(2)?.says("it is one of pending")?;
    shop.repo.run(&["runs", "--since", "lately"])?.with_code(2)?;
    Ok(())
}

#[test]
fn a_run_that_is_not_there_cannot_be_seen_to() -> Result<()> {
    let shop = Shop::new([view("v")])?;
    let unknown = "01900000-0000-7000-8000-000000000000";
    for verb in ["show", "watch", "cancel"] {
        shop.repo.run(&["runs", verb, unknown])?.with_code(1)?.says("there is no run")?;
        shop.repo.run(&["runs", verb, "mine"])?.with_code(2)?.says("is no run id")?;
    }
    assert!(!shop.repo.ledger().exists(), "looking for a run makes no ledger");
    Ok(())
}
