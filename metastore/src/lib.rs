//! Tidegate's ledger: runs, jobs, windows, receipts, and how far each view has got.
//!
//! The one door to our own tables, in PostgreSQL (schema `tidegate`) or a SQLite file; every SQL
//! statement has one text for both. A watermark moves in [`Ledger::commit`] and nowhere else, apart
//! from history taken over from Feast in [`Ledger::adopt`]. Deliberately absent: Feast's registry
//! (see `registry`), a clock (the caller passes its reading), and the loop that tries again (ask
//! [`Error::is_retryable`]; every call here may be repeated).

mod adopt;
mod commit;
#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
mod job;
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
pub use commit::{Commit, Committed};
pub use error::Error;
pub use job::{JobRow, NewJob};
pub use ledger::Ledger;
pub use mirror::{Mirror, MirrorRow};
pub use run::{NewRun, RUNS_KEPT_MAX, RunRow};
pub use status::{JobDetail, RunDetail, ViewStatus};
pub use url::{Backend, LedgerUrl};
pub use watermark::ViewState;
pub use window::{NewWindow, WindowRow, WindowState};
