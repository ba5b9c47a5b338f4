//! What has landed of a view: how it is read, locked and stored.
//!
//! Nothing here decides to move a watermark: `commit.rs` does, by the rule in `model::watermark`,
//! and `adopt.rs` for what Feast did before us.

use std::collections::BTreeMap;

use model::{Coverage, EventTime, Interval, IntervalSet, Marker, ViewRef};
use serde::Serialize;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::row::{Read, json};
use crate::{Error, Ledger};

const SELECT: &str = "
    SELECT feast_created, watermark, features, updated_at, commit_sequence, commit_attempt, fenced,
        lost
    FROM views WHERE project = $1 AND storage_name = $2
";

/// An update that changes nothing takes the row's lock on PostgreSQL, as `FOR UPDATE` would, and is
/// also valid on SQLite, where the transaction already holds the only lock there is.
const LOCK: &str = "
    UPDATE views SET updated_at = updated_at WHERE project = $1 AND storage_name = $2
    RETURNING feast_created, watermark, features, updated_at, commit_sequence, commit_attempt,
        fenced, lost
";

const SELECT_INTERVALS: &str = "
    SELECT interval_start, interval_end FROM intervals
    WHERE project = $1 AND storage_name = $2 ORDER BY interval_start
";

const SELECT_ALL: &str = "
    SELECT project, storage_name, feast_created, watermark, features, updated_at, commit_sequence,
        commit_attempt, fenced, lost
    FROM views WHERE project = $1 ORDER BY storage_name
";

const SELECT_ALL_INTERVALS: &str = "
    SELECT project, storage_name, interval_start, interval_end FROM intervals
    WHERE project = $1 ORDER BY storage_name, interval_start
";

const DELETE_INTERVAL: &str = "
    DELETE FROM intervals WHERE project = $1 AND storage_name = $2 AND interval_start = $3
";

const INSERT_INTERVAL: &str = "
    INSERT INTO intervals (project, storage_name, interval_start, interval_end)
    VALUES ($1, $2, $3, $4)
";

const UPDATE: &str = "
    UPDATE views SET feast_created = $3, watermark = $4, features = $5, updated_at = $6
    WHERE project = $1 AND storage_name = $2
";

/// What the ledger knows of one view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ViewState {
    /// What has landed, and up to where without a gap.
    pub coverage: Coverage,
    /// When the view was created in Feast, as last seen.
    pub feast_created: Option<EventTime>,
    /// The view's features at its last commit, or when it was first seen.
    pub features: Option<Vec<String>>,
    /// When any of this last changed.
    pub updated_at: EventTime,
    /// The last commit.
    pub committed: Option<Marker>,
    /// Whether every write carries the fence.
    pub fenced: bool,
    /// Whether no write without one can arrive any more.
    pub settled: bool,
    /// Why the online store no longer has all that landed, if so.
    pub lost: Option<String>,
}

/// The view's column `fenced`: 0 before its first correction, 1 once writes carry the fence, and
/// this once no write without one can arrive any more.
const SETTLED: i64 = 2;

const SET_LOST: &str = "
    UPDATE views SET lost = $3 WHERE project = $1 AND storage_name = $2
";

impl Ledger {
    /// Notes that the online store no longer has all that landed of a view, and why.
    ///
    /// # Errors
    /// [`Error::Lease`].
    pub async fn mark_lost(&self, view: &ViewRef, why: &str) -> Result<(), Error> {
        sqlx::query(SET_LOST)
            .bind(&view.project)
            .bind(&view.storage_name)
            .bind(why)
            .execute(self.pool())
            .await
            .map(drop)
            .map_err(|source| Error::Lease { what: format!("view `{view}`"), source })
    }

    /// What the ledger knows of a view; `None` before its first contact.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub async fn coverage(&self, view: &ViewRef) -> Result<Option<ViewState>, Error> {
        let read = async {
            let mut snapshot = self.begin_snapshot().await?;
            let row = sqlx::query(SELECT)
                .bind(&view.project)
                .bind(&view.storage_name)
                .fetch_optional(&mut *snapshot)
                .await?;
            match row {
                Some(row) => {
                    let intervals = intervals(&mut snapshot, view).await?;
                    state(&Read(&row), intervals).map(Some)
                }
                None => Ok(None),
            }
        };
        read.await.map_err(|source| Error::Read { what: "a view's coverage", source })
    }
}

