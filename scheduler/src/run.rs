//! A run from its admission to its report, and the embedded one that this process alone works on.

use std::time::Duration;

use api::{RunReport, RunRequest};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use jobs::FeatureSinks;
use metastore::{Admitted, Idempotency, NewJob, NewRun, RunBeat, RunRow};
use model::{EventTime, JobId, Request, RunId};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::admit::{self, Selected};
use crate::board::{Board, JobBoard};
use crate::error::{Error, chain};
use crate::fail_point::Step;
use crate::trigger::{Ask, Trigger};
use crate::work::Stop;
use crate::{Scheduler, memory, mirror};

/// How long a run of another host may be silent before it counts as interrupted.
const SILENT_NANOS: i64 = 60_000_000_000;

/// How often a run that waits for another's views looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// A run that was admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// The run.
    pub run_id: RunId,
    /// Whether it was recorded now, and not by an earlier request with the same key.
    pub is_new: bool,
}

impl Scheduler {
    /// Records a run with a job for each view that it means, after refusing what cannot work.
    ///
    /// With a key, the same request gives the same run. `is_served` lets any process work on it.
    ///
    /// # Errors
    /// What is wrong with the request, the registry or the ledger; nothing is recorded then.
    pub async fn admit(
        &self,
        request: &RunRequest,
        key: Option<&str>,
        is_served: bool,
    ) -> Result<Admission, Error> {
        let now = crate::now();
        let trigger = Trigger::of(request, self.settings.defaults, now)?;
        let selected = self.select(&trigger).await?;
        let run_id = RunId::from_uuid(Uuid::now_v7());
        let text = serde_json::to_value(request).unwrap_or_default();
        let new = NewRun {
            idempotency: key
                .map(|key| Idempotency { key: key.to_owned(), digest: text.to_string() }),
            request: text,
            is_served,
            ..self.new_run(run_id, request, &trigger, &selected)
        };
        let admission = match self.ledger()?.admit(&new).await? {
            Admitted::New => Admission { run_id, is_new: true },
            Admitted::Known(run_id) => Admission { run_id, is_new: false },
            Admitted::KeyTaken(run) => {
                return Err(Error::KeyTaken { key: key.unwrap_or_default().to_owned(), run });
            }
        };
        self.settings.fail_points.pass(Step::Admitted);
        self.wake();
        Ok(admission)
    }

    /// Runs a request to its end in this process, or until it is cancelled.
    ///
    /// # Errors
    /// When nothing could be started: the trigger, the registry or the ledger. A view that fails
    /// is in the report.
    ///
    /// # Cancel safety
    /// Cancel by the token: unfinished jobs are marked as interrupted, and nothing of them is
    /// committed. Dropping the future is as safe as killing the process.
    pub async fn run(
        &self,
        request: &RunRequest,
        sinks: &dyn FeatureSinks,
        board: &Board,
        stop: &CancellationToken,
    ) -> Result<RunReport, Error> {
        // A run of our own process id that is recorded already belongs to a process before us.
        let others = |pid| pid != self.process.pid && crate::is_alive(pid);
        self.recover(&others).await?;
        let run_id = self.admit(request, None, false).await?.run_id;
        self.begin_run(run_id, sinks).await?;
        self.settings.fail_points.pass(Step::Claimed);
        let jobs = self.ledger()?.jobs(run_id).await?;
        board.set(jobs.iter().map(|job| JobBoard::of_view(&job.view_name)).collect());
        tokio::select! {
            worked = self.work_on(run_id, sinks, board) => worked?,
            () = self.beat_until_dead(run_id) => return Err(Error::TakenForDead { run: run_id }),
            () = stop.cancelled() => {
                // Our own run is the one whose process is said to be dead.
                self.recover(&others).await?;
            }
        }
        self.settings.fail_points.pass(Step::RunClosed);
        self.report(run_id).await
    }

    /// Begins a run that was admitted: asks whether it fits into the online store's memory, and
    /// lets its jobs be claimed.
    ///
    /// # Errors
    /// When the run or the ledger cannot be read, or the registry.
    pub(crate) async fn begin_run(
        &self,
        run_id: RunId,
        sinks: &dyn FeatureSinks,
    ) -> Result<(), Error> {
        let ledger = self.ledger()?;
        let run = ledger.run_row(run_id).await?.ok_or(Error::UnknownRun { run: run_id })?;
        let trigger = self.trigger_of(&run)?;
        let selected = self.select(&trigger).await?;
        let memory::Verdict { mut warnings, refusal, ahead } =
            memory::check(self, &trigger, sinks, &selected).await;
        if trigger.refuse_over_memory && refusal.is_none() && selected.is_empty() {
            warnings.clear();
        }
        warnings.iter().for_each(|warning| tracing::warn!(run = %run_id, "{warning}"));
        self.keep_ahead(run_id, ahead);
        Ok(ledger.begin_run(run_id, &warnings, refusal.as_deref(), crate::now()).await?)
    }

    /// What a recorded run was asked to do.
    pub(crate) fn trigger_of(&self, run: &RunRow) -> Result<Trigger, Error> {
        let request: RunRequest = serde_json::from_value(run.request.clone())
            .map_err(|source| Error::StoredRequest { run: run.run_id, source })?;
        Trigger::of(&request, self.settings.defaults, run.admitted_at)
    }

    /// The views of a trigger as the registry has them now.
    pub(crate) async fn select(&self, trigger: &Trigger) -> Result<Vec<Selected>, Error> {
        let snapshot = self.registry.snapshot(&self.config.project).await?;
        let mut trigger = trigger.clone();
        if trigger.views.is_empty() {
            trigger.views = self.views_of_rerun(&trigger).await?;
        }
        admit::select(self, &snapshot, &trigger).await
    }

