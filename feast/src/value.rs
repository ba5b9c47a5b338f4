//! Feast values: as Rust, as protobuf bytes, and as the JSON of a feature server.
//!
//! For reading, and for what little is not written straight from columns. Deliberately absent: the
//! encoding of whole columns, which builds no object a value (see `jobs::encode`).

pub mod answer;
pub mod infer;
pub mod input;
pub mod json;
pub mod request;
pub mod wire;

mod decode;
mod found;

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, BytesMut};
use serde_json::{Number, Value as JsonValue};

use crate::ValueType;
use wire::{WireType, put_bytes, put_delimited, put_int, put_tag, put_varint};

/// Why a value cannot be read or made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes are no serialized value.
    #[error("the bytes are no serialized `feast.types.Value` (malformed {0})")]
    Malformed(&'static str),
    /// Protobuf readers stop at this depth too.
    #[error("the value is nested deeper than {DEPTH_MAX} messages")]
    TooDeep,
    /// A text is no JSON.
    #[error(transparent)]
    Json(#[from] json::JsonError),
    /// The JSON is not what the type holds.
    #[error("{what} expected, and got {found}")]
    Shape {
        /// What the type holds.
        what: Cow<'static, str>,
        /// What is there instead.
        found: Cow<'static, str>,
    },
    /// Feast infers types inside maps and cannot do so here.
    #[error("no Feast type can be inferred for {0}")]
    Inference(&'static str),
    /// An integer needs more than 64 bits.
    #[error("`{0}` is outside the range of a 64-bit integer")]
    OutOfRange(String),
}

/// Nested messages that protobuf's readers take by default; Feast's readers use that default.
pub const DEPTH_MAX: usize = 100;

/// The entries of a map, in the order of the bytes.
pub type Entries = Vec<(String, Value)>;

/// One value, owned.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// No value: zero bytes, or Feast's explicit null.
    Null,
    /// BYTES, PDF_BYTES or IMAGE_BYTES.
    Bytes(Vec<u8>),
    /// STRING.
    String(String),
    /// INT32.
    Int32(i32),
    /// INT64.
    Int64(i64),
    /// DOUBLE.
    Double(f64),
    /// FLOAT.
    Float(f32),
    /// BOOL.
    Bool(bool),
    /// UNIX_TIMESTAMP: seconds; the smallest number where the source had no value.
    UnixTimestamp(i64),
    /// JSON, UUID, TIME_UUID or DECIMAL: a text of that type.
    Text(ValueType, String),
    /// A list or set of that type; its elements are of the element type.
    List(ValueType, Vec<Value>),
    /// MAP or STRUCT.
    Map(ValueType, Entries),
    /// MAP_LIST or STRUCT_LIST.
    MapList(ValueType, Vec<Entries>),
    /// VALUE_LIST or VALUE_SET.
    Nested(ValueType, Vec<Value>),
    /// SCALAR_MAP or ZONED_TIMESTAMP, which no file source yields: the message as it is.
    Opaque(ValueType, Vec<u8>),
}

impl Value {
    /// Reads a serialized `feast.types.Value`.
    ///
    /// # Errors
    /// `Error::Malformed` and `Error::TooDeep`.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        decode::value(bytes, 0)
    }

    /// Appends the serialized value; null appends nothing.
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Null => {}
            Self::List(kind, items) => message(out, *kind, |out| put_items(out, *kind, items)),
            Self::Map(kind, entries) => message(out, *kind, |out| put_entries(out, entries)),
            Self::MapList(kind, maps) => message(out, *kind, |out| {
                for entries in maps {
                    element(out, |out| put_entries(out, entries));
                }
            }),
            Self::Nested(kind, values) => message(out, *kind, |out| {
                for value in values {
                    element(out, |out| value.encode(out));
                }
            }),
            Self::Opaque(kind, bytes) => message(out, *kind, |out| out.put_slice(bytes)),
            scalar => {
                let kind = scalar.kind().unwrap_or(ValueType::Null);
                put_tag(out, field_of(kind), wire_of(kind));
                scalar.put_payload(out);
            }
        }
    }

    /// The type of the value; `None` for null. BYTES stands for PDF_BYTES and IMAGE_BYTES too.
    pub const fn kind(&self) -> Option<ValueType> {
        Some(match self {
            Self::Null => return None,
            Self::Bytes(_) => ValueType::Bytes,
            Self::String(_) => ValueType::String,
            Self::Int32(_) => ValueType::Int32,
            Self::Int64(_) => ValueType::Int64,
            Self::Double(_) => ValueType::Double,
            Self::Float(_) => ValueType::Float,
            Self::Bool(_) => ValueType::Bool,
            Self::UnixTimestamp(_) => ValueType::UnixTimestamp,
            Self::Text(kind, _)
            | Self::List(kind, _)
            | Self::Map(kind, _)
            | Self::MapList(kind, _)
            | Self::Nested(kind, _)
            | Self::Opaque(kind, _) => *kind,
        })
    }

    fn put_payload(&self, out: &mut BytesMut) {
        match self {
            Self::Int32(number) => put_int(out, i64::from(*number)),
            Self::Int64(number) | Self::UnixTimestamp(number) => put_int(out, *number),
            Self::Double(number) => out.put_f64_le(*number),
            Self::Float(number) => out.put_f32_le(*number),
            Self::Bool(value) => put_varint(out, u64::from(*value)),
            Self::String(text) | Self::Text(_, text) => put_bytes(out, text.as_bytes()),
            Self::Bytes(bytes) => put_bytes(out, bytes),
            _ => {}
        }
    }

    /// The value as a feature server answers with it.
    ///
    /// # Source
    /// Feast 0.67's HTTP server: `NaN` and the infinities as texts, bytes in base64, float32
    /// widened, timestamps as seconds, JSON as text.
    pub fn to_json(&self) -> JsonValue {
        match self {
            Self::Null | Self::Opaque(..) => JsonValue::Null,
            Self::Bytes(bytes) => JsonValue::String(STANDARD.encode(bytes)),
            Self::String(text) | Self::Text(_, text) => JsonValue::String(text.clone()),
            Self::Int32(number) => JsonValue::from(*number),
            Self::Int64(number) | Self::UnixTimestamp(number) => JsonValue::from(*number),
            Self::Double(number) => json_float(*number),
            Self::Float(number) => json_float(f64::from(*number)),
            Self::Bool(value) => JsonValue::Bool(*value),
            Self::List(_, values) | Self::Nested(_, values) => {
                values.iter().map(Self::to_json).collect()
            }
            Self::Map(_, entries) => json_object(entries),
            Self::MapList(_, maps) => maps.iter().map(json_object).collect(),
        }
    }
}

