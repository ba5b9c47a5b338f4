//! Writing rows into Feast's table and their exact event times into ours.
//!
//! Feast's table has whole seconds. `tidegate_event_times` keeps the nanoseconds, and tombstones,
//! which have no row in Feast's table. An entry is believed only while it agrees with Feast's
//! table: when Feast has written in between, what Feast stored counts.

use std::fmt::Write as _;

use feast::ValueType;
use feast::text::value_text;
use model::{EncodedBatch, EventTime, FencingToken, Interval, OnlineView, WriteCounts, WriteMode};
use rusqlite::types::ValueRef;
use rusqlite::{CachedStatement, Connection, OptionalExtension, Transaction, TransactionBehavior};

use super::own;
use super::table::Table;

pub(super) const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// Why a batch was not written.
#[derive(Debug)]
pub(super) enum Problem {
    /// A statement failed.
    Statement(rusqlite::Error),
    /// A stored event time is not a number.
    StoredTime {
        /// The entity key.
        key: Vec<u8>,
    },
    /// The fence is another's, or gone.
    Superseded {
        /// Our token.
        token: FencingToken,
        /// The token that is stored.
        stored: Option<FencingToken>,
    },
}

impl From<rusqlite::Error> for Problem {
    fn from(error: rusqlite::Error) -> Self {
        Self::Statement(error)
    }
}

/// Creates the table of exact event times where it is missing.
pub(super) fn create_event_times(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS tidegate_event_times (
            table_name TEXT NOT NULL,
            entity_key BLOB NOT NULL,
            event_ns INTEGER NOT NULL,
            tombstone INTEGER NOT NULL,
            PRIMARY KEY (table_name, entity_key)
        ) WITHOUT ROWID",
    )
}

/// Writes a batch in one transaction.
pub(super) fn write(
    connection: &mut Connection,
    table: &Table,
    view: &OnlineView,
    mode: &WriteMode,
    batch: &EncodedBatch,
) -> Result<WriteCounts, Problem> {
    let transaction = begin(connection, table, mode)?;
    let mut counts = WriteCounts::default();
    let mut writer = Writer::new(&transaction, table, view, mode)?;
    for row in 0..batch.len() {
        writer.write_row(batch, row, &mut counts)?;
    }
    drop(writer);
    transaction.commit()?;
    Ok(counts)
}

/// Begins a transaction that is the only one to write until its end, and shows the fence.
pub(super) fn begin<'c>(
    connection: &'c mut Connection,
    table: &Table,
    mode: &WriteMode,
) -> Result<Transaction<'c>, Problem> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if let Some(token) = mode.fence {
        let stored = own::fence(&transaction, &table.name)?;
        if stored != Some(token) {
            return Err(Problem::Superseded { token, stored });
        }
    }
    Ok(transaction)
}

struct Writer<'a> {
    table: &'a Table,
    view: &'a OnlineView,
    mode: &'a WriteMode,
    stored: Stored<'a>,
    upsert: CachedStatement<'a>,
    remove: CachedStatement<'a>,
    keep_time: CachedStatement<'a>,
}

impl<'a> Writer<'a> {
    fn new(
        transaction: &'a Transaction<'_>,
        table: &'a Table,
        view: &'a OnlineView,
        mode: &'a WriteMode,
    ) -> rusqlite::Result<Self> {
        let name = table.quoted();
        Ok(Self {
            table,
            view,
            mode,
            stored: Stored::new(transaction, table)?,
            upsert: transaction.prepare_cached(&upsert(table))?,
            remove: transaction
                .prepare_cached(&format!("DELETE FROM {name} WHERE entity_key = ?1"))?,
            keep_time: transaction.prepare_cached(
                "INSERT OR REPLACE INTO tidegate_event_times
                 (table_name, entity_key, event_ns, tombstone) VALUES (?1, ?2, ?3, ?4)",
            )?,
        })
    }