    /// Makes good what runs that died have left: marks them, frees what they held, and lets the
    /// registry follow.
    pub(crate) async fn recover(
        &self,
        is_alive: &(dyn Fn(u32) -> bool + Sync),
    ) -> Result<(), Error> {
        let ledger = self.ledger()?;
        let (project, host) = (&self.config.project, &self.process.host);
        ledger.interrupt_dead_runs(project, host, is_alive, SILENT_NANOS).await?;
        ledger.free_dead_leases(project, host, is_alive).await?;
        // A registry that cannot be written must not keep rows from landing.
        if let Err(error) = mirror::mirror(self).await {
            tracing::warn!(error = chain(&error), "Feast's registry could not be caught up with");
        }
        Ok(())
    }

    fn new_run(
        &self,
        run_id: RunId,
        request: &RunRequest,
        trigger: &Trigger,
        selected: &[Selected],
    ) -> NewRun {
        let (requested_start, requested_end) = asked_bounds(trigger);
        let job = |(position, selected): (u32, &Selected)| NewJob {
            job_id: JobId::from_uuid(Uuid::now_v7()),
            position,
            storage_name: selected.storage_name.clone(),
            view_name: selected.view.name.clone(),
            version: selected.inactive_version,
            refusal: selected.view.refusal.as_ref().map(ToString::to_string),
            at: trigger.now,
        };
        NewRun {
            run_id,
            project: self.config.project.clone(),
            kind: request.kind,
            request: serde_json::Value::Null,
            idempotency: None,
            is_served: false,
            parallel: u32::try_from(trigger.parallel).unwrap_or(u32::MAX),
            requested_start,
            requested_end,
            views: selected.iter().map(|selected| selected.view.name.clone()).collect(),
            jobs: (0..).zip(selected).map(job).collect(),
            host: self.process.host.clone(),
            pid: self.process.pid,
            program_version: self.process.version.clone(),
            at: trigger.now,
        }
    }

    /// Works on the jobs of a run until all have ended, whoever ends them.
    async fn work_on(
        &self,
        run_id: RunId,
        sinks: &dyn FeatureSinks,
        board: &Board,
    ) -> Result<(), Error> {
        let (never, mut at_work) = (Stop::default(), FuturesUnordered::new());
        loop {
            if let Some(held) = beside(&mut at_work, self.claim(Some(run_id))).await? {
                let index = held.claimed.job.position as usize;
                at_work.push(self.hold(held, sinks, (board, index), &never));
                continue;
            }
            if at_work.is_empty() && self.is_over(run_id, board).await? {
                break;
            }
            // Another run holds a view of ours, or what is at work has not ended.
            tokio::select! {
                Some(()) = at_work.next(), if !at_work.is_empty() => {}
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
        }
        let slowed = sinks.slowed();
        if !slowed.is_zero() {
            let mut warnings =
                self.ledger()?.run_row(run_id).await?.map(|run| run.warnings).unwrap_or_default();
            warnings.push(format!(
                "the online store took longer to answer than `tidegate.latency_limit` allows, so \
                 writing was held back for {:.1} s",
                slowed.as_secs_f64()
            ));
            self.ledger()?.warn_run(run_id, &warnings).await?;
        }
        Ok(())
    }

    /// Tells whether every job of a run has ended; those that have are shown so.
    async fn is_over(&self, run_id: RunId, board: &Board) -> Result<bool, Error> {
        let jobs = self.ledger()?.jobs(run_id).await?;
        for job in jobs.iter().filter(|job| job.state.is_ended()) {
            board.end(job.position as usize, job.state);
        }
        Ok(jobs.iter().all(|job| job.state.is_ended()))
    }

    /// Says that the run is alive, until somebody has decided that it is not.
    async fn beat_until_dead(&self, run_id: RunId) {
        loop {
            tokio::time::sleep(self.settings.beat).await;
            let Ok(ledger) = self.ledger() else { continue };
            match ledger.heartbeat(run_id).await {
                Ok(RunBeat::GoesOn | RunBeat::Cancelled) => {}
                Ok(RunBeat::Ended) => {
                    // It may have ended by its last job, whose end is about to be seen.
                    let interrupted = ledger.run_row(run_id).await.ok().flatten();
                    let is_dead =
                        interrupted.is_none_or(|run| run.state == model::RunState::Interrupted);
                    if is_dead {
                        return;
                    }
                }
                Err(error) => {
                    let error = chain(&error);
                    tracing::warn!(run = %run_id, error, "heartbeat was not recorded");
                }
            }
        }
    }
}

/// Waits for something while jobs go on: one of them may hold what it waits for, such as the only
/// connection of a ledger.
async fn beside<T>(
    at_work: &mut FuturesUnordered<BoxFuture<'_, ()>>,
    wanted: impl Future<Output = T>,
) -> T {
    let mut wanted = std::pin::pin!(wanted);
    loop {
        tokio::select! {
            got = &mut wanted => return got,
            Some(()) = at_work.next(), if !at_work.is_empty() => {}
        }
    }
}

fn asked_bounds(trigger: &Trigger) -> (Option<EventTime>, Option<EventTime>) {
    match trigger.ask {
        Ask::Interval(Request::Incremental { end }) => (None, Some(end)),
        Ask::Interval(Request::Interval { start, end }) => (Some(start), Some(end)),
        Ask::State(_, whole) => (Some(whole.start), Some(whole.end.plus_nanos(-1))),
        Ask::Run(_) | Ask::Window(_) => (None, None),
    }
}
