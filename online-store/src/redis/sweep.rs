//! The sweep: which rows of an interval are stored that the source no longer has, and their
//! removal.
//!
//! Redis has no index by event time, so all keys are walked, server by server. Deliberately absent:
//! what the source has (the caller knows), and what is to come in a removed row's place.

use std::sync::Arc;

use bytes::Bytes;
use feast::entity_key;
use feast::redis_layout::decode_timestamp;
use fred::types::Value;
use futures::stream::{BoxStream, StreamExt, try_unfold};
use model::{EventTime, Interval};

use super::connection::Servers;
use super::lane::Reply;
use super::reply::{self, Failure, Remedy};
use super::{RedisStore, RedisView, script, wire};
use crate::error::Error;
use crate::store::Known;

/// Keys that a server looks at for one answer: some tenths of a millisecond of its time.
const KEYS_PER_SCAN: u32 = 1000;
/// The cursor with which a walk begins and ends.
const NO_CURSOR: &str = "0";

/// How far a walk over all servers is.
struct Walk {
    servers: Arc<Servers>,
    server: usize,
    cursor: Bytes,
    failed: u32,
    is_done: bool,
}

impl Walk {
    fn new(servers: Arc<Servers>, failed: u32) -> Self {
        let cursor = Bytes::from_static(NO_CURSOR.as_bytes());
        Self { servers, server: 0, cursor, failed, is_done: false }
    }
}

impl RedisStore {
    /// The keys of the view's project that have an event time of the view inside an interval and
    /// that are not known, a page at a time; some of them twice.
    pub(crate) fn stored_inside<'a>(
        &'a self,
        view: &'a RedisView,
        interval: Interval,
        known: Known<'a>,
    ) -> BoxStream<'a, Result<Vec<Vec<u8>>, Error>> {
        let walk = Walk::new(self.connection.servers(), 0);
        try_unfold(walk, move |mut walk| async move {
            while !walk.is_done {
                let keys = self.next_keys(view, &mut walk, known).await?;
                let inside = self.inside(view, interval, keys).await?;
                if !inside.is_empty() {
                    return Ok(Some((inside, walk)));
                }
            }
            Ok(None)
        })
        .boxed()
    }

    /// The next keys of a walk, of the view's project and not known.
    async fn next_keys(
        &self,
        view: &RedisView,
        walk: &mut Walk,
        known: Known<'_>,
    ) -> Result<Vec<Vec<u8>>, Error> {
        let failure = match self.scan(view, walk).await {
            Ok(keys) => {
                let project = view.place.view.view.project.as_bytes();
                let is_asked = |key: &Vec<u8>| is_of_project(key, project) && !known(key);
                return Ok(keys.into_iter().filter(is_asked).collect());
            }
            Err(failure) => failure,
        };
        // A cursor means nothing to a server that was started anew, nor to another one.
        let starts_over = failure.remedy == Remedy::Reconnect;
        let failed = self.recover(&walk.servers, failure, walk.failed, None).await?;
        if starts_over {
            *walk = Walk::new(self.connection.servers(), failed);
        } else {
            walk.failed = failed;
        }
        Ok(Vec::new())
    }

    async fn scan(&self, view: &RedisView, walk: &mut Walk) -> Result<Vec<Vec<u8>>, Failure> {
        let pattern = pattern(view.place.view.view.project.as_bytes());
        let arguments = vec![
            Value::Bytes(walk.cursor.clone()),
            Value::from("MATCH"),
            Value::Bytes(pattern),
            Value::from("COUNT"),
            Value::from(KEYS_PER_SCAN),
        ];
        let (servers, server) = (&walk.servers, walk.server);
        let answer = self.connection.command_on(servers, server, "SCAN", arguments).await?;
        let address = servers.list()[server].to_string();
        let (cursor, keys): (Bytes, Vec<Bytes>) = answer.convert().map_err(|error| {
            reply::unreadable(&address, format!("{} as a page of keys", error.details()))
        })?;
        let keys = keys.iter().map(|key| key.to_vec()).collect();
        let is_last = cursor == NO_CURSOR && server + 1 == servers.list().len();
        if is_last {
            self.check_map(servers, &address).await?;
        }
        walk.is_done = is_last;
        walk.server += usize::from(cursor == NO_CURSOR);
        walk.cursor = cursor;
        Ok(keys)
    }

    /// Confirms that no slot went from a server that was yet to be walked to one that had been.
    async fn check_map(&self, walked: &Servers, address: &str) -> Result<(), Failure> {
        if !walked.is_cluster() {
            return Ok(());
        }
        self.connection.refresh(&self.connection.servers()).await?;
        if self.connection.servers().is_same_map(walked) {
            return Ok(());
        }
        Err(reply::said(address, "MOVED a slot has another server since the walk began"))
    }

    /// Of some keys those whose event time lies inside an interval.
    async fn inside(
        &self,
        view: &RedisView,
        interval: Interval,
        keys: Vec<Vec<u8>>,
    ) -> Result<Vec<Vec<u8>>, Error> {
        let place = &view.place;
        let write = |buffer: &mut Vec<u8>, at: usize, _| {
            wire::command(buffer, 3);
            wire::argument(buffer, b"HGET");
            wire::argument(buffer, &keys[at]);
            wire::argument(buffer, &place.time_field);
        };
        let read = |address: &str, at: usize, reply: Reply<'_>| match reply {
            Reply::Nil => Ok(false),
            // No hash: a key of somebody else, which happens to end like one of ours.
            Reply::Error(text) if text.starts_with("WRONGTYPE") => Ok(false),
            Reply::Bytes(stored) => decode_timestamp(stored)
                .map(|time| contains(interval, time))
                .ok_or_else(|| reply::bad_time(&place.view.view, &keys[at])),
            other => Err(reply::unexpected(address, other)),
        };
        let inside = self.each(&keys, None, Some(&self.pace), write, read).await?;
        Ok(keys.into_iter().zip(inside).filter_map(|(key, is)| is.then_some(key)).collect())
    }

    /// Removes what the view has of each key whose event time lies inside the interval that it
    /// corrects; gives how many there were.
    pub(crate) async fn remove(&self, view: &RedisView, keys: &[Vec<u8>]) -> Result<u64, Error> {
        let guard = view.guard.as_ref().expect("who corrects has a fence");
        let place = &view.place;
        let script = self.load(script::remove(&place.time_field, &place.fields)).await?;
        let is_cluster = self.connection.servers().is_cluster();
        let write = |buffer: &mut Vec<u8>, at: usize, is_asking| {
            let arguments = guard.arguments();
            script.call(is_asking).start(buffer, 2, 2 + arguments.len());
            wire::argument(buffer, &keys[at]);
            wire::argument(buffer, &view.own.fence_of(&keys[at], is_cluster));
            arguments.iter().for_each(|argument| wire::argument(buffer, argument));
        };
        let read = |address: &str, at: usize, reply: Reply<'_>| match reply {
            Reply::Integer(removed) => Ok(removed.unsigned_abs()),
            other => {
                let failure = reply::unexpected(address, other);
                let failure = failure.of_fence(&place.view.view, guard.token());
                Err(failure.of_key(&place.view.view, &keys[at]))
            }
        };
        Ok(self.each(keys, Some(&script), Some(&self.pace), write, read).await?.into_iter().sum())
    }
}

