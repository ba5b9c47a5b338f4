//! Feast's SQLite store against the rules, and what is its own.

use std::path::PathBuf;

use feast::config::OnlineStoreConfig;
use model::{EventTime, WriteCounts, WriteMode};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::conformance::{
    self, PROJECT, batch, correcting, entity_key, int64, marker, row, tombstone, view,
};
use crate::{Error, OnlineStore, WriteLimits};

const SECOND: i64 = 1_000_000_000;

/// Feature, value, text, event time and created time.
type FeastRow = (String, Vec<u8>, Option<String>, i64, Option<i64>);

struct Repo {
    directory: TempDir,
}

impl Repo {
    fn new(tables: &str) -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let repo = Self { directory };
        repo.connection().execute_batch(tables).expect("the tables can be made");
        repo
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("online.db")
    }

    fn connection(&self) -> Connection {
        Connection::open(self.path()).expect("the database opens")
    }

    async fn store(&self) -> OnlineStore {
        let config = OnlineStoreConfig::Sqlite { path: self.path() };
        OnlineStore::connect(&config, WriteLimits::default()).await.expect("the store opens")
    }

    /// All rows of a view, in the order of keys and features.
    fn rows(&self, name: &str) -> Vec<FeastRow> {
        let sql = format!(
            "SELECT feature_name, value, value_text, event_ts, created_ts FROM {PROJECT}_{name}
             ORDER BY entity_key, feature_name"
        );
        let connection = self.connection();
        let mut statement = connection.prepare(&sql).expect("the table is there");
        let rows = statement.query_map([], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
        });
        rows.expect("the rows can be read").collect::<Result<_, _>>().expect("columns as Feast's")
    }
}

async fn open() -> (OnlineStore, Repo) {
    let repo = Repo::new(&conformance::tables());
    (repo.store().await, repo)
}

mod rules {
    crate::conformance_suite!(super::open);
}

#[tokio::test]
async fn columns_are_those_of_feast() {
    let (store, repo) = open().await;
    let view = view("one", 1);
    let prepared = store.prepare(&view, &WriteMode::default()).await.expect("the table is there");
    let mut rows = batch(&[row(1, -1_500_000_000, 1, 7), row(2, 1_999_999_999, 1, 8)], 1, &[]);
    rows.created_times = Some(vec![Some(EventTime::from_nanos(-2_500_000_000)), None]);
    store.write(&prepared, rows).await.expect("both rows are taken");
    let expected = [
        ("f0".to_owned(), int64(7), Some("7".to_owned()), -1, Some(-2)),
        ("f0".to_owned(), int64(8), Some("8".to_owned()), 1, None),
    ];
    assert_eq!(repo.rows("one"), expected);
}

#[tokio::test]
async fn value_num_is_filled_where_the_table_has_it() {
    let repo = Repo::new(
        "CREATE TABLE conformance_num (entity_key BLOB, feature_name TEXT, value BLOB,
         value_text TEXT, value_num REAL, vector_value BLOB, event_ts timestamp,
         created_ts timestamp, PRIMARY KEY(entity_key, feature_name))",
    );
    let store = repo.store().await;
    let prepared =
        store.prepare(&view("num", 1), &WriteMode::default()).await.expect("the table is there");
    store.write(&prepared, batch(&[row(1, 1, 1, 7)], 1, &[])).await.expect("the row is taken");
    let number: f64 = repo
        .connection()
        .query_row("SELECT value_num FROM conformance_num", [], |row| row.get(0))
        .expect("one row");
    assert!((number - 7.0).abs() < f64::EPSILON);
}

#[tokio::test]
async fn a_row_that_feast_wrote_in_between_counts() {
    let (store, repo) = open().await;
    let prepared =
        store.prepare(&view("one", 1), &WriteMode::default()).await.expect("the table is there");
    let write = async |rows: &[conformance::Row]| {
        store.write(&prepared, batch(rows, 1, &[])).await.expect("the store takes the batch")
    };
    write(&[row(1, 10 * SECOND, 1, 1)]).await;
    // Feast overwrites with an older second, and no entry of ours says so.
    let feast = "UPDATE conformance_one SET event_ts = 5";
    assert_eq!(repo.connection().execute(feast, []).expect("one statement"), 1);
    let counts = write(&[row(1, 6 * SECOND, 1, 2)]).await;
    assert_eq!(counts, WriteCounts { written: 1, ..WriteCounts::default() });
    // A tombstone of ours, after which Feast brings the entity back.
    write(&[tombstone(1, 20 * SECOND)]).await;
    let feast = "INSERT INTO conformance_one (entity_key, feature_name, value, event_ts)
                 VALUES (?1, 'f0', x'2009', 12)";
    repo.connection().execute(feast, [entity_key(1, &[])]).expect("one statement");
    let counts = write(&[row(1, 15 * SECOND, 1, 3)]).await;
    assert_eq!(counts, WriteCounts { written: 1, ..WriteCounts::default() });
}

#[tokio::test]
async fn a_missing_table_or_database_says_what_to_do() {
    let repo = Repo::new("CREATE TABLE conformance_old (entity_key BLOB, value BLOB)");
    let store = repo.store().await;
    let error = store.prepare(&view("one", 1), &WriteMode::default()).await.expect_err("no table");
    assert!(matches!(&error, Error::TableMissing { table, .. } if table == "conformance_one"));
    assert!(error.to_string().contains("feast apply") && !error.is_retryable(), "{error}");
    let error =
        store.prepare(&view("old", 1), &WriteMode::default()).await.expect_err("an old table");
    assert!(matches!(error, Error::ColumnMissing { column: "feature_name", .. }), "{error}");

    let missing = OnlineStoreConfig::Sqlite { path: repo.directory.path().join("other.db") };
    let error = OnlineStore::connect(&missing, WriteLimits::default()).await;
    assert!(matches!(error, Err(Error::DatabaseMissing { path }) if !path.exists()));
}

