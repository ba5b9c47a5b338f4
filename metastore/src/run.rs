//! Queries on runs: admit one, begin it, keep it alive, cancel it, and end those whose process has
//! stopped.
//!
//! Also where the ledger is kept from growing: admitting a run removes the oldest.

use model::{EventTime, RunId, RunKind, RunState};
use serde::Serialize;
use sqlx::any::AnyRow;
use sqlx::{Any, AnyConnection, Transaction};

use crate::event;
use crate::job::{self, NewJob};
use crate::row::{Read, json};
use crate::{Error, Ledger};

/// Runs of a project that are kept, with their jobs, windows and receipts. A nightly run is told of
/// for decades, one every five minutes for two months; at some two kilobytes a run of one view and
/// as much for each view more, this is tens of megabytes.
pub const RUNS_KEPT_MAX: i64 = 20_000;

const ADMIT: &str = "
    INSERT INTO runs (
        run_id, project, kind, state, request, idempotency_key, request_digest, is_served, parallel,
        requested_start, requested_end, views, warnings, cancel_requested, events, host, pid,
        program_version, admitted_at, heartbeat_at
    ) VALUES ($1, $2, $3, 'pending', $4, $5, $6, $7, $8, $9, $10, $11, '[]', 0, 0, $12, $13, $14,
        $15, $15)
    ON CONFLICT DO NOTHING
";

const BY_KEY: &str = "
    SELECT run_id, request_digest FROM runs WHERE project = $1 AND idempotency_key = $2
";

/// A run at work is never removed: its windows would go with it, and its commit be refused.
const PRUNE: &str = "
    DELETE FROM runs WHERE project = $1 AND state NOT IN ('pending', 'running')
    AND admitted_at < (
        SELECT MIN(kept.admitted_at) FROM (
            SELECT admitted_at FROM runs WHERE project = $1 ORDER BY admitted_at DESC LIMIT $2
        ) AS kept
    )
";

const BEGIN: &str = "
    UPDATE runs SET state = 'running', warnings = $2, refusal = $3, started_at = $4
    WHERE run_id = $1 AND state = 'pending'
";

const WAITING: &str = "
    SELECT run_id FROM runs WHERE project = $1 AND state = 'pending' AND is_served = 1
    ORDER BY admitted_at, run_id LIMIT 1
";

const WARN: &str = "UPDATE runs SET warnings = $2 WHERE run_id = $1";

const HEARTBEAT: &str = "
    UPDATE runs SET heartbeat_at = $2 WHERE run_id = $1 AND state IN ('pending', 'running')
    RETURNING cancel_requested
";

const CANCEL: &str = "
    UPDATE runs SET cancel_requested = 1 WHERE run_id = $1 AND state IN ('pending', 'running')
";

/// Jobs that nobody works on end at once; the holder of any other hears of it by its next beat.
const CANCEL_JOBS: &str = "
    UPDATE jobs SET state = 'cancelled', finished_at = $2, reason = 'the run was cancelled'
    WHERE run_id = $1 AND state IN ('pending', 'running') AND NOT EXISTS (
        SELECT 1 FROM leases WHERE leases.job_id = jobs.job_id AND leases.lease_until > $3
    )
";

const STATE: &str = "SELECT state FROM runs WHERE run_id = $1";

/// Runs whose process alone can go on with them.
const RUNNING: &str = "
    SELECT run_id, host, pid, heartbeat_at FROM runs
    WHERE project = $1 AND state IN ('pending', 'running') AND is_served = 0
    ORDER BY admitted_at, run_id
";

// In the order in which a commit takes its locks: leases, windows, then jobs, then the run.
const FREE_LEASES: &str = "
    UPDATE leases SET job_id = NULL, holder = NULL, lease_until = 0
    WHERE job_id IN (SELECT job_id FROM jobs WHERE run_id = $1)
";
const INTERRUPT_ATTEMPTS: &str = "
    UPDATE attempts SET state = 'interrupted', ended_at = $2
    WHERE state = 'running' AND window_id IN (
        SELECT windows.window_id FROM windows JOIN jobs ON jobs.job_id = windows.job_id
        WHERE jobs.run_id = $1
    )
";
const INTERRUPT_WINDOWS: &str = "
    UPDATE windows SET state = 'interrupted', closed_at = $2
    WHERE state IN ('pending', 'open') AND job_id IN (SELECT job_id FROM jobs WHERE run_id = $1)
