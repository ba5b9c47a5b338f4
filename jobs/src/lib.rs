//! What is computed: from a source's Parquet files to encoded rows in a sink, and a receipt.
//!
//! The plans, their nodes, and the engine that runs them in this process. Deliberately absent:
//! which windows to run (see `scheduler`) and which store takes the rows (see `executor`).

pub mod attempt;
pub mod encode;
pub mod engine;
pub mod error;
mod keys;
pub mod latest;
pub mod lease;
pub mod plan;
pub mod progress;
pub mod session;
pub mod sink;
mod skip;
pub mod source;
mod sweep;

pub use attempt::{Attempt, Checkpoints};
pub use engine::{BadRowReport, Outcome, run};
pub use error::Error;
pub use lease::LeaseGuard;
pub use plan::{PlannedFile, WindowPlan, WindowSpec, feature_columns};
pub use progress::{Progress, ProgressSnapshot};
pub use session::{Session, SessionOptions};
pub use sink::{FeatureSink, FeatureSinks, KnownKeys, Refusal, SinkError};
