//! The control plane's HTTP contract: bodies, error codes, and a typed client.
//!
//! Both ends use these types, so that a body cannot mean one thing to the server and another to
//! its caller. Deliberately absent: routes and handlers, which are the scheduler's, and every word
//! of the ledger.

pub mod client;
pub mod error;
pub mod event;
pub mod feast;
pub mod plan;
pub mod report;
pub mod request;
pub mod run;
#[cfg(test)]
mod sample;
pub mod schema;
pub mod view;

pub use client::{Client, StreamEvent};
pub use error::{Code, PROBLEM_JSON, Problem};
pub use event::{Event, EventKind, ViewProgress};
pub use plan::{PlanReport, PlannedFile, ViewPlan};
pub use report::{JobReport, RunReport};
pub use request::{IdempotencyKey, Rerun, RerunState, RunQuery, RunRequest};
pub use run::{
    AttemptDetail, BadRow, JobDetail, JobProgress, RunDetail, RunPage, RunSummary, WindowDetail,
};
pub use view::{IntervalsReport, LastJob, Lease, StatusReport, ViewReport};
