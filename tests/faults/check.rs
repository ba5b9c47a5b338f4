//! What must hold: at rest after every step, and in the end.
//!
//! Everything is read past the program, but for what only it can tell (attempts and leases).

use std::collections::{BTreeMap, BTreeSet};

use ::tests::ledger::Known;
use anyhow::{Context, Result, bail, ensure};
use api::{RunDetail, StatusReport};
use model::{AttemptState, WindowState};

use crate::oracle::{ENTITIES, Held, Source, Span, hour_nanos};
use crate::source::VIEWS;
use crate::stored::{self, Stored};
use crate::world::World;

/// What the ledger must have none of once everything has ended, as tables and conditions.
const LEFT_OVER: [(&str, &str); 4] = [
    ("mirrors", "1 = 1"),
    ("windows", "state = 'open'"),
    ("jobs", "state IN ('pending', 'running')"),
    ("runs", "state IN ('pending', 'running')"),
];

/// Checks a view between runs: what has landed is stored, and what is stored comes from its rows.
/// More may be stored than has landed: an attempt that gave up has written right rows.
pub(crate) fn has_landed(
    view: usize,
    source: &Source,
    landed: &[Span],
    stored: &Stored,
) -> Result<()> {
    for entity in 0..ENTITIES {
        let (held, wanted) = (stored::of(stored, view, entity), newest(source, entity, landed));
        let is_there = if held.micros() > wanted.micros() {
            stored::is_of(source, entity, held)
        } else {
            held.is(wanted)
        };
        ensure!(is_there, "{}", found(view, entity, held, wanted));
    }
    Ok(())
}

/// Checks a view in the end: exactly what has landed is stored.
pub(crate) fn is_exact(
    view: usize,
    source: &Source,
    landed: &[Span],
    stored: &Stored,
) -> Result<()> {
    for entity in 0..ENTITIES {
        let (held, wanted) = (stored::of(stored, view, entity), newest(source, entity, landed));
        ensure!(held.is(wanted), "{}", found(view, entity, held, wanted));
    }
    Ok(())
}

fn newest(source: &Source, entity: i64, landed: &[Span]) -> Held {
    stored::visible(source.newest(entity, landed))
}

fn found(view: usize, entity: i64, held: Held, wanted: Held) -> String {
    format!("`{}`, entity {entity}: stored is {held:?}, landed is {wanted:?}", VIEWS[view].0)
}

/// Checks that no watermark has gone back, and notes where they are.
pub(crate) fn watermarks_grow(
    before: &mut BTreeMap<String, i64>,
    coverage: &BTreeMap<String, Known>,
) -> Result<()> {
    for (view, known) in coverage {
        let Some(now) = known.watermark else {
            ensure!(!before.contains_key(view), "the watermark of `{view}` is gone");
            continue;
        };
        let last = before.insert(view.clone(), now).unwrap_or(now);
        ensure!(last <= now, "the watermark of `{view}` went back from {last} to {now}");
        let ends = known.intervals.iter().any(|(_, end)| *end == now);
        ensure!(ends, "the watermark of `{view}` is no end of what has landed: {known:?}");
    }
    Ok(())
}

/// Checks that every token has committed at most once in its view, that every committed window
/// was committed by one attempt, and that it has landed.
pub(crate) fn tokens_commit_once(
    runs: &[RunDetail],
    coverage: &BTreeMap<String, Known>,
) -> Result<()> {
    let mut tokens = BTreeSet::new();
    for job in runs.iter().flat_map(|run| &run.jobs) {
        for window in &job.windows {
            let attempts = window.attempts.iter();
            let committed: Vec<u64> = attempts
                .filter(|attempt| attempt.state == AttemptState::Committed)
                .map(|attempt| attempt.token)
                .collect();
            let window_id = window.window_id;
            let is_committed = window.state == WindowState::Committed;
            ensure!(
                committed.len() == usize::from(is_committed),
                "window {window_id} is {}, and these tokens have committed it: {committed:?}",
                window.state
            );
            for token in committed {
                let is_first = tokens.insert((job.storage_name.clone(), token));
                ensure!(is_first, "token {token} of `{}` has committed twice", job.storage_name);
            }
            let span = (window.interval.start.nanos(), window.interval.end.nanos());
            let known = coverage.get(&job.storage_name);
            let has_landed = known.is_some_and(|known| covers(&known.intervals, span));
            ensure!(has_landed || !is_committed, "window {window_id} has not landed: {span:?}");
        }
    }
    Ok(())
}

/// Tells whether one of the intervals holds the span.
pub(crate) fn covers(intervals: &[Span], (start, end): Span) -> bool {
    intervals.iter().any(|(from, to)| *from <= start && end <= *to)
}

/// Checks that nobody holds a view.
pub(crate) fn nothing_is_held(status: &StatusReport) -> Result<()> {
    for view in &status.views {
        ensure!(view.lease.is_none(), "`{}` is held: {:?}", view.view, view.lease);
    }
    Ok(())
}

/// Checks what the ledger holds once everything has ended.
pub(crate) fn nothing_is_left_over(world: &World<'_>) -> Result<()> {
    for (table, condition) in LEFT_OVER {
        let count = world.ledger.count(table, condition)?;
        ensure!(count == 0, "{count} rows of `{table}` are left where {condition}");
    }
    Ok(())
}

