//! `feature_store.yaml` by Feast's rules.

use std::collections::BTreeMap;
use std::path::PathBuf;

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

/// The registry's place, resolved against the repository where it is relative.
#[derive(Clone, Debug, PartialEq)]
pub struct RegistryConfig {
    /// Its form.
    pub location: RegistryLocation,
    /// `enable_online_feature_view_versioning`.
    pub versioning: bool,
    /// `purge_feast_metadata`: `feast_metadata` is not written.
    pub purge_feast_metadata: bool,
}

/// The registry's form.
#[derive(Clone, Debug, PartialEq, Eq)]
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
#[derive(Clone, Debug, PartialEq)]
pub struct RedisConfig {
    /// Host.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Database number.
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TidegateConfig {
    /// `metastore`: URL of the ledger.
    pub metastore: Option<String>,
    /// `on_bad_row`: what happens to a row that Feast's types cannot hold.
    pub on_bad_row: OnBadRow,
    /// `parallel`: views side by side.
    pub parallel: Option<usize>,
    /// `memory_limit` in bytes, for one process.
    pub memory_limit_bytes: Option<u64>,
    /// `object_store`: options by their object_store names (`aws_endpoint`, …).
    pub object_store: BTreeMap<String, String>,
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
