//! The one door to whichever online store the configuration names.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use feast::config::OnlineStoreConfig;
use model::{EncodedBatch, MemoryState, OnlineView, RowSize, WriteCounts};

use crate::error::Error;
use crate::limits::WriteLimits;
use crate::memory::MemoryStore;
use crate::pace::{Pace, PaceLimits};
use crate::redis::{RedisStore, RedisView};
use crate::sqlite::{SqliteStore, SqliteView};

/// An online store.
///
/// Every writer of one process shares it: [`Self::write`] may run for many batches at once.
#[derive(Debug)]
pub struct OnlineStore {
    backend: Backend,
    pace: Arc<Pace>,
}

#[derive(Debug)]
enum Backend {
    Redis(Box<RedisStore>),
    Sqlite(SqliteStore),
    Memory(MemoryStore),
}

/// A view that was checked and may be written: see [`OnlineStore::prepare`].
#[derive(Clone, Debug)]
pub struct PreparedView {
    layout: Layout,
}

#[derive(Clone, Debug)]
enum Layout {
    Redis(Arc<RedisView>),
    Sqlite(SqliteView),
    Memory(OnlineView),
}

/// One entity's row of one view, as stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredRow {
    /// Seconds since the epoch, rounded down, and the nanoseconds above them; `None` when the
    /// store has features but no event time.
    pub event_time: Option<(i64, i32)>,
    /// One entry a feature of the view, in its order: the serialized Feast value, empty for null;
    /// `None` where nothing is stored, as after a tombstone.
    pub values: Vec<Option<Bytes>>,
}

impl OnlineStore {
    /// Connects to the store that the configuration names.
    ///
    /// # Errors
    /// When it cannot be reached or does not let us in; for SQLite, when the file does not exist.
    pub async fn connect(config: &OnlineStoreConfig, limits: WriteLimits) -> Result<Self, Error> {
        let pace = Arc::new(Pace::new(limits.pace));
        let backend = match config {
            OnlineStoreConfig::Redis(config) => {
                let store = RedisStore::connect(config, limits, Arc::clone(&pace)).await?;
                Backend::Redis(Box::new(store))
            }
            OnlineStoreConfig::Sqlite { path } => {
                Backend::Sqlite(SqliteStore::open(path.clone(), limits).await?)
            }
        };
        Ok(Self { backend, pace })
    }

    /// An online store in this process's memory: the rules in their simplest form, against which
    /// the others are checked.
    pub fn memory() -> Self {
        let backend = Backend::Memory(MemoryStore::default());
        Self { backend, pace: Arc::new(Pace::new(PaceLimits::default())) }
    }

    /// What a store's key carries after the serialized entity key: the project for Redis.
    pub fn key_suffix<'a>(&self, project: &'a str) -> &'a [u8] {
        match self.backend {
            Backend::Redis(_) => project.as_bytes(),
            Backend::Sqlite(_) | Backend::Memory(_) => &[],
        }
    }

    /// Checks, before anything is written, that a view can be: the server is writable and has our
    /// script, no two features share a hash field, the SQLite table exists.
    ///
    /// # Errors
    /// What does not hold, and what to do.
    pub async fn prepare(&self, view: &OnlineView) -> Result<PreparedView, Error> {
        let layout = match &self.backend {
            Backend::Redis(store) => Layout::Redis(Arc::new(store.prepare(view).await?)),
            Backend::Sqlite(store) => Layout::Sqlite(store.prepare(view.clone()).await?),
            Backend::Memory(_) => Layout::Memory(view.clone()),
        };
        Ok(PreparedView { layout })
    }

    /// Writes a batch; when it returns, every row is acknowledged.
    ///
    /// A row is refused as stale when the stored one has an equal or greater event time and lies
    /// after the epoch. A tombstone removes the features and keeps its event time. Writing a batch
    /// again, in part or as a whole, is harmless.
    ///
    /// # Errors
    /// Rows before the failing one may have been written; retries within the limits are done.
    /// # Panics
    /// When the view was prepared by another kind of store, or the batch has other columns.
    /// # Cancel safety
    /// A batch that is dropped half-way may still be written in part or as a whole.
    pub async fn write(
        &self,
        view: &PreparedView,
        batch: EncodedBatch,
    ) -> Result<WriteCounts, Error> {
        match (&self.backend, &view.layout) {
            (Backend::Redis(store), Layout::Redis(view)) => store.write(view, &batch).await,
            (Backend::Sqlite(store), Layout::Sqlite(view)) => {
                // One transaction a batch; Redis is paced a pipeline at a time.
                self.pace.admit(batch.len()).await;
                store.write(view, batch).await
            }
            (Backend::Memory(store), Layout::Memory(view)) => Ok(store.write(view, &batch)),
            _ => panic!("the view was prepared by another kind of online store"),
        }
    }

    /// Confirms, after the last batch of a view and before it counts as done, that the store is the
    /// one that [`Self::prepare`] saw, so that what it acknowledged is still there.
    ///
    /// # Errors
    /// [`Error::Restarted`]: everything since [`Self::prepare`] is to be written again.
    /// [`Error::Evicted`]: keys were given up since, of whatever view or program; writing again
    /// would give up as many.
    pub async fn confirm(&self, view: &PreparedView) -> Result<(), Error> {
        match (&self.backend, &view.layout) {
            (Backend::Redis(store), Layout::Redis(view)) => store.confirm(view).await,
            _ => Ok(()),
        }
    }

    /// The memory of the servers; empty for SQLite, and where `INFO` is forbidden.
    ///
    /// # Errors
    /// When a server cannot be asked; retries within the limits are done.
    pub async fn server_memory(&self) -> Result<Vec<MemoryState>, Error> {
        match &self.backend {
            Backend::Redis(store) => store.memory().await,
            Backend::Sqlite(_) | Backend::Memory(_) => Ok(Vec::new()),
        }
    }

    /// Bytes that a new row takes in a server's memory; 0 where memory has no limit.
    pub fn row_bytes(&self, view: &OnlineView, size: &RowSize) -> u64 {
        match &self.backend {
            Backend::Redis(store) => store.row_bytes(view, size),
            Backend::Sqlite(_) | Backend::Memory(_) => 0,
        }
    }

    /// How long writing was held back so far because the store answered slowly.
    pub fn slowed(&self) -> Duration {
        self.pace.slowed()
    }

    /// Reads one row a key, in the order of the keys; `None` where nothing of the view is stored.
    ///
    /// Keys are the store's: serialized entity keys with [`Self::key_suffix`] after them.
    ///
    /// # Errors
    /// When the store cannot be read; retries within the limits are done.
    pub async fn read(
        &self,
        view: &OnlineView,
        keys: &[Vec<u8>],
    ) -> Result<Vec<Option<StoredRow>>, Error> {
        match &self.backend {
            Backend::Redis(store) => store.read(view, keys).await,
            Backend::Sqlite(store) => store.read(view.clone(), keys.to_vec()).await,
            Backend::Memory(store) => Ok(store.read(view, keys)),
        }
    }
}

/// Says, as a panic, that a batch does not fit its view: a bug of ours that would shift columns.
pub(crate) fn assert_fits(view: &OnlineView, batch: &EncodedBatch) {
    let rows = batch.len();
    assert_eq!(batch.features.len(), view.features.len(), "columns of view `{}`", view.view);
    assert_eq!(batch.keys.len(), rows, "keys of view `{}`", view.view);
    assert!(
        batch.features.iter().all(|column| column.len() == rows),
        "a column of view `{}` has not {rows} rows",
        view.view
    );
}
