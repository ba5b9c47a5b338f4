//! A connected ledger: the pool, how its sessions are set up, and how transactions begin.
//!
//! The only file, with `migrate.rs`, that knows there are two databases.

use std::time::Duration;

use model::EventTime;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions, install_default_drivers};
use sqlx::{Any, AnyConnection, AnyPool, Connection, Executor, Transaction};

use crate::Error;
use crate::migrate::{self, SCHEMA_VERSION};
use crate::url::{Backend, LedgerUrl};

/// Commits of one view queue on its row, and a run writes for minutes between two statements, so a
/// handful of sessions serves any number of views and spares the server's `max_connections`.
const POSTGRES_CONNECTIONS_MAX: u32 = 8;

/// SQLite has one writer; a second connection of ours would only wait for the first.
const SQLITE_CONNECTIONS_MAX: u32 = 1;

/// How long to wait for a session of the pool before the caller hears of it; as long as for a lock.
const ACQUIRE_WAIT_MAX: Duration = Duration::from_secs(30);

/// How long to wait for a server's first answer: far more than any network takes, and still short
/// for a person who mistyped the address.
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(10);

/// Settings of a PostgreSQL session.
///
/// Names resolve in our schema alone, whatever the role's own path is. A commit is durable even
/// where the server's default is not to wait for the disk; a stricter setting is left as it is.
/// The timeouts bound what a suspended or partitioned process can hold up: a wait for a lock fails
/// (and is retryable), and a transaction left open is rolled back.
const POSTGRES_SESSION: &str = "
    SET search_path = tidegate;
    SET lock_timeout = '30s';
    SET idle_in_transaction_session_timeout = '60s';
    DO $$ BEGIN
        IF current_setting('synchronous_commit') = 'off' THEN
            SET synchronous_commit = on;
        END IF;
    END $$;
";

/// A PostgreSQL session that cannot change anything, whatever is sent.
const POSTGRES_READ_ONLY: &str = "SET default_transaction_read_only = on";

/// Settings of a SQLite connection.
///
/// The journal stays SQLite's default, a rollback journal, and not a write-ahead log: a run commits
/// a few times a minute, so there is no speed to gain, while a single file can be copied, lies on
/// network file systems, and is read by `plan` and `status` without leaving files beside it.
/// `EXTRA` also syncs the directory once the journal is unlinked; with `FULL` a power loss right
/// after a commit may bring the journal back, and with it the state before the commit.
///
/// # Source
/// <https://sqlite.org/pragma.html#pragma_synchronous>
const SQLITE_SESSION: &str = "
    PRAGMA busy_timeout = 30000;
    PRAGMA foreign_keys = ON;
    PRAGMA synchronous = EXTRA;
";

/// A SQLite connection that changes nothing. The file is still opened for writing, because only
/// then can SQLite roll back what a killed process left half done.
const SQLITE_READ_ONLY: &str = "PRAGMA query_only = ON";

/// A connection to the ledger; clones share it.
#[derive(Clone, Debug)]
pub struct Ledger {
    pool: AnyPool,
    backend: Backend,
}

impl Ledger {
    /// Connects, makes the ledger if there is none, and applies missing migrations.
    ///
    /// Any number of processes may do this at once. The directory of a SQLite file must exist.
    ///
    /// # Errors
    /// [`Error::Open`], [`Error::NotALedger`], [`Error::NewerSchema`], [`Error::AlteredMigration`],
    /// [`Error::Migrate`].
    pub async fn open(url: &LedgerUrl) -> Result<Self, Error> {
        let ledger = Self::connect(url, Access::ReadWrite).await?;
        migrate::apply(&ledger, url, SCHEMA_VERSION).await?;
        Ok(ledger)
    }

    /// Makes a ledger as an earlier release would have, to see what becomes of it.
    #[cfg(feature = "conformance")]
    pub(crate) async fn open_at(url: &LedgerUrl, version: i64) -> Result<Self, Error> {
        let ledger = Self::connect(url, Access::ReadWrite).await?;
        migrate::apply(&ledger, url, version).await?;
        Ok(ledger)
    }

