//! `feature_store.yaml` by Feast's rules.
//!
//! The types are here, the reading in one file per section. What we do not support is refused by
//! its key, never ignored. Deliberately absent: finding and reading the file, which is I/O.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

mod connection_string;
mod error;
mod expand;
mod online_store;
mod postgres_url;
mod redact;
mod registry;
mod section;
mod tidegate;
mod top_level;

pub use error::Error;
pub use expand::expand_variables;
pub use redact::redact;

/// Where relative paths of a `feature_store.yaml` start.
#[derive(Clone, Copy)]
struct Surroundings<'a> {
    repo_dir: &'a Path,
    working_dir: &'a Path,
}

/// What `feature_store.yaml` says.
#[derive(Clone, Debug, PartialEq)]
pub struct RepoConfig {
    /// The project.
    pub project: String,
    /// Where the registry is.
    pub registry: RegistryConfig,
    /// Where features go.
    pub online_store: OnlineStoreConfig,
    /// How entity keys are serialized; 3 unless the file says otherwise.
    pub entity_key_serialization_version: i64,
    /// `materialization.online_write_batch_size`: rows in one write; `None` for our own choice.
    pub online_write_batch_size: Option<usize>,
    /// Our own settings, the key `tidegate:`.
    pub tidegate: TidegateConfig,
}

impl RepoConfig {
    /// Reads the text of a `feature_store.yaml`.
    ///
    /// Relative file paths start at `repo_dir`; relative `sqlite:///` URLs at `working_dir`, the
    /// process's own, as in Feast. `env` looks up an environment variable.
    ///
    /// # Errors
    /// Names the first key that is missing, malformed or not supported, and what to do about it.
    /// No error carries a password.
    /// # Source
    /// Feast 0.67 `repo_config.py`.
    pub fn parse(
        yaml_text: &str,
        repo_dir: &Path,
        working_dir: &Path,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Error> {
        let expanded = expand_variables(yaml_text, env);
        top_level::read(&expanded, Surroundings { repo_dir, working_dir })
    }
}

/// The registry's place, resolved against the repository where it is relative.
#[derive(Clone, Debug, PartialEq)]
pub struct RegistryConfig {
    /// Its form.
    pub location: RegistryLocation,
    /// `enable_online_feature_view_versioning`.
    pub versioning: bool,
    /// `purge_feast_metadata`: `feast_metadata` is not written.
    pub purge_feast_metadata: bool,
    /// `cache_ttl_seconds`: how long a server may go on with what it has read; 0 for ever.
    pub cache_ttl_seconds: Option<u64>,
}

/// The registry's form.
#[derive(Clone, PartialEq, Eq)]
pub enum RegistryLocation {
    /// One protobuf file on disk.
    File(PathBuf),
    /// One protobuf object in an object store, by its URL (`s3://`, `gs://`).
    Object(String),
    /// A PostgreSQL database: `postgresql://…`, without SQLAlchemy's driver suffix.
    Postgres(String),
    /// A SQLite database.
    Sqlite(PathBuf),
}

/// Path or URL, without a password.
impl fmt::Display for RegistryLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) | Self::Sqlite(path) => write!(f, "{}", path.display()),
            Self::Object(url) | Self::Postgres(url) => f.write_str(&redact(url)),
        }
    }
}

impl fmt::Debug for RegistryLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = match self {
            Self::File(_) => "File",
            Self::Object(_) => "Object",
            Self::Postgres(_) => "Postgres",
            Self::Sqlite(_) => "Sqlite",
        };
        f.debug_tuple(form).field(&format_args!("{self}")).finish()
    }
}

/// The online store.
#[derive(Clone, Debug, PartialEq)]
pub enum OnlineStoreConfig {
    /// `type: redis`.
    Redis(RedisConfig),
    /// `type: sqlite`: path of the database, absolute.
    Sqlite {
        /// The database file.
        path: PathBuf,
    },
}

