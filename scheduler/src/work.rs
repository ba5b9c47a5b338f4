//! Holding a job: its lease is extended while it is worked on, and given back at the end.
//!
//! Also the loop of a process that serves runs: begin what waits, claim what is free, and see to
//! what others have left.

use std::sync::Arc;
use std::time::{Duration, Instant};

use api::JobProgress;
use futures::FutureExt;
use futures::future::BoxFuture;
use jobs::{FeatureSinks, LeaseGuard};
use metastore::{Beat, ClaimedJob};
use model::{JobState, RunId};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::Scheduler;
use crate::board::{Board, JobBoard};
use crate::error::{Error, chain};
use crate::fail_point::Step;
use crate::job::JobContext;

/// How often a process looks for work that another has left or admitted; its own runs wake it.
const LOOK: Duration = Duration::from_millis(500);

/// How often it sees to dead runs, dead leases, and what the registry lacks.
const RECOVER: Duration = Duration::from_secs(5);

/// How a serving process is stopped.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// No new leases.
    pub leases: CancellationToken,
    /// Attempts that have not ended are handed back.
    pub attempts: CancellationToken,
}

/// A job that this process holds, with the guard that its writes obey.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) claimed: ClaimedJob,
    pub(crate) guard: Arc<LeaseGuard>,
}

/// Why a holder stopped before its job had ended.
enum Stopped {
    Cancelled,
    Superseded,
    HandedBack,
}

