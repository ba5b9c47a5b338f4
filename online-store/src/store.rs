//! The one door to whichever online store the configuration names.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use feast::config::OnlineStoreConfig;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{BoxStream, StreamExt};
use model::{
    EncodedBatch, Interval, Marker, MemoryState, OnlineView, RowSize, ViewRef, WriteCounts,
    WriteMode,
};

use crate::error::Error;
use crate::fetch::{self, Fetch, FetchedRow};
use crate::limits::WriteLimits;
use crate::memory::{MemoryStore, MemoryView};
use crate::pace::{Pace, PaceLimits};
use crate::redis::{RedisStore, RedisView};
use crate::sqlite::{SqliteStore, SqliteView};

/// What a caller knows of keys.
pub(crate) type Known<'a> = &'a (dyn Fn(&[u8]) -> bool + Sync);

/// What a panic says of a view that was prepared elsewhere.
const OTHER_STORE: &str = "the view was prepared by another kind of online store";

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
    corrects: bool,
}

#[derive(Clone, Debug)]
enum Layout {
    Redis(Arc<RedisView>),
    Sqlite(SqliteView),
    Memory(Arc<MemoryView>),
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

/// What a store tells of a view's last commit: see [`OnlineStore::marker`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreMarker {
    /// The last commit that every part of the store has.
    pub last: Option<Marker>,
    /// Tells whether all parts of the store say the same. They do not when some were emptied or
    /// replaced, nor when a process stopped while it was noting a commit.
    pub is_whole: bool,
}

impl StoreMarker {
    /// The least of what parts of a store tell: nothing where one of them has none, else the older
    /// commit. Attempts of one sequence are told apart by their ids, which grow with time.
    pub(crate) fn least(told: &[Option<Marker>]) -> Self {
        let age = |marker: &Option<Marker>| marker.map(|marker| (marker.sequence, marker.attempt));
        let last = told.iter().min_by_key(|&marker| age(marker)).copied().flatten();
        Self { last, is_whole: told.windows(2).all(|pair| pair[0] == pair[1]) }
    }
}

impl PreparedView {
    /// The store and what is in it, as a text that stays the same, in whatever process, as long as
    /// no server was restarted, replaced or emptied.
    pub fn identity(&self) -> String {
        match &self.layout {
            Layout::Redis(view) => view.identity(),
            Layout::Sqlite(view) => view.nonce().to_owned(),
            Layout::Memory(_) => "memory".to_owned(),
        }
    }
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

