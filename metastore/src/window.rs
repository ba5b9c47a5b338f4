//! Queries on windows: open one, record its failure. Closing one by commit is in `commit.rs`.

use std::fmt;

use model::{EventTime, Interval, JobId, Receipt, ViewRef, WindowId};
use serde::Serialize;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::job::job_state;
use crate::row::{Read, json};
use crate::watermark;
use crate::{Error, Ledger};

/// Only a job at work, of a run at work, opens windows.
const OPEN: &str = "
    INSERT INTO windows (
        window_id, job_id, project, storage_name, interval_start, interval_end, state, source,
        opened_at
    )
    SELECT $1, jobs.job_id, $3, $4, $5, $6, 'open', $7, $8
    FROM jobs JOIN runs ON runs.run_id = jobs.run_id
    WHERE jobs.job_id = $2 AND jobs.state IN ('pending', 'running') AND runs.state = 'running'
    ON CONFLICT (window_id) DO NOTHING
";

const START_JOB: &str = "UPDATE jobs SET state = 'running' WHERE job_id = $1 AND state = 'pending'";

const FAIL: &str = "
    UPDATE windows SET state = 'failed', error = $2, closed_at = $3
    WHERE window_id = $1 AND state = 'open'
";

const STATE: &str = "SELECT state FROM windows WHERE window_id = $1";

const RUN_STATE_OF_JOB: &str = "
    SELECT runs.state FROM jobs JOIN runs ON runs.run_id = jobs.run_id WHERE jobs.job_id = $1
";

/// How far a window has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowState {
    /// Some attempt is or was writing it.
    Open,
    /// It landed.
    Committed,
    /// Its attempt gave up.
    Failed,
    /// Its attempt's process stopped, or its view was created anew in Feast.
    Interrupted,
}

impl WindowState {
    /// The name as stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Committed => "committed",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        }
    }

    /// Reads a stored name back.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Open, Self::Committed, Self::Failed, Self::Interrupted]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

impl fmt::Display for WindowState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A window to be recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct NewWindow {
    /// Its id, drawn by the caller.
    pub window_id: WindowId,
    /// The job it belongs to.
    pub job_id: JobId,
    /// The job's view, which has been adopted.
    pub view: ViewRef,
    /// The slice of the job's interval.
    pub interval: Interval,
    /// The files it is pinned to: path, size, ETag, time of last change.
    pub source: serde_json::Value,
    /// Our clock.
    pub at: EventTime,
}

/// A window as recorded.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WindowRow {
    /// Its id.
    pub window_id: WindowId,
    /// The job it belongs to.
    pub job_id: JobId,
    /// The slice of the job's interval.
    pub interval: Interval,
    /// How far it has got.
    pub state: WindowState,
    /// The files it is pinned to.
    pub source: serde_json::Value,
    /// What was committed.
    pub receipt: Option<Receipt>,
    /// The view's watermark before the commit.
    pub watermark_before: Option<EventTime>,
    /// The view's watermark after the commit.
    pub watermark_after: Option<EventTime>,
    /// Why it failed.
    pub error: Option<String>,
    /// When it was opened.
    pub opened_at: EventTime,
    /// When it was closed.
    pub closed_at: Option<EventTime>,
}

impl WindowRow {
    pub(crate) fn read(row: &AnyRow) -> sqlx::Result<Self> {
        let row = Read(row);
        Ok(Self {
            window_id: row.id("window_id")?,
            job_id: row.id("job_id")?,
            interval: row.interval()?,
            state: row.named("state", WindowState::parse)?,
            source: row.json("source")?,
            receipt: row.receipt_opt()?,
            watermark_before: row.time_opt("watermark_before")?,
            watermark_after: row.time_opt("watermark_after")?,
            error: row.text_opt("error")?,
            opened_at: row.time("opened_at")?,
            closed_at: row.time_opt("closed_at")?,
        })
    }
}

impl Ledger {
    /// Records a window as open, durably; call it before the window's first write. Its job is
    /// running from then on. A window that is recorded already stays as it is.
    ///
    /// # Errors
    /// [`Error::OpenWindow`]; [`Error::ViewUnknown`] when the view was never adopted;
    /// [`Error::JobUnknown`] or [`Error::JobEnded`] when its job takes no more work.
    pub async fn open_window(&self, window: &NewWindow) -> Result<(), Error> {
        let failed = |source| Error::OpenWindow { window: window.window_id, source };
        let mut transaction = self.begin().await.map_err(failed)?;
        if watermark::lock(&mut transaction, &window.view).await.map_err(failed)?.is_none() {
            return Err(Error::ViewUnknown { view: window.view.clone() });
        }
        let opened = insert(&mut transaction, window).await.map_err(failed)?;
        if !opened && state(&mut transaction, window.window_id).await.map_err(failed)?.is_none() {
            return Err(refusal(&mut transaction, window).await.unwrap_or_else(failed));
        }
        transaction.commit().await.map_err(failed)
    }

    /// Closes a window whose attempt gave up. A window that is closed stays as it is.
    ///
    /// # Errors
    /// [`Error::FailWindow`], [`Error::WindowUnknown`].
    pub async fn fail_window(
        &self,
        window: WindowId,
        error: &str,
        at: EventTime,
    ) -> Result<(), Error> {
        let failed = |source| Error::FailWindow { window, source };
        let mut connection = self.pool().acquire().await.map_err(failed)?;
        let done = sqlx::query(FAIL)
            .bind(window.to_string())
            .bind(error)
            .bind(at.nanos())
            .execute(&mut *connection)
            .await
            .map_err(failed)?;
        if done.rows_affected() > 0 {
            return Ok(());
        }
        match state(&mut connection, window).await.map_err(failed)? {
            Some(_) => Ok(()),
            None => Err(Error::WindowUnknown { window }),
        }
    }
}

async fn insert(connection: &mut AnyConnection, window: &NewWindow) -> sqlx::Result<bool> {
    let done = sqlx::query(OPEN)
        .bind(window.window_id.to_string())
        .bind(window.job_id.to_string())
        .bind(&window.view.project)
        .bind(&window.view.storage_name)
        .bind(window.interval.start.nanos())
        .bind(window.interval.end.nanos())
        .bind(json(&window.source)?)
        .bind(window.at.nanos())
        .execute(&mut *connection)
        .await?;
    sqlx::query(START_JOB).bind(window.job_id.to_string()).execute(connection).await?;
    Ok(done.rows_affected() > 0)
}

async fn state(connection: &mut AnyConnection, window: WindowId) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar(STATE).bind(window.to_string()).fetch_optional(connection).await
}

/// Why a window was not opened: its job is unknown, has ended, or belongs to a run that has.
async fn refusal(connection: &mut AnyConnection, window: &NewWindow) -> sqlx::Result<Error> {
    let job = window.job_id;
    let Some(state) = job_state(connection, job).await? else {
        return Ok(Error::JobUnknown { job });
    };
    if matches!(state.as_str(), "pending" | "running") {
        let of_run: Option<String> = sqlx::query_scalar(RUN_STATE_OF_JOB)
            .bind(job.to_string())
            .fetch_optional(connection)
            .await?;
        return Ok(Error::JobEnded { job, state: of_run.unwrap_or(state) });
    }
    Ok(Error::JobEnded { job, state })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_read_back_by_name() {
        for name in ["open", "committed", "failed", "interrupted"] {
            assert_eq!(WindowState::parse(name).map(WindowState::as_str), Some(name));
        }
        assert_eq!(WindowState::parse("Open"), None);
    }
}
