//! A registry in PostgreSQL or SQLite: rows to bytes, and edits under a row lock.
//!
//! Both databases take the same statements, so each is written once; what differs is how a
//! transaction begins. `feast::registry` understands the bytes. Each call has a connection of its
//! own: there are few, minutes apart, and a pool would wait out its time limit on a server that
//! refuses us, and then not say why.

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use feast::config::redact;
use feast::registry::{RawObjects, record_interval, view_in_history};
use feast::{FeatureView, ViewKind};
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, PgConnection, SqliteConnection};

use crate::Error;
use crate::file::is_file;
use crate::intervals::{Recorded, Recording};

/// A server that does not let us in within this time is down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Feast holds SQLite's write lock for milliseconds; this is patience with a slow disk.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// All tables are read as of one moment.
const BEGIN_SNAPSHOT_POSTGRES: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
const BEGIN_SNAPSHOT_SQLITE: &str = "BEGIN DEFERRED";
/// SQLite has no row locks: the lock is taken at once, before the row is read.
const BEGIN_EDIT_SQLITE: &str = "BEGIN IMMEDIATE";

const TABLES_POSTGRES: &str = "SELECT table_name::text FROM information_schema.tables \
                               WHERE table_schema = ANY (current_schemas(false))";
const TABLES_SQLITE: &str = "SELECT name FROM sqlite_master WHERE type = 'table'";
/// The table without which a database is no registry.
const MAIN_TABLE: &str = "feature_views";

const ENTITIES: &str = "SELECT entity_proto FROM entities WHERE project_id = $1";
const SERVICES: &str = "SELECT feature_service_proto FROM feature_services WHERE project_id = $1";
/// Without `ORDER BY`, as Feast reads them: its order is the database's.
const VIEWS: [(ViewKind, &str, &str); 4] = [
    (
        ViewKind::Feature,
        "feature_views",
        "SELECT feature_view_proto FROM feature_views WHERE project_id = $1",
    ),
    (
        ViewKind::Stream,
        "stream_feature_views",
        "SELECT feature_view_proto FROM stream_feature_views WHERE project_id = $1",
    ),
    (
        ViewKind::OnDemand,
        "on_demand_feature_views",
        "SELECT feature_view_proto FROM on_demand_feature_views WHERE project_id = $1",
    ),
    (
        ViewKind::Label,
        "label_views",
        "SELECT feature_view_proto FROM label_views WHERE project_id = $1",
    ),
];
const HISTORY: &str = "SELECT feature_view_type, feature_view_proto \
                       FROM feature_view_version_history \
                       WHERE feature_view_name = $1 AND project_id = $2 AND version_number = $3";
const METADATA: &str = "INSERT INTO feast_metadata \
                        (project_id, metadata_key, metadata_value, last_updated_timestamp) \
                        VALUES ($1, 'last_updated_timestamp', $2, $3) \
                        ON CONFLICT (project_id, metadata_key) DO UPDATE SET \
                        metadata_value = excluded.metadata_value, \
                        last_updated_timestamp = excluded.last_updated_timestamp";

/// Statements on the table of a kind of view.
struct ViewTable {
    select: &'static str,
    select_for_update: &'static str,
    update: &'static str,
}

const FEATURE_VIEWS: ViewTable = ViewTable {
    select: "SELECT feature_view_proto FROM feature_views \
             WHERE feature_view_name = $1 AND project_id = $2",
    select_for_update: "SELECT feature_view_proto FROM feature_views \
                        WHERE feature_view_name = $1 AND project_id = $2 FOR UPDATE",
    update: "UPDATE feature_views SET feature_view_proto = $1, last_updated_timestamp = $2 \
             WHERE feature_view_name = $3 AND project_id = $4",
};
const STREAM_FEATURE_VIEWS: ViewTable = ViewTable {
    select: "SELECT feature_view_proto FROM stream_feature_views \
             WHERE feature_view_name = $1 AND project_id = $2",
    select_for_update: "SELECT feature_view_proto FROM stream_feature_views \
                        WHERE feature_view_name = $1 AND project_id = $2 FOR UPDATE",
    update: "UPDATE stream_feature_views SET feature_view_proto = $1, last_updated_timestamp = $2 \
             WHERE feature_view_name = $3 AND project_id = $4",
};