/// Reads a view's state and keeps everybody else from changing it until the transaction ends.
pub(crate) async fn lock(
    transaction: &mut AnyConnection,
    view: &ViewRef,
) -> sqlx::Result<Option<ViewState>> {
    let row = sqlx::query(LOCK)
        .bind(&view.project)
        .bind(&view.storage_name)
        .fetch_optional(&mut *transaction)
        .await?;
    match row {
        Some(row) => {
            let intervals = intervals(transaction, view).await?;
            state(&Read(&row), intervals).map(Some)
        }
        None => Ok(None),
    }
}

/// Stores a view's state over the one that was locked; of the intervals, only what differs.
pub(crate) async fn store(
    transaction: &mut AnyConnection,
    view: &ViewRef,
    before: &ViewState,
    after: &ViewState,
) -> sqlx::Result<()> {
    let (held, wanted) = (before.coverage.intervals(), after.coverage.intervals());
    for gone in difference(held, wanted) {
        sqlx::query(DELETE_INTERVAL)
            .bind(&view.project)
            .bind(&view.storage_name)
            .bind(gone.start.nanos())
            .execute(&mut *transaction)
            .await?;
    }
    for new in difference(wanted, held) {
        sqlx::query(INSERT_INTERVAL)
            .bind(&view.project)
            .bind(&view.storage_name)
            .bind(new.start.nanos())
            .bind(new.end.nanos())
            .execute(&mut *transaction)
            .await?;
    }
    sqlx::query(UPDATE)
        .bind(&view.project)
        .bind(&view.storage_name)
        .bind(after.feast_created.map(EventTime::nanos))
        .bind(after.coverage.watermark().map(EventTime::nanos))
        .bind(after.features.as_ref().map(json).transpose()?)
        .bind(after.updated_at.nanos())
        .execute(transaction)
        .await?;
    Ok(())
}

/// The states of all views of a project, by storage name.
pub(crate) async fn all(
    snapshot: &mut AnyConnection,
    project: &str,
) -> sqlx::Result<Vec<(ViewRef, ViewState)>> {
    let mut landed: BTreeMap<String, IntervalSet> = BTreeMap::new();
    for row in sqlx::query(SELECT_ALL_INTERVALS).bind(project).fetch_all(&mut *snapshot).await? {
        let row = Read(&row);
        landed.entry(row.text("storage_name")?).or_default().insert(row.interval()?);
    }
    let rows = sqlx::query(SELECT_ALL).bind(project).fetch_all(snapshot).await?;
    rows.iter()
        .map(|row| {
            let row = Read(row);
            let view = row.view()?;
            let intervals = landed.remove(&view.storage_name).unwrap_or_default();
            Ok((view, state(&row, intervals)?))
        })
        .collect()
}

fn state(row: &Read<'_>, intervals: IntervalSet) -> sqlx::Result<ViewState> {
    Ok(ViewState {
        coverage: Coverage::new(intervals, row.time_opt("watermark")?),
        feast_created: row.time_opt("feast_created")?,
        features: row.json_opt("features")?,
        updated_at: row.time("updated_at")?,
        committed: committed(row)?,
        fenced: row.flag("fenced")?,
        settled: row.number("fenced")? >= SETTLED,
        lost: row.text_opt("lost")?,
    })
}

/// The marker that the last commit left in the online store.
fn committed(row: &Read<'_>) -> sqlx::Result<Option<Marker>> {
    let Some(attempt) = row.text_opt("commit_attempt")? else { return Ok(None) };
    let sequence = row.small("commit_sequence")?;
    let attempt = attempt.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
    Ok(Some(Marker { sequence, attempt }))
}

async fn intervals(connection: &mut AnyConnection, view: &ViewRef) -> sqlx::Result<IntervalSet> {
    let rows: Vec<AnyRow> = sqlx::query(SELECT_INTERVALS)
        .bind(&view.project)
        .bind(&view.storage_name)
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| Read(row).interval()).collect()
}

/// The intervals of `left` that `right` does not hold as they are.
fn difference<'a>(
    left: &'a IntervalSet,
    right: &'a IntervalSet,
) -> impl Iterator<Item = &'a Interval> {
    left.as_slice().iter().filter(|interval| right.as_slice().binary_search(interval).is_err())
}
