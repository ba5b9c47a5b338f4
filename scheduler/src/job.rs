//! One job: a view from its lease to its last commit.
//!
//! Every step may run twice: adopting and mirroring merge, planning reads, what is recorded once
//! stays, writing keeps the newer row, and the commit is one transaction that knows its own
//! repetition.

use std::sync::Arc;
use std::time::Duration;

use jobs::{FeatureSinks, WindowPlan, WindowSpec};
use metastore::{NewWindow, WindowRow};
use model::{
    Agreement, AttemptEnd, Interval, IntervalSet, JobState, Marker, OnlineView, WindowState,
};

use crate::admit::{self, Selected};
use crate::board::{Board, Phase};
use crate::cut::{self, Known, ViewCut};
use crate::error::{Error, chain};
use crate::fail_point::Step;
use crate::trigger::Trigger;
use crate::work::Held;
use crate::{Scheduler, mirror};

/// How long the ledger may be away before a job gives up on telling it something.
pub(crate) const INSIST: Duration = Duration::from_secs(60);

/// The pause between two tries to tell it.
pub(crate) const INSIST_PAUSE: Duration = Duration::from_millis(250);

/// Tells the ledger something that must not be lost, for as long as it may be away: as a future of
/// [`Error`]. Every call of the ledger may be repeated.
///
/// A macro, because the compiler does not see through the lifetimes of a closure's futures.
macro_rules! insist {
    ($told:expr) => {
        async {
            let started = std::time::Instant::now();
            loop {
                match $told.await {
                    Err(error)
                        if error.is_retryable() && started.elapsed() < crate::job::INSIST =>
                    {
                        tracing::warn!(error = crate::chain(&error), "the ledger did not answer");
                        tokio::time::sleep(crate::job::INSIST_PAUSE).await;
                    }
                    told => break told.map_err(crate::Error::from),
                }
            }
        }
    };
}
pub(crate) use insist;

/// What a job needs to know.
#[derive(Clone, Copy)]
pub(crate) struct JobContext<'a> {
    pub(crate) scheduler: &'a Scheduler,
    pub(crate) sinks: &'a dyn FeatureSinks,
    pub(crate) board: &'a Board,
    pub(crate) index: usize,
    pub(crate) held: &'a Held,
}

/// How a job ended without an error.
enum Ended {
    Landed,
    Nothing(String),
    Refused(String),
    /// Its end is recorded, or another process goes on with it.
    Stopped(JobState),
}

