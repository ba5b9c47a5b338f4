//! One job: a view's interval from cut to commit.
//!
//! Every step may run twice: adopting and mirroring merge, planning reads, writing keeps the
//! newer row, and the commit is one transaction that knows its own repetition.

use std::sync::Arc;
use std::time::Instant;

use jobs::{FeatureSinks, Outcome, WindowPlan, WindowSpec};
use metastore::{Commit, MirrorRow, NewJob, NewWindow};
use model::{Cut, Interval, JobId, JobState, OnlineView, RunId, WindowId};
use uuid::Uuid;

use crate::Scheduler;
use crate::admit::Selected;
use crate::board::{Board, Phase};
use crate::error::{Error, chain};
use crate::memory::Ahead;
use crate::report::JobReport;
use crate::trigger::Trigger;
use crate::{cut, mirror};

/// What a job needs to know of its run.
pub(crate) struct JobContext<'a> {
    pub(crate) scheduler: &'a Scheduler,
    pub(crate) trigger: &'a Trigger,
    pub(crate) sinks: &'a dyn FeatureSinks,
    pub(crate) board: &'a Board,
    pub(crate) run_id: RunId,
    /// Why nothing may be written, if so.
    pub(crate) refusal: Option<String>,
    /// What is planned already.
    pub(crate) ahead: Ahead,
}

impl<'a> JobContext<'a> {
    /// The context of a run of which nothing is known yet.
    pub(crate) fn new(
        scheduler: &'a Scheduler,
        trigger: &'a Trigger,
        sinks: &'a dyn FeatureSinks,
        board: &'a Board,
        run_id: RunId,
    ) -> Self {
        Self { scheduler, trigger, sinks, board, run_id, refusal: None, ahead: Ahead::default() }
    }
}

/// Attempts at a window whose source or online store changes under it; more than a few in a row
/// mean that it will go on changing.
const ATTEMPTS_MAX: u32 = 3;

enum Ended {
    Landed(Interval, Outcome),
    Nothing(String),
    Refused(String),
}

/// Runs a job to its end. Never fails: what went wrong is in the report and in the ledger.
pub(crate) async fn run(context: &JobContext<'_>, index: usize, selected: &Selected) -> JobReport {
    let started = Instant::now();
    let job_id = JobId::from_uuid(Uuid::now_v7());
    let ended = attempt(context, index, selected, job_id).await;
    let board = context.board.job(index);
    let mut report = JobReport {
        job_id,
        view: selected.view.name.clone(),
        storage_name: selected.storage_name.clone(),
        state: JobState::Failed,
        interval: board.interval,
        reason: None,
        warnings: board.warnings,
        receipt: None,
        bad_rows: Vec::new(),
        seconds: started.elapsed().as_secs_f64(),
    };
    match ended {
        Ok(Ended::Landed(interval, outcome)) => {
            report.state = JobState::Succeeded;
            report.interval = Some(interval);
            report.receipt = Some(outcome.receipt);
            report.bad_rows = outcome.bad_rows;
        }
        Ok(Ended::Nothing(reason)) => {
            report.state = JobState::UpToDate;
            report.reason = Some(reason);
        }
        Ok(Ended::Refused(reason)) => {
            report.state = JobState::Refused;
            report.reason = Some(reason);
        }
        Err(error) => report.reason = Some(chain(&error)),
    }
    close(context, &report).await;
    context.board.update(index, |job| job.phase = Phase::Ended(report.state));
    report
}

async fn close(context: &JobContext<'_>, report: &JobReport) {
    if report.state == JobState::Succeeded {
        tracing::info!(view = report.view, job = %report.job_id, "job committed");
        return;
    }
    let Ok(ledger) = context.scheduler.ledger() else { return };
    let reason = report.reason.as_deref();
    let closed = ledger.finish_job(report.job_id, report.state, reason, crate::now()).await;
    if let Err(error) = closed {
        // The job is reported as it is; the ledger shows it as interrupted later.
        tracing::warn!(job = %report.job_id, error = chain(&error), "job could not be closed");
    }
}

