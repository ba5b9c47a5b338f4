//! Reads serialized values.

use super::wire::{Payload, Reader};
use super::{DEPTH_MAX, ENTRY_VALUE_FIELD, Entries, Error, REPEATED_FIELD, Value};
use crate::ValueType;

/// Reads one value; of several fields the last one counts, as protobuf has it for a `oneof`.
pub(super) fn value(bytes: &[u8], depth: usize) -> Result<Value, Error> {
    if depth > DEPTH_MAX {
        return Err(Error::TooDeep);
    }
    let mut value = Value::Null;
    let mut reader = Reader::new(bytes);
    while let Some((number, payload)) = reader.field()? {
        let code = i32::try_from(number).ok();
        // A field that Feast 0.67 does not have is skipped, as every protobuf reader does.
        if let Some(kind) = code.and_then(ValueType::from_code) {
            value = field(kind, payload, depth)?;
        }
    }
    Ok(value)
}

fn field(kind: ValueType, payload: Payload<'_>, depth: usize) -> Result<Value, Error> {
    let value = match kind {
        ValueType::Null => Value::Null,
        ValueType::Map | ValueType::Struct => {
            Value::Map(kind, entries(delimited(payload)?, depth)?)
        }
        ValueType::MapList | ValueType::StructList => {
            let maps = repeated(delimited(payload)?, |map| entries(map, depth + 1))?;
            Value::MapList(kind, maps)
        }
        ValueType::ValueList | ValueType::ValueSet => {
            Value::Nested(kind, repeated(delimited(payload)?, |item| value(item, depth + 2))?)
        }
        ValueType::ScalarMap | ValueType::ZonedTimestamp => {
            Value::Opaque(kind, delimited(payload)?.to_vec())
        }
        kind => match kind.element() {
            Some(element) => Value::List(kind, items(element, delimited(payload)?)?),
            None => scalar(kind, payload)?,
        },
    };
    Ok(value)
}

fn scalar(kind: ValueType, payload: Payload<'_>) -> Result<Value, Error> {
    Ok(match (kind, payload) {
        (ValueType::Bytes, Payload::Delimited(bytes)) => Value::Bytes(bytes.to_vec()),
        (ValueType::String, Payload::Delimited(bytes)) => Value::String(text(bytes)?.to_owned()),
        (ValueType::Int32, Payload::Varint(number)) => Value::Int32(number as i32),
        (ValueType::Int64, Payload::Varint(number)) => Value::Int64(number as i64),
        (ValueType::Double, Payload::Fixed64(bits)) => Value::Double(f64::from_bits(bits)),
        (ValueType::Float, Payload::Fixed32(bits)) => Value::Float(f32::from_bits(bits)),
        (ValueType::Bool, Payload::Varint(number)) => Value::Bool(number != 0),
        (ValueType::UnixTimestamp, Payload::Varint(number)) => Value::UnixTimestamp(number as i64),
        (
            ValueType::Json | ValueType::Uuid | ValueType::TimeUuid | ValueType::Decimal,
            Payload::Delimited(bytes),
        ) => Value::Text(kind, text(bytes)?.to_owned()),
        _ => return Err(Error::Malformed("wire type of a field")),
    })
}

/// Reads a list's elements, packed or not.
fn items(element: ValueType, bytes: &[u8]) -> Result<Vec<Value>, Error> {
    let mut items = Vec::new();
    let mut reader = Reader::new(bytes);
    while let Some((number, payload)) = reader.field()? {
        match payload {
            _ if number != REPEATED_FIELD => {}
            Payload::Delimited(packed) if is_packed(element) => {
                let mut packed = Reader::new(packed);
                while !packed.is_done() {
                    items.push(scalar(element, packed_payload(element, &mut packed)?)?);
                }
            }
            payload => items.push(scalar(element, payload)?),
        }
    }
    Ok(items)
}

const fn is_packed(element: ValueType) -> bool {
    !matches!(super::wire_of(element), super::WireType::Delimited)
}

/// The next element of a packed list.
pub(super) fn packed_payload<'a>(
    element: ValueType,
    packed: &mut Reader<'a>,
) -> Result<Payload<'a>, Error> {
    Ok(match element {
        ValueType::Double => Payload::Fixed64(packed.fixed64()?),
        ValueType::Float => Payload::Fixed32(packed.fixed32()?),
        _ => Payload::Varint(packed.varint()?),
    })
}

fn entries(bytes: &[u8], depth: usize) -> Result<Entries, Error> {
    repeated(bytes, |entry| {
        let (mut key, mut held) = (String::new(), Value::Null);
        let mut reader = Reader::new(entry);
        while let Some((number, payload)) = reader.field()? {
            match number {
                1 => key = text(delimited(payload)?)?.to_owned(),
                ENTRY_VALUE_FIELD => held = value(delimited(payload)?, depth + 3)?,
                _ => {}
            }
        }
        Ok((key, held))
    })
}

fn repeated<T>(
    bytes: &[u8],
    mut read: impl FnMut(&[u8]) -> Result<T, Error>,
) -> Result<Vec<T>, Error> {
    let mut items = Vec::new();
    let mut reader = Reader::new(bytes);
    while let Some((number, payload)) = reader.field()? {
        if number == REPEATED_FIELD {
            items.push(read(delimited(payload)?)?);
        }
    }
    Ok(items)
}

/// The payload of a field that holds bytes, a text or a message.
pub(super) fn delimited(payload: Payload<'_>) -> Result<&[u8], Error> {
    match payload {
        Payload::Delimited(bytes) => Ok(bytes),
        _ => Err(Error::Malformed("wire type of a field")),
    }
}

/// A text's bytes.
pub(super) fn text(bytes: &[u8]) -> Result<&str, Error> {
    str::from_utf8(bytes).map_err(|_| Error::Malformed("text"))
}