impl ViewTable {
    /// The table of a kind that has intervals; the others never come here.
    fn of(kind: ViewKind) -> Self {
        match kind {
            ViewKind::Stream => STREAM_FEATURE_VIEWS,
            ViewKind::Feature | ViewKind::OnDemand | ViewKind::Label => FEATURE_VIEWS,
        }
    }
}

/// A SQL registry.
#[derive(Clone)]
pub(crate) struct SqlRegistry {
    database: Database,
    location: String,
    /// Tells whether `feast_metadata` is written.
    with_metadata: bool,
}

#[derive(Clone)]
enum Database {
    Postgres(PgConnectOptions),
    Sqlite(SqliteConnectOptions),
}

/// Without the options, which hold the password.
impl fmt::Debug for SqlRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlRegistry")
            .field("location", &self.location)
            .field("with_metadata", &self.with_metadata)
            .finish_non_exhaustive()
    }
}

/// Reads the objects of a project in a transaction of either database; `None` when the database is
/// no registry.
macro_rules! read_objects {
    ($transaction:expr, $tables:expr, $project:expr) => {{
        let rows: Vec<(String,)> = sqlx::query_as($tables).fetch_all(&mut *$transaction).await?;
        let tables: HashSet<String> = rows.into_iter().map(|(name,)| name).collect();
        if !tables.contains(MAIN_TABLE) {
            return Ok(None);
        }
        let mut raw = RawObjects::default();
        for (statement, list) in [(ENTITIES, &mut raw.entities), (SERVICES, &mut raw.services)] {
            let rows: Vec<(Vec<u8>,)> =
                sqlx::query_as(statement).bind($project).fetch_all(&mut *$transaction).await?;
            list.extend(rows.into_iter().map(|(bytes,)| bytes));
        }
        // A registry that an older Feast made has not all of the newer kinds' tables.
        for (kind, _, statement) in VIEWS.iter().filter(|(_, table, _)| tables.contains(*table)) {
            let rows: Vec<(Vec<u8>,)> =
                sqlx::query_as(*statement).bind($project).fetch_all(&mut *$transaction).await?;
            raw.views.extend(rows.into_iter().map(|(bytes,)| (*kind, bytes)));
        }
        $transaction.rollback().await?;
        Ok(Some(raw))
    }};
}

/// Reads a view's row in a transaction of either database: the statement locks it, or the
/// transaction has locked it.
macro_rules! read_row {
    ($transaction:expr, $select:expr, $recording:expr) => {{
        let row: Option<(Vec<u8>,)> = sqlx::query_as($select)
            .bind(&$recording.view)
            .bind(&$recording.project)
            .fetch_optional(&mut *$transaction)
            .await?;
        row.map(|(bytes,)| bytes)
    }};
}

/// Writes a view's row and the time of the last update, and commits.
macro_rules! write_row {
    ($transaction:expr, $update:expr, $recording:expr, $bytes:expr, $with_metadata:expr) => {{
        let now = $recording.now_seconds();
        sqlx::query($update)
            .bind($bytes)
            .bind(now)
            .bind(&$recording.view)
            .bind(&$recording.project)
            .execute(&mut *$transaction)
            .await?;
        if $with_metadata {
            sqlx::query(METADATA)
                .bind(&$recording.project)
                .bind(now.to_string())
                .bind(now)
                .execute(&mut *$transaction)
                .await?;
        }
        $transaction.commit().await?;
    }};
}