async fn attempt(
    context: &JobContext<'_>,
    index: usize,
    selected: &Selected,
    job_id: JobId,
) -> Result<Ended, Error> {
    let scheduler = context.scheduler;
    if let Some(refusal) = &selected.view.refusal {
        record(context, selected, job_id, None, JobState::Refused).await?;
        return Ok(Ended::Refused(refusal.to_string()));
    }
    let known = cut::adopt(scheduler, selected).await?;
    if selected.inactive_version.is_none() {
        let listed = mirror::list_again(scheduler, &selected.view, &known.coverage).await;
        warn_of_registry(context, index, listed);
    }
    let interval = match cut::cut_view(&selected.view, &known, context.trigger) {
        Ok(Cut::Read { interval, warnings }) => {
            context.board.update(index, |job| {
                job.interval = Some(interval);
                job.phase = Phase::Planning;
                job.warnings.extend(warnings.iter().map(ToString::to_string));
            });
            interval
        }
        Ok(Cut::Nothing { reason }) => {
            record(context, selected, job_id, None, JobState::UpToDate).await?;
            return Ok(Ended::Nothing(reason.to_string()));
        }
        Err(error) => {
            record(context, selected, job_id, None, JobState::Running).await?;
            return Err(error);
        }
    };
    if let Some(refusal) = &context.refusal {
        record(context, selected, job_id, Some(interval), JobState::Refused).await?;
        return Ok(Ended::Refused(refusal.clone()));
    }
    record(context, selected, job_id, Some(interval), JobState::Running).await?;
    let mut attempts = 1;
    loop {
        match window(context, index, selected, job_id, interval).await {
            Ok(outcome) => return Ok(Ended::Landed(interval, outcome)),
            Err(Error::Jobs(error)) if attempts < ATTEMPTS_MAX && error.asks_for_new_attempt() => {
                attempts += 1;
                tracing::warn!(job = %job_id, error = chain(&error), "window is attempted again");
                context.board.update(index, |job| {
                    job.warnings.push(format!("attempted again: {}", chain(&error)));
                    job.progress = Arc::default();
                });
            }
            Err(error) => return Err(error),
        }
    }
}

async fn record(
    context: &JobContext<'_>,
    selected: &Selected,
    job_id: JobId,
    interval: Option<Interval>,
    state: JobState,
) -> Result<(), Error> {
    let job = NewJob {
        job_id,
        run_id: context.run_id,
        view: cut::view_ref(context.scheduler, selected),
        view_name: selected.view.name.clone(),
        version: selected.inactive_version,
        interval,
        state,
        reason: None,
        at: crate::now(),
    };
    Ok(context.scheduler.ledger()?.start_job(&job).await?)
}

/// One attempt: plans, writes and commits the job's interval as a window of its own.
async fn window(
    context: &JobContext<'_>,
    index: usize,
    selected: &Selected,
    job_id: JobId,
    interval: Interval,
) -> Result<Outcome, Error> {
    let scheduler = context.scheduler;
    let plan = match context.ahead.take(index, interval) {
        Some(plan) => plan,
        None => {
            let key_suffix = context.sinks.key_suffix(&scheduler.config.project);
            plan(scheduler, key_suffix, selected, interval).await?
        }
    };
    let online = online_view(scheduler, selected);
    let sink = context
        .sinks
        .open(&online)
        .await
        .map_err(|error| Error::Sink { view: selected.view.name.clone(), source: error.source })?;
    let window_id = WindowId::from_uuid(Uuid::now_v7());
    let opened = NewWindow {
        window_id,
        job_id,
        view: online.view.clone(),
        interval,
        source: pinned(&plan),
        at: crate::now(),
    };
    // Durable before the first write: what was read can be told afterwards, whatever happens.
    scheduler.ledger()?.open_window(&opened).await?;
    let progress = context.board.job(index).progress;
    context.board.update(index, |job| {
        job.phase = Phase::Running;
        job.rows_max = plan.rows_max();
        job.started = Some(Instant::now());
    });
    let ran = jobs::run(&scheduler.session, &plan, sink, &progress).await;
    match ran {
        Ok(outcome) => {
            commit(context, selected, &opened, &outcome).await?;
            follow(context, index).await;
            Ok(outcome)
        }
        Err(error) => {
            let text = chain(&error);
            scheduler.ledger()?.fail_window(window_id, &text, crate::now()).await?;
            Err(error.into())
        }
    }
}

