//! Feast's Redis online store, written by compare-and-set inside Redis.
//!
//! Holds the two loops: writing a batch call by call, and trying again. What a call carries is in
//! `call`, what an answer means in `reply`, the connection in `connection`.

mod call;
mod connection;
mod reply;
#[cfg(test)]
mod tests;
mod tls;

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use feast::config::RedisConfig;
use feast::redis_layout::{decode_timestamp, feature_field, field_collision, timestamp_field};
use fred::types::Value;
use futures::StreamExt;
use model::{EncodedBatch, OnlineView, WriteCounts};
use tokio::sync::Semaphore;

use crate::error::Error;
use crate::limits::WriteLimits;
use crate::store::{StoredRow, assert_fits};
use call::{Call, Shape};
use connection::{Connection, Link};
use reply::{Failure, Remedy};

/// Permits of the semaphore are KiB, because it counts in 32 bits.
const BYTES_PER_PERMIT: usize = 1024;
/// Reads that wait for an answer at the same time: enough to hide the round trip.
const READS_IN_FLIGHT: usize = 64;

/// Feast's Redis online store.
#[derive(Debug)]
pub(crate) struct RedisStore {
    connection: Connection,
    limits: WriteLimits,
    key_ttl_seconds: u64,
    skip_dedup: bool,
    in_flight: Semaphore,
}

/// A view's place in Redis.
#[derive(Clone, Debug)]
pub(crate) struct RedisView {
    view: OnlineView,
    time_field: Bytes,
    fields: Vec<Bytes>,
    /// The server as it was when the view was prepared.
    run_id: Option<String>,
}

impl RedisView {
    fn new(view: &OnlineView, run_id: Option<String>) -> Self {
        let storage_name = &view.view.storage_name;
        let field = |name: &String| Bytes::copy_from_slice(&feature_field(storage_name, name));
        Self {
            view: view.clone(),
            time_field: timestamp_field(storage_name).into(),
            fields: view.features.iter().map(|feature| field(&feature.name)).collect(),
            run_id,
        }
    }
}

/// What is known of each call of a batch.
struct Progress {
    calls: Vec<Call>,
    done: Vec<Option<WriteCounts>>,
    /// Calls that may have been carried out without our hearing of it.
    uncertain: Vec<bool>,
}

impl Progress {
    fn new(calls: Vec<Call>) -> Self {
        Self { done: vec![None; calls.len()], uncertain: vec![false; calls.len()], calls }
    }

    /// The calls to send: all from the first that is not done. Those after it that are done are
    /// sent again, so that of two rows of one key the later one still comes later.
    fn open(&self) -> Range<usize> {
        let first = self.done.iter().position(Option::is_none).unwrap_or(self.done.len());
        first..self.calls.len()
    }

    fn total(&self) -> WriteCounts {
        let mut total = WriteCounts::default();
        self.done.iter().flatten().for_each(|counts| total.add(*counts));
        total
    }
}

impl RedisStore {
    pub(crate) async fn connect(config: &RedisConfig, limits: WriteLimits) -> Result<Self, Error> {
        let permits = limits.bytes_in_flight_max.div_ceil(BYTES_PER_PERMIT).max(1);
        Ok(Self {
            connection: Connection::open(config, &limits).await?,
            limits,
            key_ttl_seconds: config.key_ttl_seconds.unwrap_or(0),
            skip_dedup: config.skip_dedup,
            in_flight: Semaphore::new(permits.min(u32::MAX as usize)),
        })
    }

    pub(crate) async fn prepare(&self, view: &OnlineView) -> Result<RedisView, Error> {
        let names = view.features.iter().map(|feature| feature.name.as_str());
        if let Some((first, second)) = field_collision(&view.view.storage_name, names) {
            return Err(Error::FieldCollision {
                view: view.view.to_string(),
                first: first.to_owned(),
                second: second.to_owned(),
            });
        }
        self.repeat(|link| async move { self.connection.check_writable(&link).await }).await?;
        Ok(RedisView::new(view, self.run_id().await?))
    }

    /// Confirms that the server is still the one that the view was prepared on. One that has been
    /// restarted, or that a failover has put in its place, may have lost what was acknowledged.
    pub(crate) async fn confirm(&self, view: &RedisView) -> Result<(), Error> {
        match (&view.run_id, self.run_id().await?) {
            (Some(before), Some(now)) if *before != now => {
                Err(Error::Restarted { address: self.connection.address().to_owned() })
            }
            _ => Ok(()),
        }
    }

    async fn run_id(&self) -> Result<Option<String>, Error> {
        self.repeat(|link| async move { self.connection.run_id(&link).await }).await
    }

    /// Writes a batch. A repeated call is safe: rows that it wrote before are found equal in time
    /// and kept, and with `skip_dedup` they are overwritten by themselves.
    pub(crate) async fn write(
        &self,
        view: &RedisView,
        batch: &EncodedBatch,
    ) -> Result<WriteCounts, Error> {
        assert_fits(&view.view, batch);
        let mut progress = Progress::new(call::cut(batch, &self.limits));
        let (mut failed, mut reached) = (0, 0);
        while !progress.open().is_empty() {
            let link = self.connection.link().await;
            let Err(failure) = self.send_open(&link, view, batch, &mut progress).await else {
                break;
            };
            // A failure after some progress is a new one, so that a long batch outlives several.
            if progress.open().start > reached {
                reached = progress.open().start;
                failed = 0;
            }
            failed = self.recover(&link, failure, failed).await?;
        }
        Ok(progress.total())
    }

