//! The online store as a server needs it: connected when it is there, waited for when it is not.
//!
//! A server starts, and stays, whether its store answers or not. Whoever asks while it does not is
//! told at once; one caller at a time tries to connect.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use feast::config::OnlineStoreConfig;
use model::RetryPolicy;
use online_store::{Fetch, FetchedRow, OnlineStore, WriteLimits};
use tokio::sync::Mutex;

use crate::error::Error;
use crate::settings::Settings;

/// How soon after a failure another caller tries to connect.
const RECONNECT_PAUSE: Duration = Duration::from_millis(500);

/// Connecting takes some round trips more than a read, and is done for all requests to come.
const CONNECT_TIMEOUT_MIN: Duration = Duration::from_secs(1);

/// How a request's reads and pushes go about it: soon right, or soon wrong.
pub(crate) fn limits(read_timeout: Duration) -> WriteLimits {
    WriteLimits {
        // Each request takes one for a round trip; more of them only wait in Redis.
        lanes_max: 32,
        // Earlier than the request itself gives up, so that somebody is left to look for the server
        // that has taken the place of one that hangs.
        command_timeout: read_timeout * 3 / 4,
        // Whoever asks is told after the read timeout; what was begun goes on.
        connect_timeout: read_timeout.max(CONNECT_TIMEOUT_MIN),
        // A lost connection, a moved slot, a failover that is over: those pass within the time.
        retry: RetryPolicy {
            attempts_max: 3,
            backoff_first: Duration::from_millis(10),
            backoff_max: Duration::from_millis(100),
        },
        ..WriteLimits::default()
    }
}

/// The store.
#[derive(Debug)]
pub struct Store {
    config: OnlineStoreConfig,
    read_timeout: Duration,
    reads_replicas: bool,
    current: Arc<RwLock<Option<Arc<OnlineStore>>>>,
    /// Held while the store is being connected.
    failed_at: Arc<Mutex<Option<Instant>>>,
}

impl Store {
    /// Is not connected yet.
    pub fn new(config: OnlineStoreConfig, settings: &Settings) -> Self {
        Self {
            config,
            read_timeout: settings.limits.read_timeout,
            reads_replicas: settings.reads_replicas,
            current: Arc::default(),
            failed_at: Arc::default(),
        }
    }

    /// The store, connected.
    ///
    /// # Errors
    /// [`Error::Store`] when it cannot be reached, [`Error::NoStore`] when that was so just now.
    pub async fn get(&self) -> Result<Arc<OnlineStore>, Error> {
        match self.current() {
            Some(store) => Ok(store),
            // Boxed, or every request would carry the room that connecting takes.
            None => Box::pin(self.connect()).await,
        }
    }

    async fn connect(&self) -> Result<Arc<OnlineStore>, Error> {
        let mut failed_at = Arc::clone(&self.failed_at).lock_owned().await;
        // Whoever had the lock before may have connected.
        if let Some(store) = self.current() {
            return Ok(store);
        }
        if failed_at.is_some_and(|at| at.elapsed() < RECONNECT_PAUSE) {
            return Err(Error::NoStore);
        }
        let (config, limits) = (self.config.clone(), limits(self.read_timeout));
        let (current, reads_replicas) = (Arc::clone(&self.current), self.reads_replicas);
        // A task of its own: the time of whoever asks may be up before it is done.
        let connected = tokio::spawn(async move {
            match OnlineStore::connect(&config, limits).await {
                Ok(store) => {
                    let store = if reads_replicas { store.reading_replicas() } else { store };
                    let store = Arc::new(store);
                    let mut current = current.write().unwrap_or_else(PoisonError::into_inner);
                    *current = Some(Arc::clone(&store));
                    Ok(store)
                }
                Err(error) => {
                    *failed_at = Some(Instant::now());
                    Err(Error::Store(error))
                }
            }
        });
        // Only a panic ends it early, which is logged where it happens.
        connected.await.unwrap_or(Err(Error::NoStore))
    }

    /// What a key carries after the serialized entity key.
    pub fn key_suffix<'a>(&self, project: &'a str) -> &'a [u8] {
        match self.config {
            OnlineStoreConfig::Redis(_) => project.as_bytes(),
            OnlineStoreConfig::Sqlite { .. } => &[],
        }
    }

    /// Reads rows, within the time that a request has.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::NoStore`], [`Error::StoreTimeout`].
    /// # Cancel safety
    /// Cancel safe: nothing is changed.
    pub async fn fetch(&self, groups: &[Fetch<'_>]) -> Result<Vec<Vec<FetchedRow>>, Error> {
        self.within(async { self.get().await?.fetch(groups).await.map_err(Error::Store) }).await
    }

    /// Asks the store whether it answers.
    ///
    /// # Errors
    /// As [`Self::fetch`].
    /// # Cancel safety
    /// Cancel safe.
    pub async fn ping(&self) -> Result<(), Error> {
        self.within(async { self.get().await?.ping().await.map_err(Error::Store) }).await
    }

    /// Only over what is safe to drop.
    async fn within<T>(&self, asked: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let limit = self.read_timeout;
        match tokio::time::timeout(limit, asked).await {
            Ok(answered) => answered,
            Err(_) => Err(Error::StoreTimeout { limit }),
        }
    }

    fn current(&self) -> Option<Arc<OnlineStore>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
