//! Drawn registries, stores and requests: every answer is the reference's.

use std::time::{SystemTime, UNIX_EPOCH};

use ::tests::dice::Dice;
use anyhow::{Context, Result, ensure};

use crate::caller::Caller;
use crate::reference::{self, Reference};
use crate::site::{Mode, Site};
use crate::table::Table;
use crate::world::{Asked, World};

/// Fixed, so that the suite says the same every day. A world is a Redis and two servers.
const SEEDS: std::ops::Range<u64> = 0..12;
/// Set to a number, it tries the world of that seed alone.
const SEED: &str = "TIDEGATE_SERVING_SEED";
const REQUESTS: usize = 60;

#[test]
fn what_is_served_is_what_is_stored_whatever_is_defined_and_asked() -> Result<()> {
    let seeds = match std::env::var(SEED) {
        Ok(seed) => {
            let seed = seed.parse().with_context(|| format!("`{SEED}` is no number"))?;
            seed..seed + 1
        }
        Err(_) => SEEDS,
    };
    for seed in seeds {
        try_world(seed).with_context(|| format!("{SEED}={seed} shows it alone"))?;
    }
    Ok(())
}

fn try_world(seed: u64) -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros();
    let now = i64::try_from(now)?;
    let mut dice = Dice::new(seed);
    let world = World::draw(&mut dice, now);
    let requests: Vec<Asked> = (0..REQUESTS).map(|_| world.ask(&mut dice)).collect();
    let site = Site::new(&world.project, &world.rows, &Mode::Strict.settings())?;
    for mode in Mode::BOTH {
        site.configure(&mode.settings())?;
        let server = site.serve()?;
        let caller = Caller::new(server.http())?;
        let reference = Reference { world: &world, mode, now_micros: now };
        for asked in &requests {
            check(reference, asked, &caller)
                .with_context(|| format!("{mode:?}, {}", reference::body(asked)))?;
        }
    }
    Ok(())
}

fn check(reference: Reference<'_>, asked: &Asked, caller: &Caller) -> Result<()> {
    let answer = caller.features(&reference::body(asked))?;
    let Some(columns) = reference.answer(asked) else {
        if reference.mode == Mode::Strict {
            let found = answer.problem()?;
            ensure!(found == (400, "feature_name_collision".to_owned()), "{found:?}");
        }
        ensure!(answer.status >= 400, "two columns would have one name: {}", answer.body);
        return Ok(());
    };
    ensure!(answer.status == 200, "status {}: {}", answer.status, answer.body);
    let found = Table::read(&answer.body)?.respelled()?;
    let wanted = Table { columns, views: None, null: "null" };
    let (found, wanted) = match reference.mode {
        Mode::Strict => (found, wanted),
        // Feast has no order of its own to be held to.
        Mode::Compat => (sorted(found), sorted(wanted)),
    };
    for (found, wanted) in found.columns.iter().zip(&wanted.columns) {
        ensure!(found == wanted, "column\n{found:?}\ninstead of\n{wanted:?}");
    }
    ensure!(found == wanted, "columns {:?} instead of {:?}", found.names(), wanted.names());
    Ok(())
}

/// Every column by its name.
fn sorted(mut table: Table) -> Table {
    table.columns.sort_by(|left, right| left.name.cmp(&right.name));
    table
}
