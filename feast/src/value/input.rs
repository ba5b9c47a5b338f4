//! Pushed rows: from a cell's JSON or protobuf to the value of the declared type.
//!
//! What Feast 0.67 stores for a cell is stored here too, wherever that loses nothing; where Feast
//! would cut a fraction or make null of a number, the cell is refused. Deliberately absent: which
//! columns a row has, and the keys among them (see `request.rs`).

use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use serde_json::Value as JsonValue;

use super::answer::NULL_TIMESTAMP;
use super::json::{self, Json};
use super::request::{decimal, exact, scalar_text};
use super::{Error, Value, field_of, found, infer};
use crate::{ValueType, datetime, text};

const MICROS_PER_SECOND: i64 = 1_000_000;

/// Reads a cell of a feature's declared type; null is null of every type.
///
/// INT32 and INT64 take integers in range, also as `7.0`, `"7"` or a bool; FLOAT and DOUBLE
/// numbers and the texts with which `NaN` and the infinities are answered; BOOL bools, and integers
/// as whether they are 0; STRING any scalar by its Python text; BYTES base64, as in answers;
/// UNIX_TIMESTAMP seconds or ISO 8601; JSON a JSON text, or any other JSON as its text; UUID and
/// DECIMAL texts; MAP and STRUCT objects, or their JSON text; lists arrays of the same.
///
/// # Errors
/// `Error::Shape`, which says what was expected and what was found; `Error::Json`,
/// `Error::Inference`, `Error::OutOfRange` and `Error::TooDeep` for what stands inside.
///
/// # Source
/// Contract of materialization, section 3.6, rule 2. Unlike there a null timestamp is null and a
/// scalar `NaN` stays one.
pub fn from_json(json: &JsonValue, value_type: ValueType) -> Result<Value, Error> {
    if json.is_null() {
        return Ok(Value::Null);
    }
    if let Some(element) = value_type.element() {
        return list(json, value_type, element);
    }
    match value_type {
        ValueType::Json => json_text(json),
        ValueType::Map | ValueType::Struct => map(json, value_type).and_then(readable),
        ValueType::MapList | ValueType::StructList => map_list(json, value_type).and_then(readable),
        ValueType::ValueList | ValueType::ValueSet => match Json::from(json) {
            Json::Array(items) => infer::nested(value_type, items).and_then(readable),
            _ => Err(found::refused("an array of arrays", json)),
        },
        _ => scalar(json, value_type).ok_or_else(|| found::refused(expected(value_type), json)),
    }
}

/// Reads a cell that is a serialized `feast.types.Value`, which must be null or of the declared
/// type.
///
/// # Errors
/// `Error::Malformed` and `Error::TooDeep` when the bytes are no value, `Error::Shape` when it is
/// of another type.
pub fn from_proto(serialized: &[u8], value_type: ValueType) -> Result<Value, Error> {
    let value = Value::decode(serialized)?;
    match value.kind() {
        Some(kind) if field_of(kind) != field_of(value_type) => {
            Err(found::refused_value(format!("a value of type {value_type:?}"), &value))
        }
        _ => Ok(value),
    }
}

/// Reads an event time: ISO 8601, in UTC without an offset, or seconds since the epoch.
///
/// # Units
/// Microseconds since the epoch.
/// # Errors
/// `Error::Shape` for anything else, null among it, and for times that microseconds cannot hold.
pub fn event_time_from_json(json: &JsonValue) -> Result<i64, Error> {
    let micros = match json {
        JsonValue::String(text) => iso_micros(text),
        JsonValue::Number(number) => match number.as_i64() {
            Some(seconds) => seconds.checked_mul(MICROS_PER_SECOND),
            None => number.as_f64().and_then(float_micros),
        },
        _ => None,
    };
    micros.ok_or_else(|| found::refused("an ISO 8601 time or seconds since the epoch", json))
}

/// A float's microseconds; the nearest, since a float of seconds is hardly ever exact.
fn float_micros(seconds: f64) -> Option<i64> {
    const I64_END: f64 = 9_223_372_036_854_775_808.0;
    let micros = (seconds * MICROS_PER_SECOND as f64).round();
    (-I64_END..I64_END).contains(&micros).then_some(micros as i64)
}

/// Digits alone are a date (`20260131`) or nothing: the reader would take the time of a number of
/// milliseconds for one of the year 1712.
fn iso_micros(text: &str) -> Option<i64> {
    const BASIC_DATE_LEN: usize = 8;
    let is_number = text.len() > BASIC_DATE_LEN && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { None } else { datetime::parse_iso(text).ok() }
}

fn scalar(json: &JsonValue, value_type: ValueType) -> Option<Value> {
    Some(match value_type {
        ValueType::Int32 => Value::Int32(integer(json)?.try_into().ok()?),
        ValueType::Int64 => Value::Int64(integer(json)?),
        ValueType::Double => Value::Double(float(json)?),
        ValueType::Float => Value::Float(float(json)? as f32),
        ValueType::Bool => Value::Bool(match json {
            JsonValue::Bool(value) => *value,
            json => json.as_i64()? != 0,
        }),
        ValueType::String => Value::String(scalar_text(json)?),
        ValueType::Bytes | ValueType::PdfBytes | ValueType::ImageBytes => {
            Value::Bytes(STANDARD.decode(json.as_str()?).ok()?)
        }
        ValueType::UnixTimestamp => Value::UnixTimestamp(match json {
            JsonValue::Number(number) => number.as_i64().or_else(|| exact(number))?,
            json => iso_micros(json.as_str()?)?.div_euclid(MICROS_PER_SECOND),
        }),
        ValueType::Uuid | ValueType::TimeUuid | ValueType::Decimal => {
            Value::Text(value_type, json.as_str()?.to_owned())
        }
        _ => return None,
    })
}

