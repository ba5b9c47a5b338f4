//! Queries on runs: admit one, keep it alive, end it, and end those whose process has stopped.
//!
//! Also where the ledger is kept from growing: admitting a run removes the oldest.

use model::{EventTime, RunId, RunKind, RunState};
use serde::Serialize;
use sqlx::any::AnyRow;
use sqlx::{Any, AnyConnection, Transaction};

use crate::row::{Read, json};
use crate::{Error, Ledger};

/// Runs of a project that are kept, with their jobs, windows and receipts. A nightly run is told of
/// for almost three years, one every five minutes for three days; a hundred views at two kilobytes
/// a job stay near 200 MB at the most.
pub const RUNS_KEPT_MAX: i64 = 1_000;

const ADMIT: &str = "
    INSERT INTO runs (
        run_id, project, kind, state, requested_start, requested_end, views, host, pid,
        program_version, started_at, heartbeat_at
    ) VALUES ($1, $2, $3, 'running', $4, $5, $6, $7, $8, $9, $10, $10)
    ON CONFLICT (run_id) DO NOTHING
";

/// A run at work is never removed: its windows would go with it, and its commit be refused.
const PRUNE: &str = "
    DELETE FROM runs WHERE project = $1 AND state <> 'running' AND run_id NOT IN (
        SELECT run_id FROM runs WHERE project = $1
        ORDER BY started_at DESC, run_id DESC LIMIT $2
    )
";

const HEARTBEAT: &str = "UPDATE runs SET heartbeat_at = $2 WHERE run_id = $1 AND state = 'running'";

const FINISH: &str = "
    UPDATE runs SET state = $2, finished_at = $3 WHERE run_id = $1 AND state = 'running'
";

const STATE: &str = "SELECT state FROM runs WHERE run_id = $1";

const RUNNING: &str = "
    SELECT run_id, host, pid, heartbeat_at FROM runs
    WHERE project = $1 AND state = 'running' ORDER BY started_at, run_id
";

// In the order in which a commit takes its locks: windows, then jobs, then the run.
const INTERRUPT_WINDOWS: &str = "
    UPDATE windows SET state = 'interrupted', closed_at = $2
    WHERE state = 'open' AND job_id IN (SELECT job_id FROM jobs WHERE run_id = $1)
";
const INTERRUPT_JOBS: &str = "
    UPDATE jobs SET state = 'interrupted', reason = $3, finished_at = $2
    WHERE run_id = $1 AND state IN ('pending', 'running')
";
/// Names the heartbeat that was judged, so that a run that has beaten since is left alone.
const INTERRUPT_RUN: &str = "
    UPDATE runs SET state = 'interrupted', finished_at = $2
    WHERE run_id = $1 AND state = 'running' AND heartbeat_at = $3
";

/// A run to be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRun {
    /// Its id, drawn by the caller.
    pub run_id: RunId,
    /// Feast's project.
    pub project: String,
    /// What it was asked to do.
    pub kind: RunKind,
    /// The start that was asked for, if any.
    pub requested_start: Option<EventTime>,
    /// The end that was asked for.
    pub requested_end: EventTime,
    /// The views that were asked for, by Feast's names.
    pub views: Vec<String>,
    /// The machine it runs on.
    pub host: String,
    /// Its process there.
    pub pid: u32,
    /// The version of this program.
    pub program_version: String,
    /// Our clock.
    pub at: EventTime,
}

/// A run as recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunRow {
    /// Its id.
    pub run_id: RunId,
    /// Feast's project.
    pub project: String,
    /// What it was asked to do.
    pub kind: RunKind,
    /// How far it has got.
    pub state: RunState,
    /// The start that was asked for, if any.
    pub requested_start: Option<EventTime>,
    /// The end that was asked for.
    pub requested_end: EventTime,
    /// The views that were asked for.
    pub views: Vec<String>,
    /// The machine it ran on.
    pub host: String,
    /// Its process there.
    pub pid: u32,
    /// The version of the program that ran it.
    pub program_version: String,
    /// When it was admitted.
    pub started_at: EventTime,
    /// Its last sign of life.
    pub heartbeat_at: EventTime,
    /// When it ended.
    pub finished_at: Option<EventTime>,
    /// Jobs recorded so far.
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
            requested_start: row.time_opt("requested_start")?,
            requested_end: row.time("requested_end")?,
            views: row.json("views")?,
            host: row.text("host")?,
            pid: row.small("pid")?,
            program_version: row.text("program_version")?,
            started_at: row.time("started_at")?,
            heartbeat_at: row.time("heartbeat_at")?,
            finished_at: row.time_opt("finished_at")?,
            jobs_total: row.small("jobs_total")?,
            jobs_landed: row.small("jobs_landed")?,
        })
    }
}

