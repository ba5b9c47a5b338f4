//! Making a view ready to be written, and confirming afterwards that the servers are the same.
//!
//! Apart from the loops of `redis` because all of it is done once a view, in either direction:
//! what is noted here is what is compared there.

use std::collections::BTreeMap;
use std::sync::Mutex;

use bytes::Bytes;
use feast::redis_layout::field_collision;
use fred::types::Value;
use model::{OnlineView, WriteMode};

use super::dump::{HashDump, ListpackLimits};
use super::fence::Guard;
use super::own::Own;
use super::reply::{Failure, Remedy};
use super::script::{self, Loaded, Rules};
use super::{Place, RedisStore, RedisView};
use crate::error::Error;

/// What hashes may be listpacks where we may not ask: the least that any Redis comes with.
const LISTPACK_DEFAULTS: ListpackLimits = ListpackLimits { fields: 128, bytes: 64 };

/// The first version of Redis with listpack hashes.
const LISTPACK_SINCE: u64 = 7;

impl RedisStore {
    /// Makes a view ready. The fence is put up last, when nothing else can fail.
    pub(crate) async fn prepare(
        &self,
        view: &OnlineView,
        mode: &WriteMode,
    ) -> Result<RedisView, Error> {
        let names = view.features.iter().map(|feature| feature.name.as_str());
        if let Some((first, second)) = field_collision(&view.view.storage_name, names) {
            return Err(Error::FieldCollision {
                view: view.view.to_string(),
                first: first.to_owned(),
                second: second.to_owned(),
            });
        }
        self.repeat(|| self.connection.check_writable()).await?;
        let place = Place::new(view);
        let rules = Rules {
            key_ttl_seconds: self.key_ttl_seconds,
            compares: !self.skip_dedup,
            is_fenced: mode.fence.is_some(),
            corrects: mode.correct.is_some(),
        };
        let script = script::newer_wins(&place.time_field, &place.fields, rules);
        let script = self.load(script).await?;
        let limits = self.repeat(|| self.listpack_limits()).await?;
        let mut fields = place.fields.clone();
        fields.push(place.time_field.clone());
        let view = RedisView {
            key_ttl_seconds: self.key_ttl_seconds,
            hash: HashDump::new(&fields, limits),
            tombstone: HashDump::new(&fields[place.fields.len()..], limits),
            script,
            own: Own::new(&view.view),
            guard: Guard::of(mode),
            experience: Mutex::default(),
            identities: self.identities().await?,
            nonces: self.nonces(&view.view).await?,
            evicted: self.evicted().await?,
            place,
        };
        if let Some(guard) = &view.guard {
            self.put_up_fence(&view.place.view.view, &view.own, guard.token()).await?;
        }
        Ok(view)
    }

    /// Gives a script to every server.
    pub(super) async fn load(&self, script: String) -> Result<Loaded, Error> {
        let text = Bytes::from(script);
        let sha = self.repeat(|| self.connection.load(&text)).await?;
        Ok(Loaded { text, sha })
    }

    /// Confirms that the servers are still those that the view was prepared on. One that has been
    /// restarted or emptied, or that a failover has put in its place, may have lost what was
    /// acknowledged; so may one that has evicted keys.
    pub(crate) async fn confirm(&self, view: &RedisView) -> Result<(), Error> {
        let now = self.identities().await?;
        // A primary that is gone has had another put in its place; none at all, we may not ask.
        let is_other = |(name, id): &(&String, &String)| now.get(*name) != Some(id);
        match view.identities.iter().find(is_other).filter(|_| !now.is_empty()) {
            Some((address, _)) => Err(Error::Restarted { address: address.clone() }),
            None => {
                // Before the nonces, which may be among what was evicted.
                self.check_evictions(&view.evicted).await?;
                self.check_nonces(view).await
            }
        }
    }

    async fn identities(&self) -> Result<BTreeMap<String, String>, Error> {
        self.repeat(|| self.connection.identities()).await
    }

    /// What hashes the first server keeps as listpacks; `None` when it is too old for them. The
    /// servers of one cluster are set up alike.
    async fn listpack_limits(&self) -> Result<Option<ListpackLimits>, Failure> {
        let servers = self.connection.servers();
        let version = self.connection.info("server", "redis_version:").await?;
        let major = version.as_deref().and_then(|version| version.split('.').next()?.parse().ok());
        if major.is_none_or(|major: u64| major < LISTPACK_SINCE) {
            return Ok(None);
        }
        let setting = |name: &'static str, default: usize| {
            let arguments = vec![Value::from("GET"), Value::from(name)];
            let answer = self.connection.command_on(&servers, 0, "CONFIG", arguments);
            async move {
                match answer.await {
                    Ok(answer) => {
                        let pair: Vec<String> = answer.convert().unwrap_or_default();
                        Ok(pair.get(1).and_then(|value| value.parse().ok()).unwrap_or(default))
                    }
                    // Where `CONFIG` is forbidden or unknown.
                    Err(failure) if failure.remedy == Remedy::GiveUp => Ok(default),
                    Err(failure) => Err(failure),
                }
            }
        };
        Ok(Some(ListpackLimits {
            fields: setting("hash-max-listpack-entries", LISTPACK_DEFAULTS.fields).await?,
            bytes: setting("hash-max-listpack-value", LISTPACK_DEFAULTS.bytes).await?,
        }))
    }
}
