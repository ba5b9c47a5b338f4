//! What the ledger knows of runs, in the words of the API.

use api::{
    AttemptDetail, BadRow, Event, EventKind, JobDetail, JobProgress, RunDetail, RunPage, RunReport,
    RunRequest, RunSummary, ViewProgress, WindowDetail,
};
use metastore::{Cancelled, RunFilter, RunPlace, RunRow};
use model::{EventTime, JobState, RunId, RunState};

use crate::Scheduler;
use crate::error::Error;

impl Scheduler {
    /// The newest runs that a filter lets through, at most so many, and where the next page begins.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn runs(&self, filter: &RunFilter, limit: u32) -> Result<RunPage, Error> {
        let Some(ledger) = &self.ledger else {
            return Ok(RunPage { runs: Vec::new(), next: None });
        };
        let filter = RunFilter { project: Some(self.config.project.clone()), ..filter.clone() };
        let mut rows = ledger.runs(&filter, limit.saturating_add(1)).await?;
        let has_more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let next = rows.last().filter(|_| has_more).map(cursor);
        Ok(RunPage { runs: rows.into_iter().map(summary).collect(), next })
    }

    /// One run; `None` if it is not recorded, or no longer.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn run_detail(&self, run: RunId) -> Result<Option<RunDetail>, Error> {
        let Some(ledger) = &self.ledger else { return Ok(None) };
        let found = ledger.run(run).await?;
        Ok(found.filter(|found| found.run.project == self.config.project).map(detail))
    }

    /// What a run came to.
    ///
    /// # Errors
    /// [`Error::UnknownRun`]; when the ledger cannot be read.
    pub async fn report(&self, run: RunId) -> Result<RunReport, Error> {
        let detail = self.run_detail(run).await?.ok_or(Error::UnknownRun { run })?;
        Ok(RunReport::from(&detail))
    }

    /// One run without its jobs.
    ///
    /// # Errors
    /// [`Error::UnknownRun`]; when the ledger cannot be read.
    pub async fn run_summary(&self, run: RunId) -> Result<RunSummary, Error> {
        let found = self.ledger()?.run_row(run).await?;
        let found = found.filter(|found| found.project == self.config.project);
        found.map(summary).ok_or(Error::UnknownRun { run })
    }

    /// Asks for the end of a run; gives the state of one that had ended.
    ///
    /// # Errors
    /// [`Error::UnknownRun`]; when the ledger cannot be written.
    pub async fn cancel(&self, run: RunId) -> Result<Option<RunState>, Error> {
        self.run_summary(run).await?;
        Ok(match self.ledger()?.cancel(run, crate::now()).await? {
            Cancelled::Requested => None,
            Cancelled::Ended(state) => Some(state),
        })
    }

    /// How far the views of a run have got.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn progress(&self, run: RunId) -> Result<Vec<ViewProgress>, Error> {
        let jobs = self.ledger()?.jobs(run).await?;
        let progress = |job: metastore::JobRow| {
            let told = job.progress.and_then(|progress| serde_json::from_value(progress).ok());
            let JobProgress { rows_read, rows_max, written, .. } = told.unwrap_or_default();
            ViewProgress { view: job.view_name, state: job.state, rows_read, rows_max, written }
        };
        Ok(jobs.into_iter().map(progress).collect())
    }

    /// The events of a run after a number, in order, at most so many.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn events(&self, run: RunId, after: u64, limit: u32) -> Result<Vec<Event>, Error> {
        let rows = self.ledger()?.events(run, after, limit).await?;
        let event = |row: metastore::EventRow| Event {
            id: row.event_id,
            run_id: run,
            at: row.at,
            kind: EventKind::parse(row.kind.as_str()).unwrap_or(EventKind::Warning),
            subject: row.subject,
            view: row.view_name,
            state: row.state,
            text: row.detail,
        };
        Ok(rows.into_iter().map(event).collect())
    }
}