/// `online_store` of type redis.
#[derive(Clone, PartialEq)]
pub struct RedisConfig {
    /// Where the server or the servers are found.
    pub servers: RedisServers,
    /// Database number; 0 in a cluster, which has no other.
    pub db: u8,
    /// User for `AUTH`.
    pub username: Option<String>,
    /// Password for `AUTH`.
    pub password: Option<String>,
    /// TLS, when the connection string says `ssl=true`.
    pub tls: Option<RedisTls>,
    /// `key_ttl_seconds`, when positive.
    pub key_ttl_seconds: Option<u64>,
    /// `skip_dedup`: rows are written without looking at the stored event time.
    pub skip_dedup: bool,
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConfig")
            .field("servers", &self.servers)
            .field("db", &self.db)
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| redact::HIDDEN))
            .field("tls", &self.tls)
            .field("key_ttl_seconds", &self.key_ttl_seconds)
            .field("skip_dedup", &self.skip_dedup)
            .finish()
    }
}

/// Where Redis is found: `redis_type` and the nodes of `connection_string`.
#[derive(Clone, PartialEq, Eq)]
pub enum RedisServers {
    /// `redis_type: redis`: one server.
    One(RedisNode),
    /// `redis_type: redis_cluster`: nodes of a cluster, of which any can name the others.
    Cluster(Vec<RedisNode>),
    /// `redis_type: redis_sentinel`: sentinels, which know where the master is.
    Sentinel {
        /// `sentinel_master`: the name under which the sentinels know it.
        master: String,
        /// The sentinels, in the order in which they are asked.
        sentinels: Vec<RedisNode>,
        /// The sentinels' own password, from `sentinel_kwargs`.
        password: Option<String>,
    },
}

impl RedisServers {
    /// The nodes that the connection string names; of one server only that.
    pub fn nodes(&self) -> &[RedisNode] {
        match self {
            Self::One(node) => std::slice::from_ref(node),
            Self::Cluster(nodes) | Self::Sentinel { sentinels: nodes, .. } => nodes,
        }
    }
}

/// The nodes, as in the connection string, and the master's name.
impl fmt::Display for RedisServers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, node) in self.nodes().iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{node}")?;
        }
        match self {
            Self::Sentinel { master, .. } => write!(f, " ({master})"),
            Self::One(_) | Self::Cluster(_) => Ok(()),
        }
    }
}

impl fmt::Debug for RedisServers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = match self {
            Self::One(_) => "One",
            Self::Cluster(_) => "Cluster",
            Self::Sentinel { .. } => "Sentinel",
        };
        f.debug_tuple(form).field(&format_args!("{self}")).finish()
    }
}

/// Host and port of a Redis server or sentinel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisNode {
    /// Host.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl fmt::Display for RedisNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// TLS of a Redis connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisTls {
    /// Tells whether the server's certificate is checked (`ssl_cert_reqs` other than `none`).
    pub verify: bool,
    /// Tells whether the certificate's host name is checked (`ssl_check_hostname`).
    pub verify_hostname: bool,
    /// PEM file of authorities (`ssl_ca_certs`); the system's when `None`.
    pub ca_certs: Option<PathBuf>,
    /// PEM file of our certificate (`ssl_certfile`).
    pub certfile: Option<PathBuf>,
    /// PEM file of our key (`ssl_keyfile`).
    pub keyfile: Option<PathBuf>,
}

