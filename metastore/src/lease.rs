//! Extends and releases the lease of a view, and tells who holds it.
//!
//! The clock is the database's, read while the lease's row is held. Leases are taken, and tokens
//! issued, in `claim.rs`.

use std::time::Duration;

use model::{EventTime, FencingToken, JobId, Lease, RunId, ViewRef};
use serde::Serialize;
use sqlx::{Any, AnyConnection, Transaction};

use crate::job::JobRow;
use crate::row::{Read, json};
use crate::{Error, Ledger};

/// In order, as everybody who makes several.
const INSERT_OF_RUN: &str = "
    INSERT INTO leases (project, storage_name, token, lease_until)
    SELECT DISTINCT project, storage_name, 0, 0 FROM jobs
    WHERE run_id = $1 AND state IN ('pending', 'running')
    ORDER BY project, storage_name
    ON CONFLICT (project, storage_name) DO NOTHING
";

const VIEWS_OF_RUN: &str = "
    SELECT DISTINCT project, storage_name FROM jobs
    WHERE run_id = $1 AND state IN ('pending', 'running') ORDER BY project, storage_name
";

const FREE_OF_RUN: &str = "
    UPDATE leases SET job_id = NULL, holder = NULL, lease_until = 0
    WHERE job_id IN (SELECT job_id FROM jobs WHERE run_id = $1) AND lease_until <= $2
";

/// See `watermark.rs` on locking by an update.
const LOCK: &str = "
    UPDATE leases SET token = token WHERE project = $1 AND storage_name = $2
    RETURNING token, job_id, lease_until
";

const EXTEND: &str = "
    UPDATE leases SET lease_until = $3 WHERE project = $1 AND storage_name = $2
";

const FREE: &str = "
    UPDATE leases SET job_id = NULL, holder = NULL, lease_until = 0
    WHERE project = $1 AND storage_name = $2
";

const PROGRESS: &str = "UPDATE jobs SET progress = $2 WHERE job_id = $1 AND state = 'running'";

const BEAT_RUN: &str = "
    UPDATE runs SET heartbeat_at = $2 WHERE run_id = $1 RETURNING cancel_requested
";

const HELD: &str = "
    SELECT leases.storage_name, leases.token, leases.holder, leases.lease_until, jobs.run_id
    FROM leases JOIN jobs ON jobs.job_id = leases.job_id
    WHERE leases.project = $1 AND leases.job_id IS NOT NULL AND leases.lease_until > $2
    ORDER BY leases.storage_name
";

const OF_HOST: &str = "
    SELECT project, storage_name, token, pid FROM leases
    WHERE project = $1 AND host = $2 AND job_id IS NOT NULL AND lease_until > $3
    ORDER BY storage_name
";

const LANDED: &str = "
    SELECT COUNT(*) FROM jobs WHERE job_id = $1 AND state IN ('succeeded', 'up_to_date')
";

/// What the ledger answers to the sign of life of a job's holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    /// The lease is extended, or the job has landed and needs none.
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
            return without_lease(&mut transaction, job).await;
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

/// What a holder is told that has no lease: a job that has landed needs none, since its commit gave
/// it back, perhaps while this very beat was on its way.
async fn without_lease(transaction: &mut AnyConnection, job: &JobRow) -> sqlx::Result<Beat> {
    let landed: i64 =
        sqlx::query_scalar(LANDED).bind(job.job_id.to_string()).fetch_one(transaction).await?;
    Ok(if landed > 0 { Beat::Extended } else { Beat::Superseded })
}

/// Holds the leases of all jobs of a run that have not ended, made where there was none, until the
/// transaction ends: nobody claims, commits or ends one of these jobs meanwhile. One by one and in
/// order, because two who hold several must not wait for each other.
pub(crate) async fn hold_all(transaction: &mut AnyConnection, run: RunId) -> sqlx::Result<()> {
    let id = run.to_string();
    sqlx::query(INSERT_OF_RUN).bind(&id).execute(&mut *transaction).await?;
    for row in &sqlx::query(VIEWS_OF_RUN).bind(&id).fetch_all(&mut *transaction).await? {
        lock(transaction, &Read(row).view()?).await?;
    }
    Ok(())
}

/// Takes away the leases of a run's jobs that end at or before an instant; they are held.
pub(crate) async fn free_all(
    transaction: &mut AnyConnection,
    run: RunId,
    until: EventTime,
) -> sqlx::Result<()> {
    let freed = sqlx::query(FREE_OF_RUN).bind(run.to_string()).bind(until.nanos());
    freed.execute(transaction).await.map(drop)
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
