//! Entity key serialization, every version of it.
//!
//! The layout of a key depends on the join keys and the version alone, so it is worked out once a
//! view; a row then appends its values. Deliberately absent: the project, which only the Redis key
//! carries (see `redis_layout.rs`).

use bytes::{BufMut, BytesMut};

use crate::text::{self, NumberText};
use crate::{JoinKey, ValueType};

/// Feast's join key of a view without entities.
pub const DUMMY_JOIN_KEY: &str = "__dummy_id";

/// Version from which counts and name lengths are written.
const COUNTED_FROM: i64 = 3;
/// Version from which an INT64 takes eight bytes.
const WIDE_INT64_FROM: i64 = 2;

/// Why an entity key cannot be serialized.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Feast has no bytes for such a join key.
    #[error(
        "join key `{join_key}` is of type {value_type:?}, which Feast cannot serialize; \
         use STRING, BYTES, INT32, INT64 or UNIX_TIMESTAMP"
    )]
    KeyType {
        /// The join key.
        join_key: String,
        /// Its type.
        value_type: ValueType,
    },
    /// Versions 0 and 1 have four bytes for an INT64.
    #[error(
        "{value} does not fit the four bytes of an INT64 join key in \
         `entity_key_serialization_version` below 2; use version 3"
    )]
    OutOfInt32 {
        /// The number.
        value: i64,
    },
    /// A value is not of its join key's type.
    #[error("join key `{join_key}` takes a value of type {value_type:?}, and got `{value}`")]
    Value {
        /// The join key.
        join_key: String,
        /// Its type.
        value_type: ValueType,
        /// What was given.
        value: String,
    },
    /// A text is not a value of a type.
    #[error("`{text}` is not a value of type {value_type:?}")]
    Text {
        /// The text.
        text: String,
        /// The type.
        value_type: ValueType,
    },
    /// Too many or too few values.
    #[error("an entity has {expected} join keys, and {given} values were given")]
    Count {
        /// How many join keys there are.
        expected: usize,
        /// How many values were given.
        given: usize,
    },
}

/// One join key in the order in which its value is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySlot {
    /// Its place in the join keys that the layout was made from.
    pub position: usize,
    /// The join key.
    pub name: String,
    /// Its type.
    pub value_type: ValueType,
}

/// How a view's entity keys are laid out.
///
/// # Source
/// Contract section 4.1; Feast 0.67 `serialize_entity_key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntityKeyLayout {
    prefix: Vec<u8>,
    slots: Vec<KeySlot>,
    wide_int64: bool,
}

impl EntityKeyLayout {
    /// Works out the layout for the join keys; an empty slice is Feast's dummy entity.
    ///
    /// # Errors
    /// `Error::KeyType` for a join key whose type has no serialization.
    pub fn new(join_keys: &[JoinKey], serialization_version: i64) -> Result<Self, Error> {
        for key in join_keys {
            let supported = matches!(
                key.value_type,
                ValueType::String
                    | ValueType::Bytes
                    | ValueType::Int32
                    | ValueType::Int64
                    | ValueType::UnixTimestamp
            );
            if !supported {
                let (join_key, value_type) = (key.name.clone(), key.value_type);
                return Err(Error::KeyType { join_key, value_type });
            }
        }
        let mut slots: Vec<KeySlot> = join_keys
            .iter()
            .enumerate()
            .map(|(position, key)| KeySlot {
                position,
                name: key.name.clone(),
                value_type: key.value_type,
            })
            .collect();
        slots.sort_by(|left, right| left.name.cmp(&right.name));
        let is_counted = serialization_version >= COUNTED_FROM;
        let wide_int64 = serialization_version >= WIDE_INT64_FROM;
        if slots.is_empty() {
            let mut out = BytesMut::from(&prefix(&[DUMMY_JOIN_KEY], is_counted)[..]);
            put_header(&mut out, ValueType::String, 0);
            return Ok(Self { prefix: out.to_vec(), slots, wide_int64 });
        }
        let names: Vec<&str> = slots.iter().map(|slot| slot.name.as_str()).collect();
        Ok(Self { prefix: prefix(&names, is_counted), slots, wide_int64 })
    }

