//! What the servers say of their memory: asked before a run, and again when it has written.
//!
//! What the answers mean is in `redis_memory`. A server that does not let us ask is left out, as it
//! may be written all the same.

use std::collections::BTreeMap;

use model::{MemoryState, OnlineView, RowSize};

use super::RedisStore;
use crate::error::Error;
use crate::redis_memory;

impl RedisStore {
    /// The memory of every server that takes writes.
    pub(crate) async fn memory(&self) -> Result<Vec<MemoryState>, Error> {
        let infos = self.repeat(|| self.connection.infos("memory")).await?;
        let state = |(address, info): &(String, String)| redis_memory::memory_state(address, info);
        Ok(infos.iter().filter_map(state).collect())
    }

    /// Bytes that a new row takes.
    pub(crate) fn row_bytes(&self, view: &OnlineView, size: &RowSize) -> u64 {
        redis_memory::row_bytes(view, size, self.key_ttl_seconds > 0)
    }

    /// Keys that each server has evicted since its start, by address.
    pub(super) async fn evicted(&self) -> Result<BTreeMap<String, u64>, Error> {
        let infos = self.repeat(|| self.connection.infos("stats")).await?;
        let count = |(address, info): (String, String)| {
            redis_memory::evicted_keys(&info).map(|keys| (address, keys))
        };
        Ok(infos.into_iter().filter_map(count).collect())
    }

    /// Confirms that no server has evicted a key since `before`. Whose keys they were is not told:
    /// any of ours may be among them.
    pub(super) async fn check_evictions(
        &self,
        before: &BTreeMap<String, u64>,
    ) -> Result<(), Error> {
        for (address, now) in self.evicted().await? {
            let keys = before.get(&address).map(|&then| redis_memory::evicted_between(then, now));
            if let Some(keys) = keys.filter(|&keys| keys > 0) {
                return Err(Error::Evicted { address, keys });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;
    use std::time::{Duration, Instant};

    use feast::config::{OnlineStoreConfig, RedisConfig};
    use harness::Redis;
    use model::{WriteCounts, WriteMode};

    use crate::conformance::{PROJECT, batch, row, view};
    use crate::{Error, OnlineStore, PaceLimits, PreparedView, WriteLimits, redis};

    const SECOND: i64 = 1_000_000_000;

    fn config(server: &Redis, login: Option<(&str, &str)>) -> OnlineStoreConfig {
        OnlineStoreConfig::Redis(RedisConfig {
            username: login.map(|(name, _)| name.to_owned()),
            password: login.map(|(_, password)| password.to_owned()),
            ..redis::tests::config(server)
        })
    }

    async fn connect(server: &Redis) -> OnlineStore {
        let store = OnlineStore::connect(&config(server, None), WriteLimits::default()).await;
        store.expect("it lets us in")
    }

    async fn write(store: &OnlineStore, view: &PreparedView, entities: std::ops::Range<u32>) {
        let rows: Vec<_> = entities.map(|entity| row(entity, SECOND, 1, 1)).collect();
        let batch = batch(&rows, 1, store.key_suffix(PROJECT));
        let counts = store.write(view, batch).await.expect("the server takes them");
        assert_eq!(counts, WriteCounts { written: rows.len() as u64, ..WriteCounts::default() });
    }

    fn set(server: &Redis, name: &str, value: &str) {
        server.command(&["CONFIG", "SET", name, value]).expect("the server answers");
    }

    #[tokio::test]
    async fn a_server_tells_its_limit_and_policy() {
        let server = Redis::start().expect("a Redis server");
        let store = connect(&server).await;
        let states = store.server_memory().await.expect("it may be asked");
        assert_eq!(states.iter().map(|state| state.limit_bytes).collect::<Vec<_>>(), [None]);
        set(&server, "maxmemory", "64mb");
        set(&server, "maxmemory-policy", "allkeys-lru");
        let states = store.server_memory().await.expect("it may be asked");
        assert_eq!(states[0].limit_bytes, Some(64 << 20));
        assert_eq!(states[0].policy, "allkeys-lru");
        assert_eq!(states[0].address, format!("127.0.0.1:{}", server.port()));
        assert!(states[0].used_bytes > 100_000, "{states:?}");
    }

    #[tokio::test]
    async fn evictions_since_the_preparation_fail_the_confirmation() {
        let server = Redis::start().expect("a Redis server");
        let store = connect(&server).await;
        let early =
            store.prepare(&view("v", 1), &WriteMode::default()).await.expect("it can be written");
        write(&store, &early, 0..20_000).await;
        store.confirm(&early).await.expect("nothing was evicted");

        set(&server, "maxmemory-policy", "allkeys-lru");
        set(&server, "maxmemory", "2mb");
        let refused = store.confirm(&early).await.expect_err("keys are gone");
        assert!(matches!(refused, Error::Evicted { keys, .. } if keys > 0), "{refused}");
        assert!(!refused.is_retryable(), "another attempt would evict as many");

        set(&server, "maxmemory", "0");
        let late =
            store.prepare(&view("v", 1), &WriteMode::default()).await.expect("it can be written");
        write(&store, &late, 50_000..50_100).await;
        store.confirm(&late).await.expect("those were evicted before");
    }

    #[tokio::test]
    async fn a_server_that_may_not_be_asked_is_left_out() {
        let user = ["--user", "writer", "on", ">secret", "~*", "+@all", "-info"];
        let server = Redis::start_with(&user).expect("a Redis server");
        let config = config(&server, Some(("writer", "secret")));
        let store = OnlineStore::connect(&config, WriteLimits::default()).await;
        let store = store.expect("it lets us in");
        assert_eq!(store.server_memory().await.expect("it is no failure"), []);
        let prepared =
            store.prepare(&view("v", 1), &WriteMode::default()).await.expect("it can be written");
        write(&store, &prepared, 0..10).await;
        store.confirm(&prepared).await.expect("nothing is known against it");
    }

    #[tokio::test]
    async fn writes_keep_to_the_ceiling() {
        let server = Redis::start().expect("a Redis server");
        let pace = PaceLimits { rows_per_second_max: NonZeroU64::new(4_000), ..Default::default() };
        let limits = WriteLimits { pace, ..WriteLimits::default() };
        let begun = Instant::now();
        let store = OnlineStore::connect(&config(&server, None), limits).await;
        let store = store.expect("it lets us in");
        let prepared =
            store.prepare(&view("v", 1), &WriteMode::default()).await.expect("it can be written");
        write(&store, &prepared, 0..4_000).await;
        write(&store, &prepared, 4_000..8_000).await;
        let taken = begun.elapsed();
        assert!(taken >= Duration::from_secs(2), "{taken:?}");
        assert_eq!(store.slowed(), Duration::ZERO, "a ceiling is no slow server");
    }
}
