//! Markers: the last commit of a view, as the servers tell it.
//!
//! A marker is written after every row, and only where the rows went: a server that was emptied or
//! replaced since keeps the marker that tells so. Waiting for replicas is here because an
//! acknowledged marker acknowledges the rows before it.

use std::time::Duration;

use futures::future::join_all;
use model::{Marker, ViewRef};

use super::connection::Servers;
use super::lane::{Pipeline, Reply};
use super::own::{self, Own};
use super::reply::{self, Failure};
use super::script::{self, Loaded};
use super::{RedisStore, RedisView, wire};
use crate::error::Error;
use crate::store::StoreMarker;

/// The marker to write: the arguments of `marker.lua`.
struct Note<'a> {
    view: &'a RedisView,
    script: Loaded,
    marker: &'a Marker,
    run_ids: String,
}

impl Note<'_> {
    fn write(&self, buffer: &mut Vec<u8>, slot: u16, is_asking: bool) {
        let (own, guard) = (&self.view.own, self.view.guard.as_ref());
        let arguments = guard.map_or(6, |_| 8);
        let keys = 2 + usize::from(guard.is_some());
        self.script.call(is_asking).start(buffer, keys, arguments);
        wire::argument(buffer, &own.marker(slot));
        wire::argument(buffer, &own.nonce(slot));
        if guard.is_some() {
            wire::argument(buffer, &own.fence(slot));
        }
        wire::number(buffer, self.marker.sequence);
        wire::argument(buffer, self.marker.attempt.to_string().as_bytes());
        wire::argument(buffer, self.run_ids.as_bytes());
        wire::argument(buffer, self.view.nonces.of(slot).unwrap_or_default().as_bytes());
        if let Some(guard) = guard {
            wire::argument(buffer, guard.token().to_string().as_bytes());
        }
    }

    fn read(&self, address: &str, reply: Reply<'_>) -> Result<(), Failure> {
        reply::status(address, reply).map_err(|failure| {
            let view = &self.view.place.view.view;
            let failure = failure.of_marker(view, self.marker.sequence);
            match &self.view.guard {
                Some(guard) => failure.of_fence(view, guard.token()),
                None => failure,
            }
        })
    }
}

impl RedisStore {
    /// The marker of a view: the least that any slot tells.
    pub(crate) async fn marker(&self, view: &ViewRef) -> Result<StoreMarker, Error> {
        let own = Own::new(view);
        let slots = own::marked_slots(&self.connection.servers());
        let keys: Vec<Vec<u8>> = slots.into_iter().map(|slot| own.marker(slot)).collect();
        let told = self.each(
            &keys,
            None,
            None,
            |buffer, at, _| {
                wire::command(buffer, 2);
                wire::argument(buffer, b"GET");
                wire::argument(buffer, &keys[at]);
            },
            |address, _, reply| match reply {
                Reply::Nil => Ok(None),
                Reply::Bytes(bytes) => read_marker(address, bytes).map(Some),
                other => Err(reply::unexpected(address, other)),
            },
        );
        Ok(StoreMarker::least(&told.await?))
    }

    /// Writes a marker on every server, and waits for replicas to have it.
    pub(crate) async fn mark(
        &self,
        view: &RedisView,
        marker: &Marker,
        wait_replicas: u32,
    ) -> Result<(), Error> {
        let script = self.load(script::marker(view.guard.is_some())).await?;
        let run_ids: Vec<&str> = view.identities.values().map(String::as_str).collect();
        let note = Note { view, script, marker, run_ids: run_ids.join(" ") };
        let slots = own::slots_of_all(&self.connection.servers());
        let keys: Vec<Vec<u8>> = slots.iter().map(|&slot| view.own.marker(slot)).collect();
        let write = |buffer: &mut Vec<u8>, at: usize, is_asking| {
            note.write(buffer, slots[at], is_asking);
        };
        let read = |address: &str, _, reply: Reply<'_>| note.read(address, reply);
        self.each(&keys, Some(&note.script), None, write, read).await?;
        if wait_replicas > 0 { self.await_replicas(&note, wait_replicas).await } else { Ok(()) }
    }

    /// Waits until every server has that many replicas that have the marker.
    async fn await_replicas(&self, note: &Note<'_>, wanted: u32) -> Result<(), Error> {
        let mut failed = 0;
        loop {
            let servers = self.connection.servers();
            let slots = own::slots_of_all(&servers);
            let places = 0..servers.list().len();
            let waits =
                places.map(|server| self.await_replicas_of(&servers, server, &slots, note, wanted));
            let Some(failure) = join_all(waits).await.into_iter().find_map(Result::err) else {
                return Ok(());
            };
            self.lanes.close_free();
            failed = self.recover(&servers, failure, failed, Some(&note.script.text)).await?;
        }
    }

    /// `WAIT` waits for what its own connection wrote last, so the marker is written once more over
    /// the connection that waits: every row comes before it in what the replicas are sent.
    async fn await_replicas_of(
        &self,
        servers: &Servers,
        server: usize,
        slots: &[u16],
        note: &Note<'_>,
        wanted: u32,
    ) -> Result<(), Failure> {
        let server_name = &servers.list()[server];
        let Some(&slot) = slots.iter().find(|&&slot| servers.owner_of_slot(slot) == server) else {
            return Ok(());
        };
        let mut taken = self.lanes.take(&self.connection, server_name).await?;
        let address = server_name.to_string();
        let mut is_sent = false;
        let fill = |pipeline: &mut Pipeline| {
            if !std::mem::replace(&mut is_sent, true) {
                note.write(&mut pipeline.commands, slot, false);
                wait(&mut pipeline.commands, wanted, self.limits.command_timeout / 2);
                pipeline.replies = 2;
            }
        };
        let mut is_marked = false;
        let take = |reply: Reply<'_>| {
            if !std::mem::replace(&mut is_marked, true) {
                return note.read(&address, reply);
            }
            match reply {
                Reply::Integer(got) if got >= i64::from(wanted) => Ok(()),
                Reply::Integer(got) => Err(Failure::lasting(Error::NotReplicated {
                    address: address.clone(),
                    wanted,
                    got: got.unsigned_abs(),
                })),
                other => Err(reply::unexpected(&address, other)),
            }
        };
        taken.lane.exchange(1, None, fill, take).await?;
        taken.put_back();
        Ok(())
    }
}

/// Half as long as a command may take: a server that answers late is not one that is lost.
fn wait(buffer: &mut Vec<u8>, replicas: u32, timeout: Duration) {
    wire::command(buffer, 3);
    wire::argument(buffer, b"WAIT");
    wire::number(buffer, u64::from(replicas));
    // Zero would be for ever.
    wire::number(buffer, u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX).max(1));
}

/// A marker as `marker.lua` writes it.
fn read_marker(address: &str, bytes: &[u8]) -> Result<Marker, Failure> {
    let parsed = std::str::from_utf8(bytes).ok().and_then(|text| {
        let (sequence, attempt) = text.split_once(' ')?;
        Some(Marker { sequence: sequence.parse().ok()?, attempt: attempt.parse().ok()? })
    });
    parsed.ok_or_else(|| {
        let text = String::from_utf8_lossy(bytes);
        reply::unreadable(address, format!("`{text}` in place of a marker"))
    })
}
