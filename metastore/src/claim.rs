//! Claims jobs: takes the lease of a view with a greater token, and starts or resumes the job.
//!
//! Who works on a job holds the lease of its view, so a job whose lease has ended may be claimed by
//! anybody, who then goes on where it was left.

use std::time::Duration;

use model::{EventTime, FencingToken, JobState, Lease, RunId, ViewRef};
use sqlx::AnyConnection;

use crate::event::{self, EventKind, NewEvent};
use crate::job::JobRow;
use crate::lease;
use crate::run::RunRow;
use crate::status::{select_jobs, select_runs};
use crate::window::{self, WindowRow};
use crate::{Error, Ledger};

/// Runs of which one more job may be held, oldest first. Apart from their jobs, so that a run's
/// leases are counted once and not once a job.
const OPEN_RUNS: &str = "
    SELECT run_id FROM runs
    WHERE project = $1 AND state = 'running' AND (($2 IS NULL AND is_served = 1) OR run_id = $2)
        AND parallel > (
            SELECT COUNT(*) FROM leases JOIN jobs ON jobs.job_id = leases.job_id
            WHERE leases.job_id IS NOT NULL AND leases.lease_until > $3
                AND jobs.run_id = runs.run_id
        )
    ORDER BY admitted_at, run_id
";

/// Jobs of a run that may be claimed. What is free is decided once it is held; here it only spares
/// looking at what is not.
const CANDIDATES: &str = select_jobs!(
    "FROM jobs LEFT JOIN leases
        ON leases.project = jobs.project AND leases.storage_name = jobs.storage_name
    WHERE jobs.run_id = $1 AND jobs.state IN ('pending', 'running')
        AND (leases.job_id IS NULL OR leases.lease_until <= $2)
    ORDER BY jobs.position, jobs.job_id LIMIT 64"
);

const HELD_OF_RUN: &str = "
    SELECT COUNT(*) FROM leases JOIN jobs ON jobs.job_id = leases.job_id
    WHERE leases.job_id IS NOT NULL AND leases.lease_until > $2 AND jobs.run_id = $1
";

const RUN: &str = select_runs!("WHERE runs.run_id = $1");

const INSERT: &str = "
    INSERT INTO leases (project, storage_name, token, lease_until) VALUES ($1, $2, 0, 0)
    ON CONFLICT (project, storage_name) DO NOTHING
";

const STORE: &str = "
    UPDATE leases SET token = $3, job_id = $4, holder = $5, host = $6, pid = $7, lease_until = $8
    WHERE project = $1 AND storage_name = $2
";

/// Whatever still runs on the view runs under an older token, for this job or another.
const ABANDON_ATTEMPTS: &str = "
    UPDATE attempts SET state = 'interrupted', ended_at = $3, error = 'its lease has ended'
    WHERE state = 'running' AND window_id IN (
        SELECT window_id FROM windows
        WHERE project = $1 AND storage_name = $2 AND state <> 'committed'
    )
";

/// A job that ended between the look and the lock is left alone.
const START_JOB: &str = "
    UPDATE jobs SET state = 'running', started_at = COALESCE(started_at, $2)
    WHERE job_id = $1 AND state IN ('pending', 'running')
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
        self.try_claim(project, only, holder, lasts)
            .await
            .map_err(|source| Error::Lease { what: format!("project `{project}`"), source })
    }

    async fn try_claim(
        &self,
        project: &str,
        only: Option<RunId>,
        holder: &Holder,
        lasts: Duration,
    ) -> sqlx::Result<Option<ClaimedJob>> {
        for run in self.open_runs(project, only).await? {
            for job in self.candidates(&run).await? {
                match self.claim(job, holder, lasts).await? {
                    Claim::Taken(claimed) => return Ok(Some(*claimed)),
                    Claim::Gone => {}
                    Claim::RunIsFull => break,
                }
            }
        }
        Ok(None)
    }

    async fn open_runs(&self, project: &str, only: Option<RunId>) -> sqlx::Result<Vec<String>> {
        let mut snapshot = self.begin_snapshot().await?;
        let now = self.clock(&mut snapshot).await?;
        sqlx::query_scalar(OPEN_RUNS)
            .bind(project)
            .bind(only.map(|run| run.to_string()))
            .bind(now.nanos())
            .fetch_all(&mut *snapshot)
            .await
    }

    async fn candidates(&self, run: &str) -> sqlx::Result<Vec<JobRow>> {
        let mut snapshot = self.begin_snapshot().await?;
        let now = self.clock(&mut snapshot).await?;
        let rows =
            sqlx::query(CANDIDATES).bind(run).bind(now.nanos()).fetch_all(&mut *snapshot).await?;
        rows.iter().map(JobRow::read).collect()
    }

    async fn claim(&self, job: JobRow, holder: &Holder, lasts: Duration) -> sqlx::Result<Claim> {
        let mut transaction = self.begin().await?;
        sqlx::query(INSERT)
            .bind(&job.view.project)
            .bind(&job.view.storage_name)
            .execute(&mut *transaction)
            .await?;
        let lease = lease::lock(&mut transaction, &job.view).await?.unwrap_or_default();
        let now = self.clock(&mut transaction).await?;
        let claim = match lease.take(job.job_id, now, lasts) {
            Some(lease) => start(&mut transaction, job, &lease, holder, now).await?,
            None => Claim::Gone,
        };
        match claim {
            Claim::Taken(_) => transaction.commit().await?,
            Claim::Gone | Claim::RunIsFull => transaction.rollback().await?,
        }
        Ok(claim)
    }
}

/// What became of a candidate.
enum Claim {
    Taken(Box<ClaimedJob>),
    /// It has ended, or somebody else holds its view.
    Gone,
    /// As many jobs of its run are held as may be.
    RunIsFull,
}

/// Stores a lease that was taken and starts its job.
async fn start(
    transaction: &mut AnyConnection,
    mut job: JobRow,
    lease: &Lease,
    holder: &Holder,
    now: EventTime,
) -> sqlx::Result<Claim> {
    store(transaction, &job.view, lease, holder).await?;
    sqlx::query(ABANDON_ATTEMPTS)
        .bind(&job.view.project)
        .bind(&job.view.storage_name)
        .bind(now.nanos())
        .execute(&mut *transaction)
        .await?;
    let id = job.job_id.to_string();
    let started =
        sqlx::query(START_JOB).bind(&id).bind(now.nanos()).execute(&mut *transaction).await?;
    if started.rows_affected() == 0 {
        return Ok(Claim::Gone);
    }
    let windows = window::of_job(transaction, job.job_id).await?;
    let detail = format!("taken by {} with token {}", holder.name, lease.token);
    let event =
        NewEvent::new(EventKind::Job, id, "running").of_view(&job.view_name).saying(Some(&detail));
    event::record(transaction, job.run_id, &event, now).await?;
    // The event holds the run's row, so of two jobs that are claimed at once the later is counted
    // with the earlier.
    let run_id = job.run_id.to_string();
    let run = sqlx::query(RUN).bind(&run_id).fetch_one(&mut *transaction).await?;
    let run = RunRow::read(&run)?;
    let held: i64 = sqlx::query_scalar(HELD_OF_RUN)
        .bind(&run_id)
        .bind(now.nanos())
        .fetch_one(transaction)
        .await?;
    if held > i64::from(run.parallel) {
        return Ok(Claim::RunIsFull);
    }
    job.state = JobState::Running;
    job.started_at = job.started_at.or(Some(now));
    Ok(Claim::Taken(Box::new(ClaimedJob { job, run, token: lease.token, windows })))
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
