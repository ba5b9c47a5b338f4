//! Reading for a feature server: the fields of many views and entities in one trip to each server.
//!
//! All views of an entity share a hash, so an entity is one `HMGET` however many views are asked
//! for; its arguments but the key are the same for every request and are written once.

use model::{OnlineView, ViewRef};

use super::lane::Reply;
use super::own::{self, Own};
use super::reply::{self, Failure};
use super::{Place, RedisStore, wire};
use crate::error::Error;
use crate::fetch::{Fetch, FetchedRow};

/// The fields of some views, as arguments of `HMGET`.
#[derive(Debug)]
pub(crate) struct RedisFields {
    arguments: Vec<u8>,
    count: usize,
    /// Whose they are; the first one stands for all in an error.
    view: ViewRef,
}

impl RedisFields {
    /// # Panics
    /// Without a view.
    pub(crate) fn new(views: &[OnlineView]) -> Self {
        let (mut arguments, mut count) = (Vec::new(), 0);
        for place in views.iter().map(Place::new) {
            for field in std::iter::once(&place.time_field).chain(&place.fields) {
                wire::argument(&mut arguments, field);
                count += 1;
            }
        }
        let first = views.first().expect("fields are of at least one view");
        Self { arguments, count, view: first.view.clone() }
    }

    fn write(&self, buffer: &mut Vec<u8>, key: &[u8]) {
        wire::command(buffer, 2 + self.count);
        wire::argument(buffer, b"HMGET");
        wire::argument(buffer, key);
        buffer.extend_from_slice(&self.arguments);
    }

    fn read(&self, address: &str, key: &[u8], reply: Reply<'_>) -> Result<FetchedRow, Failure> {
        let items = match reply {
            Reply::Array(items) => items.iter(),
            Reply::Error(text) => {
                return Err(reply::said(address, text).of_key(&self.view, key));
            }
            other => return Err(reply::unexpected(address, other)),
        };
        if items.len() != self.count {
            let (got, count) = (items.len(), self.count);
            return Err(reply::unreadable(address, format!("{got} values for {count} fields")));
        }
        let mut row = FetchedRow::builder(self.count);
        for item in items {
            match item {
                Reply::Bytes(bytes) => row.push(Some(bytes)),
                Reply::Nil => row.push(None),
                other => return Err(reply::unexpected(address, other)),
            }
        }
        Ok(row.build())
    }
}

impl RedisStore {
    /// Asks every server that holds keys whether it answers and has loaded its data, over the
    /// connections that rows are read on: another one may be lost without anybody's noticing.
    pub(crate) async fn ping(&self) -> Result<(), Error> {
        let own = Own::new(&ViewRef { project: String::new(), storage_name: String::new() });
        let slots = own::slots_of_all(&self.connection.servers());
        let keys: Vec<Vec<u8>> = slots.into_iter().map(|slot| own.marker(slot)).collect();
        let write = |buffer: &mut Vec<u8>, _, _| {
            wire::command(buffer, 1);
            wire::argument(buffer, b"PING");
        };
        let read = |address: &str, _, reply: Reply<'_>| reply::status(address, reply);
        self.each(&keys, None, None, write, read).await.map(drop)
    }

    /// Reads the rows of all groups, one after the other.
    pub(crate) async fn fetch(&self, groups: &[Fetch<'_>]) -> Result<Vec<FetchedRow>, Error> {
        let mut wanted: Vec<(&RedisFields, &[u8])> = Vec::new();
        for Fetch { fields, keys } in groups {
            wanted.extend(keys.iter().map(|key| (&fields.redis, key.as_slice())));
        }
        let keys: Vec<&[u8]> = wanted.iter().map(|(_, key)| *key).collect();
        self.each_read(
            &keys,
            |buffer, at, _| wanted[at].0.write(buffer, wanted[at].1),
            |address, at, reply| wanted[at].0.read(address, wanted[at].1, reply),
        )
        .await
    }
}
