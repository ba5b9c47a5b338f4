//! Queries on runs: admit one, begin it, keep it alive.
//!
//! Also where the ledger is kept from growing: admitting a run removes the oldest. Ends from
//! outside are in `run/end.rs`; a run ends by itself with its last job, in `job.rs`.

mod end;
mod row;

use model::{EventTime, RunId, RunKind, RunState};
use sqlx::{Any, AnyConnection, Transaction};

pub use self::end::Cancelled;
pub use self::row::RunRow;

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
        $15, $16)
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

    async fn try_admit(&self, run: &NewRun) -> sqlx::Result<Admitted> {
        let mut transaction = self.begin().await?;
        // The first sign of life, by the clock that its silence is measured by.
        let now = self.clock(&mut transaction).await?;
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
            .bind(now.nanos())
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