const fn expected(value_type: ValueType) -> &'static str {
    match value_type {
        ValueType::Int32 => "an integer of 32 bits",
        ValueType::Int64 => "an integer of 64 bits",
        ValueType::Double | ValueType::Float => "a number, `NaN`, `Infinity` or `-Infinity`",
        ValueType::Bool => "a bool",
        ValueType::String | ValueType::Uuid | ValueType::TimeUuid => "a text",
        ValueType::Decimal => "a decimal number as a text",
        ValueType::Bytes | ValueType::PdfBytes | ValueType::ImageBytes => "bytes in base64",
        ValueType::UnixTimestamp => "an ISO 8601 time or whole seconds since the epoch",
        _ => "null (values of this type cannot be pushed)",
    }
}

fn integer(json: &JsonValue) -> Option<i64> {
    match json {
        JsonValue::Number(number) => number.as_i64().or_else(|| exact(number)),
        JsonValue::String(text) => decimal(text),
        JsonValue::Bool(value) => Some(i64::from(*value)),
        _ => None,
    }
}

fn float(json: &JsonValue) -> Option<f64> {
    match json {
        JsonValue::Number(number) => number.as_f64(),
        JsonValue::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

/// A text must be JSON and is kept as it is; anything else becomes its text.
fn json_text(json: &JsonValue) -> Result<Value, Error> {
    let text = match json {
        JsonValue::String(text) => {
            json::check(text)?;
            text.clone()
        }
        json => text::json_dumps(&Json::from(json)),
    };
    Ok(Value::Text(ValueType::Json, text))
}

fn map(json: &JsonValue, value_type: ValueType) -> Result<Value, Error> {
    match Json::from(json) {
        Json::Object(members) => Ok(Value::Map(value_type, infer::entries(members)?)),
        Json::String(text) => infer::map(value_type, &text),
        _ => Err(found::refused("an object or its JSON text", json)),
    }
}

/// Feast's remote online store sends each object of the array as its JSON text.
fn map_list(json: &JsonValue, value_type: ValueType) -> Result<Value, Error> {
    let items = match json {
        JsonValue::Array(items) => items,
        JsonValue::String(text) => return infer::map_list(value_type, text),
        _ => return Err(found::refused("an array of objects or its JSON text", json)),
    };
    let entries = |item: &JsonValue| match map(item, ValueType::Map)? {
        Value::Map(_, entries) => Ok(entries),
        other => Err(found::refused_value("an object", &other)),
    };
    Ok(Value::MapList(value_type, items.iter().map(entries).collect::<Result<_, _>>()?))
}

/// Refuses what protobuf's readers would refuse: values nested too deep.
fn readable(value: Value) -> Result<Value, Error> {
    Value::decode(&serialized(&value))
}

fn serialized(value: &Value) -> Bytes {
    let mut out = BytesMut::new();
    value.encode(&mut out);
    out.freeze()
}

fn list(json: &JsonValue, value_type: ValueType, element: ValueType) -> Result<Value, Error> {
    let JsonValue::Array(items) = json else {
        return Err(found::refused("an array", json));
    };
    let item = |item: &JsonValue| match item {
        JsonValue::Null => null_element(element)
            .ok_or_else(|| found::refused("an array without nulls", &JsonValue::Null)),
        item => from_json(item, element),
    };
    let mut items: Vec<Value> = items.iter().map(item).collect::<Result<_, _>>()?;
    if value_type.is_set() {
        let mut seen = HashSet::with_capacity(items.len());
        items.retain(|item| seen.insert(identity(item)));
    }
    Ok(Value::List(value_type, items))
}

/// What stands for null in a list; integers have nothing for it.
///
/// # Source
/// Contract of materialization, section 3.6: lists of Feast 0.67.
fn null_element(element: ValueType) -> Option<Value> {
    Some(match element {
        ValueType::String => Value::String(String::new()),
        ValueType::Bytes => Value::Bytes(Vec::new()),
        ValueType::Bool => Value::Bool(false),
        ValueType::UnixTimestamp => Value::UnixTimestamp(NULL_TIMESTAMP),
        ValueType::Double => Value::Double(f64::NAN),
        ValueType::Float => Value::Float(f32::NAN),
        ValueType::Json => Value::Text(element, "null".to_owned()),
        ValueType::Uuid | ValueType::TimeUuid | ValueType::Decimal => {
            Value::Text(element, String::new())
        }
        _ => return None,
    })
}

/// What makes an element of a set equal to another: its bytes, but the two zeros are one.
fn identity(item: &Value) -> Bytes {
    match item {
        Value::Double(0.0) => serialized(&Value::Double(0.0)),
        Value::Float(0.0) => serialized(&Value::Float(0.0)),
        item => serialized(item),
    }
}

#[cfg(test)]
mod tests;