/// Runs one transaction's work on a view's row.
macro_rules! edit_row {
    ($begin:expr, $select:expr, $update:expr, $recording:expr, $registry:expr) => {{
        let mut transaction = $begin.await?;
        let decision = match read_row!(transaction, $select, $recording) {
            None => Ok(Err(Recorded::ViewGone)),
            Some(bytes) => $registry.edited(&bytes, $recording),
        };
        match decision {
            Ok(Ok(bytes)) => {
                let with_metadata = $registry.with_metadata;
                write_row!(transaction, $update, $recording, bytes, with_metadata);
                Ok(Ok(Recorded::Added))
            }
            Ok(Err(recorded)) => {
                transaction.rollback().await?;
                Ok(Ok(recorded))
            }
            Err(misunderstood) => {
                transaction.rollback().await?;
                Ok(Err(misunderstood))
            }
        }
    }};
}

impl SqlRegistry {
    pub(crate) fn postgres(url: &str, with_metadata: bool) -> Result<Self, Error> {
        let location = redact(url);
        let options = PgConnectOptions::from_str(url)
            .map_err(|source| Error::Url { location: location.clone(), source: source.into() })?;
        Ok(Self { database: Database::Postgres(options), location, with_metadata })
    }

    pub(crate) async fn sqlite(path: &Path, with_metadata: bool) -> Result<Self, Error> {
        let location = path.display().to_string();
        if !is_file(path).await? {
            let hint = "run `feast apply`, or correct `registry.path` in `feature_store.yaml`: a \
                        relative `sqlite:///` path starts at the working directory of the process, \
                        as in Feast, so start it in the repository or write an absolute path with \
                        four slashes";
            return Err(Error::Missing { location, hint });
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(false)
            .busy_timeout(BUSY_TIMEOUT);
        Ok(Self { database: Database::Sqlite(options), location, with_metadata })
    }

    /// Connects, within a time limit.
    async fn connect<C: Connection>(&self, options: &C::Options) -> Result<C, Error> {
        let connecting = tokio::time::timeout(CONNECT_TIMEOUT, C::connect_with(options)).await;
        connecting
            .unwrap_or_else(|_| Err(sqlx::Error::Io(io::ErrorKind::TimedOut.into())))
            .map_err(|source| self.failed("connect to", source))
    }

    /// Ends a connection. What was asked for is decided by then, so a farewell that fails is only
    /// noted.
    async fn close<C: Connection>(&self, connection: C) {
        if let Err(error) = connection.close().await {
            tracing::debug!(%error, location = self.location, "failed to close a connection");
        }
    }

    /// Reads all objects of a project.
    pub(crate) async fn objects(&self, project: &str) -> Result<RawObjects, Error> {
        let raw = match &self.database {
            Database::Postgres(options) => {
                let mut connection: PgConnection = self.connect(options).await?;
                let raw = postgres_objects(&mut connection, project).await;
                self.close(connection).await;
                raw
            }
            Database::Sqlite(options) => {
                let mut connection: SqliteConnection = self.connect(options).await?;
                let raw = sqlite_objects(&mut connection, project).await;
                self.close(connection).await;
                raw
            }
        };
        raw.map_err(|source| self.failed("read the definitions in", source))?
            .ok_or_else(|| Error::NoTables { location: self.location.clone() })
    }

    /// Reads a view as it was at a version.
    pub(crate) async fn view_at_version(
        &self,
        project: &str,
        name: &str,
        version: u32,
    ) -> Result<Option<FeatureView>, Error> {
        let raw = self.objects(project).await?;
        let Ok(number) = i32::try_from(version) else { return Ok(None) };
        let row: Result<Option<(String, Vec<u8>)>, _> = match &self.database {
            Database::Postgres(options) => {
                let mut connection: PgConnection = self.connect(options).await?;
                let query = sqlx::query_as(HISTORY).bind(name).bind(project).bind(number);
                let row = query.fetch_optional(&mut connection).await;
                self.close(connection).await;
                row
            }
            Database::Sqlite(options) => {
                let mut connection: SqliteConnection = self.connect(options).await?;
                let query = sqlx::query_as(HISTORY).bind(name).bind(project).bind(number);
                let row = query.fetch_optional(&mut connection).await;
                self.close(connection).await;
                row
            }
        };
        let row = row.map_err(|source| self.failed("read the version history in", source))?;
        let Some((view_type, bytes)) = row else { return Ok(None) };
        view_in_history(&view_type, &bytes, version, &raw)
            .map(Some)
            .map_err(|source| self.misunderstood(source))
    }

    /// Records an interval in one transaction.
    pub(crate) async fn record(&self, recording: &Recording) -> Result<Recorded, Error> {
        let recorded = match &self.database {
            Database::Postgres(options) => {
                let mut connection: PgConnection = self.connect(options).await?;
                let recorded = self.record_postgres(&mut connection, recording).await;
                self.close(connection).await;
                recorded
            }
            Database::Sqlite(options) => {
                let mut connection: SqliteConnection = self.connect(options).await?;
                let recorded = self.record_sqlite(&mut connection, recording).await;
                self.close(connection).await;
                recorded
            }
        };
        recorded.map_err(|source| self.failed("record an interval in", source))?
    }

    async fn record_postgres(
        &self,
        connection: &mut PgConnection,
        recording: &Recording,
    ) -> Result<Result<Recorded, Error>, sqlx::Error> {
        let table = ViewTable::of(recording.kind);
        let begin = connection.begin();
        edit_row!(begin, table.select_for_update, table.update, recording, self)
    }

    async fn record_sqlite(
        &self,
        connection: &mut SqliteConnection,
        recording: &Recording,
    ) -> Result<Result<Recorded, Error>, sqlx::Error> {
        let table = ViewTable::of(recording.kind);
        let begin = connection.begin_with(BEGIN_EDIT_SQLITE);
        edit_row!(begin, table.select, table.update, recording, self)
    }

    /// The row's new bytes, or why there are none.
    fn edited(
        &self,
        row: &[u8],
        recording: &Recording,
    ) -> Result<Result<Vec<u8>, Recorded>, Error> {
        let edited = record_interval(row, recording.interval);
        let edited = edited.map_err(|source| self.misunderstood(source))?;
        Ok(edited.ok_or(Recorded::AlreadyThere))
    }

    fn failed(&self, operation: &'static str, source: sqlx::Error) -> Error {
        Error::Sql { operation, location: self.location.clone(), source }
    }

    fn misunderstood(&self, source: feast::registry::Error) -> Error {
        Error::Bytes { location: self.location.clone(), source }
    }
}

async fn postgres_objects(
    connection: &mut PgConnection,
    project: &str,
) -> Result<Option<RawObjects>, sqlx::Error> {
    let mut transaction = connection.begin_with(BEGIN_SNAPSHOT_POSTGRES).await?;
    read_objects!(transaction, TABLES_POSTGRES, project)
}

async fn sqlite_objects(
    connection: &mut SqliteConnection,
    project: &str,
) -> Result<Option<RawObjects>, sqlx::Error> {
    let mut transaction = connection.begin_with(BEGIN_SNAPSHOT_SQLITE).await?;
    read_objects!(transaction, TABLES_SQLITE, project)
}

#[cfg(test)]
mod tests {
    use feast::registry::{IntervalRecord, Snapshot};

