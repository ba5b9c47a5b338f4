//! Ends of runs from outside: somebody cancels one, or its process has stopped.
//!
//! Both hold the leases of the run's jobs first, so that nobody claims one of them, commits or ends
//! it in between, and then take their locks in the order in which everybody does.

use model::{EventTime, JobState, RunId, RunState};
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::row::Read;
use crate::{Error, Ledger};
use crate::{event, job, lease};

/// A wish that is repeated is told once.
const CANCEL: &str = "
    UPDATE runs SET cancel_requested = 1
    WHERE run_id = $1 AND state IN ('pending', 'running') AND cancel_requested = 0
";

const STATE: &str = "SELECT state FROM runs WHERE run_id = $1";

/// Runs whose process alone can go on with them.
const RUNNING: &str = "
    SELECT run_id, host, pid, heartbeat_at FROM runs
    WHERE project = $1 AND state IN ('pending', 'running') AND is_served = 0
    ORDER BY admitted_at, run_id
";

/// Names the heartbeat that was judged, so that a run that has beaten since is left alone.
const INTERRUPT: &str = "
    UPDATE runs SET state = 'interrupted', finished_at = $2
    WHERE run_id = $1 AND state IN ('pending', 'running') AND heartbeat_at = $3
";

/// What became of a wish to cancel a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// Whoever works on it hears of it.
    Requested,
    /// It had ended.
    Ended(RunState),
}

impl Ledger {
    /// Asks for the end of a run; its jobs that nobody works on end at once.
    ///
    /// # Errors
    /// [`Error::UpdateRun`], [`Error::RunUnknown`].
    pub async fn cancel(&self, run: RunId, at: EventTime) -> Result<Cancelled, Error> {
        let failed = |source| Error::UpdateRun { run, source };
        let cancelled = self.try_cancel(run, at).await.map_err(failed)?;
        cancelled.ok_or(Error::RunUnknown { run })
    }

    /// Ends the runs whose process has stopped, with their open jobs and windows, and returns them.
    ///
    /// A run is dead when it ran on `host` and `is_alive` denies its process, or when its last sign
    /// of life is more than `silent_for_nanos` ago. What a dead run wrote stays; it does not count,
    /// and a window of it can no longer be committed. Runs that any process may go on with are left
    /// alone: the leases of their jobs end by themselves.
    ///
    /// # Errors
    /// [`Error::InterruptRuns`].
    pub async fn interrupt_dead_runs(
        &self,
        project: &str,
        host: &str,
        is_alive: &(dyn Fn(u32) -> bool + Sync),
        silent_for_nanos: i64,
    ) -> Result<Vec<RunId>, Error> {
        let interrupt = async {
            let mut interrupted = Vec::new();
            let (now, running) = self.running(project).await?;
            for run in running {
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

    async fn try_cancel(&self, run: RunId, at: EventTime) -> sqlx::Result<Option<Cancelled>> {
        let mut transaction = self.begin().await?;
        lease::hold_all(&mut transaction, run).await?;
        let now = self.clock(&mut transaction).await?;
        // Who comes back after the end of its lease is to hear that it lost it.
        lease::free_all(&mut transaction, run, now).await?;
        let reason = "the run was cancelled";
        let ended = job::end_unheld(&mut transaction, run, JobState::Cancelled, reason, at).await?;
        let wish = sqlx::query(CANCEL).bind(run.to_string()).execute(&mut *transaction).await?;
        if wish.rows_affected() > 0 {
            event::of_run(&mut transaction, run, "cancel_requested", None, at).await?;
        }
        job::tell_ended(&mut transaction, run, &ended, at).await?;
        let Some(state) = run_state(&mut transaction, run).await? else { return Ok(None) };
        if state.is_ended() {
            return Ok(Some(Cancelled::Ended(state)));
        }
        job::finish_run_if_done(&mut transaction, run, at).await?;
        transaction.commit().await?;
        Ok(Some(Cancelled::Requested))
    }

    async fn running(&self, project: &str) -> sqlx::Result<(EventTime, Vec<Running>)> {
        let mut snapshot = self.begin_snapshot().await?;
        let now = self.clock(&mut snapshot).await?;
        let rows = sqlx::query(RUNNING).bind(project).fetch_all(&mut *snapshot).await?;
        Ok((now, rows.iter().map(Running::read).collect::<sqlx::Result<_>>()?))
    }

    /// Ends a run unless it has shown a sign of life since it was judged.
    async fn interrupt(&self, run: &Running, reason: &str, now: EventTime) -> sqlx::Result<bool> {
        let mut transaction = self.begin().await?;
        lease::hold_all(&mut transaction, run.run_id).await?;
        lease::free_all(&mut transaction, run.run_id, EventTime::MAX).await?;
        let (id, state) = (run.run_id, JobState::Interrupted);
        let ended = job::end_unheld(&mut transaction, id, state, reason, now).await?;
        let done = sqlx::query(INTERRUPT)
            .bind(id.to_string())
            .bind(now.nanos())
            .bind(run.heartbeat_at.nanos())
            .execute(&mut *transaction)
            .await?;
        if done.rows_affected() == 0 {
            transaction.rollback().await?;
            return Ok(false);
        }
        job::tell_ended(&mut transaction, id, &ended, now).await?;
        let state = RunState::Interrupted.as_str();
        event::of_run(&mut transaction, id, state, Some(reason), now).await?;
        transaction.commit().await?;
        Ok(true)
    }
}

/// The state of a run, if there is such a run.
async fn run_state(connection: &mut AnyConnection, run: RunId) -> sqlx::Result<Option<RunState>> {
    let row = sqlx::query(STATE).bind(run.to_string()).fetch_optional(connection).await?;
    row.map(|row| Read(&row).named("state", RunState::parse)).transpose()
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
