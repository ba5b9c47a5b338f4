//! Takes, extends and releases the lease of a view; issues fencing tokens.
//!
//! The clock is the database's, read while the lease's row is held. Who works on a job holds the
//! lease of its view, so a job whose lease has ended may be claimed by anybody, who then goes on
//! where it was left.

use std::time::Duration;

use model::{EventTime, FencingToken, JobId, Lease, RunId, ViewRef};
use serde::Serialize;
use sqlx::{Any, AnyConnection, Transaction};

use crate::event::{self, EventKind, NewEvent};
use crate::job::JobRow;
use crate::row::{Read, json};
use crate::run::RunRow;
use crate::status::{select_jobs, select_runs};
use crate::window::{self, WindowRow};
use crate::{Error, Ledger};

/// Jobs that may be claimed, oldest run first. Whether a lease is free is decided once its row is
/// held; here it only spares looking at what is not.
const CANDIDATES: &str = select_jobs!(
    "FROM jobs JOIN runs ON runs.run_id = jobs.run_id
    LEFT JOIN leases ON leases.project = jobs.project AND leases.storage_name = jobs.storage_name
    WHERE jobs.project = $1 AND runs.state = 'running' AND jobs.state IN ('pending', 'running')
        AND (($2 IS NULL AND runs.is_served = 1) OR runs.run_id = $2)
        AND (leases.job_id IS NULL OR leases.lease_until <= $3)
        AND runs.parallel > (
            SELECT COUNT(*) FROM leases AS held JOIN jobs AS at_work ON at_work.job_id = held.job_id
            WHERE at_work.run_id = jobs.run_id AND held.lease_until > $3
        )
    ORDER BY runs.admitted_at, runs.run_id, jobs.position LIMIT 64"
);

const RUN: &str = select_runs!("WHERE runs.run_id = $1");

const INSERT: &str = "
    INSERT INTO leases (project, storage_name, token, lease_until) VALUES ($1, $2, 0, 0)
    ON CONFLICT (project, storage_name) DO NOTHING
";

/// See `watermark.rs` on locking by an update.
const LOCK: &str = "
    UPDATE leases SET token = token WHERE project = $1 AND storage_name = $2
    RETURNING token, job_id, lease_until
";

const STORE: &str = "
    UPDATE leases SET token = $3, job_id = $4, holder = $5, host = $6, pid = $7, lease_until = $8
    WHERE project = $1 AND storage_name = $2
";

const EXTEND: &str = "
    UPDATE leases SET lease_until = $3 WHERE project = $1 AND storage_name = $2
";

const FREE: &str = "
    UPDATE leases SET job_id = NULL, holder = NULL, lease_until = 0
    WHERE project = $1 AND storage_name = $2
";

/// A job that ended between the look and the lock is left alone.
const START_JOB: &str = "
    UPDATE jobs SET state = 'running', started_at = COALESCE(started_at, $2)
    WHERE job_id = $1 AND state IN ('pending', 'running')
";

const ABANDON_ATTEMPTS: &str = "
    UPDATE attempts SET state = 'interrupted', ended_at = $2, error = 'its lease has ended'
    WHERE state = 'running' AND window_id IN (SELECT window_id FROM windows WHERE job_id = $1)
";

const PROGRESS: &str = "UPDATE jobs SET progress = $2 WHERE job_id = $1 AND state = 'running'";

const BEAT_RUN: &str = "
    UPDATE runs SET heartbeat_at = $2 WHERE run_id = $1 RETURNING cancel_requested
";

const HELD: &str = "
    SELECT leases.storage_name, leases.token, leases.holder, leases.lease_until, jobs.run_id
    FROM leases JOIN jobs ON jobs.job_id = leases.job_id
    WHERE leases.project = $1 AND leases.lease_until > $2 ORDER BY leases.storage_name
";

const OF_HOST: &str = "
    SELECT project, storage_name, token, pid FROM leases
    WHERE project = $1 AND host = $2 AND job_id IS NOT NULL AND lease_until > $3
";

/// A process as a lease names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// How people tell it from others.
    pub name: String,
    /// Its machine.
    pub host: String,
    /// Its process there.
    pub pid: u32,
}

/// A job that this process holds, with all that is known of it.
#[derive(Clone, Debug, PartialEq)]
pub struct ClaimedJob {
    /// The job.
    pub job: JobRow,
    /// Its run.
    pub run: RunRow,
    /// The token of the lease.
    pub token: FencingToken,
    /// Its windows, in order; none before it is cut.
    pub windows: Vec<WindowRow>,
}

/// What the ledger answers to the sign of life of a job's holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    /// The lease is extended.
    Extended,
    /// The lease is extended, and somebody wants the run to end.
    Cancelled,
    /// Somebody else holds the view, or the lease was taken away.
    Superseded,
}