#[tokio::test]
async fn a_database_that_was_emptied_is_noticed() {
    let (store, repo) = open().await;
    let before = store.prepare(&view("one", 1), &WriteMode::default()).await.expect("a table");
    store.mark(&before, &marker(1, 1), 0).await.expect("it is noted");
    repo.connection().execute_batch("DROP TABLE tidegate_markers").expect("it is there");
    let gone = |error: Error| assert!(matches!(error, Error::Emptied { .. }), "{error:?}");
    gone(store.confirm(&before).await.expect_err("it is gone"));
    let told = store.marker(&view("one", 1).view).await.expect("no table is no marker");
    assert_eq!(told.last, None);
    let after = store.prepare(&view("one", 1), &WriteMode::default()).await.expect("a table");
    assert_ne!(before.identity(), after.identity());
    gone(store.confirm(&before).await.expect_err("another nonce is as good as none"));
    gone(store.mark(&before, &marker(2, 2), 0).await.expect_err("who would note it would hide it"));
    store.mark(&after, &marker(1, 2), 0).await.expect("it is noted");
}

#[tokio::test]
async fn a_correction_sees_what_only_feast_wrote() {
    let (store, repo) = open().await;
    let feast = "INSERT INTO conformance_one (entity_key, feature_name, value, event_ts)
                 VALUES (?1, 'f0', x'2009', ?2)";
    for (entity, seconds) in [(1, 50), (2, 50), (3, 90_000)] {
        let row = (entity_key(entity, &[]), seconds);
        assert_eq!(repo.connection().execute(feast, row).expect("one statement"), 1);
    }
    let mode = correcting(1, 50 * SECOND, 60 * SECOND);
    let prepared = store.prepare(&view("one", 1), &mode).await.expect("the table is there");
    let interval = mode.correct.expect("it corrects");
    let found = store.stored_inside(&prepared, interval, &|_| false);
    let found: Vec<_> = futures::TryStreamExt::try_collect(found).await.expect("it can be walked");
    assert_eq!(found, [[entity_key(1, &[]), entity_key(2, &[])]]);
    let counts = store.write(&prepared, batch(&[row(1, SECOND, 1, 2)], 1, &[])).await;
    assert_eq!(counts.expect("it lies inside"), WriteCounts { written: 1, ..Default::default() });
    let keys = [1, 2, 3].map(|entity| entity_key(entity, &[]));
    assert_eq!(store.remove(&prepared, &keys).await.expect("the fence is ours"), 1);
    assert_eq!(repo.rows("one").len(), 2);
}

#[tokio::test]
async fn reading_what_only_feast_wrote_needs_no_table_of_ours() {
    let (store, repo) = open().await;
    let feast = "INSERT INTO conformance_one (entity_key, feature_name, value, event_ts)
                 VALUES (?1, 'f0', x'2009', 12)";
    repo.connection().execute(feast, [entity_key(1, &[])]).expect("one statement");
    let rows = store.read(&view("one", 1), &[entity_key(1, &[])]).await.expect("it can be read");
    assert_eq!(rows[0].as_ref().expect("the row").event_time, Some((12, 0)));
    let ours = "SELECT count(*) FROM sqlite_master WHERE name LIKE 'tidegate%'";
    let ours: i64 = repo.connection().query_row(ours, [], |row| row.get(0)).expect("one number");
    assert_eq!(ours, 0);
}

#[tokio::test]
async fn a_database_that_another_program_keeps_locked_is_a_retryable_failure() {
    let repo = Repo::new(&conformance::tables());
    let limits = WriteLimits {
        command_timeout: std::time::Duration::from_millis(50),
        ..WriteLimits::default()
    };
    let config = OnlineStoreConfig::Sqlite { path: repo.path() };
    let store = OnlineStore::connect(&config, limits).await.expect("the store opens");
    let prepared =
        store.prepare(&view("one", 1), &WriteMode::default()).await.expect("the table is there");
    let other = repo.connection();
    other.execute_batch("BEGIN IMMEDIATE").expect("the lock is free");
    let rows = batch(&[row(1, 1, 1, 1)], 1, &[]);
    let error = store.write(&prepared, rows.clone()).await.expect_err("locked");
    assert!(error.is_retryable(), "{error}");
    other.execute_batch("ROLLBACK").expect("the lock is ours");
    store.write(&prepared, rows).await.expect("the lock is free again");
}

#[tokio::test]
async fn a_stored_time_that_is_no_number_is_named() {
    let (store, repo) = open().await;
    let prepared =
        store.prepare(&view("one", 1), &WriteMode::default()).await.expect("the table is there");
    let broken = "INSERT INTO conformance_one (entity_key, feature_name, value, event_ts)
                  VALUES (?1, 'f0', x'2009', '2024-01-01')";
    repo.connection().execute(broken, [entity_key(1, &[])]).expect("one statement");
    let error = store.write(&prepared, batch(&[row(1, SECOND, 1, 1)], 1, &[])).await;
    assert!(matches!(error, Err(Error::StoredTime { view, .. }) if view == "conformance/one"));
}
