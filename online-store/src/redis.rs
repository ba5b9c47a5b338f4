//! Feast's Redis online store, written so that newer wins inside Redis.
//!
//! Holds the two loops: over the servers that share a batch, and trying again. Which way rows take
//! is decided in `route` and carried out in `write`; what an answer means is in `reply`. What the
//! commit protocol keeps beside the rows is in `fence`, `marker`, `nonce` and `sweep`.

mod call;
mod connection;
mod dump;
mod each;
mod fence;
mod fetch;
mod lane;
mod lanes;
mod marker;
mod memory;
mod nonce;
mod own;
mod prepare;
mod replica;
mod reply;
mod route;
mod rows;
mod script;
mod sweep;
#[cfg(test)]
mod tests;
mod tls;
mod wire;
mod write;

pub(crate) use fetch::RedisFields;
pub use own::OWN_KEY_PREFIX;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use feast::config::RedisConfig;
use feast::redis_layout::{decode_timestamp, feature_field, timestamp_field};
use fred::error::{Error as ClientError, ErrorKind};
use fred::types::Value;
use futures::StreamExt;
use futures::future::join_all;
use model::{EncodedBatch, OnlineView, WriteCounts};

use crate::error::Error;
use crate::limits::WriteLimits;
use crate::pace::Pace;
use crate::store::{StoredRow, assert_fits};
use connection::{Connection, Link, Role, Server, Servers};
use dump::HashDump;
use fence::Guard;
use lanes::Lanes;
use nonce::Nonces;
use own::Own;
use replica::Replicas;
use reply::{Failure, Remedy};
use route::{Experience, Met, Route};
use rows::{Outcome, Rows};
use script::Loaded;
use write::Writing;

/// Reads that wait for an answer at the same time: enough to hide the round trip.
const READS_IN_FLIGHT: usize = 64;

/// Rows of a view that go first, while nothing is known of what is stored.
const FIRST_ROWS: usize = 256;

/// Feast's Redis online store.
#[derive(Debug)]
pub(crate) struct RedisStore {
    connection: Arc<Connection>,
    lanes: Lanes,
    /// Where features are read, when it is not at the primaries.
    replicas: Option<Arc<Replicas>>,
    limits: WriteLimits,
    pace: Arc<Pace>,
    key_ttl_seconds: u64,
    skip_dedup: bool,
    /// Cleared when a server does not take `RESTORE`.
    restores: AtomicBool,
}

/// Where a view's values are in an entity's hash.
#[derive(Debug)]
struct Place {
    view: OnlineView,
    time_field: Bytes,
    fields: Vec<Bytes>,
}

impl Place {
    fn new(view: &OnlineView) -> Self {
        let storage_name = &view.view.storage_name;
        let field = |name: &String| Bytes::copy_from_slice(&feature_field(storage_name, name));
        Self {
            view: view.clone(),
            time_field: timestamp_field(storage_name).into(),
            fields: view.features.iter().map(|feature| field(&feature.name)).collect(),
        }
    }
}

/// A view that is ready to be written.
#[derive(Debug)]
pub(crate) struct RedisView {
    place: Place,
    key_ttl_seconds: u64,
    /// A row's hash, and a tombstone's, which has an event time alone.
    hash: HashDump,
    tombstone: HashDump,
    script: Loaded,
    own: Own,
    /// What its writes have to show; `None` where any write is let through.
    guard: Option<Guard>,
    experience: Mutex<Experience>,
    /// The servers as they were when the view was prepared.
    identities: BTreeMap<String, String>,
    nonces: Nonces,
    /// Keys that each of them had evicted by then.
    evicted: BTreeMap<String, u64>,
}