/// A lease that is held, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HeldLease {
    /// The view, by the name its rows are stored under.
    pub storage_name: String,
    /// The token.
    pub token: FencingToken,
    /// Who holds it.
    pub holder: String,
    /// The run it works for.
    pub run_id: RunId,
    /// When it ends unless it is extended, by the database's clock.
    pub until: EventTime,
}

impl Ledger {
    /// Claims the next job, with the lease of its view: of one run, or of any run that is not bound
    /// to the process that admitted it. `None` when there is nothing to do that nobody does.
    ///
    /// # Errors
    /// [`Error::Lease`].
    pub async fn claim_job(
        &self,
        project: &str,
        only: Option<RunId>,
        holder: &Holder,
        lasts: Duration,
    ) -> Result<Option<ClaimedJob>, Error> {
        let failed = |source| Error::Lease { what: format!("project `{project}`"), source };
        for job in self.candidates(project, only).await.map_err(failed)? {
            if let Some(claimed) = self.try_claim(job, holder, lasts).await.map_err(failed)? {
                return Ok(Some(claimed));
            }
        }
        Ok(None)
    }

    /// Extends the lease of a job that this process holds, and shows how far it has got.
    ///
    /// # Errors
    /// [`Error::Lease`].
    pub async fn beat(
        &self,
        job: &JobRow,
        token: FencingToken,
        progress: &serde_json::Value,
        lasts: Duration,
    ) -> Result<Beat, Error> {
        self.try_beat(job, token, progress, lasts)
            .await
            .map_err(|source| Error::Lease { what: format!("view `{}`", job.view), source })
    }

    /// Gives a view back without ending its job, for another process to go on with at once.
    ///
    /// # Errors
    /// [`Error::Lease`].
    pub async fn hand_back(&self, view: &ViewRef, token: FencingToken) -> Result<(), Error> {
        let give = async {
            let mut transaction = self.begin().await?;
            free(&mut transaction, view, token).await?;
            transaction.commit().await
        };
        give.await.map_err(|source| Error::Lease { what: format!("view `{view}`"), source })
    }

    /// Frees what processes of this host hold that are gone, so that nobody waits for the end of
    /// their leases.
    ///
    /// # Errors
    /// [`Error::Lease`].
    pub async fn free_dead_leases(
        &self,
        project: &str,
        host: &str,
        is_alive: &(dyn Fn(u32) -> bool + Sync),
    ) -> Result<(), Error> {
        let freed = async {
            let mut transaction = self.begin().await?;
            let now = self.clock(&mut transaction).await?;
            let rows = sqlx::query(OF_HOST)
                .bind(project)
                .bind(host)
                .bind(now.nanos())
                .fetch_all(&mut *transaction)
                .await?;
            for row in &rows {
                let row = Read(row);
                if !is_alive(row.small("pid")?) {
                    free(&mut transaction, &row.view()?, FencingToken(row.small("token")?)).await?;
                }
            }
            transaction.commit().await
        };
        freed.await.map_err(|source| Error::Lease { what: format!("host `{host}`"), source })
    }