    /// The bytes with which every key begins: all of it for a view without entities.
    pub fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    /// The join keys in the order in which their values follow the prefix.
    pub fn slots(&self) -> &[KeySlot] {
        &self.slots
    }

    /// Appends a value of an INT32, INT64 or UNIX_TIMESTAMP join key.
    ///
    /// # Errors
    /// `Error::OutOfInt32` when the layout has four bytes and the number needs more.
    pub fn put_integer(
        &self,
        out: &mut BytesMut,
        value_type: ValueType,
        value: i64,
    ) -> Result<(), Error> {
        let is_narrow =
            value_type == ValueType::Int32 || (value_type == ValueType::Int64 && !self.wide_int64);
        if is_narrow {
            let value = i32::try_from(value).map_err(|_| Error::OutOfInt32 { value })?;
            put_header(out, value_type, size_of::<i32>());
            out.put_i32_le(value);
        } else {
            put_header(out, value_type, size_of::<i64>());
            out.put_i64_le(value);
        }
        Ok(())
    }

    /// Appends a value of a STRING or BYTES join key: the bytes that `write` appends.
    ///
    /// # Errors
    /// What `write` returns; the buffer then holds a part of the value.
    ///
    /// # Panics
    /// When one value passes 4 GiB, which Arrow's own offsets rule out.
    pub fn put_text<E>(
        &self,
        out: &mut BytesMut,
        value_type: ValueType,
        write: impl FnOnce(&mut BytesMut) -> Result<(), E>,
    ) -> Result<(), E> {
        put_header(out, value_type, 0);
        let start = out.len();
        write(out)?;
        let length = u32::try_from(out.len() - start).expect("a value is shorter than 4 GiB");
        out[start - size_of::<u32>()..start].copy_from_slice(&length.to_le_bytes());
        Ok(())
    }
}

fn put_header(out: &mut BytesMut, value_type: ValueType, length: usize) {
    out.put_i32_le(value_type.code());
    out.put_u32_le(length as u32);
}

fn prefix(names: &[&str], is_counted: bool) -> Vec<u8> {
    let mut out = Vec::new();
    if is_counted {
        out.put_u32_le(names.len() as u32);
    }
    for name in names {
        out.put_i32_le(ValueType::String.code());
        if is_counted {
            out.put_u32_le(name.len() as u32);
        }
        out.put_slice(name.as_bytes());
    }
    out
}

/// A value of a join key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyValue {
    /// For STRING.
    Text(String),
    /// For BYTES.
    Bytes(Vec<u8>),
    /// For INT32, INT64 and UNIX_TIMESTAMP (seconds).
    Integer(i64),
}

impl KeyValue {
    /// Reads a value as a person writes it: text as is, bytes as their UTF-8 text, numbers in
    /// decimal.
    ///
    /// # Errors
    /// `Error::Text` when the text is no such value.
    pub fn parse(text: &str, value_type: ValueType) -> Result<Self, Error> {
        let refused = || Error::Text { text: text.to_owned(), value_type };
        match value_type {
            ValueType::String => Ok(Self::Text(text.to_owned())),
            ValueType::Bytes => Ok(Self::Bytes(text.as_bytes().to_vec())),
            ValueType::Int32 | ValueType::Int64 | ValueType::UnixTimestamp => {
                let NumberText::Number(number) = text::parse_int(text) else {
                    return Err(refused());
                };
                if value_type == ValueType::Int32 && i32::try_from(number).is_err() {
                    return Err(refused());
                }
                Ok(Self::Integer(number))
            }
            _ => Err(refused()),
        }
    }
}