    use super::*;

    const BEFORE: &[u8] = include_bytes!("../../feast/testdata/registry/sqlite_before.sqlite");
    const AFTER: &[u8] = include_bytes!("../../feast/testdata/registry/sqlite_after.sqlite");
    const START: i64 = 1_672_531_200_000_000;
    const END: i64 = 1_735_689_600_000_000;
    const NOW: i64 = 1_795_428_000_000_005;

    async fn registry(bytes: &[u8], with_metadata: bool) -> (tempfile::TempDir, SqlRegistry) {
        let directory = tempfile::tempdir().expect("there is room");
        let path = directory.path().join("registry.sqlite");
        std::fs::write(&path, bytes).expect("there is room");
        let registry = SqlRegistry::sqlite(&path, with_metadata).await.expect("it is there");
        (directory, registry)
    }

    fn recording(end_micros: i64) -> Recording {
        Recording {
            project: "proj".to_owned(),
            view: "fv".to_owned(),
            kind: ViewKind::Feature,
            interval: IntervalRecord { start_micros: START, end_micros, now_micros: NOW },
        }
    }

    /// Intervals that do not adjoin one another.
    fn apart(number: i64) -> Recording {
        let (start_micros, end_micros) = (number * 10, number * 10 + 5);
        let interval = IntervalRecord { start_micros, end_micros, now_micros: NOW };
        Recording { interval, ..recording(END) }
    }

