//! The rows as the program gets to see them: Parquet files, replaced whole.

use std::fs;

use ::tests::definition::{Project, View};
use ::tests::parquet::{bools, ints, times, write};
use ::tests::repo::Repo;
use anyhow::Result;
use feast::ValueType;

use crate::oracle::{FILE_HOURS, HOUR_MICROS, HOURS, START_MICROS, Source};

pub(crate) const PROJECT: &str = "faults";
/// Views by name, and whether inactive rows end their entity.
pub(crate) const VIEWS: [(&str, bool); 3] = [("plain", false), ("ending", true), ("other", false)];
/// Small, so that a file has several and partitions share them.
const GROUP_ROWS: usize = 64;

/// The definitions.
pub(crate) fn project() -> Project {
    Project::new(PROJECT, VIEWS.map(|(name, has_ends)| view(name, has_ends)))
}

fn view(name: &str, has_ends: bool) -> View {
    let features = [("f", ValueType::Int64), ("g", ValueType::Int64)];
    let mut view = View::new(name, &format!("data/{name}"), &features);
    // An instant of history, so that incremental runs start here and not a year ago. Before the
    // first row: what Feast has recorded counts as landed.
    let before = START_MICROS - HOUR_MICROS;
    view.intervals = vec![(before, before)];
    if has_ends { view.tag("tidegate.active_when", "active") } else { view }
}

/// Writes all files of a view.
pub(crate) fn write_all(repo: &Repo, view: &str, source: &Source) -> Result<()> {
    (0..HOURS / FILE_HOURS).try_for_each(|file| write_file(repo, view, source, file))
}

/// Writes one file of a view beside its place, and then puts it there.
pub(crate) fn write_file(repo: &Repo, view: &str, source: &Source, file: i64) -> Result<()> {
    let start = START_MICROS + file * FILE_HOURS * HOUR_MICROS;
    let inside = start..start + FILE_HOURS * HOUR_MICROS;
    let rows = || source.rows.iter().filter(|((_, micros), _)| inside.contains(micros));
    let staged = repo.path(format!("staged/{view}-{file}.parquet"));
    write(
        &staged,
        &[
            ("id", ints(rows().map(|((entity, _), _)| *entity))),
            ("ts", times(rows().map(|((_, micros), _)| *micros))),
            ("f", ints(rows().map(|(_, fact)| fact.f))),
            ("g", ints(rows().map(|(_, fact)| fact.g))),
            ("active", bools(rows().map(|(_, fact)| fact.active))),
        ],
        GROUP_ROWS,
    )?;
    fs::create_dir_all(repo.path(format!("data/{view}")))?;
    Ok(fs::rename(staged, repo.path(format!("data/{view}/{file}.parquet")))?)
}