    /// Has [`Self::fetch`] ask Redis's replicas, which may lag; where a primary has none, or one
    /// fails, the primary is asked. Everything else goes to the primaries.
    #[must_use]
    pub fn reading_replicas(mut self) -> Self {
        if let Backend::Redis(store) = &mut self.backend {
            store.read_replicas();
        }
        self
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
    /// script, no two features share a hash field, the SQLite table exists. With a fence in the
    /// mode that is put up, and every write of the view then shows it and is refused where it is
    /// another's or gone.
    ///
    /// # Errors
    /// What does not hold, and what to do. [`Error::Superseded`]: the store has a fence of a
    /// greater token.
    /// # Panics
    /// When the mode corrects without a fence.
    pub async fn prepare(
        &self,
        view: &OnlineView,
        mode: &WriteMode,
    ) -> Result<PreparedView, Error> {
        let corrects = mode.correct.is_some();
        assert!(!corrects || mode.fence.is_some(), "view `{}` corrects unfenced", view.view);
        let layout = match &self.backend {
            Backend::Redis(store) => Layout::Redis(Arc::new(store.prepare(view, mode).await?)),
            Backend::Sqlite(store) => Layout::Sqlite(store.prepare(view.clone(), *mode).await?),
            Backend::Memory(store) => Layout::Memory(Arc::new(store.prepare(view, mode)?)),
        };
        Ok(PreparedView { layout, corrects })
    }

    /// Writes a batch; when it returns, every row is acknowledged.
    ///
    /// A row is refused as stale when the stored one has an equal or greater event time and lies
    /// after the epoch. A tombstone removes the features and keeps its event time. Writing a batch
    /// again, in part or as a whole, is harmless.
    ///
    /// Of a view that corrects an interval, a row is also written when its event time is equal to
    /// the stored one, or when the stored one lies inside the interval. That holds against rows of
    /// the same attempt too, so all its batches together may have one row an entity.
    ///
    /// # Errors
    /// Rows before the failing one may have been written; retries within the limits are done.
    /// [`Error::Superseded`]: the view's fence is another's, or gone.
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
            (Backend::Memory(store), Layout::Memory(view)) => store.write(view, &batch),
            _ => panic!("{OTHER_STORE}"),
        }
    }

    /// Confirms, after the last batch of a view and before it counts as done, that the store is the
    /// one that [`Self::prepare`] saw, so that what it acknowledged is still there.
    ///
    /// # Errors
    /// [`Error::Restarted`] and [`Error::Emptied`]: everything since [`Self::prepare`] is to be
    /// written again, in a new attempt. [`Error::Evicted`]: keys were given up since, of whatever
    /// view or program; writing again would give up as many.
    /// # Panics
    /// When the view was prepared by another kind of store.
    pub async fn confirm(&self, view: &PreparedView) -> Result<(), Error> {
        match (&self.backend, &view.layout) {
            (Backend::Redis(store), Layout::Redis(view)) => store.confirm(view).await,
            (Backend::Sqlite(store), Layout::Sqlite(view)) => store.confirm(view).await,
            (Backend::Memory(_), Layout::Memory(_)) => Ok(()),
            _ => panic!("{OTHER_STORE}"),
        }
    }

    /// The last commit of a view that the whole store has: of servers that tell different ones, or
    /// none, the least.
    ///
    /// # Errors
    /// When the store cannot be read; retries within the limits are done.
    pub async fn marker(&self, view: &ViewRef) -> Result<StoreMarker, Error> {
        match &self.backend {
            Backend::Redis(store) => store.marker(view).await,
            Backend::Sqlite(store) => store.marker(view.clone()).await,
            Backend::Memory(store) => Ok(store.marker(view)),
        }
    }

    /// Notes a commit, after the last row and before the ledger has it, in every part of the store;
    /// with `wait_replicas` above 0 then waits until every primary has so many replicas that have
    /// the marker and with it every row before.
    ///
    /// It is noted only where the store is the one that [`Self::prepare`] saw: the older marker of
    /// one that was emptied or replaced is what tells so. Noting the same again is harmless.
    ///
    /// # Errors
    /// As [`Self::confirm`], but for evictions; [`Error::Superseded`]; [`Error::MarkerAhead`] when
    /// a later commit is noted; [`Error::NotReplicated`], after half the time that a command may
    /// take. The marker may then be there in part or as a whole.
    /// # Panics
    /// When the view was prepared by another kind of store.
    pub async fn mark(
        &self,
        view: &PreparedView,
        marker: &Marker,
        wait_replicas: u32,
    ) -> Result<(), Error> {
        match (&self.backend, &view.layout) {
            (Backend::Redis(store), Layout::Redis(view)) => {
                store.mark(view, marker, wait_replicas).await
            }
            (Backend::Sqlite(store), Layout::Sqlite(view)) => store.mark(view, *marker).await,
            (Backend::Memory(store), Layout::Memory(view)) => store.mark(view, marker),
            _ => panic!("{OTHER_STORE}"),
        }
    }

    /// The keys of the view's project whose stored event time lies inside an interval and of which
    /// `known` says no, in bounded batches, in any order; some of them may come twice.
    ///
    /// In Redis all keys of the database are walked. What is written meanwhile may be missed.
    ///
    /// # Errors
    /// When the store cannot be read; retries within the limits are done.
    /// # Panics
    /// When the view was prepared by another kind of store.
    pub fn stored_inside<'a>(
        &'a self,
        view: &'a PreparedView,
        interval: Interval,
        known: Known<'a>,
    ) -> BoxStream<'a, Result<Vec<Vec<u8>>, Error>> {
        match (&self.backend, &view.layout) {
            (Backend::Redis(store), Layout::Redis(view)) => {
                store.stored_inside(view, interval, known)
            }
            (Backend::Sqlite(store), Layout::Sqlite(view)) => {
                store.stored_inside(view, interval, known)
            }
            (Backend::Memory(store), Layout::Memory(view)) => {
                let keys = store.stored_inside(view, interval, known);
                futures::stream::iter([Ok(keys)]).boxed()
            }
            _ => panic!("{OTHER_STORE}"),
        }
    }

    /// Removes what the view has of each key, its event time included, where that lies inside the
    /// interval that the view corrects; gives how many there were. Other views' features stay.
    ///
    /// Repeating it is harmless; what a first try removed is then not counted.
    ///
    /// # Errors
    /// As [`Self::write`].
    /// # Panics
    /// When the view does not correct, or was prepared by another kind of store.
    pub async fn remove(&self, view: &PreparedView, keys: &[Vec<u8>]) -> Result<u64, Error> {
        assert!(view.corrects, "only a view that corrects an interval may remove rows");
        match (&self.backend, &view.layout) {
            (Backend::Redis(store), Layout::Redis(view)) => store.remove(view, keys).await,
            (Backend::Sqlite(store), Layout::Sqlite(view)) => {
                store.remove(view, keys.to_vec()).await
            }
            (Backend::Memory(store), Layout::Memory(view)) => store.remove(view, keys),
            _ => panic!("{OTHER_STORE}"),
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

impl OnlineStore {
    /// Reads the rows of each group, in the order of its keys: in Redis in one trip to each server,
    /// however many groups and views there are.
    ///
    /// # Errors
    /// When the store cannot be read; retries within the limits are done.
    /// # Cancel safety
    /// Cancel safe: nothing is changed, and a connection with answers outstanding is dropped.
    pub fn fetch<'a>(
        &'a self,
        groups: &'a [Fetch<'a>],
    ) -> BoxFuture<'a, Result<Vec<Vec<FetchedRow>>, Error>> {
        // Boxed, so that the compiler can tell in other crates that it may move between threads.
        match &self.backend {
            Backend::Redis(store) => fetch_redis(store, groups).boxed(),
            Backend::Sqlite(store) => fetch_sqlite(store, groups).boxed(),
            Backend::Memory(store) => std::future::ready(Ok(fetch_memory(store, groups))).boxed(),
        }
    }

    /// Asks the store whether it answers.
    ///
    /// # Errors
    /// When it does not.
    /// # Cancel safety
    /// Cancel safe.
    pub async fn ping(&self) -> Result<(), Error> {
        match &self.backend {
            Backend::Redis(store) => store.ping().await,
            Backend::Sqlite(store) => store.ping().await,
            Backend::Memory(_) => Ok(()),
        }
    }
}