/// Serializes one entity's key; the values are in the order of the join keys that made the layout.
///
/// # Errors
/// `Error::Count` and `Error::Value` when the values are not those of the layout, and
/// `Error::OutOfInt32`.
pub fn serialize(layout: &EntityKeyLayout, values: &[KeyValue]) -> Result<Vec<u8>, Error> {
    if values.len() != layout.slots.len() {
        return Err(Error::Count { expected: layout.slots.len(), given: values.len() });
    }
    let mut out = BytesMut::from(layout.prefix());
    for slot in &layout.slots {
        let kind = slot.value_type;
        match (&values[slot.position], kind) {
            (KeyValue::Text(text), ValueType::String) => put_slice(layout, &mut out, kind, text),
            (KeyValue::Bytes(bytes), ValueType::Bytes) => put_slice(layout, &mut out, kind, bytes),
            (
                KeyValue::Integer(number),
                ValueType::Int32 | ValueType::Int64 | ValueType::UnixTimestamp,
            ) => layout.put_integer(&mut out, kind, *number)?,
            (value, value_type) => {
                let (join_key, value) = (slot.name.clone(), format!("{value:?}"));
                return Err(Error::Value { join_key, value_type, value });
            }
        }
    }
    Ok(out.to_vec())
}

/// Tells whether bytes are one serialized entity key, of whatever version, and nothing after it.
pub fn is_entity_key(bytes: &[u8]) -> bool {
    is_counted_key(bytes).unwrap_or(false) || is_uncounted_key(bytes).unwrap_or(false)
}

/// As version 3 writes it; `None` when the bytes end too early.
fn is_counted_key(bytes: &[u8]) -> Option<bool> {
    let (count, mut rest) = take_u32(bytes)?;
    for _ in 0..count {
        let (code, after) = take_u32(rest)?;
        if code != ValueType::String.code() as u32 {
            return Some(false);
        }
        rest = skip_sized(after)?;
    }
    Some(count > 0 && are_values(rest, count).unwrap_or(false))
}

/// As the versions below write it: how many names there are, and where each ends, is not written.
/// A name ends where a type begins, whose first byte is below any of a name.
fn is_uncounted_key(bytes: &[u8]) -> Option<bool> {
    let mut rest = bytes;
    for count in 1.. {
        let (code, after) = take_u32(rest)?;
        if code != ValueType::String.code() as u32 {
            return Some(false);
        }
        let end = after.iter().position(|&byte| byte < b' ')?;
        rest = &after[end..];
        if are_values(rest, count).unwrap_or(false) {
            return Some(end > 0);
        }
    }
    None
}

/// Tells whether bytes are exactly so many values; `None` when they end too early.
fn are_values(bytes: &[u8], count: u32) -> Option<bool> {
    let mut rest = bytes;
    for _ in 0..count {
        let (_, after) = take_u32(rest)?;
        rest = skip_sized(after)?;
    }
    Some(rest.is_empty())
}

fn take_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u32::from_le_bytes(*number), rest))
}

/// What follows a length and as many bytes.
fn skip_sized(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = take_u32(bytes)?;
    rest.get(usize::try_from(length).ok()?..)
}

