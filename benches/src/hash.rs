//! A row as Redis must hold it: Feast's key, fields and values, made without our encoder.

use anyhow::{Result, bail, ensure};
use bytes::BytesMut;
use feast::entity_key::{EntityKeyLayout, KeyValue, serialize};
use feast::redis_layout::{encode_timestamp, feature_field, timestamp_field};
use feast::value::Value;
use feast::{JoinKey, ValueType};
use harness::{Redis, Reply};

/// The project of every repository here; its name ends every key.
pub const PROJECT: &str = "bench";
/// The join key of every view here: an int64.
pub const JOIN_KEY: &str = "driver_id";
/// How many rows of a result are compared byte for byte.
const CHECKED_ROWS: usize = 1_000;

/// A field of a hash and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// What is the same in every hash of a view.
#[derive(Debug)]
pub struct Layout {
    key: EntityKeyLayout,
    timestamp: Vec<u8>,
    features: Vec<[u8; 4]>,
}

impl Layout {
    /// The layout of a view with these features.
    #[must_use]
    pub fn new<'a>(view: &str, features: impl IntoIterator<Item = &'a str>) -> Self {
        let join_key = JoinKey { name: JOIN_KEY.to_owned(), value_type: ValueType::Int64 };
        Self {
            key: EntityKeyLayout::new(&[join_key], 3).expect("an int64 is a fine join key"),
            timestamp: timestamp_field(view),
            features: features.into_iter().map(|feature| feature_field(view, feature)).collect(),
        }
    }

    /// The key and the fields of a row; the event time is the first of them.
    #[must_use]
    pub fn hash(
        &self,
        key: i64,
        micros: i64,
        values: impl IntoIterator<Item = Value>,
    ) -> (Vec<u8>, Vec<Pair>) {
        let key = serialize(&self.key, &[KeyValue::Integer(key)]);
        let mut key = key.expect("any int64 fits");
        key.extend_from_slice(PROJECT.as_bytes());
        let (seconds, micros) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
        let event_time = encode_timestamp(seconds, micros as u32 * 1_000);
        let mut fields = vec![(self.timestamp.clone(), event_time)];
        for (field, value) in self.features.iter().zip(values) {
            let mut bytes = BytesMut::new();
            value.encode(&mut bytes);
            fields.push((field.to_vec(), bytes.to_vec()));
        }
        (key, fields)
    }
}

/// Checks that Redis holds so many rows and nothing else, some of them byte by byte.
///
/// # Errors
/// When it does not.
pub fn check(
    redis: &Redis,
    rows: usize,
    expected: impl Fn(usize) -> (Vec<u8>, Vec<Pair>),
) -> Result<()> {
    let keys = redis.command(&["DBSIZE"])?;
    // Beside the rows lie the program's own keys.
    let own = redis.command(&["KEYS", "__tidegate__:*"])?;
    let wanted = rows + own.items().map_or(0, <[Reply]>::len);
    ensure!(keys == Reply::Integer(wanted as i64), "{keys:?}, not {wanted} keys");
    for index in (0..rows).step_by((rows / CHECKED_ROWS).max(1)) {
        let (key, mut fields) = expected(index);
        let Reply::Array(found) = redis.command(&[b"HGETALL".as_slice(), &key])? else {
            bail!("row {index} is no hash");
        };
        let bytes = |reply: &Reply| reply.bytes().map(<[u8]>::to_vec).unwrap_or_default();
        let mut found: Vec<Pair> =
            found.chunks(2).map(|pair| (bytes(&pair[0]), bytes(&pair[1]))).collect();
        found.sort();
        fields.sort();
        let differs = found.iter().zip(&fields).find(|(found, wanted)| found != wanted);
        ensure!(found.len() == fields.len(), "row {index} has {} fields", found.len());
        if let Some((found, wanted)) = differs {
            bail!("row {index} holds {found:?}, not {wanted:?}");
        }
    }
    Ok(())
}

/// Spreads a number over all 64 bits: one step of the generator SplitMix64.
#[must_use]
pub fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_value_a_missing_row_and_another_key_are_noticed() -> Result<()> {
        let redis = Redis::start()?;
        let layout = Layout::new("v", ["f"]);
        let hash = |index: usize| layout.hash(index as i64, 5, [Value::Int64(index as i64)]);
        for index in 0..3 {
            let (key, fields) = hash(index);
            let mut command = vec![b"HSET".to_vec(), key];
            command.extend(fields.into_iter().flat_map(|(field, value)| [field, value]));
            redis.command(&command)?;
        }
        check(&redis, 3, hash)?;
        let error = check(&redis, 4, hash).expect_err("three rows").to_string();
        assert!(error.contains("not 4 keys"), "{error}");
        let other = |index: usize| layout.hash(index as i64, 5, [Value::Int64(7)]);
        let error = check(&redis, 3, other).expect_err("other values").to_string();
        assert!(error.contains("row 0 holds"), "{error}");
        redis.command(&[b"DEL".as_slice(), &hash(1).0])?;
        redis.command(&["HSET", "stranger", "a", "b"])?;
        assert!(check(&redis, 3, hash).is_err());
        Ok(())
    }
}