impl Ledger {
    /// Records a run as running, and removes runs beyond the newest [`RUNS_KEPT_MAX`] of its
    /// project with all that belongs to them. A run that is recorded already stays as it is.
    ///
    /// # Errors
    /// [`Error::Admit`].
    pub async fn admit(&self, run: &NewRun) -> Result<(), Error> {
        self.try_admit(run).await.map_err(|source| Error::Admit { run: run.run_id, source })
    }

    /// Notes a sign of life; `false` when the run is no longer running, because another process
    /// took it for dead, and its work should stop: nothing of it can be committed any more.
    ///
    /// # Errors
    /// [`Error::UpdateRun`].
    pub async fn heartbeat(&self, run: RunId, at: EventTime) -> Result<bool, Error> {
        sqlx::query(HEARTBEAT)
            .bind(run.to_string())
            .bind(at.nanos())
            .execute(self.pool())
            .await
            .map(|done| done.rows_affected() > 0)
            .map_err(|source| Error::UpdateRun { run, source })
    }

    /// Ends a run. One that has ended keeps the state it ended in.
    ///
    /// # Errors
    /// [`Error::UpdateRun`], [`Error::RunUnknown`].
    pub async fn finish_run(
        &self,
        run: RunId,
        state: RunState,
        at: EventTime,
    ) -> Result<(), Error> {
        let failed = |source| Error::UpdateRun { run, source };
        let done = sqlx::query(FINISH)
            .bind(run.to_string())
            .bind(state.as_str())
            .bind(at.nanos())
            .execute(self.pool())
            .await
            .map_err(failed)?;
        if done.rows_affected() > 0 {
            return Ok(());
        }
        let mut connection = self.pool().acquire().await.map_err(failed)?;
        match run_state(&mut connection, run).await.map_err(failed)? {
            Some(_) => Ok(()),
            None => Err(Error::RunUnknown { run }),
        }
    }

    /// Ends the runs whose process has stopped, with their open jobs and windows, and returns them.
    ///
    /// A run is dead when it ran on `host` and `is_alive` denies its process, or when its last sign
    /// of life is more than `silent_for_nanos` before `now`. What a dead run wrote stays; it does
    /// not count, and a window of it can no longer be committed.
    ///
    /// # Errors
    /// [`Error::InterruptRuns`].
    pub async fn interrupt_dead_runs(
        &self,
        project: &str,
        host: &str,
        is_alive: &(dyn Fn(u32) -> bool + Sync),
        now: EventTime,
        silent_for_nanos: i64,
    ) -> Result<Vec<RunId>, Error> {
        let interrupt = async {
            let mut interrupted = Vec::new();
            for run in self.running(project).await? {
                let Some(reason) = run.cause_of_death(host, is_alive, now, silent_for_nanos) else {
                    continue;
                };
                if self.interrupt(&run, reason, now).await? {
                    interrupted.push(run.run_id);
                }
            }
            Ok(interrupted)
        };
        interrupt
            .await
            .map_err(|source| Error::InterruptRuns { project: project.to_owned(), source })
    }