";
const INTERRUPT_JOBS: &str = "
    UPDATE jobs SET state = 'interrupted', reason = $3, finished_at = $2
    WHERE run_id = $1 AND state IN ('pending', 'running')
";
/// Names the heartbeat that was judged, so that a run that has beaten since is left alone.
const INTERRUPT_RUN: &str = "
    UPDATE runs SET state = 'interrupted', finished_at = $2
    WHERE run_id = $1 AND state IN ('pending', 'running') AND heartbeat_at = $3
";

/// A key under which a caller may ask again for the same run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// The caller's key.
    pub key: String,
    /// A digest of what was asked for.
    pub digest: String,
}

/// A run to be recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct NewRun {
    /// Its id, drawn by the caller.
    pub run_id: RunId,
    /// Feast's project.
    pub project: String,
    /// What it was asked to do.
    pub kind: RunKind,
    /// All that was asked for, in the caller's words.
    pub request: serde_json::Value,
    /// The caller's key, if it gave one.
    pub idempotency: Option<Idempotency>,
    /// Whether any process may go on with it, and not only the one that admits it.
    pub is_served: bool,
    /// Jobs side by side.
    pub parallel: u32,
    /// The start that was asked for, if any.
    pub requested_start: Option<EventTime>,
    /// The end that was asked for, if any.
    pub requested_end: Option<EventTime>,
    /// The views that were asked for, by Feast's names.
    pub views: Vec<String>,
    /// One job a view.
    pub jobs: Vec<NewJob>,
    /// The machine that admits it.
    pub host: String,
    /// The process there.
    pub pid: u32,
    /// The version of this program.
    pub program_version: String,
    /// Our clock.
    pub at: EventTime,
}

/// What became of a wish to admit a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// It is recorded.
    New,
    /// The same was asked for under the same key before: this is the run.
    Known(RunId),
    /// Something else was asked for under the same key before.
    KeyTaken(RunId),
}

/// What became of a wish to cancel a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// Whoever works on it hears of it.
    Requested,
    /// It had ended.
    Ended(RunState),
}

/// What the ledger answers to a run's sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunBeat {
    /// It goes on.
    GoesOn,
    /// Somebody wants it to end.
    Cancelled,
    /// It has ended: another process took this one for dead.
    Ended,
}

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

impl Ledger {
    /// Records a run with its jobs, unless its key was used before, and removes the oldest ended
    /// ones. A run that is recorded already stays as it is.
    ///
    /// # Errors
    /// [`Error::Admit`].
    pub async fn admit(&self, run: &NewRun) -> Result<Admitted, Error> {
        self.try_admit(run).await.map_err(|source| Error::Admit { run: run.run_id, source })
    }

