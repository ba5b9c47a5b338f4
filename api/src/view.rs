//! How far views have got: the status of every view, and the intervals of one.

use model::{EventTime, Interval, JobId, JobState, Receipt, RunId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::schema;

/// How far the project's views have got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StatusReport {
    /// The project.
    pub project: String,
    /// One entry a view of the registry, of any kind.
    pub views: Vec<ViewReport>,
}

/// How far one view has got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ViewReport {
    /// The view.
    pub view: String,
    /// The name its rows are stored under.
    pub storage_name: String,
    /// What kind of view it is.
    pub kind: String,
    /// Whether runs without names take it.
    pub is_selected: bool,
    /// Why it cannot be materialized here.
    pub refusal: Option<String>,
    /// The last instant up to which everything has landed; `None` before the first run.
    #[schema(value_type = Option<schema::EventTime>)]
    pub watermark: Option<EventTime>,
    /// Now less the watermark, in seconds.
    pub freshness_seconds: Option<i64>,
    /// What lies above the watermark and below later rows that have landed.
    #[schema(value_type = Vec<schema::Interval>)]
    pub gaps: Vec<Interval>,
    /// The last job that the ledger knows.
    pub last_job: Option<LastJob>,
    /// Why what has landed may not be in the online store any more.
    pub lost: Option<String>,
    /// Whether the view was ever corrected, so that every write to it carries the fence.
    pub fenced: bool,
    /// Who writes it now.
    pub lease: Option<Lease>,
}

/// The last job of a view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LastJob {
    /// The run it belongs to.
    #[schema(value_type = schema::RunId)]
    pub run_id: RunId,
    /// Its id.
    #[schema(value_type = schema::JobId)]
    pub job_id: JobId,
    /// How far it has got.
    #[schema(value_type = schema::JobState)]
    pub state: JobState,
    /// Why it ended so.
    pub reason: Option<String>,
    /// The interval it was to materialize, end excluded.
    #[schema(value_type = Option<schema::Interval>)]
    pub interval: Option<Interval>,
    /// What its committed windows did, added up.
    #[schema(value_type = Option<schema::Receipt>)]
    pub receipt: Option<Receipt>,
    /// When it was recorded.
    #[schema(value_type = schema::EventTime)]
    pub started_at: EventTime,
    /// When it ended.
    #[schema(value_type = Option<schema::EventTime>)]
    pub finished_at: Option<EventTime>,
}

/// A claim on a view that ends at a set time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Lease {
    /// The process that holds it.
    pub holder: String,
    /// The fencing token that was issued with it.
    pub token: u64,
    /// When it ends, if it is not extended.
    #[schema(value_type = schema::EventTime)]
    pub until: EventTime,
}

/// The intervals of one view, each list ascending, ends excluded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IntervalsReport {
    /// The project.
    pub project: String,
    /// The view.
    pub view: String,
    /// What has landed.
    #[schema(value_type = Vec<schema::Interval>)]
    pub landed: Vec<Interval>,
    /// What lies between the intervals that have landed.
    #[schema(value_type = Vec<schema::Interval>)]
    pub gaps: Vec<Interval>,
    /// What is being written.
    #[schema(value_type = Vec<schema::Interval>)]
    pub running: Vec<Interval>,
    /// What was tried last, failed, and has not landed.
    #[schema(value_type = Vec<schema::Interval>)]
    pub failed: Vec<Interval>,
    /// The last instant up to which everything has landed; `None` before the first run.
    #[schema(value_type = Option<schema::EventTime>)]
    pub watermark: Option<EventTime>,
}
