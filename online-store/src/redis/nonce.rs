//! Nonces: random numbers of ours on every server, by which one that was emptied is told.
//!
//! A run id tells a server that was started anew or has another in its place; a server that was
//! flushed has the same one, and so have the markers no way to tell before anything is committed.
//! Whoever finds no nonce draws one, and nobody ever replaces one.

use std::fmt::Write as _;

use model::ViewRef;
use uuid::Uuid;

use super::lane::Reply;
use super::own::{self, Own};
use super::reply::{self, Failure};
use super::{RedisStore, RedisView, wire};
use crate::error::Error;

/// The nonces as they were when a view was prepared, by slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Nonces(Vec<(u16, String)>);

impl Nonces {
    pub(super) fn of(&self, slot: u16) -> Option<&str> {
        self.0.iter().find(|(of, _)| *of == slot).map(|(_, nonce)| nonce.as_str())
    }

    /// All of them as one text: each once where neighbours are the same, which they mostly are,
    /// with the number of slots.
    fn text(&self) -> String {
        let mut text = String::new();
        for same in self.0.chunk_by(|(_, one), (_, next)| one == next) {
            let _ = write!(text, " {}@{}+{}", same[0].1, same[0].0, same.len());
        }
        text
    }
}

impl RedisView {
    /// The servers and what is in them, as a text that is the same as long as both are.
    pub(crate) fn identity(&self) -> String {
        let mut text = String::new();
        for (name, run_id) in &self.identities {
            let _ = write!(text, "{name}={run_id} ");
        }
        text.trim_end().to_owned() + &self.nonces.text()
    }
}

impl RedisStore {
    /// The nonces of a project, drawn where there are none.
    pub(super) async fn nonces(&self, view: &ViewRef) -> Result<Nonces, Error> {
        let own = Own::new(view);
        let slots = own::slots_of_all(&self.connection.servers());
        let found = self.find_nonces(&own, &slots).await?;
        let without: Vec<u16> = slots
            .iter()
            .zip(&found)
            .filter(|(_, nonce)| nonce.is_none())
            .map(|(&s, _)| s)
            .collect();
        if without.is_empty() {
            return self.all(&slots, found);
        }
        self.draw_nonces(&own, &without).await?;
        // Another process may have been first, so what is there counts and not what was drawn.
        let found = self.find_nonces(&own, &slots).await?;
        self.all(&slots, found)
    }

    /// The nonces of slots, none of which may be without.
    fn all(&self, slots: &[u16], found: Vec<Option<String>>) -> Result<Nonces, Error> {
        let pairs = slots.iter().zip(found);
        let all = pairs.map(|(&slot, nonce)| nonce.map(|nonce| (slot, nonce)).ok_or(slot));
        all.collect::<Result<_, _>>().map(Nonces).map_err(|slot| self.emptied(slot))
    }

    /// Confirms that the nonces are those that the view was prepared with.
    pub(super) async fn check_nonces(&self, view: &RedisView) -> Result<(), Error> {
        let slots: Vec<u16> = view.nonces.0.iter().map(|(slot, _)| *slot).collect();
        let found = self.find_nonces(&view.own, &slots).await?;
        let changed = view.nonces.0.iter().zip(&found);
        match changed.into_iter().find(|((_, was), is)| is.as_ref() != Some(was)) {
            Some(((slot, _), _)) => Err(self.emptied(*slot)),
            None => Ok(()),
        }
    }

    async fn find_nonces(&self, own: &Own, slots: &[u16]) -> Result<Vec<Option<String>>, Error> {
        let keys: Vec<Vec<u8>> = slots.iter().map(|&slot| own.nonce(slot)).collect();
        let write = |buffer: &mut Vec<u8>, at: usize, _| {
            wire::command(buffer, 2);
            wire::argument(buffer, b"GET");
            wire::argument(buffer, &keys[at]);
        };
        self.each(&keys, None, None, write, |address, _, reply| read_nonce(address, reply)).await
    }

    async fn draw_nonces(&self, own: &Own, slots: &[u16]) -> Result<(), Error> {
        let keys: Vec<Vec<u8>> = slots.iter().map(|&slot| own.nonce(slot)).collect();
        let drawn = Uuid::new_v4().simple().to_string();
        let write = |buffer: &mut Vec<u8>, at: usize, _| {
            wire::command(buffer, 4);
            wire::argument(buffer, b"SET");
            wire::argument(buffer, &keys[at]);
            wire::argument(buffer, drawn.as_bytes());
            wire::argument(buffer, b"NX");
        };
        // Nil where there is one by now.
        self.each(&keys, None, None, write, |address, _, reply| match reply {
            Reply::Status | Reply::Nil => Ok(()),
            other => Err(reply::unexpected(address, other)),
        })
        .await?;
        Ok(())
    }

    fn emptied(&self, slot: u16) -> Error {
        let servers = self.connection.servers();
        Error::Emptied { store: servers.list()[servers.owner_of_slot(slot)].to_string() }
    }
}

fn read_nonce(address: &str, reply: Reply<'_>) -> Result<Option<String>, Failure> {
    match reply {
        Reply::Nil => Ok(None),
        Reply::Bytes(bytes) => Ok(Some(String::from_utf8_lossy(bytes).into_owned())),
        other => Err(reply::unexpected(address, other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_nonces_is_short_and_tells_every_difference() {
        let nonces = |words: &[&str]| {
            Nonces((0..).zip(words).map(|(slot, word)| (slot, (*word).to_owned())).collect())
        };
        assert_eq!(nonces(&["a", "a", "b", "a"]).text(), " a@0+2 b@2+1 a@3+1");
        let texts = [["a", "a", "b"], ["a", "b", "b"], ["a", "b", "a"]].map(|n| nonces(&n).text());
        assert!(texts[0] != texts[1] && texts[1] != texts[2] && texts[0] != texts[2]);
        assert_eq!(nonces(&["a", "b"]).of(1), Some("b"));
        assert_eq!(nonces(&["a", "b"]).of(2), None);
    }
}