impl RedisView {
    fn experience(&self) -> MutexGuard<'_, Experience> {
        // Numbers that only cost time when they are off.
        self.experience.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RedisStore {
    pub(crate) async fn connect(
        config: &RedisConfig,
        limits: WriteLimits,
        pace: Arc<Pace>,
    ) -> Result<Self, Error> {
        Ok(Self {
            connection: Arc::new(Connection::open(config, &limits).await?),
            lanes: Lanes::new(limits.lanes_max, limits.command_timeout, Role::Primary),
            replicas: None,
            limits,
            pace,
            key_ttl_seconds: config.key_ttl_seconds.unwrap_or(0),
            skip_dedup: config.skip_dedup,
            restores: AtomicBool::new(true),
        })
    }

    /// Writes a batch. A repeated call is safe: rows that it wrote before are found equal in time
    /// and kept, and with `skip_dedup` they are overwritten by themselves.
    pub(crate) async fn write(
        &self,
        view: &RedisView,
        batch: &EncodedBatch,
    ) -> Result<WriteCounts, Error> {
        assert_fits(&view.place.view, batch);
        let mut rows = Rows::new(batch);
        let mut failed = 0;
        loop {
            let mut open = rows.open();
            if open.is_empty() {
                return Ok(rows.counts());
            }
            if view.experience().is_new() {
                open.truncate(FIRST_ROWS);
            }
            let servers = self.connection.servers();
            let Err(failure) = self.write_open(view, &mut rows, &open, &servers).await else {
                continue;
            };
            // A failure after some progress is a new one, so that a long batch outlives several.
            if !open.iter().all(|row| rows.is_open(*row)) {
                failed = 0;
            }
            self.lanes.close_free();
            failed = self.recover(&servers, failure, failed, Some(&view.script.text)).await?;
        }
    }

    /// Writes rows, each to its server, at all servers at once.
    async fn write_open(
        &self,
        view: &RedisView,
        rows: &mut Rows<'_>,
        open: &[u32],
        servers: &Servers,
    ) -> Result<(), Failure> {
        let route = self.route(view);
        let shares = shares(open, servers, |row| rows.key(row));
        let written = join_all(shares.iter().map(|(server, share)| {
            let server = &servers.list()[*server];
            self.write_share(view, rows, share, server, servers.is_cluster(), Some(route))
        }));
        let mut elsewhere: BTreeMap<Server, Vec<u32>> = BTreeMap::new();
        let mut failure = None;
        for (outcome, sent) in written.await {
            failure = failure.or(sent.err());
            rows.settle(&outcome);
            for (row, server) in outcome.elsewhere {
                elsewhere.entry(server).or_default().push(row);
            }
        }
        for (server, share) in elsewhere {
            let (outcome, sent) = self.write_share(view, rows, &share, &server, true, None).await;
            failure = failure.or(sent.err());
            rows.settle(&outcome);
            if !outcome.elsewhere.is_empty() {
                failure = failure.or(Some(try_again(&server.to_string())));
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Writes rows to one server. Without a route the server is not theirs, or not yet, and has to
    /// be asked for each.
    async fn write_share(
        &self,
        view: &RedisView,
        rows: &Rows<'_>,
        share: &[u32],
        server: &Server,
        is_cluster: bool,
        route: Option<Route>,
    ) -> (Outcome, Result<(), Failure>) {
        let mut writing = Writing {
            view,
            rows,
            limits: &self.limits,
            pace: &self.pace,
            is_cluster,
            is_asking: route.is_none(),
            outcome: Outcome::default(),
            met: Met::default(),
            no_restore: None,
        };
        let mut taken = match self.lanes.take(&self.connection, server).await {
            Ok(taken) => taken,
            Err(failure) => return (writing.outcome, Err(failure)),
        };
        let route = route.unwrap_or(Route::Judge);
        let sent = writing.run(&mut taken.lane, route, share).await;
        let Writing { outcome, met, no_restore, .. } = writing;
        if let Some(answer) = no_restore
            && self.restores.swap(false, Ordering::Relaxed)
        {
            tracing::warn!(
                %server, %answer, "Redis does not take `RESTORE`; new rows take the slower way"
            );
        }
        if sent.is_ok() {
            taken.put_back();
            view.experience().learn(met);
        }
        (outcome, sent)
    }

    fn route(&self, view: &RedisView) -> Route {
        if view.guard.is_some() {
            // Only the script sees the fence.
            return Route::Judge;
        }
        match view.experience().route(self.restores.load(Ordering::Relaxed)) {
            // What is to be written whatever is stored need not be looked at.
            Route::Look { .. } if self.skip_dedup => Route::Judge,
            route => route,
        }
    }

    /// Waits and does what a failure calls for, trying that again as well; gives the number of
    /// failures so far, or the error when no try is left.
    async fn recover(
        &self,
        seen: &Servers,
        failure: Failure,
        failed: u32,
        script: Option<&Bytes>,
    ) -> Result<u32, Error> {
        let (mut failure, mut failed) = (failure, failed);
        loop {
            failed += 1;
            let Some(pause) = failure.pause(self.limits.retry, failed) else {
                return Err(failure.give_up(failed));
            };
            tracing::warn!(error = %failure.error, failed, ?pause, "trying the online store again");
            tokio::time::sleep(pause).await;
            // Boxed, or whoever may have to recover would carry the room for it at all times.
            let remedied = match (failure.remedy, script) {
                (Remedy::LoadScript, Some(script)) => {
                    Box::pin(self.connection.load(script)).await.map(drop)
                }
                (Remedy::Reconnect, _) => Box::pin(self.connection.refresh(seen)).await,
                (Remedy::LoadScript | Remedy::Wait | Remedy::GiveUp, _) => Ok(()),
            };
            match remedied {
                Ok(()) => return Ok(failed),
                Err(next) => failure = next,
            }
        }
    }

    /// Does something that is safe to repeat until it succeeds or no try is left.
    async fn repeat<T, F: Future<Output = Result<T, Failure>>>(
        &self,
        action: impl Fn() -> F,
    ) -> Result<T, Error> {
        let mut failed = 0;
        loop {
            let servers = self.connection.servers();
            match action().await {
                Ok(value) => return Ok(value),
                Err(failure) => failed = self.recover(&servers, failure, failed, None).await?,
            }
        }
    }

    pub(crate) async fn read(
        &self,
        view: &OnlineView,
        keys: &[Vec<u8>],
    ) -> Result<Vec<Option<StoredRow>>, Error> {
        let place = Place::new(view);
        self.repeat(|| self.read_once(&place, keys)).await
    }

    async fn read_once(
        &self,
        place: &Place,
        keys: &[Vec<u8>],
    ) -> Result<Vec<Option<StoredRow>>, Failure> {
        let link = self.connection.link();
        let mut answers = futures::stream::iter(keys)
            .map(|key| self.read_row(&link, place, key))
            .buffered(READS_IN_FLIGHT);
        let mut rows = Vec::with_capacity(keys.len());
        while let Some(row) = answers.next().await {
            rows.push(row?);
        }
        Ok(rows)
    }

    async fn read_row(
        &self,
        link: &Link,
        place: &Place,
        key: &[u8],
    ) -> Result<Option<StoredRow>, Failure> {
        let fields = std::iter::once(&place.time_field).chain(&place.fields);
        let arguments = std::iter::once(Bytes::copy_from_slice(key)).chain(fields.cloned());
        let arguments = arguments.map(Value::Bytes).collect();
        let answer = self
            .connection
            .command(link, "HMGET", arguments)
            .await
            .map_err(|failure| failure.of_key(&place.view.view, key))?;
        let mut values = reply::values(self.connection.address(), answer, 1 + place.fields.len())?;
        let time = values.remove(0);
        if time.is_none() && values.iter().all(Option::is_none) {
            return Ok(None);
        }
        let decode = |bytes: Bytes| {
            decode_timestamp(&bytes).ok_or_else(|| reply::bad_time(&place.view.view, key))
        };
        Ok(Some(StoredRow { event_time: time.map(decode).transpose()?, values }))
    }
}

/// Rows by the server that holds their keys, in order; in a cluster those of one slot together.
fn shares<'k>(
    open: &[u32],
    servers: &Servers,
    key: impl Fn(u32) -> &'k [u8],
) -> Vec<(usize, Vec<u32>)> {
    if !servers.is_cluster() {
        return vec![(0, open.to_vec())];
    }
    let mut by_slot: Vec<(u16, u32)> =
        open.iter().map(|&row| (Servers::slot(key(row)), row)).collect();
    by_slot.sort_unstable();
    let mut shares: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
    for (slot, row) in by_slot {
        shares.entry(servers.owner_of_slot(slot)).or_default().push(row);
    }
    shares.into_iter().collect()
}

/// A slot that is moved back and forth.
fn try_again(address: &str) -> Failure {
    let words = "TRYAGAIN the key is on its way to another server";
    Failure::of_command(address, ClientError::new(ErrorKind::Cluster, words))
}
