//! Feast and Tidegate take turns on one repository, and neither can tell.

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::repository::{Backend, Repository, Side, starts};

/// Who takes a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Tidegate,
    Feast,
}

/// The first instant of all, and the ends of the turns. Midnights are in both of the intervals
/// that meet there, and have rows.
const START: &str = "2024-01-01T00:00:00";
const TURNS: [(Turn, &str); 5] = [
    (Turn::Tidegate, "2024-01-02T00:00:00"),
    (Turn::Feast, "2024-01-03T00:00:00"),
    (Turn::Tidegate, "2024-01-04T00:00:00"),
    (Turn::Feast, "2024-01-05T00:00:00"),
    (Turn::Tidegate, "2024-01-05T17:30:00.250001"),
];
const VIEWS: [&str; 4] = ["assignment", "company", "department_stats", "employee_profile"];

#[test]
fn turns_hand_over_on_postgresql_and_redis() -> Result<()> {
    take_turns(Backend::servers()?, 1)
}

#[test]
fn turns_hand_over_on_a_file_registry_and_sqlite() -> Result<()> {
    take_turns(Backend::Files, 2)
}

fn take_turns(backend: Backend, seed: u32) -> Result<()> {
    let mut repository = Repository::make(backend, "definitions.py", "attrition_data.py", seed)?;
    for side in Side::BOTH {
        repository.apply(side, 0)?;
    }
    let mut start = START;
    for (index, (turn, end)) in TURNS.into_iter().enumerate() {
        let arguments: &[&str] = if index == 0 {
            &["materialize", start, end]
        } else {
            &["materialize-incremental", end]
        };
        match turn {
            Turn::Tidegate => {
                let report = repository.tidegate(arguments)?;
                assert_starts(&report, start)?;
            }
            Turn::Feast => {
                let printed = repository.feast(Side::Ours, arguments)?;
                assert_feast_starts(&printed, start, end)?;
            }
        }
        repository.feast(Side::Reference, arguments)?;
        check(&mut repository, &format!("{turn:?} to {end}"), end, (turn, index + 1))?;
        start = end;
    }
    feast_is_content(&mut repository)
}

/// Everything that must hold after a turn.
fn check(
    repository: &mut Repository,
    when: &str,
    end: &str,
    (turn, turns): (Turn, usize),
) -> Result<()> {
    repository.assert_same_bytes(when)?;
    assert_served(repository, when, end)?;
    let (mut ours, mut reference) =
        (repository.registry(Side::Ours)?, repository.registry(Side::Reference)?);
    for view in VIEWS {
        let (ours, reference) = (intervals(&mut ours, view)?, intervals(&mut reference, view)?);
        let whole = json!([shown(START), shown(end)]);
        match turn {
            Turn::Tidegate => assert_eq!(ours, [whole], "{when}: {view}: all turns are one"),
            Turn::Feast => {
                assert_eq!(ours.len(), 2, "{when}: {view}: Feast appends to what we merged");
                assert_eq!(ours[0][0], whole[0], "{when}: {view}");
                assert_eq!(ours[0][1], ours[1][0], "{when}: {view}");
            }
        }
        // All that Feast reads from the list is its greatest end.
        assert_eq!(greatest_end(&ours), greatest_end(&reference), "{when}: {view}");
        assert_eq!(reference.len(), turns, "{when}: {view}");
    }
    assert_eq!(ours, reference, "{when}: the registries differ in more than their intervals");
    for view in VIEWS {
        assert_eq!(ours[view]["state"], "AVAILABLE_ONLINE", "{when}: {view}");
    }
    Ok(())
}

/// Takes the intervals of a view out of what Feast reads.
fn intervals(registry: &mut Value, view: &str) -> Result<Vec<Value>> {
    match registry[view]["intervals"].take() {
        Value::Array(intervals) => Ok(intervals),
        other => bail!("the intervals of `{view}` are {other}"),
    }
}

fn greatest_end(intervals: &[Value]) -> Option<&str> {
    intervals.iter().filter_map(|interval| interval[1].as_str()).max()
}

/// An instant as Feast shows it.
fn shown(instant: &str) -> String {
    format!("{instant}+00:00")
}

/// Feast serves from our store what the Parquet files say.
fn assert_served(repository: &mut Repository, when: &str, end: &str) -> Result<()> {
    let (place, config) = (repository.path().display().to_string(), repository.config(Side::Ours));
    let end = format!("{end}+00:00");
    let answer = repository.session.script("served.py", &[&place, &config, &end])?;
    let (served, expected) = (&answer["served"], &answer["expected"]);
    let columns = expected.as_object().context("it is an object of columns")?;
    // Two join keys and seventeen features.
    ensure!(columns.len() == 19, "{when}: {} columns are expected", columns.len());
    for (feature, values) in columns {
        assert_eq!(&served[feature], values, "{when}: feature `{feature}` as Feast serves it");
    }
    assert_eq!(served, expected, "{when}: Feast serves what nobody asked for");
    Ok(())
}

/// Every view of our run reads from the end of the turn before, or the nanosecond after it.
fn assert_starts(report: &Value, start: &str) -> Result<()> {
    let starts = starts(report)?;
    assert_eq!(starts.len(), VIEWS.len(), "{report}");
    for (view, at) in starts {
        ensure!(at.starts_with(start), "`{view}` starts at {at}, not at {start}");
    }
    for job in report["jobs"].as_array().context("the report has jobs")? {
        assert_ne!(job["receipt"]["rows_read"], 0, "{job}");
    }
    Ok(())
}

/// Feast says of every view that it starts from the end of our turn.
fn assert_feast_starts(printed: &str, start: &str, end: &str) -> Result<()> {
    let spaced = |instant: &str| instant.replace('T', " ");
    for view in VIEWS {
        let line = format!("{view} from {}+00:00 to {}+00:00:", spaced(start), spaced(end));
        ensure!(printed.contains(&line), "`{line}` is not in what Feast printed:\n{printed}");
    }
    Ok(())
}

/// Feast's own commands show what we have written to the registry.
fn feast_is_content(repository: &mut Repository) -> Result<()> {
    let list = repository.feast(Side::Ours, &["feature-views", "list"])?;
    for view in VIEWS {
        ensure!(list.contains(view), "`{view}` is not in Feast's list:\n{list}");
        let shown = repository.feast(Side::Ours, &["feature-views", "describe", view])?;
        let reference = repository.feast(Side::Reference, &["feature-views", "describe", view])?;
        // Each side was applied and materialized at its own times, and our intervals are merged.
        assert_eq!(without_times(&shown), without_times(&reference), "{view}");
        ensure!(shown.contains("materializationIntervals"), "{shown}");
    }
    Ok(())
}

fn without_times(described: &str) -> Vec<&str> {
    const TIMES: [&str; 4] =
        ["createdTimestamp:", "lastUpdatedTimestamp:", "startTime:", "endTime:"];
    let is_time = |line: &&str| TIMES.iter().any(|time| line.contains(time));
    described.lines().filter(|line| !is_time(line)).collect()
}
