//! Protobuf at the level of fields: enough to write a registry, and to see what became of one.
//!
//! Of its own, and not the project's decoder, so that a mistake there cannot hide itself here.

use anyhow::{Context, Result, bail};

/// A message being written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message(Vec<u8>);

impl Message {
    /// An empty message.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an integer, boolean or enum; zero is left out, as protobuf does.
    #[must_use]
    pub fn number(mut self, field: u32, value: i64) -> Self {
        if value != 0 {
            self.varint(u64::from(field) << 3);
            // Two's complement: a negative number takes ten bytes.
            self.varint(value as u64);
        }
        self
    }

    /// Adds bytes, empty ones too.
    #[must_use]
    pub fn bytes(mut self, field: u32, value: &[u8]) -> Self {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    /// Adds a text; an empty one is left out.
    #[must_use]
    pub fn text(self, field: u32, value: &str) -> Self {
        if value.is_empty() { self } else { self.bytes(field, value.as_bytes()) }
    }

    /// Adds a message.
    #[must_use]
    pub fn message(self, field: u32, value: &Self) -> Self {
        self.bytes(field, &value.0)
    }

    /// Adds one entry of a map from text to text.
    #[must_use]
    pub fn entry(self, field: u32, key: &str, value: &str) -> Self {
        self.message(field, &Self::new().text(1, key).text(2, value))
    }

    /// The bytes.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

/// A `google.protobuf.Timestamp`.
#[must_use]
pub fn timestamp(micros: i64) -> Message {
    let nanos = micros.rem_euclid(1_000_000) * 1_000;
    Message::new().number(1, micros.div_euclid(1_000_000)).number(2, nanos)
}

/// A field's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// An integer, boolean or enum.
    Number(u64),
    /// A text, bytes or a message.
    Bytes(&'a [u8]),
    /// Four or eight bytes of a fixed width.
    Fixed(&'a [u8]),
}

impl<'a> Value<'a> {
    /// The bytes of a length-delimited field; none for any other.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Number(_) | Self::Fixed(_) => &[],
        }
    }

    /// The number of a varint field; 0 for any other.
    #[must_use]
    pub fn number(&self) -> i64 {
        match self {
            Self::Number(number) => *number as i64,
            Self::Bytes(_) | Self::Fixed(_) => 0,
        }
    }
}

/// Reads the fields of a message, in the order of the bytes.
///
/// # Errors
/// When the bytes are no message.
pub fn fields(mut bytes: &[u8]) -> Result<Vec<(u32, Value<'_>)>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        let value = match tag & 7 {
            0 => Value::Number(varint(&mut bytes)?),
            1 => Value::Fixed(take(&mut bytes, 8)?),
            2 => {
                let length = varint(&mut bytes)?;
                Value::Bytes(take(&mut bytes, usize::try_from(length)?)?)
            }
            5 => Value::Fixed(take(&mut bytes, 4)?),
            other => bail!("wire type {other} is not in use"),
        };
        fields.push((u32::try_from(tag >> 3)?, value));
    }
    Ok(fields)
}

/// Microseconds of a `google.protobuf.Timestamp`.
///
/// # Errors
/// When the bytes are no message.
pub fn timestamp_micros(bytes: &[u8]) -> Result<i64> {
    let fields = fields(bytes)?;
    let number = |wanted| {
        let field = fields.iter().rev().find(|(field, _)| *field == wanted);
        field.map_or(0, |(_, value)| value.number())
    };
    Ok(number(1) * 1_000_000 + number(2) / 1_000)
}

fn varint(bytes: &mut &[u8]) -> Result<u64> {
    let mut value = 0;
    for shift in (0..70).step_by(7) {
        let byte = take(bytes, 1)?[0];
        value |= u64::from(byte & 0x7f).wrapping_shl(shift);
        if byte < 0x80 {
            return Ok(value);
        }
    }
    bail!("a varint has more than ten bytes")
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Result<&'a [u8]> {
    let (head, tail) = bytes.split_at_checked(count).context("the message is cut")?;
    *bytes = tail;
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() -> Result<()> {
        let inner = Message::new().text(1, "x").number(2, -1);
        let bytes = Message::new().number(1, 300).message(20, &inner).into_bytes();
        let read = fields(&bytes)?;
        assert_eq!(read[0], (1, Value::Number(300)));
        assert_eq!(read[1].0, 20);
        let inner = fields(read[1].1.bytes())?;
        assert_eq!(inner[0], (1, Value::Bytes(b"x")));
        assert_eq!(inner[1].1.number(), -1);
        assert!(fields(&bytes[..bytes.len() - 1]).is_err());
        Ok(())
    }

    #[test]
    fn instants_before_1970_come_back() -> Result<()> {
        for micros in [0, 1, -1, -1_000_001, 1_704_110_400_123_456] {
            assert_eq!(timestamp_micros(&timestamp(micros).into_bytes())?, micros);
        }
        Ok(())
    }
}