/// Tells whether a stored time, which may lie beyond what an event time can tell, is inside.
fn contains(interval: Interval, (seconds, nanos): (i64, i32)) -> bool {
    let of = |time: EventTime| {
        let (seconds, nanos) = time.seconds_and_nanos();
        (seconds, nanos as i32)
    };
    of(interval.start) <= (seconds, nanos) && (seconds, nanos) < of(interval.end)
}

/// Tells whether a key is an entity's of exactly this project.
fn is_of_project(key: &[u8], project: &[u8]) -> bool {
    key.strip_suffix(project).is_some_and(entity_key::is_entity_key)
}

/// What `SCAN` passes on: keys that end like those of a project, and some others.
fn pattern(project: &[u8]) -> Bytes {
    let mut pattern = b"*".to_vec();
    for &byte in project {
        if b"*?[]^-\\".contains(&byte) {
            pattern.push(b'\\');
        }
        pattern.push(byte);
    }
    pattern.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::entity_key;

    #[test]
    fn only_keys_of_exactly_the_project_are_its() {
        for (project, is_its) in [("a", true), ("ba", false), ("", false), ("ab", false)] {
            let key = entity_key(7, project.as_bytes());
            assert_eq!(is_of_project(&key, b"a"), is_its, "{project}");
        }
        assert!(!is_of_project(b"__tidegate__:{1}:nonce:a:", b"a"));
        assert_eq!(pattern(b"a*b"), &b"*a\\*b"[..]);
    }

    #[test]
    fn an_interval_is_half_open_by_the_nanosecond() {
        let at = EventTime::from_nanos;
        let interval = Interval::new(at(-1), at(1_000_000_001));
        let inside = |seconds, nanos| contains(interval, (seconds, nanos));
        assert!(inside(-1, 999_999_999) && inside(1, 0));
        assert!(!inside(-1, 999_999_998) && !inside(1, 1));
    }
}