    /// Connects to an existing ledger without making or changing anything; `None` if there is none.
    ///
    /// Every writing method of the result fails. A SQLite file that a killed process left in the
    /// middle of a transaction is brought back to the last commit.
    ///
    /// # Errors
    /// [`Error::Open`], [`Error::NewerSchema`], [`Error::OlderSchema`],
    /// [`Error::AlteredMigration`].
    pub async fn open_read_only(url: &LedgerUrl) -> Result<Option<Self>, Error> {
        if url.path().is_some_and(|path| !path.exists()) {
            return Ok(None);
        }
        let ledger = Self::connect(url, Access::ReadOnly).await?;
        let found = migrate::version(&ledger, url).await?;
        match found {
            None => Ok(None),
            Some(found) if found < SCHEMA_VERSION => {
                Err(Error::OlderSchema { found, known: SCHEMA_VERSION })
            }
            Some(_) => Ok(Some(ledger)),
        }
    }

    /// The version of the schema this program works with, which is that of every opened ledger.
    pub const fn schema_version() -> i64 {
        SCHEMA_VERSION
    }

    /// Which database holds it.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Closes every connection once what runs on it has ended.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    pub(crate) fn pool(&self) -> &AnyPool {
        &self.pool
    }

    /// Begins a transaction that writes. On SQLite it holds the write lock from its first moment,
    /// so that what it reads is still true when it writes.
    pub(crate) async fn begin(&self) -> sqlx::Result<Transaction<'static, Any>> {
        self.pool
            .begin_with(match self.backend {
                Backend::Postgres => "BEGIN ISOLATION LEVEL READ COMMITTED",
                Backend::Sqlite => "BEGIN IMMEDIATE",
            })
            .await
    }

    /// Begins a transaction whose statements all see the same state and write nothing.
    pub(crate) async fn begin_snapshot(&self) -> sqlx::Result<Transaction<'static, Any>> {
        self.pool
            .begin_with(match self.backend {
                Backend::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
                Backend::Sqlite => "BEGIN DEFERRED",
            })
            .await
    }

    /// The database's clock, the only one that leases and silences are measured by. Read it after
    /// the row that it decides about is held, since waiting for that may take a while.
    pub(crate) async fn clock(&self, connection: &mut AnyConnection) -> sqlx::Result<EventTime> {
        let micros: i64 = sqlx::query_scalar(match self.backend {
            Backend::Postgres => {
                "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)"
            }
            Backend::Sqlite => "SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER) * 1000",
        })
        .fetch_one(connection)
        .await?;
        Ok(EventTime::from_micros(micros))
    }

    async fn connect(url: &LedgerUrl, access: Access) -> Result<Self, Error> {
        install_default_drivers();
        let options = url.connect_options(access == Access::ReadWrite)?;
        let backend = url.backend();
        let pool = AnyPoolOptions::new()
            .max_connections(match backend {
                Backend::Postgres => POSTGRES_CONNECTIONS_MAX,
                Backend::Sqlite => SQLITE_CONNECTIONS_MAX,
            })
            .acquire_timeout(ACQUIRE_WAIT_MAX)
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    for script in session(backend, access) {
                        connection.execute(sqlx::raw_sql(script)).await?;
                    }
                    Ok(())
                })
            })
            .connect_lazy_with(options.clone());
        probe(&options).await.map_err(|source| Error::Open { url: url.to_string(), source })?;
        Ok(Self { pool, backend })
    }
}

/// Connects once outside the pool, which would try a server that refuses for as long as it may and
/// then keep the cause to itself.
async fn probe(options: &AnyConnectOptions) -> sqlx::Result<()> {
    // Nothing has been asked of the server yet, so giving up half-way is harmless.
    let connected = tokio::time::timeout(CONNECT_WAIT_MAX, AnyConnection::connect_with(options));
    match connected.await {
        Ok(connection) => connection?.close().await,
        Err(_) => Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    ReadWrite,
    ReadOnly,
}

fn session(backend: Backend, access: Access) -> impl Iterator<Item = &'static str> {
    let (always, read_only) = match backend {
        Backend::Postgres => (POSTGRES_SESSION, POSTGRES_READ_ONLY),
        Backend::Sqlite => (SQLITE_SESSION, SQLITE_READ_ONLY),
    };
    [always].into_iter().chain((access == Access::ReadOnly).then_some(read_only))
}
