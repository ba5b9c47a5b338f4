//! A run as recorded, and how it is read back.

use model::{EventTime, RunId, RunKind, RunState};
use serde::Serialize;
use sqlx::any::AnyRow;

use crate::row::Read;

/// A run as recorded.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunRow {
    /// Its id.
    pub run_id: RunId,
    /// Feast's project.
    pub project: String,
    /// What it was asked to do.
    pub kind: RunKind,
    /// How far it has got.
    pub state: RunState,
    /// All that was asked for.
    pub request: serde_json::Value,
    /// The caller's key.
    pub idempotency_key: Option<String>,
    /// Whether any process may go on with it.
    pub is_served: bool,
    /// Jobs side by side.
    pub parallel: u32,
    /// The start that was asked for, if any.
    pub requested_start: Option<EventTime>,
    /// The end that was asked for, if any.
    pub requested_end: Option<EventTime>,
    /// The views that were asked for.
    pub views: Vec<String>,
    /// What the operator should know.
    pub warnings: Vec<String>,
    /// Why nothing of it may be written.
    pub refusal: Option<String>,
    /// Whether somebody wants it to end.
    pub cancel_requested: bool,
    /// The machine that admitted it.
    pub host: String,
    /// The process there.
    pub pid: u32,
    /// The version of the program that admitted it.
    pub program_version: String,
    /// When it was admitted.
    pub admitted_at: EventTime,
    /// When work on it began.
    pub started_at: Option<EventTime>,
    /// Its last sign of life.
    pub heartbeat_at: EventTime,
    /// When it ended.
    pub finished_at: Option<EventTime>,
    /// Its jobs.
    pub jobs_total: u64,
    /// Those that landed: committed, or with nothing to do.
    pub jobs_landed: u64,
}

impl RunRow {
    pub(crate) fn read(row: &AnyRow) -> sqlx::Result<Self> {
        let row = Read(row);
        Ok(Self {
            run_id: row.id("run_id")?,
            project: row.text("project")?,
            kind: row.named("kind", RunKind::parse)?,
            state: row.named("state", RunState::parse)?,
            request: row.json("request")?,
            idempotency_key: row.text_opt("idempotency_key")?,
            is_served: row.flag("is_served")?,
            parallel: row.small("parallel")?,
            requested_start: row.time_opt("requested_start")?,
            requested_end: row.time_opt("requested_end")?,
            views: row.json("views")?,
            warnings: row.json("warnings")?,
            refusal: row.text_opt("refusal")?,
            cancel_requested: row.flag("cancel_requested")?,
            host: row.text("host")?,
            pid: row.small("pid")?,
            program_version: row.text("program_version")?,
            admitted_at: row.time("admitted_at")?,
            started_at: row.time_opt("started_at")?,
            heartbeat_at: row.time("heartbeat_at")?,
            finished_at: row.time_opt("finished_at")?,
            jobs_total: row.small("jobs_total")?,
            jobs_landed: row.small("jobs_landed")?,
        })
    }
}
