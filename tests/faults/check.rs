//! What must hold: at rest after every step, and in the end.
//!
//! Everything is read past the program, but for what only it can tell (attempts and leases).

use std::collections::BTreeMap;

use ::tests::ledger::Known;
use anyhow::{Context, Result, bail, ensure};
use api::{AttemptDetail, RunDetail, StatusReport, WindowDetail};
use model::{AttemptState, EventTime, WindowState};

use crate::oracle::{ENTITIES, Held, Source, Span, hour_nanos};
use crate::source::VIEWS;
use crate::stored::{self, Stored};
use crate::world::World;

/// What the ledger must have none of once everything has ended, as tables and conditions.
const LEFT_OVER: [(&str, &str); 5] = [
    ("mirrors", "1 = 1"),
    ("attempts", "state = 'running'"),
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

/// Checks that every committed window was committed by one attempt and has landed, that a token
/// was one job's alone, and that none has committed after a newer one of its view has.
pub(crate) fn tokens_are_obeyed(
    runs: &[RunDetail],
    coverage: &BTreeMap<String, Known>,
) -> Result<()> {
    let mut jobs = BTreeMap::new();
    let mut commits = BTreeMap::<&str, Vec<(EventTime, u64)>>::new();
    for job in runs.iter().flat_map(|run| &run.jobs) {
        let view = job.storage_name.as_str();
        for window in &job.windows {
            for attempt in &window.attempts {
                let owner = *jobs.entry((view, attempt.token)).or_insert(job.job_id);
                let token = attempt.token;
                ensure!(owner == job.job_id, "two jobs of `{view}` had token {token}");
            }
            let committed = commit_of(window)?;
            let span = (window.interval.start.nanos(), window.interval.end.nanos());
            let known = coverage.get(view).filter(|known| covers(&known.intervals, span));
            let has_landed = known.is_some() || committed.is_none();
            ensure!(has_landed, "window {} has not landed: {span:?}", window.window_id);
            commits.entry(view).or_default().extend(committed);
        }
    }
    for (view, mut commits) in commits {
        commits.sort_unstable();
        let is_late = |pair: &&[(EventTime, u64)]| pair[0].1 > pair[1].1 && pair[0].0 < pair[1].0;
        let late = commits.windows(2).find(is_late);
        ensure!(late.is_none(), "a token of `{view}` has committed after a newer one: {late:?}");
    }
    Ok(())
}

/// When a window was committed and by which token, if it was.
fn commit_of(window: &WindowDetail) -> Result<Option<(EventTime, u64)>> {
    let is_commit = |attempt: &&AttemptDetail| attempt.state == AttemptState::Committed;
    let commits: Vec<&AttemptDetail> = window.attempts.iter().filter(is_commit).collect();
    let is_committed = window.state == WindowState::Committed;
    ensure!(
        commits.len() == usize::from(is_committed),
        "window {} is {}, and these attempts have committed it: {commits:?}",
        window.window_id,
        window.state
    );
    let at = |attempt: &&AttemptDetail| Some((attempt.ended_at?, attempt.token));
    commits.first().map(|commit| at(commit).context("a commit has a time")).transpose()
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
    tokens_are_obeyed(runs, &coverage)?;
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
    use serde_json::{Value, json};

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

    const UUID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
    const OTHER: &str = "01890a5d-ac96-774b-bcce-b302099a8058";

    fn at(second: u32) -> String {
        format!("2024-01-01T00:00:{second:02}Z")
    }

    /// A run of one job with a window an attempt: token, second of its end, and state.
    fn run_of(job: &str, attempts: &[(u64, u32, &str)]) -> RunDetail {
        let window = |&(token, second, state): &(u64, u32, &str)| {
            let committed = state == "committed";
            json!({
                "window_id": UUID,
                "interval": { "start": at(0), "end": at(1) },
                "state": if committed { "committed" } else { "failed" },
                "rows_max": 1, "bytes": 1, "partitions": 1, "partitions_done": 1,
                "source_path": "data", "source_files": 1, "receipt": null,
                "watermark_before": null, "watermark_after": null, "error": null,
                "opened_at": at(1), "closed_at": at(second),
                "attempts": [{
                    "attempt_id": UUID, "number": 1, "token": token, "correcting": false,
                    "state": state, "error": null, "started_at": at(1), "ended_at": at(second),
                }],
            })
        };
        let windows: Vec<Value> = attempts.iter().map(window).collect();
        let run = json!({
            "run_id": UUID, "project": "p", "kind": "interval", "state": "succeeded",
            "correct": false, "rebuild": false, "requested_start": at(0), "requested_end": at(1),
            "views": ["v"], "idempotency_key": "key", "admitted_at": at(0), "started_at": at(0),
            "finished_at": at(9), "jobs_total": 1, "jobs_landed": 1, "host": null, "pid": null,
            "heartbeat_at": null, "program_version": "0", "cancel_requested": false,
            "warnings": [],
            "jobs": [{
                "job_id": job, "view": "v", "storage_name": "v", "version": null,
                "state": "succeeded", "interval": null, "reason": null, "warnings": [],
                "receipt": null, "bad_rows": [], "progress": null, "started_at": at(0),
                "finished_at": at(9), "windows": windows,
            }],
        });
        serde_json::from_value(run).expect("it is a run")
    }

    fn landed() -> BTreeMap<String, Known> {
        let known = Known { watermark: None, intervals: vec![(0, i64::MAX)] };
        BTreeMap::from([("v".to_owned(), known)])
    }

    #[test]
    fn tokens_that_are_obeyed_pass() -> Result<()> {
        let first = run_of(UUID, &[(1, 2, "committed"), (1, 3, "committed"), (1, 4, "failed")]);
        let second = run_of(OTHER, &[(2, 5, "committed"), (3, 6, "committed")]);
        tokens_are_obeyed(&[second, first], &landed())
    }

    #[test]
    fn a_late_commit_a_shared_token_and_a_commit_that_did_not_land_are_found() {
        let first = run_of(UUID, &[(1, 2, "committed"), (1, 6, "committed")]);
        let late = [first.clone(), run_of(OTHER, &[(2, 5, "committed")])];
        let error = tokens_are_obeyed(&late, &landed()).expect_err("1 came after 2").to_string();
        assert!(error.contains("after a newer one"), "{error}");

        let shared = [first.clone(), run_of(OTHER, &[(1, 8, "failed")])];
        let error = tokens_are_obeyed(&shared, &landed()).expect_err("1 is shared").to_string();
        assert!(error.contains("two jobs"), "{error}");

        let error = tokens_are_obeyed(&[first], &BTreeMap::new()).expect_err("nothing has landed");
        assert!(error.to_string().contains("has not landed"), "{error}");
    }

    #[test]
    fn a_key_of_no_run_and_one_of_two_runs_are_found() -> Result<()> {
        let (run, keys) = (run_of(UUID, &[]), ["key".to_owned()]);
        keys_make_one_run(std::slice::from_ref(&run), &keys)?;
        assert!(keys_make_one_run(&[run.clone(), run.clone()], &keys).is_err());
        assert!(keys_make_one_run(&[], &keys).is_err());
        assert!(keys_make_one_run(&[run], &[]).is_err(), "a run of a key that nobody sent");
        Ok(())
    }
}
