//! What can go wrong at the online store, and which of it is worth another try.
//!
//! Names the server by host and port or the file by path, never a password. Deliberately absent:
//! how a server's answer is told apart (see `redis::reply`).

use std::fmt::{self, Write as _};
use std::path::PathBuf;

use model::FencingToken;

/// Why a Redis server refuses for now: states of the server that may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// `OOM`.
    #[error("it is out of memory; free memory or raise `maxmemory`")]
    OutOfMemory,
    /// `READONLY`.
    #[error("it is a read-only replica; point `connection_string` at the primary")]
    ReadOnly,
    /// `LOADING`.
    #[error("it is still loading its data; run again when it has started")]
    Loading,
    /// `BUSY`.
    #[error("a slow script is blocking it; stop that script (`SCRIPT KILL`)")]
    Busy,
    /// `MASTERDOWN`.
    #[error("it is a replica that has lost its primary; point `connection_string` at the primary")]
    MasterDown,
    /// `CLUSTERDOWN`.
    #[error(
        "its cluster is down, or some slot has no server; see what `redis-cli --cluster check` says"
    )]
    ClusterDown,
    /// `MOVED` or `ASK`.
    #[error(
        "it is a node of a cluster that does not hold the key; set `redis_type: redis_cluster`, or \
         run again when the cluster has settled"
    )]
    Moved,
    /// `TRYAGAIN`.
    #[error("it is moving keys to another node; run again later")]
    TryAgain,
    /// `MISCONF`.
    #[error("it cannot save to disk and refuses writes; see its log")]
    CannotPersist,
    /// `NOREPLICAS`.
    #[error("it has too few replicas and refuses writes (`min-replicas-to-write`)")]
    TooFewReplicas,
}

/// A failure at the online store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection could not be made.
    #[error(
        "cannot connect to Redis at `{address}`; check `connection_string` and that the server runs"
    )]
    Connect {
        /// Host and port.
        address: String,
        /// What the client saw.
        source: fred::error::Error,
    },
    /// The server is not the one that the rows before were written to.
    #[error(
        "Redis at `{address}` was restarted or replaced while rows were being written; what it had \
         acknowledged before may be gone"
    )]
    Restarted {
        /// Host and port.
        address: String,
    },
    /// What was written is gone, though the server is the same.
    #[error(
        "online store `{store}` does not have what was written to it: it was flushed, or replaced \
         by an older copy of itself"
    )]
    Emptied {
        /// Host and port, or the file.
        store: String,
    },
    /// The view's fence in the store is another's, or gone.
    #[error(
        "the fence of view `{view}` in the online store is {}, and ours is `{token}`: {}",
        Fence(*stored),
        why(*stored, *token)
    )]
    Superseded {
        /// The view.
        view: String,
        /// Our token.
        token: FencingToken,
        /// The token that the store has.
        stored: Option<FencingToken>,
    },
    /// The store has a marker of a later commit.
    #[error(
        "the online store has commit `{stored}` of view `{view}`, and `{sequence}` was to be \
         noted; another process has committed the view, or the ledger is an older copy of itself"
    )]
    MarkerAhead {
        /// The view.
        view: String,
        /// The commit that was to be noted.
        sequence: u64,
        /// The commit that is.
        stored: u64,
    },
    /// Too few replicas have what was written.
    #[error(
        "{got} replicas of Redis at `{address}` have what was written, and {wanted} should; see \
         that they run and keep up"
    )]
    NotReplicated {
        /// Host and port of the primary.
        address: String,
        /// Replicas that should have it.
        wanted: u32,
        /// Replicas that said in time that they have it.
        got: u64,
    },
    /// The server gave up keys, anybody's, to stay within its memory.
    #[error(
        "Redis at `{address}` evicted {keys} keys while rows were being written; raise \
         `maxmemory`, or set `maxmemory-policy noeviction`"
    )]
    Evicted {
        /// Host and port.
        address: String,
        /// How many.
        keys: u64,
    },
    /// The server does not accept our credentials, or does not let us run a command.
    #[error(
        "Redis at `{address}` refuses access; check `username` and `password` in \
         `connection_string` and the user's rights"
    )]
    Access {
        /// Host and port.
        address: String,
        /// The server's answer.
        source: fred::error::Error,
    },
    /// A TLS setting cannot be used.
    #[error("cannot set up TLS for Redis at `{address}`: {what}")]
    Tls {
        /// Host and port.
        address: String,
        /// The setting or file, and what to do.
        what: String,
        /// The cause.
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// `redis_type` says cluster, and the server is none of one.
    #[error("Redis at `{address}` is not in cluster mode; set `redis_type: redis`")]
    NotACluster {
        /// Hosts and ports.
        address: String,
    },
    /// `redis_type` says sentinel, and the server is none.
    #[error(
        "Redis at `{address}` is no sentinel; name the sentinels in `connection_string`, or set \
         `redis_type: redis`"
    )]
    NotASentinel {
        /// Host and port.
        address: String,
    },
    /// The sentinels answer and watch no master of the name.
    #[error("no sentinel at `{address}` knows a master `{master}`; check `sentinel_master`")]
    UnknownMaster {
        /// Hosts and ports.
        address: String,
        /// The name.
        master: String,
    },
    /// The connection was lost, or an answer took too long.
    #[error(
        "lost the connection to Redis at `{address}`; check that the server runs, then run again"
    )]
    Lost {
        /// Host and port.
        address: String,
        /// What the client saw.
        source: fred::error::Error,
    },
    /// The server refuses for now.
    #[error("Redis at `{address}` refuses: {trouble}")]
    Unavailable {
        /// Host and port.
        address: String,
        /// Its state.
        trouble: Trouble,
        /// Its answer.
        source: fred::error::Error,
    },
    /// The server lost our script; it is loaded again.
    #[error(
        "Redis at `{address}` does not keep scripts; it forgot `newer_wins.lua` again and again"
    )]
    ScriptMissing {
        /// Host and port.
        address: String,
        /// Its answer.
        source: fred::error::Error,
    },
    /// The server's answer is not one we know a remedy for.
    #[error("Redis at `{address}` refuses a command")]
    Refused {
        /// Host and port.
        address: String,
        /// Its answer.
        source: fred::error::Error,
    },
    /// The server's answer has a shape that no Redis gives.
    #[error("Redis at `{address}` gives an answer that cannot be read: {what}")]
    Answer {
        /// Host and port.
        address: String,
        /// What is wrong with it.
        what: String,
    },
    /// A key of ours holds something that is not a hash.
    #[error(
        "key `{key}` (hex) in Redis at `{address}` is not a hash; another program uses it: \
         delete it or use another `db`"
    )]
    WrongType {
        /// Host and port.
        address: String,
        /// The key in hex.
        key: String,
    },
    /// A stored event time is not what Feast writes.
    #[error(
        "the event time stored for key `{key}` (hex) of view `{view}` cannot be \
         read; delete the key and materialize again"
    )]
    StoredTime {
        /// The view.
        view: String,
        /// The key in hex.
        key: String,
    },
    /// Every try failed.
    #[error("gave up after {attempts} tries")]
    Exhausted {
        /// The tries.
        attempts: u32,
        /// The last failure.
        source: Box<Error>,
    },
    /// Two features of a view would overwrite each other.
    #[error(
        "features `{first}` and `{second}` of view `{view}` share one hash field in Redis (their \
         32-bit hashes are equal), so one would be served as the other; rename one of them"
    )]
    FieldCollision {
        /// The view.
        view: String,
        /// The one feature.
        first: String,
        /// The other feature.
        second: String,
    },
    /// The database of the SQLite store is not there.
    #[error("online store `{}` does not exist; run `feast apply`, which creates it",
        path.display())]
    DatabaseMissing {
        /// The file.
        path: PathBuf,
    },
    /// A view has no table.
    #[error("online store `{}` has no table `{table}`; run `feast apply`, which creates it",
        path.display())]
    TableMissing {
        /// The file.
        path: PathBuf,
        /// The table.
        table: String,
    },
    /// A table lacks a column that Feast gives it.
    #[error("table `{table}` of online store `{}` has no column `{column}`; it is from another \
        version of Feast: drop it and run `feast apply`", path.display())]
    ColumnMissing {
        /// The file.
        path: PathBuf,
        /// The table.
        table: String,
        /// The column.
        column: &'static str,
    },
    /// A SQLite statement failed.
    #[error("failed to {operation} in online store `{}`", path.display())]
    Sqlite {
        /// What was being done.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: rusqlite::Error,
    },
    /// The thread that was writing ended before it was done.
    #[error("a write to the online store was stopped")]
    Stopped(#[source] tokio::task::JoinError),
}