    fn write_row(
        &mut self,
        batch: &EncodedBatch,
        row: usize,
        counts: &mut WriteCounts,
    ) -> Result<(), Problem> {
        let (key, event_time) = (batch.keys.get(row), batch.event_times[row]);
        let stored = self.stored.times(key)?;
        if stored.is_some_and(|stored| stored.refuses(event_time, self.mode)) {
            counts.stale += 1;
            return Ok(());
        }
        let is_tombstone = batch.is_tombstone(row);
        self.keep_time.execute((&self.table.name, key, event_time.nanos(), is_tombstone))?;
        if is_tombstone {
            // All of the entity's rows, those of features that the view no longer has included:
            // with one of them left, the tombstone would look overtaken.
            self.remove.execute([key])?;
            counts.tombstoned += 1;
        } else {
            self.write_features(batch, row)?;
            counts.written += 1;
        }
        Ok(())
    }

    fn write_features(&mut self, batch: &EncodedBatch, row: usize) -> rusqlite::Result<()> {
        let created = batch.created_times.as_ref().and_then(|times| times[row]);
        let statement = &mut self.upsert;
        // Parameters that are the same for all features of the row are bound once.
        statement.raw_bind_parameter(1, batch.keys.get(row))?;
        statement.raw_bind_parameter(2, whole_seconds(batch.event_times[row]))?;
        statement.raw_bind_parameter(3, created.map(whole_seconds))?;
        for (feature, column) in self.view.features.iter().zip(&batch.features) {
            let value = column.get(row);
            let text = value_text(value);
            if self.table.has_value_num {
                statement.raw_bind_parameter(7, value_num(feature.value_type, text.as_deref()))?;
            }
            statement.raw_bind_parameter(4, feature.name.as_str())?;
            statement.raw_bind_parameter(5, value)?;
            statement.raw_bind_parameter(6, text)?;
            statement.raw_execute()?;
        }
        Ok(())
    }
}

/// What is stored for an entity, by Feast's table and ours.
pub(super) struct Stored<'a> {
    seconds: CachedStatement<'a>,
    exact: CachedStatement<'a>,
    table: &'a Table,
}

impl<'a> Stored<'a> {
    pub(super) fn new(connection: &'a Connection, table: &'a Table) -> rusqlite::Result<Self> {
        // Rows of features that the view no longer has keep an older time.
        let seconds = format!("SELECT max(event_ts) FROM {} WHERE entity_key = ?1", table.quoted());
        let exact = "SELECT event_ns, tombstone FROM tidegate_event_times
                     WHERE table_name = ?1 AND entity_key = ?2";
        Ok(Self {
            seconds: connection.prepare_cached(&seconds)?,
            exact: connection.prepare_cached(exact)?,
            table,
        })
    }

    pub(super) fn times(&mut self, key: &[u8]) -> Result<Option<Times>, Problem> {
        let seconds = self.seconds.query_row([key], |row| {
            Ok(match row.get_ref(0)? {
                ValueRef::Null => Ok(None),
                ValueRef::Integer(seconds) => Ok(Some(seconds)),
                _ => Err(Problem::StoredTime { key: key.to_vec() }),
            })
        })??;
        let exact = self.exact.query_row((&self.table.name, key), |row| {
            Ok((EventTime::from_nanos(row.get(0)?), row.get(1)?))
        });
        Ok(times(seconds, exact.optional()?))
    }
}

/// The event time of a stored row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Times {
    /// What counts as its event time.
    pub counted: EventTime,
    /// The event time up to which a row is certainly stale.
    stale: EventTime,
}

impl Times {
    /// Tells whether a row of this event time is refused.
    fn refuses(self, new: EventTime, mode: &WriteMode) -> bool {
        let is_stale = self.stale > EventTime::EPOCH && new <= self.stale;
        let is_corrected =
            |interval: Interval| new == self.counted || interval.contains(self.counted);
        is_stale && !mode.correct.is_some_and(is_corrected)
    }
}

/// How far Feast's `event_ts` may lie above the event time: Feast shifts it by the time zone of its
/// process, and zones reach twelve hours west of UTC.
const FEAST_SHIFT_NANOS: i64 = 12 * 3_600 * NANOS_PER_SECOND;

/// What the stored times mean. A row is certainly stale up to ours where it counts, else up to the
/// least that what Feast stored may mean. One that may be newer is written, as Feast would do.
fn times(seconds: Option<i64>, exact: Option<(EventTime, bool)>) -> Option<Times> {
    let counted = reconcile(seconds, exact)?;
    let is_ours = exact.is_some_and(|(exact, _)| exact == counted);
    let stale = if is_ours { counted } else { counted.plus_nanos(-FEAST_SHIFT_NANOS) };
    Some(Times { counted, stale })
}

