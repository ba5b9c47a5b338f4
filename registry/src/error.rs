//! What can go wrong with a registry, and whether trying again may help.

use std::io;

/// What went wrong, and with which registry. `location` never carries a password.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no registry at the place that `feature_store.yaml` names.
    #[error("there is no registry at `{location}`; {hint}")]
    Missing {
        /// Path or URL.
        location: String,
        /// What to do.
        hint: &'static str,
    },
    /// The database has none of Feast's tables.
    #[error(
        "`{location}` has no table `feature_views`; run `feast apply`, or correct `registry.path`"
    )]
    NoTables {
        /// Path or URL.
        location: String,
    },
    /// The place cannot be understood as a URL of its kind.
    #[error("the registry's URL `{location}` cannot be used; correct `registry.path`")]
    Url {
        /// The URL.
        location: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A registry file cannot be read.
    #[error("failed to read the registry `{location}`")]
    Read {
        /// The file.
        location: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A registry file cannot be replaced.
    #[error("failed to replace the registry `{location}`; its directory must be writable")]
    Replace {
        /// The file.
        location: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A registry file stayed empty or cut for as long as we waited.
    #[error(
        "the registry `{location}` is empty or cut; if no `feast` command is writing it, restore \
         it or run `feast apply`"
    )]
    Torn {
        /// The file.
        location: String,
    },
    /// Someone else changed the registry each time we were about to.
    #[error(
        "failed to record an interval in `{location}`: it was changed {attempts} times meanwhile"
    )]
    Contended {
        /// Path or URL.
        location: String,
        /// How often we tried.
        attempts: u32,
    },
    /// A statement on a SQL registry failed.
    #[error("failed to {operation} the registry `{location}`")]
    Sql {
        /// What was to be done.
        operation: &'static str,
        /// Path or URL.
        location: String,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// A request to an object store failed.
    #[error("failed to {operation} the registry `{location}`")]
    Object {
        /// What was to be done.
        operation: &'static str,
        /// The URL.
        location: String,
        /// Why.
        #[source]
        source: object_store::Error,
    },
    /// The object store cannot replace an object only if it is unchanged.
    #[error(
        "the store of `{location}` has no conditional writes, without which a concurrent \
         `feast apply` could be lost; use a SQL registry or a store that has them"
    )]
    NoConditionalPut {
        /// The URL.
        location: String,
        /// What the store says.
        #[source]
        source: object_store::Error,
    },
    /// The registry's bytes are not what Feast writes.
    #[error("failed to understand the registry `{location}`")]
    Bytes {
        /// Path or URL.
        location: String,
        /// Which object, and why.
        #[source]
        source: feast::registry::Error,
    },
    /// The thread that worked on the file ended early.
    #[error("failed to finish work on the registry `{location}`")]
    Thread {
        /// The file.
        location: String,
        /// Why.
        #[source]
        source: tokio::task::JoinError,
    },
}

impl Error {
    /// Tells whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Torn { .. } | Self::Contended { .. } | Self::Thread { .. } => true,
            Self::Sql { source, .. } => sql_is_retryable(source),
            Self::Object { source, .. } => object_is_retryable(source),
            Self::Read { source, .. } | Self::Replace { source, .. } => io_is_retryable(source),
            Self::Missing { .. }
            | Self::NoTables { .. }
            | Self::Url { .. }
            | Self::NoConditionalPut { .. }
            | Self::Bytes { .. } => false,
        }
    }
}

fn io_is_retryable(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted, ResourceBusy, TimedOut,
        UnexpectedEof, WouldBlock,
    };
    matches!(
        error.kind(),
        ConnectionAborted
            | ConnectionRefused
            | ConnectionReset
            | Interrupted
            | ResourceBusy
            | TimedOut
            | UnexpectedEof
            | WouldBlock
    )
}

fn sql_is_retryable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(source) => io_is_retryable(source),
        sqlx::Error::PoolTimedOut | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(source) => source.code().is_some_and(|code| code_is_retryable(&code)),
        _ => false,
    }
}

/// Meaning of a database's code.
///
/// # Source
/// PostgreSQL, appendix A: class 08 connection, 53 resources, 40001 serialization, 40P01 deadlock,
/// 55P03 lock not available, 57P01 to 57P03 shutdown and start. SQLite has bare numbers, whose low
/// byte is 5 for busy and 6 for locked.
fn code_is_retryable(code: &str) -> bool {
    const BUSY: u32 = 5;
    const LOCKED: u32 = 6;
    if code.len() == 5 {
        let exact = ["40001", "40P01", "55P03", "57P01", "57P02", "57P03"];
        return code.starts_with("08") || code.starts_with("53") || exact.contains(&code);
    }
    code.parse::<u32>().is_ok_and(|code| [BUSY, LOCKED].contains(&(code & 0xff)))
}

fn object_is_retryable(error: &object_store::Error) -> bool {
    // The client has tried again by itself; what is left is an outage or a race.
    matches!(
        error,
        object_store::Error::Generic { .. }
            | object_store::Error::JoinError { .. }
            | object_store::Error::Precondition { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_tell_what_may_pass() {
        for code in ["40001", "40P01", "08006", "53300", "57P03", "5", "6", "261", "517"] {
            assert!(code_is_retryable(code), "{code}");
        }
        for code in ["42P01", "28P01", "23505", "1", "14", "2067"] {
            assert!(!code_is_retryable(code), "{code}");
        }
    }

    #[test]
    fn what_is_wrong_for_good_is_not_tried_again() {
        let missing = Error::Missing { location: "x".to_owned(), hint: "y" };
        assert!(!missing.is_retryable());
        assert!(Error::Contended { location: "x".to_owned(), attempts: 3 }.is_retryable());
        let timeout = Error::Sql {
            operation: "read",
            location: "x".to_owned(),
            source: sqlx::Error::PoolTimedOut,
        };
        assert!(timeout.is_retryable());
    }
}
