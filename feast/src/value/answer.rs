//! The JSON of a value as Feast's HTTP server answers it, straight from the serialized bytes.
//!
//! The hot path of a feature server: numbers, texts and lists are written without an object or an
//! allocation between; only maps are gathered first, since their keys must not repeat.
//! [`Value::to_json`](super::Value::to_json) says the same for one value at leisure. Deliberately
//! absent: the response around the values.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::decode::{delimited, packed_payload, text};
use super::wire::{Payload, Reader, WireType};
use super::{DEPTH_MAX, ENTRY_VALUE_FIELD, Error, REPEATED_FIELD, wire_of};
use crate::{ValueType, datetime};

/// What Feast stores for a null timestamp.
pub const NULL_TIMESTAMP: i64 = i64::MIN;

/// Appends the JSON of a serialized `feast.types.Value`; no bytes are null.
///
/// # Errors
/// `Error::Malformed` and `Error::TooDeep`; nothing is appended then.
///
/// # Source
/// Contract section 1.4: compact, floats as Python's `repr`, float32 widened, `NaN` and the
/// infinities as texts, bytes in base64, timestamps as seconds. A null timestamp is null, where
/// Feast answers with the smallest number.
pub fn write_json(serialized: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let start = out.len();
    write_value(serialized, out, 0).inspect_err(|_| out.truncate(start))
}

/// Tells whether a serialized value is null: no bytes, Feast's explicit null or its null timestamp.
///
/// Malformed bytes are not null.
pub fn is_null(serialized: &[u8]) -> bool {
    match last_field(serialized) {
        Ok(None | Some((ValueType::Null, _))) => true,
        Ok(Some((ValueType::UnixTimestamp, Payload::Varint(seconds)))) => {
            seconds as i64 == NULL_TIMESTAMP
        }
        _ => false,
    }
}

/// Appends a text in quotes, escaped as `json.dumps` does with `ensure_ascii=False`.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| matches!(byte, 0..0x20 | b'"' | b'\\')) {
        out.extend_from_slice(&rest[..at]);
        write_escape(rest[at], out);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

fn write_escape(byte: u8, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        _ => {
            out.extend_from_slice(b"\\u00");
            out.extend([HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 0xf)]]);
            return;
        }
    };
    out.extend([b'\\', short]);
}

/// The field that counts: the last one that Feast knows, as protobuf has it for a `oneof`.
fn last_field(serialized: &[u8]) -> Result<Option<(ValueType, Payload<'_>)>, Error> {
    let mut last = None;
    let mut reader = Reader::new(serialized);
    while let Some((number, payload)) = reader.field()? {
        let kind = i32::try_from(number).ok().and_then(ValueType::from_code);
        if let Some(kind) = kind {
            last = Some((kind, payload));
        }
    }
    Ok(last)
}

fn write_value(serialized: &[u8], out: &mut Vec<u8>, depth: usize) -> Result<(), Error> {
    if depth > DEPTH_MAX {
        return Err(Error::TooDeep);
    }
    match last_field(serialized)? {
        None | Some((ValueType::Null, _)) => {
            out.extend_from_slice(b"null");
            Ok(())
        }
        Some((kind, payload)) if wire_of(kind) != WireType::Delimited => {
            write_scalar(kind, payload, out)
        }
        Some((kind, payload)) => write_delimited(kind, delimited(payload)?, out, depth),
    }
}

fn write_delimited(
    kind: ValueType,
    bytes: &[u8],
    out: &mut Vec<u8>,
    depth: usize,
) -> Result<(), Error> {
    match kind {
        ValueType::ScalarMap => out.extend_from_slice(b"null"),
        ValueType::ZonedTimestamp => write_zoned(bytes, out)?,
        ValueType::Map | ValueType::Struct => write_map(bytes, out, depth)?,
        ValueType::MapList | ValueType::StructList => {
            write_repeated(bytes, out, |map, out| write_map(map, out, depth + 1))?;
        }
        ValueType::ValueList | ValueType::ValueSet => {
            write_repeated(bytes, out, |item, out| write_value(item, out, depth + 2))?;
        }
        kind => match kind.element() {
            Some(element) => write_list(element, bytes, out)?,
            None => write_scalar(kind, Payload::Delimited(bytes), out)?,
        },
    }
    Ok(())
}