impl Error {
    /// Tells whether the same operation may succeed later with nothing changed by a person.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Connect { source, .. } => is_passing(source),
            Self::Lost { .. }
            | Self::Restarted { .. }
            | Self::Emptied { .. }
            | Self::NotReplicated { .. }
            | Self::Unavailable { .. }
            | Self::ScriptMissing { .. } => true,
            // A fence that is gone, or an older one, is put up again by a new attempt.
            Self::Superseded { token, stored, .. } => *stored < Some(*token),
            Self::Exhausted { source, .. } => source.is_retryable(),
            Self::Sqlite { source, .. } => is_busy(source),
            Self::Evicted { .. }
            | Self::MarkerAhead { .. }
            | Self::Access { .. }
            | Self::Tls { .. }
            | Self::NotACluster { .. }
            | Self::NotASentinel { .. }
            | Self::UnknownMaster { .. }
            | Self::Refused { .. }
            | Self::Answer { .. }
            | Self::WrongType { .. }
            | Self::StoredTime { .. }
            | Self::FieldCollision { .. }
            | Self::DatabaseMissing { .. }
            | Self::TableMissing { .. }
            | Self::ColumnMissing { .. }
            | Self::Stopped(_) => false,
        }
    }
}

/// A fence as a message names it.
struct Fence(Option<FencingToken>);

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(token) => write!(f, "`{token}`"),
            None => f.write_str("gone"),
        }
    }
}

/// What a fence other than ours means.
fn why(stored: Option<FencingToken>, token: FencingToken) -> &'static str {
    if stored < Some(token) {
        "the store was flushed, or replaced by an older copy of itself"
    } else {
        "another attempt has taken the view over"
    }
}

/// A connection that could not be made may come later, unless a setting is wrong.
fn is_passing(error: &fred::error::Error) -> bool {
    use fred::error::ErrorKind;
    !matches!(error.kind(), ErrorKind::Config | ErrorKind::Auth | ErrorKind::Url | ErrorKind::Tls)
}

fn is_busy(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked};
    matches!(error.sqlite_error_code(), Some(DatabaseBusy | DatabaseLocked))
}

/// Lower-case hex of a key, for messages.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a `String` takes every text");
        text
    })
}
