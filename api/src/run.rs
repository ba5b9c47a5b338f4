//! What is told of runs: one line each in a list, and one run with its jobs, windows and attempts.

use model::{
    AttemptId, AttemptState, EventTime, Interval, JobId, JobState, Receipt, RunId, RunKind,
    RunState, WindowId, WindowState,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::schema;

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RunSummary {
    /// Its id.
    #[schema(value_type = schema::RunId)]
    pub run_id: RunId,
    /// The project.
    pub project: String,
    /// What it was asked to do.
    #[schema(value_type = schema::RunKind)]
    pub kind: RunKind,
    /// How far it has got.
    #[schema(value_type = schema::RunState)]
    pub state: RunState,
    /// Whether it corrects rows that have landed.
    pub correct: bool,
    /// Whether it writes what has landed once more.
    pub rebuild: bool,
    /// The start that was asked for.
    #[schema(value_type = Option<schema::EventTime>)]
    pub requested_start: Option<EventTime>,
    /// The end that was asked for.
    #[schema(value_type = Option<schema::EventTime>)]
    pub requested_end: Option<EventTime>,
    /// The views that were asked for, as resolved.
    pub views: Vec<String>,
    /// The key it was sent with.
    pub idempotency_key: Option<String>,
    /// When it was recorded.
    #[schema(value_type = schema::EventTime)]
    pub admitted_at: EventTime,
    /// When a process took it up.
    #[schema(value_type = Option<schema::EventTime>)]
    pub started_at: Option<EventTime>,
    /// When it ended.
    #[schema(value_type = Option<schema::EventTime>)]
    pub finished_at: Option<EventTime>,
    /// Its jobs.
    pub jobs_total: u32,
    /// Those that landed, or had nothing to do.
    pub jobs_landed: u32,
    /// The machine that works on it.
    pub host: Option<String>,
    /// The process that works on it.
    pub pid: Option<u32>,
    /// When that process last said that it is alive.
    #[schema(value_type = Option<schema::EventTime>)]
    pub heartbeat_at: Option<EventTime>,
    /// The version of the program that recorded it.
    pub program_version: String,
    /// Whether somebody asked it to stop.
    pub cancel_requested: bool,
}

/// One run with everything that is known of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RunDetail {
    /// What a list tells of it.
    #[serde(flatten)]
    pub run: RunSummary,
    /// What the operator should know of the run as a whole.
    pub warnings: Vec<String>,
    /// One entry a view, in the order of the registry.
    pub jobs: Vec<JobDetail>,
}

/// One job with its windows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JobDetail {
    /// Its id.
    #[schema(value_type = schema::JobId)]
    pub job_id: JobId,
    /// The view.
    pub view: String,
    /// The name its rows are stored under.
    pub storage_name: String,
    /// The view's version in Feast, where the run named one.
    pub version: Option<u32>,
    /// How far it has got.
    #[schema(value_type = schema::JobState)]
    pub state: JobState,
    /// The interval it is to materialize, end excluded.
    #[schema(value_type = Option<schema::Interval>)]
    pub interval: Option<Interval>,
    /// Why it ended so.
    pub reason: Option<String>,
    /// What the operator should know.
    pub warnings: Vec<String>,
    /// What its committed windows did, added up.
    #[schema(value_type = Option<schema::Receipt>)]
    pub receipt: Option<Receipt>,
    /// The first rows that were refused, when they are skipped.
    pub bad_rows: Vec<BadRow>,
    /// How far it has got while it runs.
    pub progress: Option<JobProgress>,
    /// When it was recorded.
    #[schema(value_type = schema::EventTime)]
    pub started_at: EventTime,
    /// When it ended.
    #[schema(value_type = Option<schema::EventTime>)]
    pub finished_at: Option<EventTime>,
    /// Its windows, in the order of their intervals.
    pub windows: Vec<WindowDetail>,
}

/// How far a job has got while it runs.
///
/// # Units
/// Rows. `rows_max` is an upper bound, that of the row groups that are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobProgress {
    /// Rows that were read so far.
    pub rows_read: u64,
    /// Rows that statistics promise at most.
    pub rows_max: u64,
    /// Rows whose features are now the stored ones.
    pub written: u64,
    /// Rows refused because a row of equal or greater event time is stored.
    pub stale: u64,
    /// Rows whose entity is no longer active.
    pub tombstoned: u64,
}

