//! Feast's SQLite online store, written so that newer wins.
//!
//! Feast keeps whole seconds and looks at none before it writes; the exact event times that the
//! rule needs are in a table of ours beside its own (see `write`). One connection behind a lock:
//! SQLite takes one writer at a time anyway. Statements run on the blocking threads.

mod create;
mod own;
mod read;
mod sweep;
mod table;
#[cfg(test)]
mod tests;
mod write;

pub use create::create_tables;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use futures::stream::{BoxStream, StreamExt, try_unfold};
use model::{EncodedBatch, Interval, Marker, OnlineView, ViewRef, WriteCounts, WriteMode};
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use crate::error::{Error, hex};
use crate::limits::WriteLimits;
use crate::store::{Known, StoreMarker, StoredRow, assert_fits};
use sweep::Page;
use table::Table;
use write::Problem;

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
    mode: WriteMode,
    table: Arc<Table>,
    nonce: Arc<str>,
}

impl SqliteView {
    /// What the database said of itself when the view was prepared.
    pub(crate) fn nonce(&self) -> &str {
        &self.nonce
    }

    /// Names the view and what failed.
    fn failed_to(&self, operation: &'static str, path: &Path) -> impl FnOnce(Problem) -> Error {
        let (view, path) = (self.view.view.to_string(), path.to_owned());
        move |problem| match problem {
            Problem::Statement(source) => Error::Sqlite { operation, path, source },
            Problem::StoredTime { key } => Error::StoredTime { view, key: hex(&key) },
            Problem::Superseded { token, stored } => Error::Superseded { view, token, stored },
        }
    }
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

    pub(crate) async fn prepare(
        &self,
        view: OnlineView,
        mode: WriteMode,
    ) -> Result<SqliteView, Error> {
        self.run(move |path, connection| {
            let table = Arc::new(Table::find(path, connection, &view.view)?);
            write::create_event_times(connection)
                .map_err(failed_to("create table `tidegate_event_times`", path))?;
            let nonce = own::create(connection).and_then(|()| own::draw_nonce(connection));
            let nonce = nonce.map_err(failed_to("create table `tidegate_markers`", path))?;
            let view = SqliteView { view, mode, table, nonce: nonce.into() };
            put_up_fence(connection, &view).map_err(view.failed_to("put a fence up", path))?;
            Ok(view)
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
        let of = view.clone();
        self.run(move |path, connection| {
            write::write(connection, &of.table, &of.view, &of.mode, &batch)
                .map_err(of.failed_to("write rows", path))
        })
        .await
    }

    /// Confirms that the database is the one that the view was prepared on.
    pub(crate) async fn confirm(&self, view: &SqliteView) -> Result<(), Error> {
        let nonce = Arc::clone(&view.nonce);
        self.run(move |path, connection| {
            let found = own::nonce(connection).map_err(failed_to("read its nonce", path))?;
            if found.as_deref() == Some(&*nonce) { Ok(()) } else { Err(emptied(path)) }
        })
        .await
    }

    /// Asks the database for its schema.
    pub(crate) async fn ping(&self) -> Result<(), Error> {
        self.run(|path, connection| {
            let version = connection.query_row("PRAGMA schema_version", (), |_| Ok(()));
            version.map_err(failed_to("read its schema", path))
        })
        .await
    }

    /// The last commit of a view.
    pub(crate) async fn marker(&self, view: ViewRef) -> Result<StoreMarker, Error> {
        self.run(move |path, connection| {
            let last = own::marker(connection, &table::name(&view));
            let last = last.map_err(failed_to("read a marker", path))?;
            Ok(StoreMarker { last, is_whole: true })
        })
        .await
    }

    /// Notes a commit, unless a later one is noted.
    pub(crate) async fn mark(&self, view: &SqliteView, marker: Marker) -> Result<(), Error> {
        let of = view.clone();
        self.run(move |path, connection| {
            let failed = || of.failed_to("write a marker", path);
            let statement = |error| failed()(Problem::Statement(error));
            let transaction = write::begin(connection, &of.table, &of.mode).map_err(failed())?;
            if own::nonce(&transaction).map_err(statement)?.as_deref() != Some(&*of.nonce) {
                return Err(emptied(path));
            }
            let stored = own::marker(&transaction, &of.table.name).map_err(statement)?;
            if let Some(stored) = stored.filter(|stored| stored.sequence > marker.sequence) {
                let (view, sequence) = (of.view.view.to_string(), marker.sequence);
                return Err(Error::MarkerAhead { view, sequence, stored: stored.sequence });
            }
            own::mark(&transaction, &of.table.name, &marker).map_err(statement)?;
            transaction.commit().map_err(statement)
        })
        .await
    }

    /// The keys of a view that have an event time inside an interval and that are not known, a page
    /// at a time.
    pub(crate) fn stored_inside<'a>(
        &'a self,
        view: &'a SqliteView,
        interval: Interval,
        known: Known<'a>,
    ) -> BoxStream<'a, Result<Vec<Vec<u8>>, Error>> {
        // No key is as short as this one.
        try_unfold(Vec::new(), move |mut after| async move {
            loop {
                let Page { mut inside, last } = self.page(view, interval, after).await?;
                inside.retain(|key| !known(key));
                match last {
                    None => return Ok(None),
                    Some(last) if !inside.is_empty() => return Ok(Some((inside, last))),
                    Some(last) => after = last,
                }
            }
        })
        .boxed()
    }

    async fn page(
        &self,
        view: &SqliteView,
        interval: Interval,
        after: Vec<u8>,
    ) -> Result<Page, Error> {
        let of = view.clone();
        self.run(move |path, connection| {
            sweep::page(connection, &of.table, interval, &after)
                .map_err(of.failed_to("look for rows", path))
        })
        .await
    }

    /// Removes what the view has of each key whose event time lies inside the interval that it
    /// corrects.
    pub(crate) async fn remove(&self, view: &SqliteView, keys: Vec<Vec<u8>>) -> Result<u64, Error> {
        let of = view.clone();
        let interval = view.mode.correct.expect("who removes rows corrects an interval");
        self.run(move |path, connection| {
            let mut remove = || -> Result<u64, Problem> {
                let transaction = write::begin(connection, &of.table, &of.mode)?;
                let removed = sweep::remove(&transaction, &of.table, interval, &keys)?;
                transaction.commit()?;
                Ok(removed)
            };
            remove().map_err(of.failed_to("remove rows", path))
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

/// Puts the fence of a view up, unless one of a greater token stands there.
fn put_up_fence(connection: &mut Connection, view: &SqliteView) -> Result<(), Problem> {
    let Some(token) = view.mode.fence else { return Ok(()) };
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let stored = own::fence(&transaction, &view.table.name)?;
    if stored > Some(token) {
        return Err(Problem::Superseded { token, stored });
    }
    own::put_up_fence(&transaction, &view.table.name, token)?;
    Ok(transaction.commit()?)
}

fn emptied(path: &Path) -> Error {
    Error::Emptied { store: path.display().to_string() }
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