    /// The oldest run that any process may begin and none has.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub async fn waiting_run(&self, project: &str) -> Result<Option<RunId>, Error> {
        let read = async {
            let row = sqlx::query(WAITING).bind(project).fetch_optional(self.pool()).await?;
            row.map(|row| Read(&row).id("run_id")).transpose()
        };
        read.await.map_err(|source| Error::Read { what: "waiting runs", source })
    }

    /// Begins a run: from now on its jobs may be claimed. With a refusal they are refused. One that
    /// was begun by another process, or has ended, stays as it is.
    ///
    /// # Errors
    /// [`Error::UpdateRun`].
    pub async fn begin_run(
        &self,
        run: RunId,
        warnings: &[String],
        refusal: Option<&str>,
        at: EventTime,
    ) -> Result<(), Error> {
        let begin = async {
            let mut transaction = self.begin().await?;
            let done = sqlx::query(BEGIN)
                .bind(run.to_string())
                .bind(json(&warnings)?)
                .bind(refusal)
                .bind(at.nanos())
                .execute(&mut *transaction)
                .await?;
            if done.rows_affected() > 0 {
                let state = RunState::Running.as_str();
                event::of_run(&mut transaction, run, state, refusal, at).await?;
                job::finish_run_if_done(&mut transaction, run, at).await?;
            }
            transaction.commit().await
        };
        begin.await.map_err(|source| Error::UpdateRun { run, source })
    }

    /// Replaces what the operator should know of a run as a whole.
    ///
    /// # Errors
    /// [`Error::UpdateRun`].
    pub async fn warn_run(&self, run: RunId, warnings: &[String]) -> Result<(), Error> {
        let warn = async {
            let text = json(&warnings)?;
            sqlx::query(WARN).bind(run.to_string()).bind(text).execute(self.pool()).await
        };
        warn.await.map(drop).map_err(|source| Error::UpdateRun { run, source })
    }

    /// Records that a run of this process is alive.
    ///
    /// # Errors
    /// [`Error::UpdateRun`].
    pub async fn heartbeat(&self, run: RunId) -> Result<RunBeat, Error> {
        let beat = async {
            let mut transaction = self.begin().await?;
            let now = self.clock(&mut transaction).await?;
            let wish: Option<i64> = sqlx::query_scalar(HEARTBEAT)
                .bind(run.to_string())
                .bind(now.nanos())
                .fetch_optional(&mut *transaction)
                .await?;
            transaction.commit().await?;
            Ok(match wish {
                None => RunBeat::Ended,
                Some(0) => RunBeat::GoesOn,
                Some(_) => RunBeat::Cancelled,
            })
        };
        beat.await.map_err(|source| Error::UpdateRun { run, source })
    }

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

    async fn try_admit(&self, run: &NewRun) -> sqlx::Result<Admitted> {
        let mut transaction = self.begin().await?;
        let (key, digest) =
            run.idempotency.as_ref().map(|given| (&given.key, &given.digest)).unzip();
        let done = sqlx::query(ADMIT)
            .bind(run.run_id.to_string())
            .bind(&run.project)
            .bind(run.kind.as_str())
            .bind(json(&run.request)?)
            .bind(key)
            .bind(digest)
            .bind(i64::from(run.is_served))
            .bind(i64::from(run.parallel))
            .bind(run.requested_start.map(EventTime::nanos))
            .bind(run.requested_end.map(EventTime::nanos))
            .bind(json(&run.views)?)
            .bind(&run.host)
            .bind(i64::from(run.pid))
            .bind(&run.program_version)
            .bind(run.at.nanos())
            .execute(&mut *transaction)
            .await?;
        if done.rows_affected() == 0 {
            return by_key(&mut transaction, run).await;
        }
        let state = RunState::Pending.as_str();
        event::of_run(&mut transaction, run.run_id, state, None, run.at).await?;
        for job in &run.jobs {
            job::insert(&mut transaction, run.run_id, &run.project, job).await?;
        }
        prune(&mut transaction, &run.project, RUNS_KEPT_MAX).await?;
        transaction.commit().await?;
        Ok(Admitted::New)
    }

    async fn try_cancel(&self, run: RunId, at: EventTime) -> sqlx::Result<Option<Cancelled>> {
        let mut transaction = self.begin().await?;
        let now = self.clock(&mut transaction).await?;
        let id = run.to_string();
        sqlx::query(CANCEL_JOBS)
            .bind(&id)
            .bind(at.nanos())
            .bind(now.nanos())
            .execute(&mut *transaction)
            .await?;
        let done = sqlx::query(CANCEL).bind(&id).execute(&mut *transaction).await?;
        if done.rows_affected() == 0 {
            let state = run_state(&mut transaction, run).await?;
            return Ok(state.and_then(|name| RunState::parse(&name)).map(Cancelled::Ended));
        }
        event::of_run(&mut transaction, run, "cancel_requested", None, at).await?;
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
        let id = run.run_id.to_string();
        let mut transaction = self.begin().await?;
        sqlx::query(FREE_LEASES).bind(&id).execute(&mut *transaction).await?;
        for sql in [INTERRUPT_ATTEMPTS, INTERRUPT_WINDOWS] {
            sqlx::query(sql).bind(&id).bind(now.nanos()).execute(&mut *transaction).await?;
        }
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
        let state = RunState::Interrupted.as_str();
        event::of_run(&mut transaction, run.run_id, state, Some(reason), now).await?;
        transaction.commit().await?;
        Ok(true)
    }
}

/// The run that has the key already, or this run itself when only the answer was lost.
async fn by_key(transaction: &mut AnyConnection, run: &NewRun) -> sqlx::Result<Admitted> {
    let Some(given) = &run.idempotency else { return Ok(Admitted::Known(run.run_id)) };
    let row =
        sqlx::query(BY_KEY).bind(&run.project).bind(&given.key).fetch_optional(transaction).await?;
    let Some(row) = row else { return Ok(Admitted::Known(run.run_id)) };
    let (row, digest) = (Read(&row), Some(&given.digest));
    let known = row.id("run_id")?;
    Ok(if row.text_opt("request_digest")?.as_ref() == digest {
        Admitted::Known(known)
    } else {
        Admitted::KeyTaken(known)
    })
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
