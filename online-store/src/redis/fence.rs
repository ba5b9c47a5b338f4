//! Fences: what a view's writes have to show, and how a fence is put up.
//!
//! A fence is a token in a key beside the rows that it guards; a write that does not carry exactly
//! that token is refused inside Redis. In a cluster a script sees keys of one slot, so every slot
//! has a fence of its own, whether it has rows or not: a write of an older attempt may still come.

use bytes::Bytes;
use model::{FencingToken, ViewRef, WriteMode};

use super::RedisStore;
use super::own::{self, Own};
use super::reply;
use super::{script, wire};
use crate::error::Error;

/// What every call of a fenced view carries.
#[derive(Clone, Debug)]
pub(super) struct Guard {
    token: FencingToken,
    /// The interval that is being corrected, if any, and the token.
    arguments: Vec<Bytes>,
}

impl Guard {
    /// The guard of a mode; `None` without a fence.
    pub(super) fn of(mode: &WriteMode) -> Option<Self> {
        let token = mode.fence?;
        let mut arguments = Vec::new();
        for time in mode.correct.iter().flat_map(|interval| [interval.start, interval.end]) {
            let (seconds, nanos) = time.seconds_and_nanos();
            arguments.extend([Bytes::from(seconds.to_string()), Bytes::from(nanos.to_string())]);
        }
        arguments.push(Bytes::from(token.to_string()));
        Some(Self { token, arguments })
    }

    pub(super) fn token(&self) -> FencingToken {
        self.token
    }

    /// The arguments at the end of a call.
    pub(super) fn arguments(&self) -> &[Bytes] {
        &self.arguments
    }
}

impl RedisStore {
    /// Puts a view's fence up, on every server and in every slot. Repeating it is harmless.
    pub(super) async fn put_up_fence(
        &self,
        view: &ViewRef,
        own: &Own,
        token: FencingToken,
    ) -> Result<(), Error> {
        let script = self.load(script::fence()).await?;
        let slots = own::fenced_slots(&self.connection.servers());
        let keys: Vec<Vec<u8>> = slots.into_iter().map(|slot| own.fence(slot)).collect();
        let token_text = token.to_string();
        self.each(
            &keys,
            Some(&script),
            None,
            |buffer, at, is_asking| {
                script.call(is_asking).start(buffer, 1, 2);
                wire::argument(buffer, &keys[at]);
                wire::argument(buffer, token_text.as_bytes());
            },
            |address, _, reply| {
                reply::status(address, reply).map_err(|failure| failure.of_fence(view, token))
            },
        )
        .await?;
        Ok(())
    }
}
