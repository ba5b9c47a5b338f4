//! The sweep: which rows of an interval are stored, and the removal of some.
//!
//! Apart from `write` because nothing is compared with a new row here: only where the stored event
//! time lies.

use model::{EventTime, Interval};
use rusqlite::{Connection, Transaction};

use super::table::Table;
use super::write::{Problem, Stored};

/// Keys that are looked at in one piece: some milliseconds of SQLite's time.
const KEYS_PER_PAGE: i64 = 1000;

/// A page of a walk over a view's keys.
#[derive(Debug)]
pub(super) struct Page {
    /// The keys whose event time lies inside the interval.
    pub inside: Vec<Vec<u8>>,
    /// The last key of the page; `None` when there was none.
    pub last: Option<Vec<u8>>,
}

/// The next page after a key; keys are walked in order.
pub(super) fn page(
    connection: &Connection,
    table: &Table,
    interval: Interval,
    after: &[u8],
) -> Result<Page, Problem> {
    // Tombstones are in our table alone, and what only Feast has written in its own.
    let select = format!(
        "SELECT entity_key FROM (SELECT DISTINCT entity_key FROM {} WHERE entity_key > ?1
             ORDER BY entity_key LIMIT ?3)
         UNION SELECT entity_key FROM (SELECT entity_key FROM tidegate_event_times
             WHERE table_name = ?2 AND entity_key > ?1 ORDER BY entity_key LIMIT ?3)
         ORDER BY entity_key LIMIT ?3",
        table.quoted()
    );
    let mut select = connection.prepare_cached(&select)?;
    let keys = select.query_map((after, &table.name, KEYS_PER_PAGE), |row| row.get(0))?;
    let keys: Vec<Vec<u8>> = keys.collect::<Result<_, _>>()?;
    let mut stored = Stored::new(connection, table)?;
    let mut inside = Vec::new();
    for key in &keys {
        if is_inside(&mut stored, interval, key)? {
            inside.push(key.clone());
        }
    }
    Ok(Page { inside, last: keys.into_iter().next_back() })
}

/// Removes all rows of those keys whose event time lies inside the interval; gives how many there
/// were.
pub(super) fn remove(
    transaction: &Transaction<'_>,
    table: &Table,
    interval: Interval,
    keys: &[Vec<u8>],
) -> Result<u64, Problem> {
    let delete = format!("DELETE FROM {} WHERE entity_key = ?1", table.quoted());
    let mut delete = transaction.prepare_cached(&delete)?;
    let forget = "DELETE FROM tidegate_event_times WHERE table_name = ?1 AND entity_key = ?2";
    let mut forget = transaction.prepare_cached(forget)?;
    let mut stored = Stored::new(transaction, table)?;
    let mut removed = 0;
    for key in keys {
        if is_inside(&mut stored, interval, key)? {
            delete.execute([key])?;
            forget.execute((&table.name, key))?;
            removed += 1;
        }
    }
    Ok(removed)
}

fn is_inside(stored: &mut Stored<'_>, interval: Interval, key: &[u8]) -> Result<bool, Problem> {
    let time: Option<EventTime> = stored.times(key)?.map(|times| times.counted);
    Ok(time.is_some_and(|time| interval.contains(time)))
}
