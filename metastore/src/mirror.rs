//! The outbox of committed intervals that Feast's registry does not list yet.
//!
//! Only a commit adds to it. Carrying an interval to the registry is the caller's; doing so twice
//! must be harmless, for a process may stop between that and [`Ledger::mirror_done`].

use model::{EventTime, WindowId};
use serde::Serialize;
use sqlx::AnyConnection;

use crate::row::Read;
use crate::{Error, Ledger};

const INSERT: &str = "
    INSERT INTO mirrors (
        window_id, project, view_name, kind, start_micros, end_micros, committed_at
    ) VALUES ($1, $2, $3, $4, $5, $6, $7)
";

const PENDING: &str = "
    SELECT window_id, project, view_name, kind, start_micros, end_micros FROM mirrors
    WHERE project = $1 ORDER BY committed_at, window_id
";

const DONE: &str = "DELETE FROM mirrors WHERE window_id = $1";

/// An interval to be listed in Feast's registry once its window is committed.
///
/// # Units
/// Microseconds since 1970, UTC; closed at both ends, as Feast has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorRow {
    /// The view's name in Feast.
    pub view_name: String,
    /// Which kind of view it is, in the registry's words.
    pub kind: String,
    /// The first microsecond.
    pub start_micros: i64,
    /// The last microsecond.
    pub end_micros: i64,
}

/// An interval that is due to Feast's registry.
///
/// # Units
/// Microseconds since 1970, UTC; closed at both ends, as Feast has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mirror {
    /// The window whose commit made it due; a commit makes one at most.
    pub id: WindowId,
    /// Feast's project.
    pub project: String,
    /// The view's name in Feast.
    pub view_name: String,
    /// Which kind of view it is, in the registry's words.
    pub kind: String,
    /// The first microsecond.
    pub start_micros: i64,
    /// The last microsecond.
    pub end_micros: i64,
}

impl Ledger {
    /// The intervals of a project that are due to Feast's registry, in the order of their commits.
    ///
    /// # Errors
    /// [`Error::Mirror`].
    pub async fn pending_mirrors(&self, project: &str) -> Result<Vec<Mirror>, Error> {
        let read = async {
            let rows = sqlx::query(PENDING).bind(project).fetch_all(self.pool()).await?;
            rows.iter().map(|row| Mirror::read(&Read(row))).collect::<sqlx::Result<_>>()
        };
        read.await.map_err(|source| Error::Mirror { source })
    }

    /// Ticks off an interval that the registry now lists; one that is not due is fine.
    ///
    /// # Errors
    /// [`Error::Mirror`].
    pub async fn mirror_done(&self, id: WindowId) -> Result<(), Error> {
        sqlx::query(DONE)
            .bind(id.to_string())
            .execute(self.pool())
            .await
            .map(drop)
            .map_err(|source| Error::Mirror { source })
    }
}

impl Mirror {
    fn read(row: &Read<'_>) -> sqlx::Result<Self> {
        Ok(Self {
            id: row.id("window_id")?,
            project: row.text("project")?,
            view_name: row.text("view_name")?,
            kind: row.text("kind")?,
            start_micros: row.number("start_micros")?,
            end_micros: row.number("end_micros")?,
        })
    }
}

/// Notes an interval as due, inside the transaction that commits it.
pub(crate) async fn insert(
    transaction: &mut AnyConnection,
    window: WindowId,
    project: &str,
    mirror: &MirrorRow,
    at: EventTime,
) -> sqlx::Result<()> {
    sqlx::query(INSERT)
        .bind(window.to_string())
        .bind(project)
        .bind(&mirror.view_name)
        .bind(&mirror.kind)
        .bind(mirror.start_micros)
        .bind(mirror.end_micros)
        .bind(at.nanos())
        .execute(transaction)
        .await?;
    Ok(())
}