fn write_scalar(kind: ValueType, payload: Payload<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
    match (kind, payload) {
        (ValueType::Int32, Payload::Varint(number)) => write_int(i64::from(number as i32), out),
        (ValueType::Int64, Payload::Varint(number)) => write_int(number as i64, out),
        (ValueType::UnixTimestamp, Payload::Varint(seconds)) => match seconds as i64 {
            NULL_TIMESTAMP => out.extend_from_slice(b"null"),
            seconds => write_int(seconds, out),
        },
        (ValueType::Bool, Payload::Varint(value)) => {
            out.extend_from_slice(if value == 0 { b"false" } else { b"true" });
        }
        (ValueType::Double, Payload::Fixed64(bits)) => write_float(f64::from_bits(bits), out),
        (ValueType::Float, Payload::Fixed32(bits)) => {
            write_float(f64::from(f32::from_bits(bits)), out);
        }
        (ValueType::Bytes, Payload::Delimited(bytes)) => write_base64(bytes, out),
        (
            ValueType::String
            | ValueType::Json
            | ValueType::Uuid
            | ValueType::TimeUuid
            | ValueType::Decimal,
            Payload::Delimited(bytes),
        ) => write_string(text(bytes)?, out),
        _ => return Err(Error::Malformed("wire type of a field")),
    }
    Ok(())
}

/// Writes a list's elements, packed or not.
fn write_list(element: ValueType, list: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let is_packed = wire_of(element) != WireType::Delimited;
    let mut array = Array::open(out);
    let mut reader = Reader::new(list);
    while let Some((number, payload)) = reader.field()? {
        match payload {
            _ if number != REPEATED_FIELD => {}
            Payload::Delimited(packed) if is_packed => {
                let mut packed = Reader::new(packed);
                while !packed.is_done() {
                    let payload = packed_payload(element, &mut packed)?;
                    write_scalar(element, payload, array.item())?;
                }
            }
            payload => write_scalar(element, payload, array.item())?,
        }
    }
    array.close();
    Ok(())
}

/// Writes an array of the messages in the repeated field.
fn write_repeated(
    message: &[u8],
    out: &mut Vec<u8>,
    mut write: impl FnMut(&[u8], &mut Vec<u8>) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut array = Array::open(out);
    let mut reader = Reader::new(message);
    while let Some((number, payload)) = reader.field()? {
        if number == REPEATED_FIELD {
            write(delimited(payload)?, array.item())?;
        }
    }
    array.close();
    Ok(())
}

fn write_map(map: &[u8], out: &mut Vec<u8>, depth: usize) -> Result<(), Error> {
    out.push(b'{');
    for (place, (key, value)) in entries(map)?.into_iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write_string(key, out);
        out.push(b':');
        write_value(value, out, depth + 3)?;
    }
    out.push(b'}');
    Ok(())
}

/// A map's entries in the order of the bytes; of equal keys the last one's value counts.
fn entries(map: &[u8]) -> Result<Vec<(&str, &[u8])>, Error> {
    let mut entries: Vec<(&str, &[u8])> = Vec::new();
    let mut places = HashMap::new();
    let mut reader = Reader::new(map);
    while let Some((number, payload)) = reader.field()? {
        if number != REPEATED_FIELD {
            continue;
        }
        let (key, value) = entry(delimited(payload)?)?;
        let place = *places.entry(key).or_insert(entries.len());
        match entries.get_mut(place) {
            Some(entry) => entry.1 = value,
            None => entries.push((key, value)),
        }
    }
    Ok(entries)
}