async fn fetch_redis(
    store: &RedisStore,
    groups: &[Fetch<'_>],
) -> Result<Vec<Vec<FetchedRow>>, Error> {
    let mut rows = store.fetch(groups).await?.into_iter();
    let of_group = |group: &Fetch<'_>| rows.by_ref().take(group.keys.len()).collect();
    Ok(groups.iter().map(of_group).collect())
}

async fn fetch_sqlite(
    store: &SqliteStore,
    groups: &[Fetch<'_>],
) -> Result<Vec<Vec<FetchedRow>>, Error> {
    let mut fetched = Vec::with_capacity(groups.len());
    for group in groups {
        let mut of_views = Vec::with_capacity(group.fields.views().len());
        for view in group.fields.views() {
            of_views.push(store.read(view.clone(), group.keys.to_vec()).await?);
        }
        fetched.push(fetch::join(group, of_views));
    }
    Ok(fetched)
}

fn fetch_memory(store: &MemoryStore, groups: &[Fetch<'_>]) -> Vec<Vec<FetchedRow>> {
    let of_group = |group: &Fetch<'_>| {
        let views = group.fields.views().iter();
        fetch::join(group, views.map(|view| store.read(view, group.keys)).collect())
    };
    groups.iter().map(of_group).collect()
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

#[cfg(test)]
mod tests {
    use model::AttemptId;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn parts_that_differ_tell_the_least() {
        let marker = |sequence, attempt| {
            Some(Marker { sequence, attempt: AttemptId::from_uuid(Uuid::from_u128(attempt)) })
        };
        let least = |told: &[Option<Marker>]| {
            let marker = StoreMarker::least(told);
            (marker.last, marker.is_whole)
        };
        assert_eq!(least(&[marker(3, 7), marker(3, 7)]), (marker(3, 7), true));
        assert_eq!(least(&[marker(3, 7), marker(2, 9), marker(3, 7)]), (marker(2, 9), false));
        assert_eq!(least(&[marker(3, 9), marker(3, 7)]), (marker(3, 7), false));
        assert_eq!(least(&[marker(3, 7), None]), (None, false));
        assert_eq!(least(&[None, None]), (None, true));
    }
}