/// Checks that Feast's registry lists exactly what has landed, merged.
pub(crate) fn is_mirrored(world: &World<'_>, coverage: &BTreeMap<String, Known>) -> Result<()> {
    let state = world.registry.state()?;
    for (view, known) in coverage {
        let closed = |&(start, end): &Span| feast::interval::closed_micros(start, end);
        let landed: Vec<(i64, i64)> = known.intervals.iter().map(closed).collect();
        let listed = state.intervals(view);
        ensure!(listed == landed, "`{view}` landed in {landed:?}, and Feast lists {listed:?}");
    }
    Ok(())
}

/// Checks the end of a history, in which everything up to `hours` was asked for.
pub(crate) fn is_settled(world: &World<'_>, runs: &[RunDetail], hours: i64) -> Result<()> {
    world.watcher.verdict()?;
    ensure!(world.watcher.looks() > 0, "nobody has watched the online store");
    nothing_is_left_over(world)?;
    let coverage = world.coverage()?;
    let stored = stored::read(&world.redis)?;
    for (view, (name, _)) in VIEWS.iter().enumerate() {
        let Some(known) = coverage.get(*name) else { bail!("nothing of `{name}` has landed") };
        let whole = (hour_nanos(0), hour_nanos(hours));
        ensure!(covers(&known.intervals, whole), "{whole:?} of `{name}` has not landed: {known:?}");
        is_exact(view, &world.sources[view], &known.intervals, &stored)?;
    }
    tokens_commit_once(runs, &coverage)?;
    is_mirrored(world, &coverage)
}

/// Checks that each key has made exactly one run.
pub(crate) fn keys_make_one_run(runs: &[RunDetail], keys: &[String]) -> Result<()> {
    for key in keys {
        let of_key = |run: &&RunDetail| run.run.idempotency_key.as_ref() == Some(key);
        let count = runs.iter().filter(of_key).count();
        ensure!(count == 1, "{count} runs were made of the key `{key}`");
    }
    let ours = runs.iter().filter(|run| run.run.idempotency_key.is_some()).count();
    ensure!(ours == keys.len(), "{ours} runs of {} keys", keys.len());
    Ok(())
}

/// Why views cannot be trusted, by name.
pub(crate) fn lost(status: &StatusReport) -> Vec<String> {
    let lost = status.views.iter().filter(|view| view.lost.is_some());
    lost.map(|view| view.view.clone()).collect()
}

/// The place of a view.
pub(crate) fn place_of(view: &str) -> Result<usize> {
    VIEWS.iter().position(|(name, _)| *name == view).with_context(|| format!("no view `{view}`"))
}

#[cfg(test)]
mod tests {
    use ::tests::dice::Dice;

    use super::*;

    const HALF: [Span; 1] = [(hour_nanos(0), hour_nanos(48))];
    const WHOLE: [Span; 1] = [(hour_nanos(0), hour_nanos(96))];

    fn stored_after(source: &Source, landed: &[Span]) -> Stored {
        (0..ENTITIES).map(|entity| ((1, entity), newest(source, entity, landed))).collect()
    }

    #[test]
    fn what_has_landed_is_exact_and_more_is_allowed_between_runs() -> Result<()> {
        let source = Source::draw(&mut Dice::new(1), true);
        let (half, whole) = (stored_after(&source, &HALF), stored_after(&source, &WHOLE));
        has_landed(1, &source, &HALF, &half)?;
        is_exact(1, &source, &HALF, &half)?;
        has_landed(1, &source, &HALF, &whole).context("rows that have not landed yet")?;
        assert!(is_exact(1, &source, &HALF, &whole).is_err());
        assert!(has_landed(1, &source, &WHOLE, &half).is_err(), "rows are missing");
        Ok(())
    }

    #[test]
    fn one_wrong_entity_is_found() {
        let source = Source::draw(&mut Dice::new(2), true);
        let right = stored_after(&source, &WHOLE);
        for (place, held) in &right {
            let wrong = match *held {
                Held::Row(micros, fact) => {
                    let other = crate::oracle::Fact { f: fact.f + 1, ..fact };
                    vec![Held::Row(micros, other), Held::Row(micros - 1, fact), Held::Nothing]
                }
                Held::Tombstone(micros) => vec![Held::Tombstone(micros - 1), Held::Nothing],
                Held::Nothing => continue,
            };
            for held in wrong {
                let mut stored = right.clone();
                stored.insert(*place, held);
                assert!(is_exact(1, &source, &WHOLE, &stored).is_err(), "{place:?}: {held:?}");
                assert!(has_landed(1, &source, &WHOLE, &stored).is_err(), "{place:?}: {held:?}");
            }
        }
    }

    #[test]
    fn a_row_of_nobodys_is_found_even_where_more_is_allowed() {
        let source = Source::draw(&mut Dice::new(3), false);
        let mut stored = stored_after(&source, &HALF);
        let fact = crate::oracle::Fact { f: 1, g: -1, active: true };
        stored.insert((1, 5), Held::Row(hour_nanos(90) / 1_000 + 77, fact));
        assert!(has_landed(1, &source, &HALF, &stored).is_err());
    }

    #[test]
    fn watermarks_that_go_back_or_claim_too_much_are_found() -> Result<()> {
        let known = |watermark, end| {
            let known = Known { watermark: Some(watermark), intervals: vec![(0, end)] };
            BTreeMap::from([("v".to_owned(), known)])
        };
        let mut before = BTreeMap::new();
        watermarks_grow(&mut before, &known(5, 5))?;
        watermarks_grow(&mut before, &known(7, 7))?;
        assert!(watermarks_grow(&mut before.clone(), &known(6, 6)).is_err());
        assert!(watermarks_grow(&mut before, &known(9, 8)).is_err());
        Ok(())
    }
}
