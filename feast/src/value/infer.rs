//! Types that Feast infers for what stands inside maps.
//!
//! A map's values carry no declared type, so Feast looks at each Python object. Deliberately
//! absent: Arrow structs, whose types are known from the column (see `jobs::encode`).

use super::json::{self, Json};
use super::{Entries, Error, Value};
use crate::ValueType;

/// The MAP or STRUCT of a JSON text.
///
/// # Errors
/// `Error::Json`, `Error::Shape` when the text holds no object, `Error::Inference` and
/// `Error::OutOfRange` for what Feast has no value.
pub fn map(kind: ValueType, text: &str) -> Result<Value, Error> {
    match json::parse(text)? {
        Json::Object(members) => Ok(Value::Map(kind, entries(members)?)),
        other => Err(Error::Shape { what: "a JSON object".into(), found: name(&other).into() }),
    }
}

/// The MAP_LIST or STRUCT_LIST of a JSON text.
///
/// # Errors
/// As [`map`]; the text must hold an array of objects.
pub fn map_list(kind: ValueType, text: &str) -> Result<Value, Error> {
    match json::parse(text)? {
        Json::Array(items) => Ok(Value::MapList(kind, maps(items)?)),
        other => {
            Err(Error::Shape { what: "a JSON array of objects".into(), found: name(&other).into() })
        }
    }
}

/// The elements of a list or set that a JSON text holds as an array.
///
/// # Errors
/// As [`map`]; every element must be of the element type, and null is of none.
pub fn list(kind: ValueType, text: &str) -> Result<Value, Error> {
    let Json::Array(items) = json::parse(text)? else {
        return Err(Error::Shape { what: "a JSON array".into(), found: "something else".into() });
    };
    let element = kind.element().ok_or(Error::Inference("an element of no list"))?;
    let items: Result<_, _> = items.into_iter().map(|item| list_item(element, item)).collect();
    Ok(Value::List(kind, items?))
}

fn list_item(element: ValueType, item: Json) -> Result<Value, Error> {
    let found = name(&item);
    Ok(match (element, item) {
        (_, Json::BigInt(digits)) => return Err(Error::OutOfRange(digits)),
        (ValueType::Int32, Json::Int(number)) => {
            let number = i32::try_from(number).map_err(|_| Error::OutOfRange(number.to_string()));
            Value::Int32(number?)
        }
        (ValueType::Int64, Json::Int(number)) => Value::Int64(number),
        (ValueType::UnixTimestamp, Json::Int(number)) => Value::UnixTimestamp(number),
        (ValueType::Double, Json::Int(number)) => Value::Double(number as f64),
        (ValueType::Double, Json::Float(number)) => Value::Double(number),
        (ValueType::Float, Json::Int(number)) => Value::Float(number as f64 as f32),
        (ValueType::Float, Json::Float(number)) => Value::Float(number as f32),
        (ValueType::Bool, Json::Bool(value)) => Value::Bool(value),
        (ValueType::String, Json::String(text)) => Value::String(text),
        (ValueType::Uuid | ValueType::TimeUuid | ValueType::Decimal, Json::String(text)) => {
            Value::Text(element, text)
        }
        _ => {
            return Err(Error::Shape {
                what: "an element of the declared type".into(),
                found: found.into(),
            });
        }
    })
}

/// The entries of an object.
pub(super) fn entries(members: Vec<(String, Json)>) -> Result<Entries, Error> {
    members.into_iter().map(|(key, member)| Ok((key, value(member)?))).collect()
}

fn value(json: Json) -> Result<Value, Error> {
    Ok(match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(value),
        Json::Int(number) => Value::Int64(number),
        Json::BigInt(digits) => return Err(Error::OutOfRange(digits)),
        Json::Float(number) if number.is_nan() => Value::Null,
        Json::Float(number) => Value::Double(number),
        Json::String(text) => Value::String(text),
        Json::Object(members) => Value::Map(ValueType::Map, entries(members)?),
        Json::Array(items) => array(items)?,
    })
}

fn array(items: Vec<Json>) -> Result<Value, Error> {
    let kind = match items.first() {
        None => return Err(Error::Inference("an empty array inside a map")),
        Some(Json::Object(_)) => return Ok(Value::MapList(ValueType::MapList, maps(items)?)),
        Some(Json::Array(_)) => return Err(Error::Inference("an array of arrays inside a map")),
        Some(Json::Null) => return Err(Error::Inference("a null in an array inside a map")),
        Some(Json::Bool(_)) => ValueType::BoolList,
        Some(Json::Int(_) | Json::BigInt(_)) => ValueType::Int64List,
        Some(Json::Float(_)) => ValueType::DoubleList,
        Some(Json::String(_)) => ValueType::StringList,
    };
    let items: Result<_, _> = items.into_iter().map(|item| array_item(kind, item)).collect();
    Ok(Value::List(kind, items?))
}

fn array_item(kind: ValueType, item: Json) -> Result<Value, Error> {
    Ok(match (kind, item) {
        (ValueType::BoolList, Json::Bool(value)) => Value::Bool(value),
        (ValueType::Int64List, Json::Int(number)) => Value::Int64(number),
        (ValueType::Int64List, Json::BigInt(digits)) => return Err(Error::OutOfRange(digits)),
        (ValueType::DoubleList, Json::Float(number)) => Value::Double(number),
        (ValueType::StringList, Json::String(text)) => Value::String(text),
        (_, Json::Null) => return Err(Error::Inference("a null in an array inside a map")),
        _ => return Err(Error::Inference("an array of several types inside a map")),
    })
}

fn maps(items: Vec<Json>) -> Result<Vec<Entries>, Error> {
    let map = |item| match item {
        Json::Object(members) => entries(members),
        other => Err(Error::Shape {
            what: "a JSON object in the array".into(),
            found: name(&other).into(),
        }),
    };
    items.into_iter().map(map).collect()
}

/// The VALUE_LIST or VALUE_SET of an array of arrays; null and empty arrays inside are null.
pub(super) fn nested(kind: ValueType, items: Vec<Json>) -> Result<Value, Error> {
    let value = |item| match item {
        Json::Null => Ok(Value::Null),
        Json::Array(items) if items.is_empty() => Ok(Value::Null),
        Json::Array(items) if holds_arrays(&items) => nested(ValueType::ValueList, items),
        Json::Array(items) => array(alike(items)),
        other => {
            let what = "an array of arrays".into();
            Err(Error::Shape { what, found: format!("{} in it", name(&other)).into() })
        }
    };
    Ok(Value::Nested(kind, items.into_iter().map(value).collect::<Result<_, _>>()?))
}

fn holds_arrays(items: &[Json]) -> bool {
    matches!(items.iter().find(|item| **item != Json::Null), Some(Json::Array(_)))
}

/// Makes floats of integers that stand among floats, as Arrow does.
fn alike(items: Vec<Json>) -> Vec<Json> {
    if !items.iter().any(|item| matches!(item, Json::Float(_))) {
        return items;
    }
    let float = |item| match item {
        Json::Int(number) => Json::Float(number as f64),
        other => other,
    };
    items.into_iter().map(float).collect()
}

const fn name(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "a bool",
        Json::Int(_) | Json::BigInt(_) => "an integer",
        Json::Float(_) => "a float",
        Json::String(_) => "a text",
        Json::Array(_) => "an array",
        Json::Object(_) => "an object",
    }
}
