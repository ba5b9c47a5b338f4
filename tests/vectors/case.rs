//! Running a case, and comparing what it left in the stores.

use anyhow::{Context, Result, ensure};
use harness::{Postgres, Redis};
use serde_json::json;
use tests::golden::{Case, Step};
use tests::hex;
use tests::online::{self, Hashes};
use tests::repo::Ended;

use crate::differences::{Cells, DIFFERENCES, Ours, REFUSED};
use crate::expected;
use crate::session::Session;

/// Feast's store is in this database.
const DATABASE: u8 = 5;
const ONLINE_DB: &str = "data/online.db";

/// Runs a case on each store that Feast's result is recorded for.
pub(crate) fn check(name: &str) -> Result<()> {
    let case = Case::load(name)?;
    let server = case
        .registry("before")?
        .extension()
        .is_some_and(|extension| extension == "sql")
        .then(Postgres::shared)
        .transpose()?;
    on_redis(&case, server.as_deref()).context("on Redis")?;
    if case.json["expected"]["sqlite"].is_object() {
        on_sqlite(&case).context("on SQLite")?;
    }
    Ok(())
}

/// The case whose end is compared with: Feast tore `teardown` down again, and `multi_view` has the
/// same definitions and rows.
fn ended_as(case: &Case) -> Result<Case> {
    if case.name == "teardown" { Case::load("multi_view") } else { Ok(case.clone()) }
}

fn on_redis(case: &Case, server: Option<&Postgres>) -> Result<()> {
    let redis = Redis::start()?;
    let mut store = case.json["feature_store_yaml"]["online_store"].clone();
    store["connection_string"] = json!(format!("127.0.0.1:{},db={DATABASE}", redis.port()));
    let after = ended_as(case)?;
    let mut session = Session::new(case, &after, store, server)?;
    let landed = run(&mut session, &case.steps()?)?;
    let stored = online::hashes(&redis, DATABASE)?;
    let mut wanted = expected::redis(&after)?;
    if let Some(cells) = cells(case) {
        expected::change_redis(case, &mut wanted, cells)?;
    }
    if landed {
        same_hashes(case, &stored, &wanted)?;
        check_ttl(case, &redis, &stored)?;
    } else {
        no_more_than(&stored, &wanted)?;
    }
    session.check_registry(landed)
}

fn on_sqlite(case: &Case) -> Result<()> {
    let store = json!({ "type": "sqlite", "path": ONLINE_DB });
    let mut session = Session::new(case, &ended_as(case)?, store, None)?;
    let tables = case.json["expected"]["sqlite"].as_object().context("a case has tables")?;
    let path = session.repo.path(ONLINE_DB);
    for table in tables.values() {
        let ddl = table["ddl"].as_str().context("a table has its DDL")?;
        rusqlite::Connection::open(&path)?.execute_batch(ddl)?;
    }
    let steps = feasts_steps(case)?;
    let landed = run(&mut session, &steps)?;
    for (name, table) in tables {
        let view = name.strip_prefix(&format!("{}_", case.project()?)).context("a view's table")?;
        let mut wanted = expected::table(table)?;
        if let Some(cells) = cells(case) {
            expected::change_table(view, &mut wanted, cells);
        }
        let stored = online::rows(&path, name)?.context("the table is gone")?;
        if !landed {
            let more = stored.keys().find(|key| !wanted.contains_key(*key));
            ensure!(more.is_none(), "a failed run stored {more:?}");
            continue;
        }
        ensure!(stored.keys().eq(wanted.keys()), "{:?}\n{:?}", stored.keys(), wanted.keys());
        for (key, ours) in &stored {
            let mut feasts = wanted[key].clone();
            if expected::is_same(case, &key.1, &ours.value, &feasts.value)? {
                feasts.value.clone_from(&ours.value);
            }
            ensure!(*ours == feasts, "{key:?} of `{name}`:\n{ours:?}\n{feasts:?}");
        }
    }
    // A version's table is never made by Feast (C7.26), so that its run fails there and here.
    session.check_registry(landed && steps.iter().all(|step| step.error.is_none()))
}

