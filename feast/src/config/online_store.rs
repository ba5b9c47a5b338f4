//! The key `online_store`: Redis, or Feast's default SQLite.

use std::path::Path;

use super::connection_string::{self, Connection, Kind};
use super::section::Section;
use super::top_level::{Typed, typed};
use super::{Error, OnlineStoreConfig, RedisConfig};

const REDIS_KEYS: [&str; 8] = [
    "type",
    "redis_type",
    "connection_string",
    "sentinel_master",
    "key_ttl_seconds",
    "full_scan_for_deletion",
    "skip_dedup",
    "client",
];
const SQLITE_KEYS: [&str; 6] = [
    "type",
    "path",
    "vector_enabled",
    "similarity",
    "text_search_enabled",
    "enable_openai_compatible_store",
];
/// Each adds a column or a table to what Feast writes.
const SQLITE_EXTRAS: [&str; 3] =
    ["vector_enabled", "text_search_enabled", "enable_openai_compatible_store"];
const SQLITE_PATH: &str = "data/online.db";
const REDIS_CONNECTION: &str = "localhost:6379";
const SENTINEL_MASTER: &str = "mymaster";

pub(super) fn read(file: &Section<'_>, repo_dir: &Path) -> Result<OnlineStoreConfig, Error> {
    let key = "online_store";
    if file.is_null(key) {
        return Err(no_store(file, "null"));
    }
    let (name, section) = match typed(file, key, "sqlite")? {
        Typed::Absent => ("sqlite", None),
        Typed::Name(name) => (name, None),
        Typed::Section(name, section) => (name, Some(section)),
    };
    match (name, section) {
        ("redis", None) => redis_defaults().map(OnlineStoreConfig::Redis),
        ("redis", Some(section)) => redis(&section).map(OnlineStoreConfig::Redis),
        ("sqlite", None) => Ok(OnlineStoreConfig::Sqlite { path: repo_dir.join(SQLITE_PATH) }),
        ("sqlite", Some(section)) => sqlite(&section, repo_dir),
        ("null" | "none" | "None", _) => Err(no_store(file, name)),
        (other, _) => Err(file.unsupported(key, other, "use `redis` or `sqlite`")),
    }
}

fn no_store(file: &Section<'_>, value: &str) -> Error {
    let hint = "there is nothing to materialize into; use `redis` or `sqlite`";
    file.unsupported("online_store", value, hint)
}

/// SQLite; the path is relative to the repository.
fn sqlite(section: &Section<'_>, repo_dir: &Path) -> Result<OnlineStoreConfig, Error> {
    section.only(&SQLITE_KEYS)?;
    for key in SQLITE_EXTRAS {
        if section.flag(key, false)? {
            return Err(section.unsupported(key, "true", "set it to false or leave it out"));
        }
    }
    let path = section.text("path")?.unwrap_or(SQLITE_PATH);
    Ok(OnlineStoreConfig::Sqlite { path: repo_dir.join(path) })
}

fn redis_defaults() -> Result<RedisConfig, Error> {
    Ok(with_connection(connection_string::parse(REDIS_CONNECTION, Kind::One)?, None, false))
}

fn redis(section: &Section<'_>) -> Result<RedisConfig, Error> {
    section.only(&REDIS_KEYS)?;
    let master = section.text("sentinel_master")?.unwrap_or(SENTINEL_MASTER);
    let kind = match section.text("redis_type")?.unwrap_or("redis") {
        "redis" => Kind::One,
        "redis_cluster" => Kind::Cluster,
        "redis_sentinel" => Kind::Sentinel(master),
        other => {
            let why = "it must be `redis`, `redis_cluster` or `redis_sentinel`";
            return Err(section.invalid("redis_type", other, why));
        }
    };
    // These two concern deletion and Feast's reads; only their form is checked.
    section.flag("full_scan_for_deletion", true)?;
    match section.text("client")? {
        None | Some("redis" | "glide") => {}
        Some(other) => {
            return Err(section.invalid("client", other, "it must be `redis` or `glide`"));
        }
    }
    let text = section.text("connection_string")?.unwrap_or(REDIS_CONNECTION);
    let connection = connection_string::parse(text, kind)?;
    Ok(with_connection(connection, key_ttl(section)?, section.flag("skip_dedup", false)?))
}

