//! The ledger on SQLite: every claim of the conformance suite, and what concerns files alone.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::path::Path;

use metastore::{Error, Ledger, LedgerUrl, RunFilter};
use tempfile::TempDir;

struct Place {
    directory: TempDir,
    url: LedgerUrl,
}

impl Place {
    fn url(&self) -> &LedgerUrl {
        &self.url
    }

    fn path(&self) -> &Path {
        self.url.path().unwrap()
    }

    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.directory.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

fn place(name: &str) -> Place {
    let directory = tempfile::tempdir().unwrap();
    let url = LedgerUrl::parse(directory.path().join(name).to_str().unwrap()).unwrap();
    Place { directory, url }
}

async fn fresh() -> Place {
    place("ledger.db")
}

metastore::conformance_tests!(fresh);

#[tokio::test]
async fn a_file_name_may_hold_anything() {
    let place = place("100% o'ur #1 ledger?.db é");
    Ledger::open(place.url()).await.unwrap().close().await;
    assert!(place.path().is_file());
}

#[tokio::test]
async fn nothing_is_left_beside_the_file() {
    let place = fresh().await;
    assert!(Ledger::open_read_only(place.url()).await.unwrap().is_none());
    assert_eq!(place.files(), Vec::<String>::new());
    Ledger::open(place.url()).await.unwrap().close().await;
    let before = std::fs::read(place.path()).unwrap();
    let reader = Ledger::open_read_only(place.url()).await.unwrap().unwrap();
    assert_eq!(reader.runs(&RunFilter::default(), 1).await.unwrap(), []);
    assert_eq!(place.files(), ["ledger.db"]);
    reader.close().await;
    assert_eq!(std::fs::read(place.path()).unwrap(), before);
}

#[tokio::test]
async fn somebody_elses_file_is_left_alone() {
    let place = fresh().await;
    let file = rusqlite::Connection::open(place.path()).unwrap();
    file.execute_batch("CREATE TABLE feature_views (name TEXT)").unwrap();
    drop(file);
    let before = std::fs::read(place.path()).unwrap();
    let refused = Ledger::open(place.url()).await.map(drop).unwrap_err();
    assert!(matches!(refused, Error::NotALedger { .. }), "{refused:?}");
    assert!(Ledger::open_read_only(place.url()).await.unwrap().is_none());
    assert_eq!(std::fs::read(place.path()).unwrap(), before);
}

#[tokio::test]
async fn a_missing_directory_is_named() {
    let place = place("missing/ledger.db");
    let refused = Ledger::open(place.url()).await.map(drop).unwrap_err();
    assert!(matches!(refused, Error::Open { .. }), "{refused:?}");
    assert!(refused.to_string().contains("missing/ledger.db"), "{refused}");
    assert!(Ledger::open_read_only(place.url()).await.unwrap().is_none());
}

#[tokio::test]
async fn an_uncommitted_transaction_of_a_killed_process_is_rolled_back_by_a_reader() {
    let place = fresh().await;
    Ledger::open(place.url()).await.unwrap().close().await;
    let before = schema_and_rows(place.path());
    // A copy of the files in the middle of a transaction is what a kill or a power loss leaves.
    let torn = self::place("ledger.db");
    let writer = rusqlite::Connection::open(place.path()).unwrap();
    writer.execute_batch("PRAGMA cache_size = 1; PRAGMA cache_spill = 1; BEGIN").unwrap();
    let insert = "INSERT INTO migrations (version, name, checksum) VALUES (?1, 'torn', ?2)";
    for version in 100..400 {
        writer.execute(insert, (version, "x".repeat(500))).unwrap();
    }
    for file in place.files() {
        let from = place.directory.path().join(&file);
        std::fs::copy(from, torn.directory.path().join(&file)).unwrap();
    }
    drop(writer);
    assert_eq!(torn.files().len(), 2, "the journal was copied with the file");
    let torn_bytes = std::fs::read(torn.path()).unwrap();

    let reader = Ledger::open_read_only(torn.url()).await.unwrap().unwrap();
    assert_eq!(reader.runs(&RunFilter::default(), 1).await.unwrap(), []);
    reader.close().await;
    assert_ne!(std::fs::read(torn.path()).unwrap(), torn_bytes, "pages had been overwritten");
    assert_eq!(schema_and_rows(torn.path()), before);
    assert_eq!(torn.files(), ["ledger.db"]);
}

#[tokio::test]
async fn schema_sql_is_what_the_migrations_add_up_to() {
    let place = fresh().await;
    Ledger::open(place.url()).await.unwrap().close().await;
    let written = rusqlite::Connection::open_in_memory().unwrap();
    written.execute_batch(include_str!("../schema.sql")).unwrap();
    assert_eq!(schema(&rusqlite::Connection::open(place.path()).unwrap()), schema(&written));
}

/// Names and texts.
type Schema = Vec<(String, String)>;

/// Every table and index with its text, blanks evened out.
fn schema(database: &rusqlite::Connection) -> Schema {
    let mut statement = database
        .prepare("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name")
        .unwrap();
    let rows = statement.query_map((), |row| {
        let text: String = row.get(1)?;
        Ok((row.get(0)?, text.split_whitespace().collect::<Vec<_>>().join(" ")))
    });
    rows.unwrap().map(Result::unwrap).collect()
}

fn schema_and_rows(path: &Path) -> (Schema, Vec<(i64, String)>) {
    let database = rusqlite::Connection::open(path).unwrap();
    let mut statement = database.prepare("SELECT version, checksum FROM migrations").unwrap();
    let rows = statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let rows = rows.map(Result::unwrap).collect();
    (schema(&database), rows)
}