/// The top-level key `tidegate:`; Feast ignores it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct TidegateConfig {
    /// `metastore`: URL of the ledger.
    pub metastore: Option<String>,
    /// `on_bad_row`: what happens to a row that Feast's types cannot hold.
    pub on_bad_row: OnBadRow,
    /// `parallel`: views side by side.
    pub parallel: Option<usize>,
    /// `memory_limit` in bytes, for one process.
    pub memory_limit_bytes: Option<u64>,
    /// `max_rows_per_second`: the ceiling of writes to the online store, for one process.
    pub rows_per_second_max: Option<NonZeroU64>,
    /// `latency_limit`: writes slow down while the online store takes longer to answer.
    pub latency_limit: Option<Duration>,
    /// `refuse_over_memory`: a run that may not fit into Redis is refused.
    pub refuse_over_memory: bool,
    /// `object_store`: options by their object_store names (`aws_endpoint`, …).
    pub object_store: BTreeMap<String, String>,
    /// `lease_ttl`: how long the lease of a view lasts unless it is extended.
    pub lease_ttl: Option<Duration>,
    /// `attempts_max`: attempts at a window before it fails.
    pub attempts_max: Option<usize>,
    /// `attempt_timeout`: how long one attempt may take.
    pub attempt_timeout: Option<Duration>,
    /// `wait_replicas`: replicas that must have every row before it counts as landed.
    pub wait_replicas: Option<u32>,
    /// `window_bytes`: bytes that a window reads, about.
    pub window_bytes: Option<u64>,
    /// `rebuild_lost`: what the online store has lost is brought back without being asked for.
    pub rebuild_lost: bool,
    /// `auth.tokens`: the file that holds the tokens of the server's callers.
    pub auth: Option<PathBuf>,
    /// `tls`: the server's certificate.
    pub tls: Option<TlsPaths>,
    /// `serve`: how features are served.
    pub serve: ServeConfig,
}

/// How features are served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServeConfig {
    /// `compat: feast`: statuses, coercions and errors as Feast has them.
    pub compat_feast: bool,
    /// `expired: null`: a value older than its view's ttl is null.
    pub expired_null: bool,
    /// `on_demand: refuse`: a request for an on-demand feature is refused as a whole.
    pub on_demand_refused: bool,
    /// `read_from: replica`: features are read from Redis's replicas.
    pub read_from_replicas: bool,
}

/// Files of a server's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsPaths {
    /// The chain, PEM-encoded.
    pub certificate: PathBuf,
    /// The key, PEM-encoded.
    pub key: PathBuf,
}

impl fmt::Debug for TidegateConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Any of the options may be a key or a token, so none is shown.
        let options: BTreeMap<_, _> =
            self.object_store.keys().map(|name| (name, redact::HIDDEN)).collect();
        f.debug_struct("TidegateConfig")
            .field("metastore", &self.metastore.as_deref().map(redact))
            .field("on_bad_row", &self.on_bad_row)
            .field("parallel", &self.parallel)
            .field("memory_limit_bytes", &self.memory_limit_bytes)
            .field("rows_per_second_max", &self.rows_per_second_max)
            .field("latency_limit", &self.latency_limit)
            .field("refuse_over_memory", &self.refuse_over_memory)
            .field("object_store", &options)
            .field("lease_ttl", &self.lease_ttl)
            .field("attempts_max", &self.attempts_max)
            .field("attempt_timeout", &self.attempt_timeout)
            .field("wait_replicas", &self.wait_replicas)
            .field("window_bytes", &self.window_bytes)
            .field("rebuild_lost", &self.rebuild_lost)
            .field("auth", &self.auth)
            .field("tls", &self.tls)
            .field("serve", &self.serve)
            .finish()
    }
}

/// What happens to a row that Feast's types cannot hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnBadRow {
    /// The view fails.
    #[default]
    Fail,
    /// The row is counted, reported and left out.
    Skip,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_printed() {
        let redis = RedisConfig {
            servers: RedisServers::Sentinel {
                master: "m".to_owned(),
                sentinels: vec![RedisNode { host: "h".to_owned(), port: 1 }],
                password: Some("secret".to_owned()),
            },
            db: 0,
            username: None,
            password: Some("secret".to_owned()),
            tls: None,
            key_ttl_seconds: None,
            skip_dedup: false,
        };
        let tidegate = TidegateConfig {
            metastore: Some("postgresql://u:secret@h/d".to_owned()),
            object_store: BTreeMap::from([("aws_secret_key".to_owned(), "secret".to_owned())]),
            ..Default::default()
        };
        let location = RegistryLocation::Postgres("postgresql://u:secret@h/d".to_owned());
        let printed = format!("{redis:?} {tidegate:?} {location:?} {location}");
        assert!(!printed.contains("secret\""), "{printed}");
        assert!(printed.contains("h:1 (m)"), "{printed}");
        assert!(!printed.contains("u:secret"), "{printed}");
        assert!(printed.contains("postgresql://u:***@h/d"), "{printed}");
    }
}
