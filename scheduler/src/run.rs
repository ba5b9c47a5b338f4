//! One run: admit, then one job a view, several side by side.

use std::time::Duration;

use futures::StreamExt;
use jobs::FeatureSinks;
use metastore::NewRun;
use model::{Request, RunId, RunKind, RunState};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::admit::{self, Selected};
use crate::board::Board;
use crate::error::{Error, chain};
use crate::job::{self, JobContext};
use crate::report::{JobReport, RunReport};
use crate::trigger::Trigger;
use crate::{Scheduler, memory, mirror};

/// How often a running run says that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// How long a run of another host may be silent before it counts as interrupted: a dozen beats.
const SILENT_NANOS: i64 = 60_000_000_000;

impl Scheduler {
    /// Runs a trigger to its end, or until it is cancelled.
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
        trigger: &Trigger,
        sinks: &dyn FeatureSinks,
        board: &Board,
        stop: &CancellationToken,
    ) -> Result<RunReport, Error> {
        trigger.check()?;
        let ledger = self.ledger()?;
        // A run of our own process id that is recorded already belongs to a process before us.
        let others = |pid| pid != self.process.pid && is_alive(pid);
        self.recover(&others).await?;
        let snapshot = self.registry.snapshot(&self.config.project).await?;
        let selected = admit::select(self, &snapshot, trigger).await?;
        let run_id = RunId::from_uuid(Uuid::now_v7());
        ledger.admit(&self.new_run(run_id, trigger, &selected)).await?;
        board.set(job::empty_board(&selected));
        let context = JobContext::new(self, trigger, sinks, board, run_id);
        let (mut warnings, jobs) = tokio::select! {
            ran = run_jobs(context, &selected) => ran,
            () = self.beat_until_dead(run_id) => return Err(Error::TakenForDead { run: run_id }),
            () = stop.cancelled() => {
                // Our own run is the one whose process is said to be dead.
                self.recover(&others).await?;
                return Ok(RunReport {
                    run_id,
                    project: self.config.project.clone(),
                    state: RunState::Interrupted,
                    warnings: Vec::new(),
                    jobs: Vec::new(),
                });
            }
        };
        let state = job::run_state(&jobs);
        ledger.finish_run(run_id, state, crate::now()).await?;
        let slowed = sinks.slowed();
        if !slowed.is_zero() {
            warnings.push(format!(
                "the online store took longer to answer than `tidegate.latency_limit` allows, so \
                 writing was held back for {:.1} s",
                slowed.as_secs_f64()
            ));
        }
        let project = self.config.project.clone();
        Ok(RunReport { run_id, project, state, warnings, jobs })
    }

    /// Makes good what runs that died have left: marks them, and lets the registry follow.
    async fn recover(&self, is_alive: &(dyn Fn(u32) -> bool + Sync)) -> Result<(), Error> {
        let ledger = self.ledger()?;
        let project = &self.config.project;
        ledger
            .interrupt_dead_runs(project, &self.process.host, is_alive, crate::now(), SILENT_NANOS)
            .await?;
        // A registry that cannot be written must not keep rows from landing.
        if let Err(error) = mirror::mirror(self).await {
            tracing::warn!(error = chain(&error), "Feast's registry could not be caught up with");
        }
        Ok(())
    }

    fn new_run(&self, run_id: RunId, trigger: &Trigger, selected: &[Selected]) -> NewRun {
        let (kind, requested_start) = match trigger.request {
            Request::Incremental { .. } => (RunKind::Incremental, None),
            Request::Interval { start, .. } => (RunKind::Interval, Some(start)),
        };
        NewRun {
            run_id,
            project: self.config.project.clone(),
            kind,
            requested_start,
            requested_end: trigger.request.end(),
            views: selected.iter().map(|selected| selected.view.name.clone()).collect(),
            host: self.process.host.clone(),
            pid: self.process.pid,
            program_version: self.process.version.clone(),
            at: crate::now(),
        }
    }

    /// Says that the run is alive, until somebody has decided that it is not.
    async fn beat_until_dead(&self, run_id: RunId) {
        loop {
            tokio::time::sleep(HEARTBEAT).await;
            let Ok(ledger) = self.ledger() else { continue };
            match ledger.heartbeat(run_id, crate::now()).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    let error = chain(&error);
                    tracing::warn!(run = %run_id, error, "heartbeat was not recorded");
                }
            }
        }
    }
}

/// Runs every job, once it is known whether they fit; gives the warnings of that too.
async fn run_jobs(
    mut context: JobContext<'_>,
    selected: &[Selected],
) -> (Vec<String>, Vec<JobReport>) {
    let memory::Verdict { warnings, refusal, ahead } = memory::check(&context, selected).await;
    warnings.iter().for_each(|warning| tracing::warn!(run = %context.run_id, "{warning}"));
    (context.refusal, context.ahead) = (refusal, ahead);
    let (context, parallel) = (&context, context.trigger.parallel.max(1));
    let jobs = selected.iter().enumerate().map(|(index, view)| job::run(context, index, view));
    (warnings, futures::stream::iter(jobs).buffered(parallel).collect().await)
}

/// Tells whether a process of this host still runs; where that cannot be told, its heartbeat must.
fn is_alive(pid: u32) -> bool {
    let processes = std::path::Path::new("/proc");
    !processes.join("self").exists() || processes.join(pid.to_string()).exists()
}