/// A row that was left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BadRow {
    /// The file, or `?` when the row is not there any more.
    pub file: String,
    /// The row in the file, from 0.
    pub row: Option<u64>,
    /// The column, by its name in the view.
    pub column: String,
    /// What is wrong with it.
    pub reason: String,
}

/// One window with its attempts.
///
/// # Units
/// Bytes are compressed bytes of the columns that are read; rows are an upper bound.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WindowDetail {
    /// Its id.
    #[schema(value_type = schema::WindowId)]
    pub window_id: WindowId,
    /// The slice of the job's interval, end excluded.
    #[schema(value_type = schema::Interval)]
    pub interval: Interval,
    /// How far it has got.
    #[schema(value_type = schema::WindowState)]
    pub state: WindowState,
    /// Rows by statistics.
    pub rows_max: u64,
    /// Bytes by statistics.
    pub bytes: u64,
    /// The pieces that it is read and written in.
    pub partitions: u32,
    /// Those whose every row the online store has acknowledged.
    pub partitions_done: u32,
    /// Where the files it is pinned to are.
    pub source_path: String,
    /// How many they are.
    pub source_files: u64,
    /// What was committed.
    #[schema(value_type = Option<schema::Receipt>)]
    pub receipt: Option<Receipt>,
    /// The view's watermark before the commit.
    #[schema(value_type = Option<schema::EventTime>)]
    pub watermark_before: Option<EventTime>,
    /// The view's watermark after the commit.
    #[schema(value_type = Option<schema::EventTime>)]
    pub watermark_after: Option<EventTime>,
    /// Why it failed.
    pub error: Option<String>,
    /// When its first attempt began.
    #[schema(value_type = Option<schema::EventTime>)]
    pub opened_at: Option<EventTime>,
    /// When it was closed.
    #[schema(value_type = Option<schema::EventTime>)]
    pub closed_at: Option<EventTime>,
    /// Every try at it, the first one first.
    pub attempts: Vec<AttemptDetail>,
}

/// One try at a window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AttemptDetail {
    /// Its id.
    #[schema(value_type = schema::AttemptId)]
    pub attempt_id: AttemptId,
    /// The how-manieth it is of its window, from 1.
    pub number: u32,
    /// The fencing token it writes and commits under.
    pub token: u64,
    /// Whether it corrects rows that have landed.
    pub correcting: bool,
    /// How far it has got.
    #[schema(value_type = schema::AttemptState)]
    pub state: AttemptState,
    /// Why it ended without a commit.
    pub error: Option<String>,
    /// When it began.
    #[schema(value_type = schema::EventTime)]
    pub started_at: EventTime,
    /// When it ended.
    #[schema(value_type = Option<schema::EventTime>)]
    pub ended_at: Option<EventTime>,
}

/// A page of runs, newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RunPage {
    /// The runs.
    pub runs: Vec<RunSummary>,
    /// `cursor` of the next page; `None` on the last.
    pub next: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn a_detail_is_a_summary_with_more_and_reads_back() {
        let detail = sample::run_detail();
        let json = serde_json::to_value(&detail).expect("JSON");
        assert_eq!(json["state"], "running");
        assert_eq!(json["jobs"][0]["windows"][0]["attempts"][0]["token"], 9);
        assert_eq!(json["jobs"][0]["receipt"]["written"], 6);
        assert_eq!(serde_json::from_value::<RunDetail>(json.clone()).expect("a detail"), detail);
        // A list's reader takes a detail for what it needs.
        assert_eq!(serde_json::from_value::<RunSummary>(json).expect("a summary"), detail.run);
    }

    #[test]
    fn a_detail_without_the_summarys_fields_is_refused() {
        let mut json = serde_json::to_value(sample::run_detail()).expect("JSON");
        json.as_object_mut().expect("an object").remove("run_id");
        assert!(serde_json::from_value::<RunDetail>(json).is_err());
    }
}