fn cursor(run: &RunRow) -> String {
    format!("{}.{}", run.admitted_at.nanos(), run.run_id)
}

/// Reads where a page begins, as [`Scheduler::runs`] gave it.
pub fn read_cursor(text: &str) -> Option<RunPlace> {
    let (nanos, run_id) = text.split_once('.')?;
    Some(RunPlace {
        admitted_at: EventTime::from_nanos(nanos.parse().ok()?),
        run_id: run_id.parse().ok()?,
    })
}

fn summary(run: RunRow) -> RunSummary {
    let request: Option<RunRequest> = serde_json::from_value(run.request).ok();
    RunSummary {
        run_id: run.run_id,
        project: run.project,
        kind: run.kind,
        state: run.state,
        correct: request.as_ref().is_some_and(|request| request.correct),
        rebuild: request.as_ref().is_some_and(|request| request.rebuild),
        requested_start: run.requested_start,
        requested_end: run.requested_end,
        views: run.views,
        idempotency_key: run.idempotency_key,
        admitted_at: run.admitted_at,
        started_at: run.started_at,
        finished_at: run.finished_at,
        jobs_total: u32::try_from(run.jobs_total).unwrap_or(u32::MAX),
        jobs_landed: u32::try_from(run.jobs_landed).unwrap_or(u32::MAX),
        host: Some(run.host),
        pid: Some(run.pid),
        heartbeat_at: Some(run.heartbeat_at),
        program_version: run.program_version,
        cancel_requested: run.cancel_requested,
    }
}

fn detail(found: metastore::RunDetail) -> RunDetail {
    let mut warnings = found.run.warnings.clone();
    warnings.extend(found.run.refusal.clone());
    let jobs = found.jobs.into_iter().map(job_detail).collect();
    RunDetail { run: summary(found.run), warnings, jobs }
}

fn job_detail(found: metastore::JobDetail) -> JobDetail {
    let job = found.job;
    let bad_rows: Vec<BadRow> = serde_json::from_value(job.bad_rows).unwrap_or_default();
    let progress: Option<JobProgress> = job
        .progress
        .filter(|_| job.state == JobState::Running)
        .and_then(|progress| serde_json::from_value(progress).ok());
    JobDetail {
        job_id: job.job_id,
        view: job.view_name,
        storage_name: job.view.storage_name,
        version: job.version,
        state: job.state,
        interval: job.interval,
        reason: job.reason,
        warnings: job.warnings,
        receipt: job.receipt,
        bad_rows,
        progress,
        started_at: job.started_at.unwrap_or(job.admitted_at),
        finished_at: job.finished_at,
        windows: found.windows.into_iter().map(window_detail).collect(),
    }
}

fn window_detail(found: metastore::WindowDetail) -> WindowDetail {
    let window = found.window;
    let source = found.attempts.last().map(|attempt| &attempt.source);
    let files = source.and_then(|source| source["files"].as_array());
    WindowDetail {
        window_id: window.window_id,
        interval: window.interval,
        state: window.state,
        rows_max: window.rows_max,
        bytes: window.bytes,
        partitions: window.partitions,
        partitions_done: window.partitions_done,
        source_path: source
            .and_then(|source| source["path"].as_str())
            .unwrap_or_default()
            .to_owned(),
        source_files: files.map_or(0, |files| files.len() as u64),
        receipt: window.receipt,
        watermark_before: window.watermark_before,
        watermark_after: window.watermark_after,
        error: window.error,
        opened_at: window.opened_at,
        closed_at: window.closed_at,
        attempts: found.attempts.into_iter().map(attempt_detail).collect(),
    }
}

fn attempt_detail(attempt: metastore::AttemptRow) -> AttemptDetail {
    AttemptDetail {
        attempt_id: attempt.attempt_id,
        number: attempt.number,
        token: attempt.token.0,
        correcting: attempt.correcting,
        state: attempt.state,
        error: attempt.error,
        started_at: attempt.started_at,
        ended_at: attempt.ended_at,
    }
}