impl Scheduler {
    /// Works on runs that any process may work on, until it is told to stop.
    pub async fn serve(self: Arc<Self>, sinks: Arc<dyn FeatureSinks>, stop: Stop) {
        let mut at_work = JoinSet::new();
        let mut recovered: Option<Instant> = None;
        while !stop.leases.is_cancelled() {
            if recovered.is_none_or(|at| at.elapsed() >= RECOVER) {
                recovered = Some(Instant::now());
                if let Err(error) = self.recover(&crate::is_alive).await {
                    tracing::warn!(error = chain(&error), "recovery was not possible");
                }
            }
            self.begin_waiting(sinks.as_ref()).await;
            while at_work.len() < self.settings.defaults.parallel.max(1)
                && !stop.leases.is_cancelled()
                && let Some(held) = self.claim_or_warn().await
            {
                let (scheduler, sinks) = (Arc::clone(&self), Arc::clone(&sinks));
                let stop = stop.clone();
                at_work.spawn(async move {
                    let board = Board::default();
                    board.set(vec![JobBoard::of_view(&held.claimed.job.view_name)]);
                    scheduler.hold(held, sinks.as_ref(), (&board, 0), &stop).await;
                });
            }
            tokio::select! {
                Some(ended) = at_work.join_next(), if !at_work.is_empty() => told(ended),
                () = self.woken() => {}
                () = stop.leases.cancelled() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
        while let Some(ended) = at_work.join_next().await {
            told(ended);
        }
    }

    async fn begin_waiting(&self, sinks: &dyn FeatureSinks) {
        let begin = async {
            while let Some(run_id) = self.ledger()?.waiting_run(&self.config.project).await? {
                if let Err(error) = self.begin_run(run_id, sinks).await {
                    if error.may_pass() {
                        return Err(error);
                    }
                    // What cannot be begun is refused, job by job, with the reason.
                    let reason = chain(&error);
                    self.ledger()?.begin_run(run_id, &[], Some(&reason), crate::now()).await?;
                }
                self.settings.fail_points.pass(Step::Claimed);
            }
            Ok::<(), Error>(())
        };
        if let Err(error) = begin.await {
            tracing::warn!(error = chain(&error), "waiting runs could not be begun");
        }
    }

    async fn claim_or_warn(&self) -> Option<Held> {
        match self.claim(None).await {
            Ok(held) => held,
            Err(error) => {
                tracing::warn!(error = chain(&error), "no job could be claimed");
                None
            }
        }
    }

    /// Claims the next job, of one run or of any that is served.
    pub(crate) async fn claim(&self, only: Option<RunId>) -> Result<Option<Held>, Error> {
        // Counted from before the ledger is asked, so that our end is never later than its own.
        let asked = Instant::now();
        let lease = self.settings.lease;
        let holder = self.process.holder();
        let claimed = self.ledger()?.claim_job(&self.config.project, only, &holder, lease).await?;
        Ok(claimed.map(|claimed| {
            self.settings.fail_points.pass(Step::Leased);
            Held { claimed, guard: Arc::new(LeaseGuard::new(asked + lease)) }
        }))
    }

    /// Works on a job while its lease is extended. Never fails: what went wrong is in the ledger.
    ///
    /// Boxed, because the compiler does not see through the lifetimes of a task's nested futures.
    pub(crate) fn hold<'a>(
        &'a self,
        held: Held,
        sinks: &'a dyn FeatureSinks,
        shown: (&'a Board, usize),
        stop: &'a Stop,
    ) -> BoxFuture<'a, ()> {
        self.hold_until_ended(held, sinks, shown, stop).boxed()
    }

    async fn hold_until_ended(
        &self,
        held: Held,
        sinks: &dyn FeatureSinks,
        (board, index): (&Board, usize),
        stop: &Stop,
    ) {
        let context = JobContext { scheduler: self, sinks, board, index, held: &held };
        let stopped = tokio::select! {
            state = context.run() => {
                board.end(index, state);
                None
            }
            stopped = self.extend(&held, board, index) => Some(stopped),
            () = stop.attempts.cancelled() => Some(Stopped::HandedBack),
        };
        let Some(stopped) = stopped else { return };
        held.guard.cancel();
        let job = &held.claimed.job;
        let state = match stopped {
            Stopped::Cancelled => {
                context.close(JobState::Cancelled, Some("the run was cancelled")).await;
                JobState::Cancelled
            }
            Stopped::HandedBack => {
                let token = held.claimed.token;
                if let Ok(ledger) = self.ledger()
                    && let Err(error) = ledger.hand_back(&job.view, token).await
                {
                    tracing::warn!(job = %job.job_id, error = chain(&error), "not handed back");
                }
                JobState::Interrupted
            }
            Stopped::Superseded => {
                tracing::warn!(job = %job.job_id, "another process goes on with the job");
                JobState::Interrupted
            }
        };
        board.end(index, state);
    }

    /// Extends the lease of a job until somebody wants its end, or somebody else holds its view.
    async fn extend(&self, held: &Held, board: &Board, index: usize) -> Stopped {
        let ClaimedJob { job, token, .. } = &held.claimed;
        loop {
            tokio::time::sleep(self.settings.beat).await;
            let Ok(ledger) = self.ledger() else { continue };
            let progress = serde_json::to_value(progress(&board.job(index))).unwrap_or_default();
            let asked = Instant::now();
            match ledger.beat(job, *token, &progress, self.settings.lease).await {
                Ok(Beat::Extended) => held.guard.extend(asked + self.settings.lease),
                Ok(Beat::Cancelled) => return Stopped::Cancelled,
                Ok(Beat::Superseded) => {
                    held.guard.end();
                    return Stopped::Superseded;
                }
                Err(error) => {
                    let error = chain(&error);
                    tracing::warn!(job = %job.job_id, error, "lease was not extended");
                }
            }
        }
    }
}

/// A panic is a bug of ours; the job's lease ends by itself and another attempt is made.
fn told(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a job stopped short");
    }
}

fn progress(job: &JobBoard) -> JobProgress {
    let counted = job.progress.snapshot();
    JobProgress {
        rows_read: counted.read,
        rows_max: job.rows_max,
        written: counted.counts.written,
        stale: counted.counts.stale,
        tombstoned: counted.counts.tombstoned,
    }
}