/// The field of `feast.types.Value` that holds a type; the field number is the type's code.
pub const fn field_of(kind: ValueType) -> u32 {
    match kind {
        ValueType::PdfBytes | ValueType::ImageBytes => ValueType::Bytes.code() as u32,
        kind => kind.code() as u32,
    }
}

/// The wire type of a type's field.
pub const fn wire_of(kind: ValueType) -> WireType {
    match kind {
        ValueType::Int32 | ValueType::Int64 | ValueType::Bool | ValueType::UnixTimestamp => {
            WireType::Varint
        }
        ValueType::Double => WireType::Fixed64,
        ValueType::Float => WireType::Fixed32,
        _ => WireType::Delimited,
    }
}

/// The field that repeats in every list, set and map message.
pub const REPEATED_FIELD: u32 = 1;

fn message(out: &mut BytesMut, kind: ValueType, write: impl FnOnce(&mut BytesMut)) {
    put_tag(out, field_of(kind), WireType::Delimited);
    delimited(out, write);
}

fn element(out: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
    put_tag(out, REPEATED_FIELD, WireType::Delimited);
    delimited(out, write);
}

fn delimited(out: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
    let written = put_delimited(out, |out| -> Result<(), std::convert::Infallible> {
        write(out);
        Ok(())
    });
    match written {
        Ok(()) => {}
        Err(never) => match never {},
    }
}

fn put_items(out: &mut BytesMut, kind: ValueType, items: &[Value]) {
    let is_packed = kind.element().is_some_and(|item| wire_of(item) != WireType::Delimited);
    if !is_packed {
        for item in items {
            put_tag(out, REPEATED_FIELD, WireType::Delimited);
            item.put_payload(out);
        }
    } else if !items.is_empty() {
        element(out, |out| items.iter().for_each(|item| item.put_payload(out)));
    }
}

fn put_entries(out: &mut BytesMut, entries: &Entries) {
    for (key, value) in entries {
        element(out, |out| {
            put_entry_key(out, key);
            put_tag(out, ENTRY_VALUE_FIELD, WireType::Delimited);
            delimited(out, |out| value.encode(out));
        });
    }
}

/// The field of a map entry that holds its value.
pub const ENTRY_VALUE_FIELD: u32 = 2;

/// Appends the key of a map entry, also where it is empty, as protobuf does.
pub fn put_entry_key(out: &mut BytesMut, key: &str) {
    put_tag(out, 1, WireType::Delimited);
    put_bytes(out, key.as_bytes());
}

fn json_object(entries: &Entries) -> JsonValue {
    let entries = entries.iter().map(|(key, value)| (key.clone(), value.to_json()));
    JsonValue::Object(entries.collect())
}

fn json_float(number: f64) -> JsonValue {
    if number.is_nan() {
        return JsonValue::from("NaN");
    }
    match Number::from_f64(number) {
        Some(number) => JsonValue::Number(number),
        None => JsonValue::from(if number > 0.0 { "Infinity" } else { "-Infinity" }),
    }
}

#[cfg(test)]
mod tests;
