//! What can go wrong with the ledger, and whether to try again.
//!
//! The meaning of SQLSTATE and of SQLite's result codes lives here alone. Deliberately absent: the
//! loop that tries again, which belongs to whoever knows what else is at stake.

use model::invariant::Violation;
use model::{FencingToken, JobId, RunId, ViewRef, WindowId};

/// Why an operation on the ledger failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address of the ledger cannot be read.
    #[error("the ledger's address is not valid: {reason}")]
    Address {
        /// What is wrong with it and what to write instead; never the address itself, which may
        /// hold a password.
        reason: String,
    },
    /// The database did not open.
    #[error("failed to open the ledger at `{url}`")]
    Open {
        /// The address, without its password.
        url: String,
        /// What the database said.
        source: sqlx::Error,
    },
    /// The SQLite file belongs to somebody else.
    #[error(
        "`{url}` holds tables that are not Tidegate's ledger; name another file with `--metastore`"
    )]
    NotALedger {
        /// The file.
        url: String,
    },
    /// A later Tidegate has changed the ledger's schema.
    #[error(
        "the ledger has schema version {found}, this program knows {known}; \
         use the program that migrated it or a later one"
    )]
    NewerSchema {
        /// The version found.
        found: i64,
        /// The newest version this program knows.
        known: i64,
    },
    /// Read-only access to a ledger that has yet to be migrated.
    #[error(
        "the ledger has schema version {found}, this program needs {known}; \
         migrate it with `tidegate migrate`"
    )]
    OlderSchema {
        /// The version found.
        found: i64,
        /// The version needed.
        known: i64,
    },
    /// An applied migration is not the one this program carries.
    #[error(
        "migration {version} `{name}` was applied with another text than this program carries; \
         the ledger was made by a build that was never released"
    )]
    AlteredMigration {
        /// Its number.
        version: i64,
        /// Its name in this program.
        name: &'static str,
    },
    /// A migration failed, and with it all that were to be applied.
    #[error("failed to migrate the ledger to schema version {version}")]
    Migrate {
        /// The version that was not reached.
        version: i64,
        /// What the database said.
        source: sqlx::Error,
    },
    /// A run could not be recorded.
    #[error("failed to admit run `{run}`")]
    Admit {
        /// The run.
        run: RunId,
        /// What the database said.
        source: sqlx::Error,
    },
    /// A run's sign of life or its end could not be recorded.
    #[error("failed to update run `{run}`")]
    UpdateRun {
        /// The run.
        run: RunId,
        /// What the database said.
        source: sqlx::Error,
    },
    /// Runs whose process stopped could not be looked for.
    #[error("failed to interrupt dead runs of project `{project}`")]
    InterruptRuns {
        /// The project.
        project: String,
        /// What the database said.
        source: sqlx::Error,
    },
    /// Feast's history of a view could not be taken over.
    #[error("failed to adopt view `{view}`")]
    Adopt {
        /// The view.
        view: ViewRef,
        /// What the database said.
        source: sqlx::Error,
    },
    /// A lease could not be taken, extended or given back.
    #[error("failed to handle a lease of {what}")]
    Lease {
        /// Whose lease.
        what: String,
        /// What the database said.
        source: sqlx::Error,
    },
    /// A job's windows could not be recorded.
    #[error("failed to record the windows of job `{job}`")]
    CutJob {
        /// The job.
        job: JobId,
        /// What the database said.
        source: sqlx::Error,
    },
    /// A job's end could not be recorded.
    #[error("failed to finish job `{job}`")]
    FinishJob {
        /// The job.
        job: JobId,
        /// What the database said.
        source: sqlx::Error,
    },
    /// An attempt at a window could not be recorded.
    #[error("failed to record an attempt at window `{window}`")]
    Attempt {
        /// The window.
        window: WindowId,
        /// What the database said.
        source: sqlx::Error,
    },
    /// The commit did not happen, or its answer was lost; repeating it is safe.
    #[error("failed to commit window `{window}`")]
    Commit {
        /// The window.
        window: WindowId,
        /// What the database said.
        source: sqlx::Error,
    },
    /// The intervals that Feast's registry lacks could not be read or ticked off.
    #[error("failed to handle intervals due to Feast's registry")]
    Mirror {
        /// What the database said.
        source: sqlx::Error,
    },
    /// A read failed.
    #[error("failed to read {what} from the ledger")]
    Read {
        /// What was to be read.
        what: &'static str,
        /// What the database said.
        source: sqlx::Error,
    },
    /// No such run is recorded.
    #[error("the ledger knows no run `{run}`")]
    RunUnknown {
        /// The run.
        run: RunId,
    },
    /// Another process has taken over the view, or this one was taken for dead.
    #[error("token {token} of view `{view}` is no longer the view's; another process goes on")]
    Superseded {
        /// The view.
        view: ViewRef,
        /// The token that was given.
        token: FencingToken,
    },
    /// The view was never adopted.
    #[error("the ledger knows no view `{view}`; adopt it before its first window")]
    ViewUnknown {
        /// The view.
        view: ViewRef,
    },
    /// No such window is recorded.
    #[error("the ledger knows no window `{window}`")]
    WindowUnknown {
        /// The window.
        window: WindowId,
    },
    /// The attempt that held the window has ended; what it wrote does not count.
    #[error("window `{window}` is `{state}` and cannot be committed; run its interval again")]
    WindowClosed {
        /// The window.
        window: WindowId,
        /// The state of the window, or of its job.
        state: String,
    },
    /// The window was committed before with other content.
    #[error("window `{window}` is already committed with another receipt")]
    AlreadyCommitted {
        /// The window.
        window: WindowId,
    },
    /// The commit names another job, view or interval than the window was opened with.
    #[error("window `{window}` was opened for another {what}")]
    WindowMismatch {
        /// The window.
        window: WindowId,
        /// What differs.
        what: &'static str,
    },
    /// The online store is not the one that the attempt began with.
    #[error("the online store was replaced or flushed while window `{window}` was written")]
    OtherStore {
        /// The window.
        window: WindowId,
    },
    /// The receipt contradicts itself.
    #[error("the receipt of window `{window}` cannot be committed")]
    Unbalanced {
        /// The window.
        window: WindowId,
        /// The contradiction.
        source: Violation,
    },
}

