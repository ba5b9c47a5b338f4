//! Rows in Redis, in Feast's own bytes.

use anyhow::{Result, bail};
use feast::entity_key::{EntityKeyLayout, KeyValue, serialize};
use feast::redis_layout::{encode_timestamp, feature_field, timestamp_field};
use feast::value::Value;
use feast::{JoinKey, ValueType};
use harness::{Redis, Reply};

/// Feast's default, and the only one that it still supports.
const KEY_VERSION: i64 = 3;

/// A join key with a value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Key {
    pub(crate) join_key: JoinKey,
    pub(crate) value: KeyValue,
}

impl Key {
    pub(crate) fn new(name: &str, value_type: ValueType, value: KeyValue) -> Self {
        Self { join_key: JoinKey { name: name.to_owned(), value_type }, value }
    }
}

/// What the online store holds of one entity in one view.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) view: String,
    /// None for a view without an entity.
    pub(crate) keys: Vec<Key>,
    pub(crate) event_micros: i64,
    /// Features that are not here have no field at all.
    pub(crate) values: Vec<(String, Value)>,
}

/// Stores a row.
pub(crate) fn put(redis: &Redis, project: &str, row: &Row) -> Result<()> {
    let seconds = row.event_micros.div_euclid(1_000_000);
    let nanos = u32::try_from(row.event_micros.rem_euclid(1_000_000) * 1_000)?;
    let mut command = vec![b"HSET".to_vec(), redis_key(project, &row.keys)?];
    command.extend([timestamp_field(&row.view), encode_timestamp(seconds, nanos)]);
    for (feature, value) in &row.values {
        let mut bytes = Default::default();
        value.encode(&mut bytes);
        command.extend([feature_field(&row.view, feature).to_vec(), bytes.to_vec()]);
    }
    match redis.command(&command)? {
        Reply::Integer(_) => Ok(()),
        other => bail!("Redis did not store a row: {other:?}"),
    }
}

/// The key of an entity's hash.
pub(crate) fn redis_key(project: &str, keys: &[Key]) -> Result<Vec<u8>> {
    let join_keys: Vec<JoinKey> = keys.iter().map(|key| key.join_key.clone()).collect();
    let values: Vec<KeyValue> = keys.iter().map(|key| key.value.clone()).collect();
    let layout = EntityKeyLayout::new(&join_keys, KEY_VERSION)?;
    Ok([&serialize(&layout, &values)?[..], project.as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::svc;

    #[test]
    fn the_rows_of_the_recording_read_back_from_redis() -> Result<()> {
        let redis = Redis::start()?;
        let rows = svc::rows();
        rows.iter().try_for_each(|row| put(&redis, svc::PROJECT, row))?;
        let hashes = ::tests::online::hashes(&redis, 0)?;
        for row in &rows {
            let hash = &hashes[&redis_key(svc::PROJECT, &row.keys)?];
            let time = feast::redis_layout::decode_timestamp(&hash[&timestamp_field(&row.view)]);
            let (seconds, nanos) = time.expect("it is a timestamp");
            assert_eq!(seconds * 1_000_000 + i64::from(nanos) / 1_000, row.event_micros);
            for (feature, value) in &row.values {
                let read = Value::decode(&hash[&feature_field(&row.view, feature)[..]])?;
                // NaN is not equal to itself, and is the same text.
                assert_eq!(format!("{read:?}"), format!("{value:?}"), "{}:{feature}", row.view);
            }
        }
        Ok(())
    }

    #[test]
    fn a_key_is_laid_out_as_the_other_suites_lay_it_out() -> Result<()> {
        let key = Key::new("id", ValueType::Int64, KeyValue::Integer(7));
        assert_eq!(redis_key("p", &[key])?, ::tests::online::redis_key("p", 7));
        Ok(())
    }
}