/// Feast sends no `EXPIRE` for zero. A negative one would delete every key as it is written.
fn key_ttl(section: &Section<'_>) -> Result<Option<u64>, Error> {
    match section.integer("key_ttl_seconds")? {
        None | Some(0) => Ok(None),
        Some(seconds) => match u64::try_from(seconds) {
            Ok(seconds) => Ok(Some(seconds)),
            Err(_) => {
                let why = "it must not be negative; leave it out for keys that do not expire";
                Err(section.invalid("key_ttl_seconds", &seconds.to_string(), why))
            }
        },
    }
}

fn with_connection(
    connection: Connection,
    key_ttl_seconds: Option<u64>,
    skip_dedup: bool,
) -> RedisConfig {
    RedisConfig {
        servers: connection.servers,
        db: connection.db,
        username: connection.username,
        password: connection.password,
        tls: connection.tls,
        key_ttl_seconds,
        skip_dedup,
    }
}

#[cfg(test)]
mod tests {
    use serde_norway::Value;

    use super::*;

    fn parse(text: &str) -> Result<OnlineStoreConfig, Error> {
        let value: Value = serde_norway::from_str(text).expect("the test's YAML is well formed");
        read(&Section::new("", value.as_mapping().expect("it is a mapping")), Path::new("/repo"))
    }

    fn redis_of(text: &str) -> RedisConfig {
        match parse(text).expect(text) {
            OnlineStoreConfig::Redis(redis) => redis,
            other => panic!("{text} gives {other:?}"),
        }
    }

    #[test]
    fn redis_has_feasts_defaults() {
        for text in ["online_store: redis", "online_store: {type: redis}"] {
            let redis = redis_of(text);
            assert_eq!((redis.servers.to_string().as_str(), redis.db), ("localhost:6379", 0));
            assert_eq!((redis.key_ttl_seconds, redis.skip_dedup), (None, false));
        }
    }

    #[test]
    fn every_redis_key_is_read() {
        let redis = redis_of(
            "online_store: {type: redis, redis_type: redis, connection_string: 'h:1,db=2', \
             sentinel_master: m, key_ttl_seconds: 60, full_scan_for_deletion: false, \
             skip_dedup: on, client: glide}",
        );
        assert_eq!((redis.servers.to_string().as_str(), redis.db), ("h:1", 2));
        assert_eq!((redis.key_ttl_seconds, redis.skip_dedup), (Some(60), true));
        assert_eq!(
            redis_of("online_store: {type: redis, key_ttl_seconds: 0}").key_ttl_seconds,
            None
        );
    }

    #[test]
    fn every_type_of_redis_is_read() {
        for (text, servers) in [
            ("redis_type: redis", "a:1"),
            ("redis_type: redis_cluster", "a:1,b:2"),
            ("redis_type: redis_sentinel", "a:1,b:2 (mymaster)"),
            ("redis_type: redis_sentinel, sentinel_master: m", "a:1,b:2 (m)"),
            ("redis_type: redis_cluster, sentinel_master: m", "a:1,b:2"),
        ] {
            let redis = redis_of(&format!(
                "online_store: {{type: redis, connection_string: 'a:1,b:2', {text}}}"
            ));
            assert_eq!(redis.servers.to_string(), servers);
        }
    }

    #[test]
    fn sqlite_paths_are_relative_to_the_repository() {
        for (text, path) in [
            ("project: p", "/repo/data/online.db"),
            ("online_store: sqlite", "/repo/data/online.db"),
            ("online_store: {path: x.db}", "/repo/x.db"),
            ("online_store: {type: sqlite, path: /abs/x.db, vector_enabled: false}", "/abs/x.db"),
        ] {
            assert_eq!(parse(text).expect(text), OnlineStoreConfig::Sqlite { path: path.into() });
        }
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        for (text, names) in [
            ("online_store: null", "online_store: null"),
            ("online_store: none", "online_store: none"),
            ("online_store: postgres", "online_store: postgres"),
            ("online_store: {type: dynamodb, region: x}", "online_store: dynamodb"),
            ("online_store: {type: redis, connection: x}", "unknown key `connection`"),
            ("online_store: {type: redis, redis_type: redis_ring}", "redis_type: redis_ring"),
            ("online_store: {type: redis, client: other}", "online_store.client"),
            ("online_store: {type: redis, key_ttl_seconds: -1}", "key_ttl_seconds: -1"),
            ("online_store: {type: redis, skip_dedup: 1}", "online_store.skip_dedup"),
            ("online_store: {type: sqlite, host: h}", "unknown key `host`"),
            ("online_store: {type: sqlite, vector_enabled: true}", "vector_enabled: true"),
            ("online_store: [redis]", "a type or a mapping"),
        ] {
            let message = parse(text).expect_err(text).to_string();
            assert!(message.contains(names), "{message}");
        }
    }
}
