//! What is left of a history: what must hold at any moment, and what must hold in the end.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use tests::ledger::{Known, Ledger};
use tests::registry::State;

use crate::workload::{END_MICROS, START_MICROS, Stored, World};

/// Where a kill fell, as far as the ledger tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Moment {
    /// Before a window was opened.
    Planning,
    /// While a window was open.
    Writing,
    /// After a commit that Feast's registry did not know yet.
    Committed,
    /// After all views were done with, before the run was.
    Mirrored,
}

/// What a history leaves behind.
#[derive(Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) stored: Stored,
    pub(crate) coverage: BTreeMap<String, Known>,
    /// Merged intervals and state of each view in Feast's registry.
    pub(crate) registry: BTreeMap<String, (Vec<(i64, i64)>, i64)>,
}

/// Merges closed intervals that touch.
fn merged(mut intervals: Vec<(i64, i64)>) -> Vec<(i64, i64)> {
    intervals.sort_unstable();
    let mut merged: Vec<(i64, i64)> = Vec::new();
    for (start, end) in intervals {
        match merged.last_mut() {
            Some(last) if start <= last.1 => last.1 = last.1.max(end),
            _ => merged.push((start, end)),
        }
    }
    merged
}

/// Reads everything at rest, and checks that nothing is left over.
pub(crate) fn outcome(world: &World<'_>) -> Result<Outcome> {
    let ledger = &world.ledger;
    for (table, condition) in [
        ("mirrors", "1 = 1"),
        ("windows", "state = 'open'"),
        ("jobs", "state IN ('pending', 'running')"),
        ("runs", "state = 'running'"),
    ] {
        ensure!(ledger.count(table, condition)? == 0, "`{table}` has rows where {condition}");
    }
    let state = world.registry()?;
    let view = |(name, view): (&String, &tests::registry::ViewState)| {
        (name.clone(), (merged(view.intervals.clone()), view.state))
    };
    Ok(Outcome {
        stored: world.stored()?,
        coverage: ledger.coverage()?,
        registry: state.views.iter().map(view).collect(),
    })
}

/// Checks what must hold at any moment, and tells where the kill fell.
pub(crate) fn check(world: &World<'_>, defined: &State) -> Result<Moment> {
    let registry = world.registry()?;
    ensure!(registry.definitions() == defined.definitions(), "a definition was changed");
    if !world.ledger.exists()? {
        return Ok(Moment::Planning);
    }
    let coverage = world.ledger.coverage()?;
    let stored = world.stored()?;
    for view in 0..world.views() {
        let name = format!("v{view}");
        let landed = coverage.get(&name).is_some_and(is_whole);
        if landed {
            world.check_view(view, &stored)?;
        }
        let listed = registry.intervals(&name).contains(&(START_MICROS, END_MICROS));
        ensure!(landed || !listed, "`{name}` is in Feast's registry before it is committed");
    }
    moment(&world.ledger)
}

fn is_whole(known: &Known) -> bool {
    known.intervals == [(START_MICROS * 1_000, END_MICROS * 1_000 + 1)]
}

fn moment(ledger: &Ledger<'_>) -> Result<Moment> {
    if ledger.count("mirrors", "1 = 1")? > 0 {
        return Ok(Moment::Committed);
    }
    if ledger.count("windows", "state = 'open'")? > 0 {
        return Ok(Moment::Writing);
    }
    let running = "run_id IN (SELECT run_id FROM {runs} WHERE state = 'running')";
    let begun = ledger.count("jobs", running)?;
    let ended = ledger.count("jobs", &format!("{running} AND finished_at IS NOT NULL"))?;
    Ok(if begun > 0 && begun == ended { Moment::Mirrored } else { Moment::Planning })
}
