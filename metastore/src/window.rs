//! Queries on windows: record those of a job, read them back.
//!
//! Attempts at them are in `attempt.rs`, and closing one by commit in `commit.rs`.

use model::{AttemptId, AttemptState, EventTime, FencingToken, Interval, JobId, Receipt, WindowId};
use model::{ViewRef, WindowState};
use serde::Serialize;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::job::JobRow;
use crate::row::Read;
use crate::{Error, Ledger};

const INSERT: &str = "
    INSERT INTO windows (
        window_id, job_id, position, project, storage_name, interval_start, interval_end, state,
        partitions, rows_max, bytes, planned_at
    ) VALUES ($1, $2, $3, $4, $5, $6, $7, 'pending', $8, $9, $10, $11)
    ON CONFLICT (window_id) DO NOTHING
";

macro_rules! select_windows {
    ($rest:literal) => {
        concat!(
            "SELECT windows.window_id, windows.job_id, windows.position, windows.interval_start,
                windows.interval_end, windows.state, windows.partitions, windows.rows_max,
                windows.bytes, windows.receipt, windows.watermark_before, windows.watermark_after,
                windows.error, windows.planned_at, windows.opened_at, windows.closed_at,
                (SELECT COUNT(*) FROM checkpoints WHERE checkpoints.window_id = windows.window_id)
                    AS partitions_done ",
            $rest
        )
    };
}

pub(crate) const OF_RUN: &str = select_windows!(
    "FROM windows JOIN jobs ON jobs.job_id = windows.job_id
    WHERE jobs.run_id = $1 ORDER BY jobs.position, windows.position, windows.window_id"
);

const OF_JOB: &str = select_windows!(
    "FROM windows WHERE windows.job_id = $1 ORDER BY windows.position, windows.window_id"
);

const ONE: &str = select_windows!("FROM windows WHERE windows.window_id = $1");

const VIEW_OF: &str = "
    SELECT jobs.project, jobs.storage_name, jobs.view_name, jobs.run_id FROM windows
    JOIN jobs ON jobs.job_id = windows.job_id WHERE windows.window_id = $1
";

/// What did not land of a view, the newest first.
const LEFT: &str = select_windows!(
    "FROM windows WHERE windows.project = $1 AND windows.storage_name = $2
        AND windows.state <> 'committed' ORDER BY windows.planned_at DESC LIMIT 10000"
);

/// A window to be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewWindow {
    /// Its id, drawn by the caller.
    pub window_id: WindowId,
    /// Its turn among the windows of its job.
    pub position: u32,
    /// The slice of the job's interval.
    pub interval: Interval,
    /// Partitions by entity key, each a checkpoint.
    pub partitions: u32,
    /// Rows by statistics, at most.
    pub rows_max: u64,
    /// Bytes by statistics.
    pub bytes: u64,
}

/// A window as recorded.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WindowRow {
    /// Its id.
    pub window_id: WindowId,
    /// The job it belongs to.
    pub job_id: JobId,
    /// Its turn among the windows of its job.
    pub position: u32,
    /// The slice of the job's interval.
    pub interval: Interval,
    /// How far it has got.
    pub state: WindowState,
    /// Partitions by entity key.
    pub partitions: u32,
    /// Those that are acknowledged and need not be written again.
    pub partitions_done: u32,
    /// Rows by statistics, at most.
    pub rows_max: u64,
    /// Bytes by statistics.
    pub bytes: u64,
    /// What was committed.
    pub receipt: Option<Receipt>,
    /// The view's watermark before the commit.
    pub watermark_before: Option<EventTime>,
    /// The view's watermark after the commit.
    pub watermark_after: Option<EventTime>,
    /// Why it failed.
    pub error: Option<String>,
    /// When it was planned.
    pub planned_at: EventTime,
    /// When it was first attempted.
    pub opened_at: Option<EventTime>,
    /// When it was closed.
    pub closed_at: Option<EventTime>,
}

/// An attempt as recorded.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AttemptRow {
    /// Its id.
    pub attempt_id: AttemptId,
    /// The window it is or was made at.
    pub window_id: WindowId,
    /// The window's interval.
    pub interval: Interval,
    /// Its number among the window's attempts, from 1.
    pub number: u32,
    /// The token of the lease it was made under; 0 where there was none.
    pub token: FencingToken,
    /// Whether it could replace rows of equal event time.
    pub correcting: bool,
    /// Whether its writes carried the fence.
    pub fenced: bool,
    /// How far it has got.
    pub state: AttemptState,
    /// The files it was pinned to.
    pub source: serde_json::Value,
    /// Why it failed.
    pub error: Option<String>,
    /// When it began.
    pub started_at: EventTime,
    /// When it ended.
    pub ended_at: Option<EventTime>,
}

