//! What the commit protocol keeps beside Feast's tables: fences, markers and a nonce.
//!
//! One small table of ours, `tidegate_markers`: a row for each view's table, and one of the empty
//! name for the database as a whole. SQLite takes one writer at a time and none of its writes comes
//! late, so a fence is a number that is compared in the transaction that writes.

use model::{FencingToken, Marker};
use rusqlite::{Connection, OptionalExtension};
use uuid::Uuid;

use super::table::exists;

/// The name of our table.
const MARKERS: &str = "tidegate_markers";
/// The row of the database as a whole; no table has such a name.
const WHOLE: &str = "";

/// Creates the table where it is missing.
pub(super) fn create(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS tidegate_markers (
            table_name TEXT PRIMARY KEY,
            fence INTEGER,
            sequence INTEGER,
            attempt TEXT,
            nonce TEXT
        ) WITHOUT ROWID",
    )
}

/// The nonce of the database, drawn where there is none.
pub(super) fn draw_nonce(connection: &Connection) -> rusqlite::Result<String> {
    let draw = "INSERT INTO tidegate_markers (table_name, nonce) VALUES (?1, ?2)
                ON CONFLICT (table_name) DO NOTHING";
    match nonce(connection)? {
        Some(nonce) => Ok(nonce),
        None => {
            connection.execute(draw, (WHOLE, Uuid::new_v4().simple().to_string()))?;
            // Another process may have been first.
            Ok(nonce(connection)?.unwrap_or_default())
        }
    }
}

/// The nonce of the database, if it has one.
pub(super) fn nonce(connection: &Connection) -> rusqlite::Result<Option<String>> {
    if !exists(connection, MARKERS)? {
        return Ok(None);
    }
    let select = "SELECT nonce FROM tidegate_markers WHERE table_name = ?1";
    connection.query_row(select, [WHOLE], |row| row.get(0)).optional()
}

/// The fence of a view, by its table.
pub(super) fn fence(
    connection: &Connection,
    table: &str,
) -> rusqlite::Result<Option<FencingToken>> {
    let select = "SELECT fence FROM tidegate_markers WHERE table_name = ?1";
    let fence = connection.query_row(select, [table], |row| row.get::<_, Option<i64>>(0));
    Ok(fence.optional()?.flatten().map(|token| FencingToken(token.cast_unsigned())))
}

/// Puts a fence up, whatever stands there.
pub(super) fn put_up_fence(
    connection: &Connection,
    table: &str,
    token: FencingToken,
) -> rusqlite::Result<()> {
    let upsert = "INSERT INTO tidegate_markers (table_name, fence) VALUES (?1, ?2)
                  ON CONFLICT (table_name) DO UPDATE SET fence = excluded.fence";
    connection.execute(upsert, (table, token.0.cast_signed())).map(drop)
}

/// The last commit of a view, by its table.
pub(super) fn marker(connection: &Connection, table: &str) -> rusqlite::Result<Option<Marker>> {
    if !exists(connection, MARKERS)? {
        return Ok(None);
    }
    let select = "SELECT sequence, attempt FROM tidegate_markers
                  WHERE table_name = ?1 AND sequence IS NOT NULL";
    let marker = connection.query_row(select, [table], |row| {
        let attempt: String = row.get(1)?;
        let attempt = attempt.parse().map_err(|error| {
            let kind = rusqlite::types::Type::Text;
            rusqlite::Error::FromSqlConversionFailure(1, kind, Box::new(error))
        })?;
        Ok(Marker { sequence: row.get::<_, i64>(0)?.cast_unsigned(), attempt })
    });
    marker.optional()
}

/// Notes a commit, whatever is noted.
pub(super) fn mark(connection: &Connection, table: &str, marker: &Marker) -> rusqlite::Result<()> {
    let upsert = "INSERT INTO tidegate_markers (table_name, sequence, attempt) VALUES (?1, ?2, ?3)
                  ON CONFLICT (table_name) DO UPDATE
                  SET sequence = excluded.sequence, attempt = excluded.attempt";
    let (sequence, attempt) = (marker.sequence.cast_signed(), marker.attempt.to_string());
    connection.execute(upsert, (table, sequence, attempt)).map(drop)
}
