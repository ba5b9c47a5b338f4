//! Feast's SQLite online store, written so that newer wins.
//!
//! Feast keeps whole seconds and looks at none before it writes; the exact event times that the
//! rule needs are in a table of ours beside its own (see `write`). One connection behind a lock:
//! SQLite takes one writer at a time anyway. Statements run on the blocking threads.

mod create;
mod read;
mod table;
#[cfg(test)]
mod tests;
mod write;

pub use create::create_tables;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use model::{EncodedBatch, OnlineView, WriteCounts};
use rusqlite::{Connection, OpenFlags};

use crate::error::{Error, hex};
use crate::limits::WriteLimits;
use crate::store::{StoredRow, assert_fits};
use table::Table;

/// KiB of pages that SQLite may keep (negative means KiB): the upper levels of the trees of a
/// large table, so that each row costs one page read at most.
const CACHE_SIZE: i32 = -65_536;
/// Statements kept prepared: those of a few views side by side.
const STATEMENTS_CACHED: usize = 64;

/// Feast's SQLite online store.
#[derive(Debug)]
pub(crate) struct SqliteStore {
    database: Arc<Database>,
}

#[derive(Debug)]
struct Database {
    path: PathBuf,
    connection: Mutex<Connection>,
}

/// A view's place in SQLite.
#[derive(Clone, Debug)]
pub(crate) struct SqliteView {
    view: OnlineView,
    table: Arc<Table>,
}

impl SqliteStore {
    pub(crate) async fn open(path: PathBuf, limits: WriteLimits) -> Result<Self, Error> {
        blocking(move || {
            if !path.exists() {
                return Err(Error::DatabaseMissing { path });
            }
            let connection = connect(&path, &limits).map_err(failed_to("open it", &path))?;
            let database = Database { path, connection: Mutex::new(connection) };
            Ok(Self { database: Arc::new(database) })
        })
        .await
    }

    pub(crate) async fn prepare(&self, view: OnlineView) -> Result<SqliteView, Error> {
        self.run(move |path, connection| {
            let table = Table::find(path, connection, &view.view)?;
            write::create_event_times(connection)
                .map_err(failed_to("create table `tidegate_event_times`", path))?;
            Ok(SqliteView { view, table: Arc::new(table) })
        })
        .await
    }

    /// Writes a batch in one transaction, so a failure leaves nothing of it.
    pub(crate) async fn write(
        &self,
        view: &SqliteView,
        batch: EncodedBatch,
    ) -> Result<WriteCounts, Error> {
        assert_fits(&view.view, &batch);
        let view = view.clone();
        self.run(move |path, connection| {
            write::write(connection, &view.table, &view.view, &batch).map_err(|error| match error {
                write::Problem::Statement(source) => failed_to("write rows", path)(source),
                write::Problem::StoredTime { key } => {
                    Error::StoredTime { view: view.view.view.to_string(), key: hex(&key) }
                }
            })
        })
        .await
    }

    pub(crate) async fn read(
        &self,
        view: OnlineView,
        keys: Vec<Vec<u8>>,
    ) -> Result<Vec<Option<StoredRow>>, Error> {
        self.run(move |path, connection| {
            let table = Table::find(path, connection, &view.view)?;
            read::read(connection, &table, &view, &keys).map_err(failed_to("read rows", path))
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        action: impl FnOnce(&Path, &mut Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let database = self.database.clone();
        blocking(move || {
            // A panic in another writer rolled its transaction back; the connection is whole.
            let mut connection = database.connection.lock().unwrap_or_else(PoisonError::into_inner);
            action(&database.path, &mut connection)
        })
        .await
    }
}

fn connect(path: &Path, limits: &WriteLimits) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(limits.command_timeout)?;
    connection.pragma_update(None, "cache_size", CACHE_SIZE)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    Ok(connection)
}

async fn blocking<T: Send + 'static>(
    action: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(action).await.map_err(Error::Stopped)?
}

fn failed_to(operation: &'static str, path: &Path) -> impl FnOnce(rusqlite::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Sqlite { operation, path, source }
}
