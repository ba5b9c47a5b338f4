//! Reading rows back from Feast's table, with the exact event time where ours has it.

use std::collections::HashMap;

use bytes::Bytes;
use model::{EventTime, OnlineView};
use rusqlite::{CachedStatement, Connection, OptionalExtension};

use super::table::{Table, exists};
use super::write::reconcile;
use crate::store::StoredRow;

/// Reads one row a key.
pub(super) fn read(
    connection: &Connection,
    table: &Table,
    view: &OnlineView,
    keys: &[Vec<u8>],
) -> rusqlite::Result<Vec<Option<StoredRow>>> {
    let select = format!(
        "SELECT feature_name, value, event_ts FROM {} WHERE entity_key = ?1",
        table.quoted()
    );
    let mut select = connection.prepare_cached(&select)?;
    let mut exact = exact_times(connection)?;
    let row_of = |key: &Vec<u8>| {
        let (mut values, mut seconds) = (HashMap::new(), None);
        let mut rows = select.query([key])?;
        while let Some(row) = rows.next()? {
            values.insert(row.get::<_, String>(0)?, Bytes::from(row.get::<_, Vec<u8>>(1)?));
            seconds = seconds.max(row.get(2)?);
        }
        let exact = match &mut exact {
            Some(statement) => exact_time(statement, table, key)?,
            None => None,
        };
        let is_tombstone = exact.is_some_and(|(_, is_tombstone)| is_tombstone);
        if values.is_empty() && !is_tombstone {
            return Ok(None);
        }
        let event_time = reconcile(seconds, exact).map(|time| {
            let (seconds, nanos) = time.seconds_and_nanos();
            (seconds, nanos as i32)
        });
        let values = view.features.iter().map(|feature| values.remove(&feature.name)).collect();
        Ok(Some(StoredRow { event_time, values }))
    };
    keys.iter().map(row_of).collect()
}

/// The statement for our own table; `None` while only Feast has written to this database.
fn exact_times(connection: &Connection) -> rusqlite::Result<Option<CachedStatement<'_>>> {
    if !exists(connection, "tidegate_event_times")? {
        return Ok(None);
    }
    let select = "SELECT event_ns, tombstone FROM tidegate_event_times
                  WHERE table_name = ?1 AND entity_key = ?2";
    connection.prepare_cached(select).map(Some)
}

fn exact_time(
    statement: &mut CachedStatement<'_>,
    table: &Table,
    key: &[u8],
) -> rusqlite::Result<Option<(EventTime, bool)>> {
    let time = statement
        .query_row((&table.name, key), |row| Ok((EventTime::from_nanos(row.get(0)?), row.get(1)?)));
    time.optional()
}
