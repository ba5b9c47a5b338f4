//! `feast apply` changes definitions between and during our runs, and nothing is lost.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::repository::{Backend, Repository, Side, starts, tidegate};
use crate::session::{self, end_of, python_file};

const DAYS: [&str; 4] =
    ["2024-01-01T00:00:00", "2024-01-02T00:00:00", "2024-01-03T00:00:00", "2024-01-04T00:00:00"];
/// How long Feast may take to get to the middle of its apply: it starts Python first.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn an_apply_between_runs_keeps_both_on_postgresql() -> Result<()> {
    apply_between(Backend::servers()?)
}

#[test]
fn an_apply_between_runs_keeps_both_in_a_file() -> Result<()> {
    apply_between(Backend::FileAndRedis { redis: harness::Redis::start()? })
}

/// The new definition is used at once, and what had landed before it still counts.
fn apply_between(backend: Backend) -> Result<()> {
    let mut repository = Repository::make(backend, "definitions.py", "attrition_data.py", 3)?;
    for side in Side::BOTH {
        repository.apply(side, 0)?;
    }
    repository.tidegate(&["materialize", DAYS[0], DAYS[1]])?;
    repository.feast(Side::Reference, &["materialize", DAYS[0], DAYS[1]])?;
    for side in Side::BOTH {
        repository.apply(side, 7)?;
    }
    repository.tidegate(&["materialize-incremental", DAYS[2]])?;
    repository.feast(Side::Reference, &["materialize-incremental", DAYS[2]])?;

    // The feature that the new definition adds is among these bytes.
    repository.assert_same_bytes("after the apply")?;
    let registry = repository.registry(Side::Ours)?;
    let mut reference = repository.registry(Side::Reference)?;
    let views = reference.as_object_mut().context("it is an object of views")?;
    for (view, read) in views {
        assert_eq!(read["intervals"], json!(days(&[(0, 1), (1, 2)])), "{view}");
        read["intervals"] = json!(days(&[(0, 2)]));
    }
    assert_eq!(registry, reference, "they differ in more than merged intervals");
    assert_revision(&registry, 7);
    Ok(())
}

#[test]
fn an_interval_that_an_apply_overwrites_is_listed_again_by_the_next_run() -> Result<()> {
    let backend = Backend::servers()?;
    let mut repository = Repository::make(backend, "definitions.py", "attrition_data.py", 4)?;
    repository.apply(Side::Ours, 0)?;
    repository.tidegate(&["materialize", DAYS[0], DAYS[1]])?;

    // Feast has read the definition with one interval, and will write it back with one.
    let paused = PausedApply::start(&repository)?;
    paused.wait_until_paused()?;
    repository.tidegate(&["materialize-incremental", DAYS[2]])?;
    let between = repository.registry(Side::Ours)?;
    assert_eq!(intervals(&between, "department_stats"), days(&[(0, 2)]));
    paused.go_on()?;
    let after = repository.registry(Side::Ours)?;
    assert_revision(&after, 1);
    // Feast takes no lock, so this cannot be prevented, only made good.
    let views = after.as_object().context("it is an object of views")?;
    let overwritten = views.keys().filter(|view| intervals(&after, view) == days(&[(0, 1)]));
    ensure!(overwritten.count() > 0, "the apply overwrote nothing, so this shows nothing: {after}");

    let report = repository.tidegate(&["materialize-incremental", DAYS[3]])?;
    for (view, at) in starts(&report)? {
        ensure!(at.starts_with(DAYS[2]), "the ledger has forgotten: `{view}` starts at {at}");
    }
    let registry = repository.registry(Side::Ours)?;
    assert_revision(&registry, 1);
    for view in registry.as_object().context("it is an object of views")?.keys() {
        let end = format!("{}+00:00", DAYS[3]);
        assert_gap_free(&intervals(&registry, view), &end).with_context(|| view.clone())?;
    }
    Ok(())
}

