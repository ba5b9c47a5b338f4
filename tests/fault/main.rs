//! Killed at any moment and started again, a run ends where an undisturbed one would have.
//!
//! The real binary is killed (signal 9) at moments drawn from the length of an undisturbed run.
//! After every kill what counts as done must be there; after one undisturbed run the online
//! store, the ledger and Feast's registry must be those of an undisturbed history. The seed is
//! printed, and `TIDEGATE_FAULT_SEED` repeats one.

mod history;
mod kill;
mod workload;

use anyhow::Result;
use harness::Postgres;

use crate::kill::{stops_before_commits, survives};
use crate::workload::{Place, Store, Workload};

/// Few views of many rows: most kills fall between two writes.
#[test]
fn killed_while_writing() -> Result<()> {
    let workload = Workload { views: 2, entities: 25_000, store: Store::Redis };
    survives(&workload, Place::File, 20)
}

/// Many views of few rows: most kills fall around commits and the registry.
#[test]
fn killed_while_committing() -> Result<()> {
    let workload = Workload { views: 24, entities: 20, store: Store::Redis };
    survives(&workload, Place::File, 24)
}

#[test]
fn killed_with_registry_and_ledger_in_postgres() -> Result<()> {
    let server = Postgres::start()?;
    let workload = Workload { views: 8, entities: 1_000, store: Store::Redis };
    survives(&workload, Place::Postgres(&server), 16)
}

#[test]
fn killed_with_feasts_sqlite_store() -> Result<()> {
    let workload = Workload { views: 3, entities: 1_000, store: Store::Sqlite };
    survives(&workload, Place::File, 12)
}

/// Each of them leaves a marker that the ledger has no commit for.
#[test]
fn stopped_between_marker_and_commit_again_and_again() -> Result<()> {
    let workload = Workload { views: 1, entities: 20, store: Store::Redis };
    stops_before_commits(&workload, Place::File, 3)
}