/// What the ledger keeps of a window's source: the files that are read. The others may be many.
fn pinned(plan: &WindowPlan) -> serde_json::Value {
    let files = plan.files();
    let read: Vec<_> = files.iter().filter(|file| file.row_groups_read > 0).collect();
    serde_json::json!({ "path": plan.source_path(), "files_listed": files.len(), "files": read })
}

/// Plans a window of a view.
pub(crate) async fn plan(
    scheduler: &Scheduler,
    key_suffix: Vec<u8>,
    selected: &Selected,
    interval: Interval,
) -> Result<WindowPlan, Error> {
    let config = &scheduler.config;
    let spec = WindowSpec {
        view: selected.view.clone(),
        repo_dir: scheduler.repo_dir.clone(),
        interval,
        entity_key_serialization_version: config.entity_key_serialization_version,
        key_suffix,
        on_bad_row: config.tidegate.on_bad_row,
        batch_rows_max: config.online_write_batch_size,
    };
    Ok(WindowPlan::new(&scheduler.session, spec).await?)
}

pub(crate) fn online_view(scheduler: &Scheduler, selected: &Selected) -> OnlineView {
    OnlineView {
        view: cut::view_ref(scheduler, selected),
        features: jobs::feature_columns(&selected.view),
    }
}

/// Commits the window. Every row is acknowledged by now.
async fn commit(
    context: &JobContext<'_>,
    selected: &Selected,
    window: &NewWindow,
    outcome: &Outcome,
) -> Result<(), Error> {
    let scheduler = context.scheduler;
    let interval = window.interval;
    let (start_micros, end_micros) =
        feast::interval::closed_micros(interval.start.nanos(), interval.end.nanos());
    let mirror_row = MirrorRow {
        view_name: selected.view.name.clone(),
        kind: mirror::kind_name(selected.view.kind).to_owned(),
        start_micros,
        end_micros,
    };
    let commit = Commit {
        window_id: window.window_id,
        job_id: window.job_id,
        view: window.view.clone(),
        interval,
        receipt: outcome.receipt,
        features: cut::feature_names(&selected.view),
        mirror: selected.inactive_version.is_none().then_some(mirror_row),
        at: crate::now(),
    };
    scheduler.ledger()?.commit(&commit).await?;
    Ok(())
}

/// Lets Feast's registry follow. What is committed stays so: a registry that cannot be reached
/// now is caught up with by the next run.
async fn follow(context: &JobContext<'_>, index: usize) {
    let mirrored = mirror::mirror(context.scheduler).await;
    warn_of_registry(context, index, mirrored);
}

fn warn_of_registry(context: &JobContext<'_>, index: usize, outcome: Result<(), Error>) {
    if let Err(error) = outcome {
        let text = chain(&error);
        let warning = format!(
            "what has landed is not yet in Feast's registry ({text}); the next run sees to it"
        );
        context.board.update(index, |job| job.warnings.push(warning));
    }
}

/// The state of a whole run from its jobs.
pub(crate) fn run_state(jobs: &[JobReport]) -> model::RunState {
    if jobs.iter().all(JobReport::is_landed) {
        model::RunState::Succeeded
    } else {
        model::RunState::Failed
    }
}

/// The board of a run before its first job starts.
pub(crate) fn empty_board(selected: &[Selected]) -> Vec<crate::board::JobBoard> {
    let job = |selected: &Selected| crate::board::JobBoard {
        view: selected.view.name.clone(),
        progress: Arc::default(),
        ..Default::default()
    };
    selected.iter().map(job).collect()
}