fn entry(entry: &[u8]) -> Result<(&str, &[u8]), Error> {
    let (mut key, mut value) = ("", &b""[..]);
    let mut reader = Reader::new(entry);
    while let Some((number, payload)) = reader.field()? {
        match number {
            1 => key = text(delimited(payload)?)?,
            ENTRY_VALUE_FIELD => value = delimited(payload)?,
            _ => {}
        }
    }
    Ok((key, value))
}

/// A JSON array that is being written.
struct Array<'a> {
    out: &'a mut Vec<u8>,
    is_empty: bool,
}

impl<'a> Array<'a> {
    fn open(out: &'a mut Vec<u8>) -> Self {
        out.push(b'[');
        Self { out, is_empty: true }
    }

    /// Where the next item goes.
    fn item(&mut self) -> &mut Vec<u8> {
        if !self.is_empty {
            self.out.push(b',');
        }
        self.is_empty = false;
        self.out
    }

    fn close(self) {
        self.out.push(b']');
    }
}

fn write_int(number: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Size from which Python writes an exponent, and size below which it does.
const POSITIONAL: std::ops::Range<f64> = 1e-4..1e16;

/// Appends Python's `repr` of a float; what JSON cannot hold goes as a text.
///
/// Where Python writes no exponent, Ryu writes the same text; where it does, digits and exponent
/// are Ryu's and the layout is Python's.
fn write_float(number: f64, out: &mut Vec<u8>) {
    if !number.is_finite() {
        let name: &[u8] = match number {
            number if number.is_nan() => b"\"NaN\"",
            number if number > 0.0 => b"\"Infinity\"",
            _ => b"\"-Infinity\"",
        };
        return out.extend_from_slice(name);
    }
    let mut buffer = ryu::Buffer::new();
    let text = buffer.format_finite(number);
    if number == 0.0 || POSITIONAL.contains(&number.abs()) {
        return out.extend_from_slice(text.as_bytes());
    }
    let (mantissa, exponent) = match text.split_once('e') {
        Some((mantissa, exponent)) => (mantissa, exponent),
        // From 1e-5 on Ryu writes zeros, `0.000012`.
        None => return write_small(text, out),
    };
    out.extend_from_slice(mantissa.as_bytes());
    out.push(b'e');
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => (b'-', exponent),
        None => (b'+', exponent),
    };
    out.push(sign);
    if exponent.len() < 2 {
        out.push(b'0');
    }
    out.extend_from_slice(exponent.as_bytes());
}

/// Writes `-0.000012` as `-1.2e-05`.
fn write_small(text: &str, out: &mut Vec<u8>) {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text),
    };
    let (first, rest) = digits.trim_start_matches(['0', '.']).split_at(1);
    out.extend_from_slice(sign.as_bytes());
    out.extend_from_slice(first.as_bytes());
    if !rest.is_empty() {
        out.push(b'.');
        out.extend_from_slice(rest.as_bytes());
    }
    out.extend_from_slice(b"e-05");
}

fn write_base64(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    STANDARD.encode_slice(bytes, &mut out[start..]).expect("the room is four for every three");
    out.push(b'"');
}

/// Writes a zoned timestamp as ISO 8601 in its own zone.
///
/// # Source
/// `ZonedTimestamp` has the seconds in field 1 and in field 2 the zone: `±HH:MM`, or the name of
/// a zone. Named zones are written in UTC, the same instant: there is no table of zones here.
fn write_zoned(message: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let (mut seconds, mut zone) = (0, "");
    let mut reader = Reader::new(message);
    while let Some((number, payload)) = reader.field()? {
        match (number, payload) {
            (1, Payload::Varint(number)) => seconds = number as i64,
            (2, Payload::Delimited(bytes)) => zone = text(bytes)?,
            (1 | 2, _) => return Err(Error::Malformed("wire type of a field")),
            _ => {}
        }
    }
    if seconds == NULL_TIMESTAMP {
        out.extend_from_slice(b"null");
        return Ok(());
    }
    out.push(b'"');
    datetime::write_iso_offset(seconds, datetime::offset_minutes(zone).unwrap_or(0), out);
    out.push(b'"');
    Ok(())
}

#[cfg(test)]
mod tests;
