//! The entities of a request: from JSON or protobuf to the values of entity keys, and back.
//!
//! A key of the wrong type finds nothing, so what a caller sends is either made the declared type
//! without loss or refused; what Feast makes of it on top, with loss, is done on request.
//! Deliberately absent: the bytes of the key (see `entity_key.rs`).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use serde_json::{Number, Value as JsonValue};

use super::{Error, Value, found};
use crate::ValueType;
use crate::entity_key::KeyValue;
use crate::text::{self, NumberText};

/// How far a value of a request may be from the declared type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Coercion {
    /// It must say the declared type's value exactly.
    #[default]
    Strict,
    /// As Feast 0.67: `1001.7` is 1001, `true` is 1, and whatever `int()` and `str()` make of it.
    Feast,
}

/// From this size on a float may stand for several integers: 2^53 for 2^53 + 1 as well.
const INEXACT_FROM: f64 = 9_007_199_254_740_992.0;

/// Reads a join key's value out of a JSON request.
///
/// Strictly, INT32, INT64 and UNIX_TIMESTAMP (seconds) take integers in range, also written as a
/// float (`1001.0`) or a decimal text (`"1001"`); STRING takes texts, and integers as their decimal
/// text; BYTES takes base64, as the answers have it.
///
/// # Errors
/// `Error::Shape`, which says what was expected and what was found; null is always refused.
///
/// # Source
/// Contract section 1.3.
pub fn key_from_json(
    json: &JsonValue,
    value_type: ValueType,
    coercion: Coercion,
) -> Result<KeyValue, Error> {
    let what = expected(value_type);
    let key = match value_type {
        ValueType::Int32 | ValueType::Int64 | ValueType::UnixTimestamp => {
            integer(json, coercion).and_then(|number| integer_key(number, value_type))
        }
        ValueType::String => key_text(json, coercion).map(KeyValue::Text),
        ValueType::Bytes => {
            json.as_str().and_then(|text| STANDARD.decode(text).ok()).map(KeyValue::Bytes)
        }
        _ => None,
    };
    key.ok_or_else(|| found::refused(what, json))
}

/// Reads a join key's value out of a gRPC request.
///
/// Strictly, either integer type is taken for the other, in range, and for UNIX_TIMESTAMP; anything
/// else must be of the declared type. With [`Coercion::Feast`] numbers, bools and texts are
/// treated as in JSON; Feast itself looks a key of another type up as it is, and finds nothing.
///
/// # Errors
/// `Error::Malformed` and `Error::TooDeep` when the bytes are no value, `Error::Shape` when it is
/// not the declared type's; null is always refused.
pub fn key_from_proto(
    serialized: &[u8],
    value_type: ValueType,
    coercion: Coercion,
) -> Result<KeyValue, Error> {
    let value = Value::decode(serialized)?;
    let key = match (value_type, &value) {
        (ValueType::String, Value::String(text)) => Some(KeyValue::Text(text.clone())),
        (ValueType::Bytes, Value::Bytes(bytes)) => Some(KeyValue::Bytes(bytes.clone())),
        (ValueType::UnixTimestamp, Value::UnixTimestamp(seconds)) => {
            Some(KeyValue::Integer(*seconds))
        }
        (ValueType::Int32 | ValueType::Int64 | ValueType::UnixTimestamp, Value::Int64(number)) => {
            integer_key(*number, value_type)
        }
        (ValueType::Int32 | ValueType::Int64 | ValueType::UnixTimestamp, Value::Int32(number)) => {
            Some(KeyValue::Integer(i64::from(*number)))
        }
        (
            ValueType::Int32 | ValueType::Int64 | ValueType::UnixTimestamp | ValueType::String,
            Value::Int32(_)
            | Value::Int64(_)
            | Value::Double(_)
            | Value::Float(_)
            | Value::Bool(_)
            | Value::String(_),
        ) if coercion == Coercion::Feast => {
            return key_from_json(&value.to_json(), value_type, coercion);
        }
        _ => None,
    };
    key.ok_or_else(|| found::refused_value(expected(value_type), &value))
}