    async fn snapshot(registry: &SqlRegistry) -> Snapshot {
        let raw = registry.objects("proj").await.expect("it can be read");
        Snapshot::decode(&raw).expect("Feast wrote it")
    }

    async fn connection(registry: &SqlRegistry) -> SqliteConnection {
        match &registry.database {
            Database::Sqlite(options) => registry.connect(options).await.expect("it is there"),
            Database::Postgres(_) => panic!("these tests use SQLite"),
        }
    }

    type Row = (i64, Option<Vec<u8>>, Vec<u8>);

    async fn row(registry: &SqlRegistry) -> Row {
        let statement = "SELECT last_updated_timestamp, materialized_intervals, feature_view_proto \
                         FROM feature_views WHERE feature_view_name = 'fv'";
        let mut connection = connection(registry).await;
        sqlx::query_as(statement).fetch_one(&mut connection).await.expect("the view is there")
    }

    async fn metadata(registry: &SqlRegistry) -> (String, i64) {
        let statement = "SELECT metadata_value, last_updated_timestamp FROM feast_metadata \
                         WHERE project_id = 'proj' AND metadata_key = 'last_updated_timestamp'";
        let mut connection = connection(registry).await;
        sqlx::query_as(statement).fetch_one(&mut connection).await.expect("Feast made it")
    }

    #[tokio::test]
    async fn recording_leaves_what_feast_leaves() {
        let (_directory, ours) = registry(BEFORE, true).await;
        let recorded = ours.record(&recording(END)).await.expect("it can be recorded");
        assert_eq!(recorded, Recorded::Added);
        let (_directory, theirs) = registry(AFTER, true).await;
        assert_eq!(snapshot(&ours).await, snapshot(&theirs).await);
        let (updated, intervals, proto) = row(&ours).await;
        assert_eq!((updated, intervals), (1_795_428_000, None));
        let (_directory, before) = registry(BEFORE, true).await;
        assert_ne!(proto, row(&before).await.2);
        assert_eq!(metadata(&ours).await, ("1795428000".to_owned(), 1_795_428_000));
    }

    #[tokio::test]
    async fn an_interval_is_recorded_once() {
        let (_directory, registry) = registry(AFTER, true).await;
        let before = (row(&registry).await, metadata(&registry).await);
        let recorded = registry.record(&recording(END)).await.expect("it can be repeated");
        assert_eq!(recorded, Recorded::AlreadyThere);
        assert_eq!((row(&registry).await, metadata(&registry).await), before);
    }

    #[tokio::test]
    async fn purged_metadata_is_not_written() {
        let (_directory, registry) = registry(BEFORE, false).await;
        let before = metadata(&registry).await;
        registry.record(&recording(END)).await.expect("it can be recorded");
        assert_eq!(metadata(&registry).await, before);
    }

    #[tokio::test]
    async fn a_view_that_is_gone_changes_nothing() {
        let (_directory, registry) = registry(BEFORE, true).await;
        for gone in [
            Recording { view: "other".to_owned(), ..recording(END) },
            Recording { project: "other".to_owned(), ..recording(END) },
            Recording { kind: ViewKind::Stream, ..recording(END) },
        ] {
            let recorded = registry.record(&gone).await.expect("it can be read");
            assert_eq!(recorded, Recorded::ViewGone);
        }
        let (_directory, untouched) = self::registry(BEFORE, true).await;
        assert_eq!(row(&registry).await, row(&untouched).await);
    }