/// The event time that counts: ours where it agrees with Feast's table, else Feast's.
pub(super) fn reconcile(
    seconds: Option<i64>,
    exact: Option<(EventTime, bool)>,
) -> Option<EventTime> {
    match (seconds, exact) {
        (Some(seconds), Some((exact, false))) if whole_seconds(exact) == seconds => Some(exact),
        (Some(seconds), _) => Some(EventTime::from_nanos(seconds.saturating_mul(NANOS_PER_SECOND))),
        (None, Some((exact, true))) => Some(exact),
        // The features of that time are gone: somebody cleared the table.
        (None, _) => None,
    }
}

/// Seconds since the epoch, cut toward zero, as Feast stores them.
fn whole_seconds(time: EventTime) -> i64 {
    time.nanos() / NANOS_PER_SECOND
}

/// What `value_num` holds: the number, for a type that has one.
fn value_num(value_type: i32, text: Option<&str>) -> Option<f64> {
    use ValueType::{Double, Float, Int32, Int64};
    match ValueType::from_code(value_type)? {
        Int32 | Int64 | Float | Double => text?.parse().ok(),
        _ => None,
    }
}

/// Parameters: key, event time, created time, feature, value, text and, where it is, the number.
fn upsert(table: &Table) -> String {
    let mut columns =
        "entity_key, event_ts, created_ts, feature_name, value, value_text".to_owned();
    let mut parameters = "?1, ?2, ?3, ?4, ?5, ?6".to_owned();
    let mut sets = String::new();
    let mut updated = vec!["event_ts", "created_ts", "value", "value_text", "vector_value"];
    if table.has_value_num {
        columns.push_str(", value_num");
        parameters.push_str(", ?7");
        updated.push("value_num");
    }
    for (index, column) in updated.iter().enumerate() {
        let separator = if index == 0 { "" } else { ", " };
        let _ = write!(sets, "{separator}{column} = excluded.{column}");
    }
    let name = table.quoted();
    format!(
        "INSERT INTO {name} ({columns}, vector_value) VALUES ({parameters}, NULL)
         ON CONFLICT (entity_key, feature_name) DO UPDATE SET {sets}"
    )
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn seconds_are_cut_toward_zero() {
        assert_eq!(whole_seconds(EventTime::from_nanos(1_999_999_999)), 1);
        assert_eq!(whole_seconds(EventTime::from_nanos(-1_999_999_999)), -1);
    }

    #[test]
    fn what_feast_wrote_west_of_utc_does_not_refuse_a_newer_row() {
        let hours = |hours: i64| hours * 3_600;
        let at = |seconds: i64| EventTime::from_nanos(seconds * NANOS_PER_SECOND);
        let stale = |exact| times(Some(hours(20)), exact).map(|times| times.stale);
        assert_eq!(stale(None), Some(at(hours(8))), "twelve hours may be the zone's");
        let ours = Some((at(hours(20)), false));
        assert_eq!(stale(ours), Some(at(hours(20))), "ours are exact");
    }

    #[test]
    fn our_time_counts_only_while_it_agrees_with_feast() {
        let exact = EventTime::from_nanos(5_700_000_000);
        let seconds = |s| Some(EventTime::from_nanos(s * NANOS_PER_SECOND));
        assert_eq!(reconcile(Some(5), Some((exact, false))), Some(exact));
        assert_eq!(reconcile(Some(9), Some((exact, false))), seconds(9));
        assert_eq!(reconcile(Some(5), None), seconds(5));
        assert_eq!(reconcile(Some(5), Some((exact, true))), seconds(5));
        assert_eq!(reconcile(None, Some((exact, true))), Some(exact));
        assert_eq!(reconcile(None, Some((exact, false))), None);
        assert_eq!(reconcile(None, None), None);
    }

    #[test]
    fn only_numbers_have_a_value_num() {
        assert_eq!(value_num(ValueType::Int64 as i32, Some("-3")), Some(-3.0));
        assert_eq!(value_num(ValueType::Float as i32, Some("0.5")), Some(0.5));
        assert_eq!(value_num(ValueType::String as i32, Some("3")), None);
        assert_eq!(value_num(ValueType::Double as i32, None), None);
    }
}