    /// Sends every call that is not done, several at a time and in order. After the first failure
    /// no further call is sent, and those under way are waited for.
    async fn send_open(
        &self,
        link: &Link,
        view: &RedisView,
        batch: &EncodedBatch,
        progress: &mut Progress,
    ) -> Result<(), Failure> {
        let stop = AtomicBool::new(false);
        let open = progress.open();
        let calls = progress.calls[open.clone()].to_vec();
        let mut answers = futures::stream::iter(open.zip(calls))
            .map(|(index, call)| {
                let stop = &stop;
                async move {
                    let _permit = self.admit(call.bytes).await;
                    if stop.load(Ordering::Relaxed) {
                        return (index, None);
                    }
                    let answer = self.send(link, view, batch, &call).await;
                    stop.fetch_or(answer.is_err(), Ordering::Relaxed);
                    (index, Some(answer))
                }
            })
            .buffered(self.limits.calls_in_flight.max(1));
        let mut first_failure = None;
        while let Some((index, answer)) = answers.next().await {
            match answer {
                // A call that was done before keeps the counts of its first time.
                Some(Ok(tally)) => {
                    let counts = tally.counts(progress.uncertain[index]);
                    progress.done[index].get_or_insert(counts);
                }
                Some(Err(failure)) => {
                    progress.uncertain[index] |= failure.may_have_run;
                    first_failure.get_or_insert(failure);
                }
                None => {}
            }
        }
        first_failure.map_or(Ok(()), Err)
    }

    async fn send(
        &self,
        link: &Link,
        view: &RedisView,
        batch: &EncodedBatch,
        call: &Call,
    ) -> Result<reply::Tally, Failure> {
        let shape = Shape {
            time_field: &view.time_field,
            fields: &view.fields,
            key_ttl_seconds: self.key_ttl_seconds,
            compares: !self.skip_dedup,
        };
        let arguments = call.arguments(&shape, batch, self.connection.script());
        let answer =
            self.connection.command(link, "EVALSHA", arguments).await.map_err(|failure| {
                failure.with_key(&view.view.view, |row| batch.keys.get(call.rows.start + row))
            })?;
        reply::tally(self.connection.address(), answer)
    }

    async fn admit(&self, bytes: usize) -> tokio::sync::SemaphorePermit<'_> {
        let all = self.limits.bytes_in_flight_max.div_ceil(BYTES_PER_PERMIT).max(1);
        let wanted = bytes.div_ceil(BYTES_PER_PERMIT).clamp(1, all);
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
        self.in_flight.acquire_many(wanted).await.expect("the semaphore is never closed")
    }

    /// Waits and does what a failure calls for, trying that again as well; gives the number of
    /// failures so far, or the error when no try is left.
    async fn recover(&self, link: &Link, failure: Failure, failed: u32) -> Result<u32, Error> {
        let (mut failure, mut failed) = (failure, failed);
        loop {
            failed += 1;
            let Some(pause) = failure.pause(self.limits.retry, failed) else {
                return Err(failure.give_up(failed));
            };
            tracing::warn!(error = %failure.error, failed, ?pause, "trying the online store again");
            tokio::time::sleep(pause).await;
            let remedied = match failure.remedy {
                Remedy::LoadScript => self.connection.load_script(link).await,
                Remedy::Reconnect => self.connection.replace(link).await,
                Remedy::Wait | Remedy::GiveUp => Ok(()),
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
        action: impl Fn(Link) -> F,
    ) -> Result<T, Error> {
        let mut failed = 0;
        loop {
            let link = self.connection.link().await;
            match action(link.clone()).await {
                Ok(value) => return Ok(value),
                Err(failure) => failed = self.recover(&link, failure, failed).await?,
            }
        }
    }

    pub(crate) async fn read(
        &self,
        view: &OnlineView,
        keys: &[Vec<u8>],
    ) -> Result<Vec<Option<StoredRow>>, Error> {
        let view = &RedisView::new(view, None);
        self.repeat(|link| async move { self.read_once(&link, view, keys).await }).await
    }

    async fn read_once(
        &self,
        link: &Link,
        view: &RedisView,
        keys: &[Vec<u8>],
    ) -> Result<Vec<Option<StoredRow>>, Failure> {
        let mut answers = futures::stream::iter(keys)
            .map(|key| self.read_row(link, view, key))
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
        view: &RedisView,
        key: &[u8],
    ) -> Result<Option<StoredRow>, Failure> {
        let fields = std::iter::once(&view.time_field).chain(&view.fields);
        let arguments = std::iter::once(Bytes::copy_from_slice(key)).chain(fields.cloned());
        let arguments = arguments.map(Value::Bytes).collect();
        let answer = self
            .connection
            .command(link, "HMGET", arguments)
            .await
            .map_err(|failure| failure.of_key(&view.view.view, key))?;
        let mut values = reply::values(self.connection.address(), answer, 1 + view.fields.len())?;
        let time = values.remove(0);
        if time.is_none() && values.iter().all(Option::is_none) {
            return Ok(None);
        }
        let decode = |bytes: Bytes| {
            decode_timestamp(&bytes).ok_or_else(|| reply::bad_time(&view.view.view, key))
        };
        Ok(Some(StoredRow { event_time: time.map(decode).transpose()?, values }))
    }
}