impl Error {
    /// Tells whether the same call may succeed later without anybody's help.
    ///
    /// Every call of this crate may be repeated after such an error.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Open { source, .. }
            | Self::Migrate { source, .. }
            | Self::Admit { source, .. }
            | Self::UpdateRun { source, .. }
            | Self::InterruptRuns { source, .. }
            | Self::Adopt { source, .. }
            | Self::Lease { source, .. }
            | Self::CutJob { source, .. }
            | Self::FinishJob { source, .. }
            | Self::Attempt { source, .. }
            | Self::Commit { source, .. }
            | Self::Mirror { source }
            | Self::Read { source, .. } => is_transient(source),
            Self::Address { .. }
            | Self::NotALedger { .. }
            | Self::NewerSchema { .. }
            | Self::OlderSchema { .. }
            | Self::AlteredMigration { .. }
            | Self::RunUnknown { .. }
            | Self::Superseded { .. }
            | Self::OtherStore { .. }
            | Self::ViewUnknown { .. }
            | Self::WindowUnknown { .. }
            | Self::WindowClosed { .. }
            | Self::AlreadyCommitted { .. }
            | Self::WindowMismatch { .. }
            | Self::Unbalanced { .. } => false,
        }
    }
}

/// Tells whether the database may answer differently next time.
fn is_transient(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(said) => said.code().is_some_and(|code| is_transient_code(&code)),
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => true,
        _ => false,
    }
}

/// Decides by code: five characters are SQLSTATE, fewer are SQLite's extended result code.
///
/// # Source
/// <https://www.postgresql.org/docs/15/errcodes-appendix.html>, <https://sqlite.org/rescode.html>
fn is_transient_code(code: &str) -> bool {
    const SQLITE_BUSY: u32 = 5;
    const SQLITE_LOCKED: u32 = 6;
    if code.len() == 5 {
        // Connection exception, transaction rollback, insufficient resources.
        return matches!(code.get(..2), Some("08" | "40" | "53"))
            // Lock not available; server shutting down, crashed, or starting up; and a session
            // that idled inside a transaction because this process was suspended.
            || matches!(code, "55P03" | "57P01" | "57P02" | "57P03" | "25P03");
    }
    // The low byte is the primary code; the bytes above say more precisely what was busy.
    code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, SQLITE_BUSY | SQLITE_LOCKED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_connections_conflicts_and_locks_are_transient() {
        for code in ["08006", "40001", "40P01", "53300", "55P03", "57P01", "5", "261", "517", "6"] {
            assert!(is_transient_code(code), "{code}");
        }
    }

    #[test]
    fn violations_and_full_disks_are_not() {
        for code in ["23505", "42P01", "42501", "53", "787", "1555", "13", "8", "", "é5P03"] {
            assert!(!is_transient_code(code), "{code}");
        }
    }

    #[test]
    fn a_lost_connection_is_worth_another_try_and_a_bad_row_is_not() {
        let lost = sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into());
        assert!(Error::Mirror { source: lost }.is_retryable());
        assert!(!Error::Mirror { source: sqlx::Error::RowNotFound }.is_retryable());
    }
}