fn put_slice(
    layout: &EntityKeyLayout,
    out: &mut BytesMut,
    value_type: ValueType,
    bytes: impl AsRef<[u8]>,
) {
    let write = |out: &mut BytesMut| -> Result<(), std::convert::Infallible> {
        out.put_slice(bytes.as_ref());
        Ok(())
    };
    match layout.put_text(out, value_type, write) {
        Ok(()) => {}
        Err(never) => match never {},
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    fn keys(keys: &[(&str, ValueType)]) -> Vec<JoinKey> {
        keys.iter()
            .map(|(name, value_type)| JoinKey { name: (*name).to_owned(), value_type: *value_type })
            .collect()
    }

    fn key(keys_: &[(&str, ValueType)], version: i64, values: &[KeyValue]) -> Vec<u8> {
        serialize(&EntityKeyLayout::new(&keys(keys_), version).unwrap(), values).unwrap()
    }

    #[test]
    fn version_3_counts_keys_and_names() {
        let bytes = key(&[("id", ValueType::Int64)], 3, &[KeyValue::Integer(1)]);
        assert_eq!(
            bytes,
            b"\x01\0\0\0\x02\0\0\0\x02\0\0\0id\x04\0\0\0\x08\0\0\0\x01\0\0\0\0\0\0\0"
        );
        assert_eq!(key(&[("id", ValueType::Int64)], 4, &[KeyValue::Integer(1)]), bytes);
    }

    #[test]
    fn version_2_has_no_counts_and_versions_below_it_short_integers() {
        let v2 = key(&[("id", ValueType::Int64)], 2, &[KeyValue::Integer(1)]);
        assert_eq!(v2, b"\x02\0\0\0id\x04\0\0\0\x08\0\0\0\x01\0\0\0\0\0\0\0");
        for version in [0, 1] {
            let short = key(&[("id", ValueType::Int64)], version, &[KeyValue::Integer(-1)]);
            assert_eq!(short, b"\x02\0\0\0id\x04\0\0\0\x04\0\0\0\xff\xff\xff\xff");
        }
    }

    #[test]
    fn short_integers_refuse_what_does_not_fit() {
        let layout = EntityKeyLayout::new(&keys(&[("id", ValueType::Int64)]), 1).unwrap();
        let value = i64::from(i32::MAX) + 1;
        let refused = serialize(&layout, &[KeyValue::Integer(value)]);
        assert_eq!(refused, Err(Error::OutOfInt32 { value }));
    }

    #[test]
    fn keys_are_sorted_by_name_and_values_follow() {
        let bytes = key(
            &[("b", ValueType::String), ("a", ValueType::Int32)],
            3,
            &[KeyValue::Text("x".to_owned()), KeyValue::Integer(7)],
        );
        let expected = b"\x02\0\0\0\x02\0\0\0\x01\0\0\0a\x02\0\0\0\x01\0\0\0b\
            \x03\0\0\0\x04\0\0\0\x07\0\0\0\x02\0\0\0\x01\0\0\0x";
        assert_eq!(bytes, expected);
    }

    #[test]
    fn no_join_key_is_the_dummy_entity() {
        let layout = EntityKeyLayout::new(&[], 3).unwrap();
        assert!(layout.slots().is_empty());
        let expected =
            key(&[(DUMMY_JOIN_KEY, ValueType::String)], 3, &[KeyValue::Text(String::new())]);
        assert_eq!(serialize(&layout, &[]).unwrap(), expected);
    }

    #[test]
    fn keys_of_every_version_are_told_from_those_with_more_or_fewer_bytes() {
        let text = |length: usize| KeyValue::Text("x".repeat(length));
        for version in [0, 2, 3] {
            let mut all = vec![
                key(&[("id", ValueType::Int64)], version, &[KeyValue::Integer(1)]),
                serialize(&EntityKeyLayout::new(&[], version).unwrap(), &[]).unwrap(),
            ];
            for length in [0, 1, 32, 65, 300] {
                let names = [("b", ValueType::String), ("a", ValueType::String)];
                all.push(key(&names, version, &[text(length), text(3)]));
            }
            for bytes in all {
                assert!(is_entity_key(&bytes), "version {version}: {bytes:?}");
                assert!(!is_entity_key(&[&bytes[..], b"a"].concat()), "version {version}");
                assert!(!is_entity_key(&bytes[..bytes.len() - 1]), "version {version}");
            }
        }
        for bytes in [&b""[..], b"\0\0\0\0", b"__tidegate__:{1}:", &[0xff; 40]] {
            assert!(!is_entity_key(bytes), "{bytes:?}");
        }
    }

    #[test]
    fn other_types_are_refused_by_name() {
        let error = EntityKeyLayout::new(&keys(&[("flag", ValueType::Bool)]), 3).unwrap_err();
        assert!(error.to_string().contains("`flag` is of type Bool"), "{error}");
    }

    #[test]
    fn texts_become_values_of_the_type() {
        let parse = KeyValue::parse;
        assert_eq!(parse("-5", ValueType::Int32).unwrap(), KeyValue::Integer(-5));
        assert_eq!(parse("05", ValueType::String).unwrap(), KeyValue::Text("05".to_owned()));
        assert_eq!(parse("é", ValueType::Bytes).unwrap(), KeyValue::Bytes(b"\xc3\xa9".to_vec()));
        assert!(parse("2147483648", ValueType::Int32).is_err());
        assert!(parse("1.0", ValueType::Int64).is_err());
        assert!(parse("true", ValueType::Bool).is_err());
    }
}