    async fn try_admit(&self, run: &NewRun) -> sqlx::Result<()> {
        let mut transaction = self.begin().await?;
        sqlx::query(ADMIT)
            .bind(run.run_id.to_string())
            .bind(&run.project)
            .bind(run.kind.as_str())
            .bind(run.requested_start.map(EventTime::nanos))
            .bind(run.requested_end.nanos())
            .bind(json(&run.views)?)
            .bind(&run.host)
            .bind(i64::from(run.pid))
            .bind(&run.program_version)
            .bind(run.at.nanos())
            .execute(&mut *transaction)
            .await?;
        prune(&mut transaction, &run.project, RUNS_KEPT_MAX).await?;
        transaction.commit().await
    }

    async fn running(&self, project: &str) -> sqlx::Result<Vec<Running>> {
        let rows = sqlx::query(RUNNING).bind(project).fetch_all(self.pool()).await?;
        rows.iter().map(Running::read).collect()
    }

    /// Ends a run unless it has shown a sign of life since it was judged.
    async fn interrupt(&self, run: &Running, reason: &str, now: EventTime) -> sqlx::Result<bool> {
        let id = run.run_id.to_string();
        let mut transaction = self.begin().await?;
        sqlx::query(INTERRUPT_WINDOWS)
            .bind(&id)
            .bind(now.nanos())
            .execute(&mut *transaction)
            .await?;
        sqlx::query(INTERRUPT_JOBS)
            .bind(&id)
            .bind(now.nanos())
            .bind(reason)
            .execute(&mut *transaction)
            .await?;
        let done = sqlx::query(INTERRUPT_RUN)
            .bind(&id)
            .bind(now.nanos())
            .bind(run.heartbeat_at.nanos())
            .execute(&mut *transaction)
            .await?;
        if done.rows_affected() == 0 {
            transaction.rollback().await?;
            return Ok(false);
        }
        transaction.commit().await?;
        Ok(true)
    }
}

/// Removes ended runs beyond the newest `kept`.
pub(crate) async fn prune(
    transaction: &mut Transaction<'_, Any>,
    project: &str,
    kept: i64,
) -> sqlx::Result<()> {
    sqlx::query(PRUNE).bind(project).bind(kept).execute(&mut **transaction).await?;
    Ok(())
}

/// The state of a run, if there is such a run.
pub(crate) async fn run_state(
    connection: &mut AnyConnection,
    run: RunId,
) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar(STATE).bind(run.to_string()).fetch_optional(connection).await
}

/// What is needed to judge whether a run is alive.
struct Running {
    run_id: RunId,
    host: String,
    pid: u32,
    heartbeat_at: EventTime,
}

impl Running {
    fn read(row: &AnyRow) -> sqlx::Result<Self> {
        let row = Read(row);
        Ok(Self {
            run_id: row.id("run_id")?,
            host: row.text("host")?,
            pid: row.small("pid")?,
            heartbeat_at: row.time("heartbeat_at")?,
        })
    }

    fn cause_of_death(
        &self,
        host: &str,
        is_alive: &(dyn Fn(u32) -> bool + Sync),
        now: EventTime,
        silent_for_nanos: i64,
    ) -> Option<&'static str> {
        if self.host == host && !is_alive(self.pid) {
            return Some("its process is gone");
        }
        (self.heartbeat_at.plus_nanos(silent_for_nanos) < now)
            .then_some("its process gave no sign of life")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beaten_at(nanos: i64) -> Running {
        Running {
            run_id: RunId::from_uuid(uuid::Uuid::nil()),
            host: "here".to_owned(),
            pid: 7,
            heartbeat_at: EventTime::from_nanos(nanos),
        }
    }

    #[test]
    fn only_a_missing_process_of_this_host_or_a_long_silence_is_death() {
        let judge = |host: &str, alive: bool, now: i64| {
            beaten_at(100)
                .cause_of_death(host, &|_| alive, EventTime::from_nanos(now), 50)
                .is_some()
        };
        assert!(judge("here", false, 101));
        assert!(!judge("there", false, 101), "a process id says nothing about another host");
        assert!(!judge("here", true, 150));
        assert!(judge("here", true, 151));
        assert!(judge("there", false, 151));
    }

    #[test]
    fn an_endless_silence_limit_never_kills() {
        let run = beaten_at(100);
        assert_eq!(run.cause_of_death("there", &|_| false, EventTime::MAX, i64::MAX), None);
    }
}
