//! Tidegate's ledger: runs, jobs, windows, receipts, and how far each view has got.
//!
//! The one door to our own tables, in PostgreSQL (schema `tidegate`) or a SQLite file; every SQL
//! statement has one text for both. A watermark moves in [`Ledger::commit`] and nowhere else, apart
//! from history taken over from Feast in [`Ledger::adopt`]. Deliberately absent: Feast's registry
//! (see `registry`), a clock of its own (the database's is used for leases, the caller's reading
//! for everything that people read), and the loop that tries again (ask
//! [`Error::is_retryable`]; every call here may be repeated).

mod adopt;
mod attempt;
mod claim;
mod commit;
#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
mod event;
mod job;
mod lease;
mod ledger;
mod migrate;
mod mirror;
mod receipt;
mod row;
mod run;
mod status;
mod url;
mod watermark;
mod window;

pub use adopt::Adopted;
pub use attempt::{Begun, NewAttempt};
pub use claim::{ClaimedJob, Holder};
pub use commit::{Commit, Committed};
pub use error::Error;
pub use event::{EventKind, EventRow};
pub use job::{JobRow, NewJob};
pub use lease::{Beat, HeldLease};
pub use ledger::Ledger;
pub use mirror::{Mirror, MirrorRow};
pub use run::{Admitted, Cancelled, Idempotency, NewRun, RUNS_KEPT_MAX, RunBeat, RunRow};
pub use status::{JobDetail, RunDetail, RunFilter, RunPlace, ViewStatus, WindowDetail};
pub use url::{Backend, LedgerUrl};
pub use watermark::ViewState;
pub use window::{AttemptRow, NewWindow, WindowPlace, WindowRow};
