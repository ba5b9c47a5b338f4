//! Claims on opening: migrations, versions, and reading without writing.

use futures::future::join_all;

use super::fixture::{Fixture, interval, new_run};
use crate::{Error, Ledger, LedgerUrl, RunFilter};

/// Processes that start at once on an empty place all succeed, and none migrates twice.
pub async fn two_processes_may_open_at_once(url: &LedgerUrl) {
    let opened = join_all((0..6).map(|_| Ledger::open(url))).await;
    for ledger in opened {
        let ledger = ledger.unwrap();
        ledger.admit(&new_run(&["v"])).await.unwrap();
        ledger.close().await;
    }
    let ledger = Ledger::open(url).await.unwrap();
    assert_eq!(ledger.runs(&RunFilter::default(), 99).await.unwrap().len(), 6);
}

/// A program never touches a ledger whose schema it does not know.
pub async fn a_newer_schema_is_refused(url: &LedgerUrl) {
    let ledger = Ledger::open(url).await.unwrap();
    sqlx::query("INSERT INTO migrations (version, name, checksum) VALUES ($1, 'later', '')")
        .bind(Ledger::schema_version() + 1)
        .execute(ledger.pool())
        .await
        .unwrap();
    ledger.close().await;
    let refusals = [Ledger::open(url).await.map(drop), Ledger::open_read_only(url).await.map(drop)];
    for refused in refusals {
        let error = refused.unwrap_err();
        assert!(
            matches!(error, Error::NewerSchema { found, known } if found == known + 1),
            "{error:?}"
        );
    }
}

/// A ledger made by an unreleased build is not worked with as if it were another; one that lacks a
/// migration is not read.
pub async fn an_altered_migration_is_refused(url: &LedgerUrl) {
    let ledger = Ledger::open(url).await.unwrap();
    let run = async |sql| sqlx::query(sql).execute(ledger.pool()).await.map(drop).unwrap();
    run("DELETE FROM migrations WHERE version > 3").await;
    let error = Ledger::open_read_only(url).await.map(drop).unwrap_err();
    assert!(matches!(error, Error::OlderSchema { found: 3, .. }), "{error:?}");
    run("UPDATE migrations SET checksum = 'x' WHERE version = 3").await;
    let error = Ledger::open(url).await.map(drop).unwrap_err();
    assert!(matches!(error, Error::AlteredMigration { version: 3, .. }), "{error:?}");
}

/// Looking for a ledger does not make one.
pub async fn reading_creates_nothing(url: &LedgerUrl) {
    assert!(Ledger::open_read_only(url).await.unwrap().is_none());
    assert!(Ledger::open_read_only(url).await.unwrap().is_none());
    let fixture = Fixture::new(url).await;
    fixture.land(interval(0, 10)).await;
    let reader = Ledger::open_read_only(url).await.unwrap().unwrap();
    assert_eq!(reader.coverage(&fixture.view).await.unwrap(), Some(fixture.state().await));
    fixture.land(interval(10, 20)).await;
    assert_eq!(reader.coverage(&fixture.view).await.unwrap(), Some(fixture.state().await));
}

/// A ledger opened for reading cannot be changed by mistake.
pub async fn a_read_only_ledger_refuses_to_write(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let run = fixture.run_of(&["v"]).await;
    let before = fixture.run(run).await;
    let reader = Ledger::open_read_only(url).await.unwrap().unwrap();
    let refused = reader.admit(&new_run(&[])).await.unwrap_err();
    assert!(matches!(refused, Error::Admit { .. }), "{refused:?}");
    assert!(!refused.is_retryable());
    assert!(reader.heartbeat(run).await.is_err());
    let holder = super::fixture::holder("here-7", 7);
    let refused = reader.claim_job("p", None, &holder, super::fixture::LONG).await.unwrap_err();
    assert!(matches!(refused, Error::Lease { .. }), "{refused:?}");
    assert_eq!(reader.run(run).await.unwrap().unwrap(), before);
    assert_eq!(reader.views("p").await.unwrap().len(), 1);
    assert_eq!(reader.leases("p").await.unwrap(), []);
    assert_eq!(fixture.run(run).await, before);
}