/// Where a window belongs.
#[derive(Clone, Debug, PartialEq)]
pub struct WindowPlace {
    /// The window.
    pub window: WindowRow,
    /// Its view.
    pub view: ViewRef,
    /// The view's name in Feast.
    pub view_name: String,
}

impl WindowRow {
    pub(crate) fn read(row: &AnyRow) -> sqlx::Result<Self> {
        let row = Read(row);
        Ok(Self {
            window_id: row.id("window_id")?,
            job_id: row.id("job_id")?,
            position: row.small("position")?,
            interval: row.interval()?,
            state: row.named("state", WindowState::parse)?,
            partitions: row.small("partitions")?,
            partitions_done: row.small("partitions_done")?,
            rows_max: row.small("rows_max")?,
            bytes: row.small("bytes")?,
            receipt: row.receipt_opt()?,
            watermark_before: row.time_opt("watermark_before")?,
            watermark_after: row.time_opt("watermark_after")?,
            error: row.text_opt("error")?,
            planned_at: row.time("planned_at")?,
            opened_at: row.time_opt("opened_at")?,
            closed_at: row.time_opt("closed_at")?,
        })
    }
}

impl AttemptRow {
    pub(crate) fn read(row: &AnyRow) -> sqlx::Result<Self> {
        let row = Read(row);
        Ok(Self {
            attempt_id: row.id("attempt_id")?,
            window_id: row.id("window_id")?,
            interval: row.interval()?,
            number: row.small("number")?,
            token: FencingToken(row.small("token")?),
            correcting: row.flag("correcting")?,
            fenced: row.flag("fenced")?,
            state: row.named("state", AttemptState::parse)?,
            source: row.json("source")?,
            error: row.text_opt("error")?,
            started_at: row.time("started_at")?,
            ended_at: row.time_opt("ended_at")?,
        })
    }
}

impl Ledger {
    /// One window and where it belongs; `None` if it is not recorded, or no longer.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub async fn window(&self, window: WindowId) -> Result<Option<WindowPlace>, Error> {
        let read = async {
            let id = window.to_string();
            let mut snapshot = self.begin_snapshot().await?;
            let row = sqlx::query(ONE).bind(&id).fetch_optional(&mut *snapshot).await?;
            let Some(row) = row else { return Ok(None) };
            let place = sqlx::query(VIEW_OF).bind(&id).fetch_one(&mut *snapshot).await?;
            let place = Read(&place);
            Ok(Some(WindowPlace {
                window: WindowRow::read(&row)?,
                view: place.view()?,
                view_name: place.text("view_name")?,
            }))
        };
        read.await.map_err(|source| Error::Read { what: "a window", source })
    }

    /// The windows of a job, in the order of their turns.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub async fn windows_of(&self, job: JobId) -> Result<Vec<WindowRow>, Error> {
        let read = async {
            let mut snapshot = self.begin_snapshot().await?;
            of_job(&mut snapshot, job).await
        };
        read.await.map_err(|source| Error::Read { what: "the windows of a job", source })
    }

    /// The windows of a view that were planned and did not land, the newest first.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub async fn windows_left(&self, view: &ViewRef) -> Result<Vec<WindowRow>, Error> {
        let read = async {
            let rows = sqlx::query(LEFT)
                .bind(&view.project)
                .bind(&view.storage_name)
                .fetch_all(self.pool())
                .await?;
            rows.iter().map(WindowRow::read).collect::<sqlx::Result<_>>()
        };
        read.await.map_err(|source| Error::Read { what: "windows that did not land", source })
    }
}

/// The windows of a job, in the order of their turns.
pub(crate) async fn of_job(
    connection: &mut AnyConnection,
    job: JobId,
) -> sqlx::Result<Vec<WindowRow>> {
    let rows = sqlx::query(OF_JOB).bind(job.to_string()).fetch_all(connection).await?;
    rows.iter().map(WindowRow::read).collect()
}

pub(crate) async fn insert(
    connection: &mut AnyConnection,
    job: &JobRow,
    window: &NewWindow,
    at: EventTime,
) -> sqlx::Result<()> {
    sqlx::query(INSERT)
        .bind(window.window_id.to_string())
        .bind(job.job_id.to_string())
        .bind(i64::from(window.position))
        .bind(&job.view.project)
        .bind(&job.view.storage_name)
        .bind(window.interval.start.nanos())
        .bind(window.interval.end.nanos())
        .bind(i64::from(window.partitions))
        .bind(i64::try_from(window.rows_max).unwrap_or(i64::MAX))
        .bind(i64::try_from(window.bytes).unwrap_or(i64::MAX))
        .bind(at.nanos())
        .execute(connection)
        .await?;
    Ok(())
}