/// The serialized `feast.types.Value` with which a response repeats a key's value.
pub fn echo(key: &KeyValue, value_type: ValueType) -> Bytes {
    let value = match (key, value_type) {
        // A key of an INT32 is in its range, which was checked when it was read.
        (KeyValue::Integer(number), ValueType::Int32) => Value::Int32(*number as i32),
        (KeyValue::Integer(seconds), ValueType::UnixTimestamp) => Value::UnixTimestamp(*seconds),
        (KeyValue::Integer(number), _) => Value::Int64(*number),
        (KeyValue::Text(text), _) => Value::String(text.clone()),
        (KeyValue::Bytes(bytes), _) => Value::Bytes(bytes.clone()),
    };
    let mut out = BytesMut::new();
    value.encode(&mut out);
    out.freeze()
}

const fn expected(value_type: ValueType) -> &'static str {
    match value_type {
        ValueType::Int32 => "an integer of 32 bits",
        ValueType::Int64 => "an integer of 64 bits",
        ValueType::UnixTimestamp => "seconds since the epoch as an integer of 64 bits",
        ValueType::String => "a text",
        ValueType::Bytes => "bytes in base64",
        _ => "a join key of type STRING, BYTES, INT32, INT64 or UNIX_TIMESTAMP",
    }
}

fn integer_key(number: i64, value_type: ValueType) -> Option<KeyValue> {
    let is_outside = value_type == ValueType::Int32 && i32::try_from(number).is_err();
    (!is_outside).then_some(KeyValue::Integer(number))
}

fn integer(json: &JsonValue, coercion: Coercion) -> Option<i64> {
    match (json, coercion) {
        (JsonValue::Number(number), _) => number.as_i64().or_else(|| match coercion {
            Coercion::Strict => exact(number),
            Coercion::Feast => truncated(number),
        }),
        (JsonValue::String(text), Coercion::Strict) => decimal(text),
        (JsonValue::String(text), Coercion::Feast) => match text::parse_int(text) {
            NumberText::Number(number) => Some(number),
            NumberText::OutOfRange | NumberText::NotANumber => None,
        },
        (JsonValue::Bool(value), Coercion::Feast) => Some(i64::from(*value)),
        _ => None,
    }
}

/// A float that stands for one integer and no other.
pub(super) fn exact(number: &Number) -> Option<i64> {
    let is_float = number.is_f64();
    let float = number.as_f64().filter(|float| is_float && float.fract() == 0.0)?;
    (float.abs() < INEXACT_FROM).then_some(float as i64)
}

/// A float without its fraction, as Python's `int()` has it.
fn truncated(number: &Number) -> Option<i64> {
    const I64_END: f64 = 9_223_372_036_854_775_808.0;
    let float = number.as_f64()?.trunc();
    (-I64_END..I64_END).contains(&float).then_some(float as i64)
}

/// An integer in decimal digits and nothing around them.
pub(super) fn decimal(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_decimal = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_decimal.then(|| text.parse().ok()).flatten()
}

fn key_text(json: &JsonValue, coercion: Coercion) -> Option<String> {
    match json {
        JsonValue::String(text) => Some(text.clone()),
        JsonValue::Number(number) if !number.is_f64() => Some(number.to_string()),
        json if coercion == Coercion::Feast => scalar_text(json),
        _ => None,
    }
}

/// What `str()` makes of a scalar.
pub(super) fn scalar_text(json: &JsonValue) -> Option<String> {
    match json {
        JsonValue::String(text) => Some(text.clone()),
        JsonValue::Bool(value) => Some(text::bool_text(*value).to_owned()),
        JsonValue::Number(number) if number.is_f64() => {
            let mut out = String::new();
            text::write_float(&mut out, number.as_f64()?).expect("a `String` takes every text");
            Some(out)
        }
        JsonValue::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