    #[tokio::test]
    async fn versions_come_from_the_history() {
        let (_directory, registry) = registry(AFTER, true).await;
        let version = async |number| {
            registry.view_at_version("proj", "fv", number).await.expect("it can be read")
        };
        let view = version(0).await.expect("apply made version 0");
        assert_eq!(view.version, Some(0));
        assert!(view.materialization_intervals.is_empty());
        assert_eq!(version(1).await, None);
        assert_eq!(version(u32::MAX).await, None);
    }

    /// What a tag adds to a view's message.
    fn tag(value: &str) -> Vec<u8> {
        let length = |bytes: &[u8]| u8::try_from(bytes.len()).expect("it is short");
        let entry = [b"\x0a\x05apply\x12", &[length(value.as_bytes())][..], value.as_bytes()];
        let entry = entry.concat();
        let tags = [&[0x2a, length(&entry)], &entry[..]].concat();
        [&[0x0a, length(&tags)], &tags[..]].concat()
    }

    /// Changes the definition as `feast apply` does, if it is not itself late.
    async fn apply(connection: &mut SqliteConnection, value: &str) -> Result<(), sqlx::Error> {
        let mut transaction = connection.begin_with(BEGIN_EDIT_SQLITE).await?;
        let (mut bytes,): (Vec<u8>,) = sqlx::query_as(FEATURE_VIEWS.select)
            .bind("fv")
            .bind("proj")
            .fetch_one(&mut *transaction)
            .await?;
        bytes.extend(tag(value));
        sqlx::query(FEATURE_VIEWS.update)
            .bind(bytes)
            .bind(1_i64)
            .bind("fv")
            .bind("proj")
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 3)]
    async fn recorders_and_an_apply_lose_nothing() {
        const EACH: i64 = 15;
        let (directory, first) = registry(BEFORE, true).await;
        let path = directory.path().join("registry.sqlite");
        let second = SqlRegistry::sqlite(&path, true).await.expect("it is there");
        let recorders = [(first.clone(), 0), (second, EACH)].map(|(registry, from)| {
            tokio::spawn(async move {
                for number in from..from + EACH {
                    let recorded = registry.record(&apart(number)).await;
                    assert_eq!(recorded.expect("it can be recorded"), Recorded::Added);
                }
            })
        });
        let mut connection = connection(&first).await;
        let applier = tokio::spawn(async move {
            for number in 1..=EACH {
                apply(&mut connection, &number.to_string()).await.expect("it can be applied");
            }
        });
        for task in recorders.into_iter().chain([applier]) {
            task.await.expect("it ends well");
        }
        let view = snapshot(&first).await.views.remove(0);
        assert_eq!(view.tags["apply"], EACH.to_string());
        let intervals = view.materialization_intervals;
        let mut starts: Vec<i64> = intervals.into_iter().map(|(start, _)| start).collect();
        starts.sort_unstable();
        assert_eq!(starts, (0..2 * EACH).map(|number| number * 10).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_missing_database_is_told_and_not_made() {
        let directory = tempfile::tempdir().expect("there is room");
        let path = directory.path().join("registry.sqlite");
        let error =
            SqlRegistry::sqlite(&path, true).await.expect_err("it is not there").to_string();
        assert!(error.contains("working directory"), "{error}");
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_database_without_tables_is_told_and_left_alone() {
        let (directory, registry) = registry(b"", true).await;
        let error = registry.objects("proj").await.expect_err("it is empty");
        assert!(matches!(error, Error::NoTables { .. }), "{error}");
        let path = directory.path().join("registry.sqlite");
        assert_eq!(std::fs::metadata(path).expect("it is there").len(), 0);
    }

    #[tokio::test]
    async fn a_password_is_not_told() {
        let registry = SqlRegistry::postgres("postgresql://u:secret@127.0.0.1:1/d", true);
        let registry = registry.expect("the URL is well formed");
        let error = registry.record(&recording(END)).await.expect_err("nobody listens");
        assert!(error.is_retryable());
        assert!(format!("{error:?}").contains("ConnectionRefused"), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
    }
}