/// The steps as they went with Feast's SQLite store.
fn feasts_steps(case: &Case) -> Result<Vec<Step>> {
    let mut steps = case.steps()?;
    let other = case.json["steps_other"]["sqlite"].as_array();
    for (step, other) in steps.iter_mut().zip(other.into_iter().flatten()) {
        step.error = other["error"].as_str().map(str::to_owned);
    }
    Ok(steps)
}

/// Does every step, each to the end that is expected of it. Tells whether the last run landed.
fn run(session: &mut Session<'_>, steps: &[Step]) -> Result<bool> {
    let mut landed = false;
    for (index, step) in steps.iter().enumerate() {
        if let Some(ended) = session.step(index, step)? {
            landed = judge(session.case, step, ended)
                .with_context(|| format!("step {index}: {}", step.argv.join(" ")))?;
        }
    }
    Ok(landed)
}

fn judge(case: &Case, step: &Step, ended: Ended) -> Result<bool> {
    let ours = DIFFERENCES.iter().find(|difference| difference.case == case.name);
    let says = match (ours.map(|difference| difference.ours), &step.error) {
        (Some(Ours::Refuses(says)), _) => says,
        (Some(Ours::Stores(_)), _) | (None, None) => {
            ended.with_code(0)?;
            return Ok(true);
        }
        (None, Some(error)) if error.contains("no such table") => &["proj_fv_v1", "feast apply"],
        (None, Some(error)) => {
            let refused = REFUSED.iter().find(|refused| refused.case == case.name);
            refused.with_context(|| format!("what do we say instead of `{error}`?"))?.says
        }
    };
    let ended = ended.with_code(1)?;
    for words in says {
        ended.says(words)?;
    }
    Ok(false)
}

fn cells(case: &Case) -> Option<&'static Cells> {
    let difference = DIFFERENCES.iter().find(|difference| difference.case == case.name)?;
    match &difference.ours {
        Ours::Stores(cells) => Some(cells),
        Ours::Refuses(_) => None,
    }
}

fn same_hashes(case: &Case, stored: &Hashes, wanted: &Hashes) -> Result<()> {
    let keys = |hashes: &Hashes| hashes.keys().map(|key| hex::encode(key)).collect::<Vec<_>>();
    ensure!(keys(stored) == keys(wanted), "keys {:?}\n{:?}", keys(stored), keys(wanted));
    for (key, ours) in stored {
        let feasts = &wanted[key];
        ensure!(ours.keys().eq(feasts.keys()), "{ours:?}\n{feasts:?}");
        for (field, value) in ours {
            let field_hex = hex::encode(field);
            let name = case.field_name(&field_hex).unwrap_or(&field_hex);
            let feature = name.rsplit(':').next().unwrap_or(name);
            ensure!(
                expected::is_same(case, feature, value, &feasts[field])?,
                "`{name}` of {}: {} instead of {}",
                hex::encode(key),
                hex::encode(value),
                hex::encode(&feasts[field])
            );
        }
    }
    Ok(())
}

/// A run that failed may have stored rows of other batches, as in Feast; never anything else.
fn no_more_than(stored: &Hashes, wanted: &Hashes) -> Result<()> {
    let more = stored.iter().find(|(key, hash)| wanted.get(*key) != Some(hash));
    ensure!(more.is_none(), "a failed run stored {more:?}");
    Ok(())
}

/// Keys expire when and only when the store says so.
fn check_ttl(case: &Case, redis: &Redis, stored: &Hashes) -> Result<()> {
    let wanted = case.json["feature_store_yaml"]["online_store"]["key_ttl_seconds"].as_i64();
    for key in stored.keys() {
        let script = "redis.call('SELECT', ARGV[1]) return redis.call('TTL', KEYS[1])";
        let database = DATABASE.to_string();
        let arguments: [&[u8]; 5] = [b"EVAL", script.as_bytes(), b"1", key, database.as_bytes()];
        let harness::Reply::Integer(left) = redis.command(&arguments)? else {
            anyhow::bail!("`TTL` gives a number")
        };
        let fits = match wanted {
            None => left == -1,
            Some(seconds) => (1..=seconds).contains(&left),
        };
        ensure!(fits, "a key lives {left} seconds instead of {wanted:?}");
    }
    Ok(())
}