#[test]
fn applies_during_runs_lose_neither_definitions_nor_intervals() -> Result<()> {
    const REVISIONS: u32 = 6;
    let backend = Backend::servers()?;
    let mut repository = Repository::make(backend, "definitions.py", "attrition_data.py", 5)?;
    repository.apply(Side::Ours, 0)?;
    repository.tidegate(&["materialize", DAYS[0], DAYS[1]])?;

    let dir = repository.path().to_owned();
    let runs = thread::scope(|scope| {
        let applies = scope.spawn(|| {
            (1..=REVISIONS).try_for_each(|revision| repository.apply(Side::Ours, revision))
        });
        let mut runs = 0;
        while !applies.is_finished() || runs == 0 {
            runs += 1;
            tidegate(&dir, &["materialize-incremental", &second_day(runs)])?;
        }
        applies.join().expect("applying does not panic")?;
        anyhow::Ok(runs)
    })?;
    // One more run, undisturbed, makes good what an apply has overwritten.
    let last = second_day(runs + 1);
    repository.tidegate(&["materialize-incremental", &last])?;

    let registry = repository.registry(Side::Ours)?;
    assert_revision(&registry, REVISIONS);
    let last = format!("{last}+00:00");
    for (view, listed) in registry.as_object().context("it is an object of views")? {
        assert_eq!(listed["tags"], json!({"revision": REVISIONS.to_string()}), "{view}");
        assert_gap_free(&intervals(&registry, view), &last).with_context(|| view.clone())?;
    }
    Ok(())
}

/// The end of a run on the second day, one minute after the one before.
fn second_day(run: u32) -> String {
    format!("2024-01-02T{:02}:{:02}:00", run / 60, run % 60)
}

/// The intervals, in order, cover everything from the first day to `end`.
fn assert_gap_free(listed: &[Value], end: &str) -> Result<()> {
    let mut listed = listed.to_vec();
    listed.sort_by_key(ToString::to_string);
    let mut reached = json!(format!("{}+00:00", DAYS[0]));
    for interval in &listed {
        ensure!(interval[0].as_str() <= reached.as_str(), "a gap before {interval}: {listed:?}");
        if interval[1].as_str() > reached.as_str() {
            reached = interval[1].clone();
        }
    }
    assert_eq!(reached, json!(end), "{listed:?}");
    Ok(())
}

fn intervals(registry: &Value, view: &str) -> Vec<Value> {
    registry[view]["intervals"].as_array().cloned().unwrap_or_default()
}

/// Intervals between days, as Feast shows them.
fn days(pairs: &[(usize, usize)]) -> Vec<Value> {
    let shown = |day: usize| format!("{}+00:00", DAYS[day]);
    pairs.iter().map(|&(from, to)| json!([shown(from), shown(to)])).collect()
}

/// The definition is the one that was applied with this revision, which is not 0.
fn assert_revision(registry: &Value, revision: u32) {
    const NINETY_DAYS: f64 = 7_776_000.0;
    let profile = &registry["employee_profile"];
    assert_eq!(profile["tags"], json!({"revision": revision.to_string()}), "{profile}");
    assert_eq!(profile["ttl_seconds"], json!(NINETY_DAYS), "{profile}");
    let features = profile["features"].as_array().expect("a view has features");
    assert!(features.contains(&json!("bonus")), "{profile}");
}

/// A real `feast apply` of revision 1 that waits between reading a view's row and writing it.
struct PausedApply {
    thread: thread::JoinHandle<Result<()>>,
    paused: std::path::PathBuf,
    go_on: std::path::PathBuf,
}

impl PausedApply {
    fn start(repository: &Repository) -> Result<Self> {
        let dir = repository.path().to_owned();
        let (paused, go_on) = (dir.join("paused"), dir.join("go_on"));
        let script = python_file("paused_apply.py").display().to_string();
        let mut session = session::start()?;
        let (config, marks) = (repository.config(Side::Ours), [paused.clone(), go_on.clone()]);
        let thread = thread::spawn(move || {
            let [paused, go_on] = marks.map(|path| path.display().to_string());
            let place = dir.display().to_string();
            let arguments = [place.as_str(), &config, &paused, &go_on];
            let ran = session.run(&script, &arguments, &dir, &[("REVISION", "1")])?;
            ensure!(ran.code == 0, "the paused apply failed: {}", end_of(&ran.stderr));
            Ok(())
        });
        Ok(Self { thread, paused, go_on })
    }

    fn wait_until_paused(&self) -> Result<()> {
        wait_for(&self.paused, || self.thread.is_finished())
    }

    fn go_on(self) -> Result<()> {
        fs::write(self.go_on, "")?;
        self.thread.join().expect("the thread does not panic")
    }
}

/// Waits until a file is there.
fn wait_for(path: &Path, is_over: impl Fn() -> bool) -> Result<()> {
    const POLL: Duration = Duration::from_millis(10);
    let begun = Instant::now();
    while !path.exists() {
        ensure!(!is_over(), "the apply ended without reading a view's row");
        ensure!(begun.elapsed() < PATIENCE, "the apply has not read a view's row");
        thread::sleep(POLL);
    }
    Ok(())
}