    /// The leases that are held now.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub async fn leases(&self, project: &str) -> Result<Vec<HeldLease>, Error> {
        let read = async {
            let mut snapshot = self.begin_snapshot().await?;
            let now = self.clock(&mut snapshot).await?;
            let rows =
                sqlx::query(HELD).bind(project).bind(now.nanos()).fetch_all(&mut *snapshot).await?;
            rows.iter().map(|row| HeldLease::read(&Read(row))).collect::<sqlx::Result<_>>()
        };
        read.await.map_err(|source| Error::Read { what: "leases", source })
    }

    async fn candidates(&self, project: &str, only: Option<RunId>) -> sqlx::Result<Vec<JobRow>> {
        let mut snapshot = self.begin_snapshot().await?;
        let now = self.clock(&mut snapshot).await?;
        let rows = sqlx::query(CANDIDATES)
            .bind(project)
            .bind(only.map(|run| run.to_string()))
            .bind(now.nanos())
            .fetch_all(&mut *snapshot)
            .await?;
        rows.iter().map(JobRow::read).collect()
    }

    async fn try_claim(
        &self,
        mut job: JobRow,
        holder: &Holder,
        lasts: Duration,
    ) -> sqlx::Result<Option<ClaimedJob>> {
        let mut transaction = self.begin().await?;
        sqlx::query(INSERT)
            .bind(&job.view.project)
            .bind(&job.view.storage_name)
            .execute(&mut *transaction)
            .await?;
        let Some(lease) = lock(&mut transaction, &job.view).await? else { return Ok(None) };
        let now = self.clock(&mut transaction).await?;
        let Some(lease) = lease.take(job.job_id, now, lasts) else { return Ok(None) };
        store(&mut transaction, &job.view, &lease, holder).await?;
        let id = job.job_id.to_string();
        sqlx::query(ABANDON_ATTEMPTS)
            .bind(&id)
            .bind(now.nanos())
            .execute(&mut *transaction)
            .await?;
        let started =
            sqlx::query(START_JOB).bind(&id).bind(now.nanos()).execute(&mut *transaction).await?;
        if started.rows_affected() == 0 {
            return Ok(None);
        }
        let windows = window::of_job(&mut transaction, job.job_id).await?;
        let run =
            sqlx::query(RUN).bind(job.run_id.to_string()).fetch_one(&mut *transaction).await?;
        let run = RunRow::read(&run)?;
        let detail = format!("taken by {} with token {}", holder.name, lease.token);
        let event = NewEvent::new(EventKind::Job, id, "running")
            .of_view(&job.view_name)
            .saying(Some(&detail));
        event::record(&mut transaction, job.run_id, &event, now).await?;
        transaction.commit().await?;
        job.state = model::JobState::Running;
        job.started_at = job.started_at.or(Some(now));
        Ok(Some(ClaimedJob { job, run, token: lease.token, windows }))
    }

    async fn try_beat(
        &self,
        job: &JobRow,
        token: FencingToken,
        progress: &serde_json::Value,
        lasts: Duration,
    ) -> sqlx::Result<Beat> {
        let mut transaction = self.begin().await?;
        let Some(lease) = lock(&mut transaction, &job.view).await? else {
            return Ok(Beat::Superseded);
        };
        let now = self.clock(&mut transaction).await?;
        let extended = lease.extend(token, now, lasts);
        let Some(lease) = extended.filter(|lease| lease.job == Some(job.job_id)) else {
            return Ok(Beat::Superseded);
        };
        sqlx::query(EXTEND)
            .bind(&job.view.project)
            .bind(&job.view.storage_name)
            .bind(lease.until.nanos())
            .execute(&mut *transaction)
            .await?;
        sqlx::query(PROGRESS)
            .bind(job.job_id.to_string())
            .bind(json(progress)?)
            .execute(&mut *transaction)
            .await?;
        let cancel: i64 = sqlx::query_scalar(BEAT_RUN)
            .bind(job.run_id.to_string())
            .bind(now.nanos())
            .fetch_one(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(if cancel == 0 { Beat::Extended } else { Beat::Cancelled })
    }
}

impl HeldLease {
    fn read(row: &Read<'_>) -> sqlx::Result<Self> {
        Ok(Self {
            storage_name: row.text("storage_name")?,
            token: FencingToken(row.small("token")?),
            holder: row.text_opt("holder")?.unwrap_or_default(),
            run_id: row.id("run_id")?,
            until: row.time("lease_until")?,
        })
    }
}

/// Reads a view's lease and holds its row; `None` before its first lease.
pub(crate) async fn lock(
    transaction: &mut AnyConnection,
    view: &ViewRef,
) -> sqlx::Result<Option<Lease>> {
    let row = sqlx::query(LOCK)
        .bind(&view.project)
        .bind(&view.storage_name)
        .fetch_optional(transaction)
        .await?;
    row.map(|row| {
        let row = Read(&row);
        Ok(Lease {
            token: FencingToken(row.small("token")?),
            job: row.text_opt("job_id")?.and_then(|id| id.parse::<JobId>().ok()),
            until: row.time("lease_until")?,
        })
    })
    .transpose()
}

/// Tells whether a token is still the view's, and holds the lease's row until the transaction ends.
///
/// The clock is not asked: a lease that has ended and that nobody has taken since is still its
/// holder's, for nobody else can have written under it.
pub(crate) async fn holds(
    transaction: &mut Transaction<'_, Any>,
    view: &ViewRef,
    token: FencingToken,
) -> sqlx::Result<bool> {
    let lease = lock(transaction, view).await?;
    Ok(lease.is_some_and(|lease| lease.token == token && lease.job.is_some()))
}

/// Gives a lease back, unless another token has been drawn since.
pub(crate) async fn free(
    transaction: &mut AnyConnection,
    view: &ViewRef,
    token: FencingToken,
) -> sqlx::Result<()> {
    let lease = lock(transaction, view).await?;
    if lease.is_some_and(|lease| lease.token == token) {
        sqlx::query(FREE).bind(&view.project).bind(&view.storage_name).execute(transaction).await?;
    }
    Ok(())
}

async fn store(
    transaction: &mut AnyConnection,
    view: &ViewRef,
    lease: &Lease,
    holder: &Holder,
) -> sqlx::Result<()> {
    sqlx::query(STORE)
        .bind(&view.project)
        .bind(&view.storage_name)
        .bind(i64::try_from(lease.token.0).unwrap_or(i64::MAX))
        .bind(lease.job.map(|job| job.to_string()))
        .bind(&holder.name)
        .bind(&holder.host)
        .bind(i64::from(holder.pid))
        .bind(lease.until.nanos())
        .execute(transaction)
        .await?;
    Ok(())
}