impl JobContext<'_> {
    /// Works on the job until it has ended; gives the state it is in then.
    pub(crate) async fn run(&self) -> JobState {
        let mut failures = 0;
        loop {
            let (state, reason) = match self.work().await {
                // The last commit has closed the job; giving its view back is left.
                Ok(Ended::Landed) => (JobState::Succeeded, None),
                Ok(Ended::Nothing(reason)) => (JobState::UpToDate, Some(reason)),
                Ok(Ended::Refused(reason)) => (JobState::Refused, Some(reason)),
                Ok(Ended::Stopped(state)) => return state,
                Err(error) => {
                    failures += 1;
                    let settings = &self.scheduler.settings;
                    let next = error.attempt_end(settings.retries_all);
                    let next = next.next(failures, &settings.retry);
                    if let Some(pause) = next.again_after {
                        self.warn(format!("tried again: {}", chain(&error)));
                        tokio::time::sleep(pause).await;
                        continue;
                    }
                    if next.job == JobState::Running {
                        return JobState::Interrupted;
                    }
                    (JobState::Failed, Some(chain(&error)))
                }
            };
            self.close(state, reason.as_deref()).await;
            return state;
        }
    }

    /// Ends the job in the ledger, and with the last one its run.
    pub(crate) async fn close(&self, state: JobState, reason: Option<&str>) {
        let claimed = &self.held.claimed;
        let job = &claimed.job;
        let Ok(ledger) = self.scheduler.ledger() else { return };
        if !self.board.job(self.index).warnings.is_empty() {
            self.keep_warnings().await;
        }
        let now = crate::now();
        let closed = insist!(ledger.close_job(job, claimed.token, state, reason, now));
        match closed.await {
            Ok(()) => {
                self.scheduler.tally.job_ended(state);
                tracing::info!(view = job.view_name, job = %job.job_id, %state, "job ended");
            }
            // Whoever goes on with it, or recovers it, finds it as it is.
            Err(error) => {
                tracing::warn!(job = %job.job_id, error = chain(&error), "job was not closed");
            }
        }
        self.scheduler.settings.fail_points.pass(Step::JobClosed);
    }

    pub(crate) fn warn(&self, warning: String) {
        tracing::warn!(job = %self.held.claimed.job.job_id, "{warning}");
        self.board.update(self.index, |job| job.warnings.push(warning));
    }

    async fn work(&self) -> Result<Ended, Error> {
        let claimed = &self.held.claimed;
        if claimed.run.cancel_requested {
            self.close(JobState::Cancelled, Some("the run was cancelled")).await;
            return Ok(Ended::Stopped(JobState::Cancelled));
        }
        if let Some(refusal) = &claimed.run.refusal {
            return Ok(Ended::Refused(refusal.clone()));
        }
        let trigger = self.scheduler.trigger_of(&claimed.run)?;
        let selected = self.select(&trigger).await?;
        if let Some(refusal) = &selected.view.refusal {
            return Ok(Ended::Refused(refusal.to_string()));
        }
        let known = cut::adopt(self.scheduler, &selected).await?;
        self.scheduler.settings.fail_points.pass(Step::Adopted);
        if selected.inactive_version.is_none() {
            let listed = mirror::list_again(self.scheduler, &selected.view, &known.coverage).await;
            self.warn_of_registry(listed);
        }
        let rebuild = match self.check_store(&selected, &known, &trigger).await? {
            Ok(is_lost) => trigger.rebuild || (is_lost && self.rebuilds()),
            Err(refusal) => return Ok(Ended::Refused(refusal)),
        };
        let trigger = Trigger { rebuild, ..trigger };
        let mut first_plan = None;
        let windows = if claimed.windows.is_empty() {
            match self.cut(&selected, &known, &trigger, &mut first_plan).await? {
                Ok(windows) => windows,
                Err(reason) => return Ok(Ended::Nothing(reason)),
            }
        } else {
            self.show(claimed.job.interval, &claimed.job.warnings);
            claimed.windows.clone()
        };
        // What was cut before the loss was noticed does not bring back all that is lost.
        let read: IntervalSet = windows.iter().map(|window| window.interval).collect();
        let brings_all_back = known.coverage.intervals().minus(&read).is_empty();
        let trigger = Trigger { rebuild: rebuild && brings_all_back, ..trigger };
        for window in windows.iter().filter(|window| window.state != WindowState::Committed) {
            let plan = first_plan.take();
            if let Some(state) = self.land(&selected, &trigger, window, plan).await? {
                return Ok(Ended::Stopped(state));
            }
        }
        Ok(Ended::Landed)
    }

    fn rebuilds(&self) -> bool {
        self.scheduler.settings.rebuild_lost
    }

    /// The job's view as the registry has it now.
    async fn select(&self, trigger: &Trigger) -> Result<Selected, Error> {
        let job = &self.held.claimed.job;
        let trigger = Trigger { views: vec![job.view_name.clone()], ..trigger.clone() };
        let snapshot = self.scheduler.registry.snapshot(&self.scheduler.config.project).await?;
        let selected = admit::select(self.scheduler, &snapshot, &trigger).await?;
        let stored = |selected: &Selected| selected.storage_name == job.view.storage_name;
        selected.into_iter().find(stored).ok_or_else(|| Error::ViewChanged {
            view: job.view_name.clone(),
            storage_name: job.view.storage_name.clone(),
        })
    }

    /// Compares what the online store says of the last commit with the ledger. Tells whether the
    /// store has lost something, or why the run may not go on.
    async fn check_store(
        &self,
        selected: &Selected,
        known: &Known,
        trigger: &Trigger,
    ) -> Result<Result<bool, String>, Error> {
        let view = cut::view_ref(self.scheduler, selected);
        let marker = self.sinks.marker(&view).await;
        let marker = marker.map_err(|source| Error::Sink { view: view.to_string(), source })?;
        let agreement = self.agreement(known.committed, marker).await?;
        let mut lost = known.lost.clone();
        if !agreement.is_sound() && !known.was_recreated {
            let why = agreement.to_string();
            self.scheduler.ledger()?.mark_lost(&view, &why).await?;
            lost = Some(why);
        }
        let Some(agreement) = lost else { return Ok(Ok(false)) };
        let error = Error::StoreLost { agreement };
        if trigger.rebuild || self.rebuilds() {
            return Ok(Ok(true));
        }
        if trigger.is_incremental() {
            return Ok(Err(error.to_string()));
        }
        self.warn(error.to_string());
        Ok(Ok(true))
    }

    /// Compares the last commit of the ledger with the marker of the online store.
    pub(crate) async fn agreement(
        &self,
        committed: Option<Marker>,
        stored: Option<Marker>,
    ) -> Result<Agreement, Error> {
        let is_known = match &stored {
            Some(marker) => self.scheduler.ledger()?.knows(marker).await?,
            None => false,
        };
        Ok(Agreement::of(committed, stored, is_known))
    }

    /// Decides what is to be read and records the windows, in the order in which they are to run;
    /// the reason where there is nothing to read. A single window's plan is kept for it.
    async fn cut(
        &self,
        selected: &Selected,
        known: &Known,
        trigger: &Trigger,
        first_plan: &mut Option<WindowPlan>,
    ) -> Result<Result<Vec<WindowRow>, String>, Error> {
        let scheduler = self.scheduler;
        let (intervals, warnings) = match cut::cut_view(scheduler, selected, known, trigger).await?
        {
            ViewCut::Read { intervals, warnings } => (intervals, warnings),
            ViewCut::Nothing { reason } => return Ok(Err(reason)),
        };
        scheduler.settings.fail_points.pass(Step::Cut);
        self.show(intervals.hull(), &warnings);
        let mut windows: Vec<NewWindow> = Vec::new();
        for &interval in intervals.as_slice() {
            let plan = self.plan(selected, interval).await?;
            let cuts = cut::windows(scheduler, &plan, trigger);
            if let [_] = cuts[..] {
                windows.push(cut::new_window(scheduler, &plan));
                *first_plan = Some(plan);
                continue;
            }
            for interval in cuts {
                let plan = plan.within(interval).await?;
                windows.push(cut::new_window(scheduler, &plan));
            }
        }
        if windows.len() > 1 {
            *first_plan = None;
        }
        let windows = cut::in_turn(windows, trigger.newest_first);
        let (claimed, ledger, now) = (&self.held.claimed, scheduler.ledger()?, crate::now());
        let (job, token) = (&claimed.job, claimed.token);
        insist!(ledger.cut_job(job, token, &windows, &warnings, now)).await?;
        scheduler.settings.fail_points.pass(Step::WindowsRecorded);
        Ok(Ok(ledger.windows_of(job.job_id).await?))
    }

    /// Attempts a window until it lands; gives the job's state where it does not.
    async fn land(
        &self,
        selected: &Selected,
        trigger: &Trigger,
        window: &WindowRow,
        mut plan: Option<WindowPlan>,
    ) -> Result<Option<JobState>, Error> {
        loop {
            let (attempt, error) = match self.attempt(selected, trigger, window, plan.take()).await
            {
                Ok(()) => return Ok(None),
                // Nothing is recorded of an attempt that did not come to its first write.
                Err((None, error)) => return Err(error),
                Err((Some(attempt), error)) => (attempt, error),
            };
            self.scheduler.tally.attempt_failed();
            let settings = &self.scheduler.settings;
            let end = error.attempt_end(settings.retries_all);
            if end == AttemptEnd::Superseded {
                return Ok(Some(JobState::Interrupted));
            }
            let text = chain(&error);
            self.keep_warnings().await;
            let (job, now) = (&self.held.claimed.job, crate::now());
            let (ledger, ended, retry) =
                (self.scheduler.ledger()?, (attempt.number, end), &settings.retry);
            let next =
                insist!(ledger.end_attempt(job, &attempt.new, ended, retry, &text, now)).await?;
            let Some(pause) = next.again_after else { return Ok(Some(next.job)) };
            self.warn(format!("attempted again: {text}"));
            self.board.update(self.index, |job| job.progress = Arc::default());
            tokio::time::sleep(pause).await;
        }
    }

    /// Keeps what the operator should know before the job may be closed.
    async fn keep_warnings(&self) {
        if let Err(error) = self.keep_remarks().await {
            let job = self.held.claimed.job.job_id;
            tracing::warn!(%job, error = chain(&error), "warnings were not kept");
        }
    }

    /// Stores the warnings and the refused rows that the board has of the job.
    pub(crate) async fn keep_remarks(&self) -> Result<(), Error> {
        let board = self.board.job(self.index);
        let job = self.held.claimed.job.job_id;
        let ledger = self.scheduler.ledger()?;
        insist!(ledger.remark(job, &board.warnings, &board.bad_rows)).await
    }

    fn show(&self, interval: Option<Interval>, warnings: &[String]) {
        self.board.update(self.index, |job| {
            job.interval = interval;
            job.phase = Phase::Planning;
            job.warnings = warnings.to_vec();
        });
    }

    /// Plans an interval of the view, or takes the plan that was made ahead.
    pub(crate) async fn plan(
        &self,
        selected: &Selected,
        interval: Interval,
    ) -> Result<WindowPlan, Error> {
        let run = self.held.claimed.job.run_id;
        if let Some(plan) = self.scheduler.take_ahead(run, &selected.storage_name, interval) {
            return Ok(plan);
        }
        let suffix = self.sinks.key_suffix(&self.scheduler.config.project);
        plan(self.scheduler, suffix, selected, interval).await
    }

    pub(crate) fn warn_of_registry(&self, outcome: Result<(), Error>) {
        if let Err(error) = outcome {
            let text = chain(&error);
            self.warn(format!(
                "what has landed is not yet in Feast's registry ({text}); the next run sees to it"
            ));
        }
    }
}

/// Plans an interval of a view.
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
