//! What is in an online store, read with plain commands.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use feast::redis_layout::{encode_timestamp, feature_field, timestamp_field};
use harness::{Redis, Reply};
use rusqlite::{Connection, OptionalExtension};

use crate::hex;

/// Hashes by key, values by field.
pub type Hashes = BTreeMap<Vec<u8>, BTreeMap<Vec<u8>, Vec<u8>>>;

/// One walk over the keys of a database, past our own (ADR 11). Hashes only: any other key is an
/// error.
const WALK: &str = "redis.call('SELECT', ARGV[1]) \
    local page = redis.call('SCAN', ARGV[2], 'COUNT', 1000) \
    local out = {} \
    for _, key in ipairs(page[2]) do \
        if string.sub(key, 1, 13) ~= '__tidegate__:' then \
            out[#out + 1] = {key, redis.call('HGETALL', key)} \
        end \
    end \
    return {page[1], out}";

/// Everything that a Redis database holds of Feast's.
///
/// # Errors
/// When the server cannot be asked, or a key is not a hash.
pub fn hashes(server: &Redis, database: u8) -> Result<Hashes> {
    let mut hashes = Hashes::new();
    let mut cursor = "0".to_owned();
    loop {
        let reply = server.command(&["EVAL", WALK, "0", &database.to_string(), &cursor])?;
        let Some([next, page]) = reply.items() else { bail!("{reply:?}") };
        for entry in page.items().context("a page is a list")? {
            let Some([key, pairs]) = entry.items() else { bail!("{entry:?}") };
            let mut fields = BTreeMap::new();
            for pair in pairs.items().context("a hash is a list")?.chunks(2) {
                let [field, value] = pair else { bail!("{pair:?}") };
                let bytes = |reply: &Reply| reply.bytes().map(<[u8]>::to_vec);
                fields.insert(
                    bytes(field).context("a field is bytes")?,
                    bytes(value).context("a value is bytes")?,
                );
            }
            hashes.insert(key.bytes().context("a key is bytes")?.to_vec(), fields);
        }
        cursor = String::from_utf8(next.bytes().context("a cursor is bytes")?.to_vec())?;
        if cursor == "0" {
            return Ok(hashes);
        }
    }
}

/// The Redis key of an entity with one INT64 join key `id` (C4.1, version 3, and C4.2).
#[must_use]
pub fn redis_key(project: &str, id: i64) -> Vec<u8> {
    [&entity_key(id)[..], project.as_bytes()].concat()
}

/// The serialized entity key of one INT64 join key `id` (C4.1, version 3).
#[must_use]
pub fn entity_key(id: i64) -> Vec<u8> {
    let mut key = vec![1, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0];
    key.extend(b"id");
    key.extend([4, 0, 0, 0, 8, 0, 0, 0]);
    key.extend(id.to_le_bytes());
    key
}

/// A hash of INT64 features as Feast would have written it.
#[must_use]
pub fn int_hash(
    view: &str,
    event_micros: i64,
    features: &[(&str, i64)],
) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let above = event_micros.rem_euclid(1_000_000) * 1_000;
    let time = encode_timestamp(
        event_micros.div_euclid(1_000_000),
        u32::try_from(above).expect("a fraction of a second fits"),
    );
    let mut hash = BTreeMap::from([(timestamp_field(view), time)]);
    for (feature, value) in features {
        let value = crate::wire::Message::new().number(4, *value).into_bytes();
        // A zero is written too: the field is a member of a oneof.
        let value = if value.is_empty() { vec![0x20, 0] } else { value };
        hash.insert(feature_field(view, feature).to_vec(), value);
    }
    hash
}

/// One row of Feast's SQLite online store.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredRow {
    /// Bytes of the value.
    pub value: Vec<u8>,
    /// Text of the value.
    pub text: Option<String>,
    /// Bytes of a vector; never written here.
    pub vector: Option<Vec<u8>>,
    /// Event time in seconds.
    pub event_seconds: Option<i64>,
    /// Created time in seconds.
    pub created_seconds: Option<i64>,
}

/// Rows by entity key in hex and feature.
pub type Rows = BTreeMap<(String, String), StoredRow>;

/// All rows of a view's table; `None` when there is no such table.
///
/// # Errors
/// When the database cannot be read.
pub fn rows(database: &Path, table: &str) -> Result<Option<Rows>> {
    ensure!(database.is_file(), "`{}` does not exist", database.display());
    let connection = Connection::open(database)?;
    let exists = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1";
    if connection.query_row(exists, [table], |_| Ok(())).optional()?.is_none() {
        return Ok(None);
    }
    let mut statement = connection.prepare(&format!(
        "SELECT entity_key, feature_name, value, value_text, vector_value, event_ts, created_ts \
         FROM \"{table}\""
    ))?;
    let rows = statement.query_map([], |row| {
        let key: Vec<u8> = row.get(0)?;
        let stored = StoredRow {
            value: row.get(2)?,
            text: row.get(3)?,
            vector: row.get(4)?,
            event_seconds: row.get(5)?,
            created_seconds: row.get(6)?,
        };
        Ok(((hex::encode(&key), row.get(1)?), stored))
    })?;
    Ok(Some(rows.collect::<rusqlite::Result<_>>()?))
}

/// Makes a view's table, as `feast apply` does.
///
/// # Errors
/// When the database cannot be written, or has the table.
pub fn create_table(database: &Path, table: &str) -> Result<()> {
    if let Some(directory) = database.parent() {
        std::fs::create_dir_all(directory)?;
    }
    Connection::open(database)?.execute_batch(&format!(
        "CREATE TABLE \"{table}\" (entity_key BLOB, feature_name TEXT, value BLOB, \
         value_text TEXT, vector_value BLOB, event_ts timestamp, created_ts timestamp, \
         PRIMARY KEY(entity_key, feature_name))"
    ))?;
    Ok(())
}
