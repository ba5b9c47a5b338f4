//! The protobuf wire format, as far as Feast's values need it.
//!
//! Written by hand because values are written millions of times a second, straight from columns,
//! with no message object between. Deliberately absent: any knowledge of Feast's fields.

use bytes::{BufMut, BytesMut};

use super::Error;

/// How a field's payload is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum WireType {
    /// A base-128 number.
    Varint = 0,
    /// Eight bytes, little-endian.
    Fixed64 = 1,
    /// A length and as many bytes.
    Delimited = 2,
    /// Four bytes, little-endian.
    Fixed32 = 5,
}

/// Bytes that a 64-bit varint takes at most: 64 bits in groups of seven.
const VARINT_LEN_MAX: usize = 10;

/// Appends a base-128 number.
#[inline]
pub fn put_varint(out: &mut BytesMut, mut number: u64) {
    let mut bytes = [0_u8; VARINT_LEN_MAX];
    let mut len = 0;
    while number >= 0x80 {
        bytes[len] = (number as u8) | 0x80;
        number >>= 7;
        len += 1;
    }
    bytes[len] = number as u8;
    out.put_slice(&bytes[..=len]);
}

/// Appends a signed number; a negative one takes ten bytes.
#[inline]
pub fn put_int(out: &mut BytesMut, number: i64) {
    put_varint(out, number as u64);
}

/// Appends a field's number and wire type.
#[inline]
pub fn put_tag(out: &mut BytesMut, field: u32, wire: WireType) {
    put_varint(out, u64::from(field) << 3 | wire as u64);
}

/// Appends a length and the bytes.
#[inline]
pub fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.put_slice(bytes);
}

/// Appends a length and what `write` appends; the length need not be known before.
///
/// One byte is kept free for the length; where it takes more, the payload is moved up once.
///
/// # Errors
/// What `write` returns; the buffer then holds a part of the payload, which the caller cuts off.
#[inline]
pub fn put_delimited<E>(
    out: &mut BytesMut,
    write: impl FnOnce(&mut BytesMut) -> Result<(), E>,
) -> Result<(), E> {
    let length_at = out.len();
    out.put_u8(0);
    write(out)?;
    let length = out.len() - length_at - 1;
    if length < 0x80 {
        out[length_at] = length as u8;
    } else {
        widen_length(out, length_at, length);
    }
    Ok(())
}

fn widen_length(out: &mut BytesMut, length_at: usize, length: usize) {
    let mut number = length as u64;
    let mut bytes = [0_u8; VARINT_LEN_MAX];
    let mut len = 0;
    while number >= 0x80 {
        bytes[len] = (number as u8) | 0x80;
        number >>= 7;
        len += 1;
    }
    bytes[len] = number as u8;
    let payload_end = length_at + 1 + length;
    out.put_bytes(0, len);
    out.copy_within(length_at + 1..payload_end, length_at + 1 + len);
    out[length_at..=length_at + len].copy_from_slice(&bytes[..=len]);
}

/// The payload of one field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Payload<'a> {
    /// A base-128 number.
    Varint(u64),
    /// A number of eight bytes; a float by its bits.
    Fixed64(u64),
    /// A number of four bytes; a float by its bits.
    Fixed32(u32),
    /// A delimited payload.
    Delimited(&'a [u8]),
}

/// Reads the fields of one message in order.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first field.
    pub const fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// Tells whether every byte has been read.
    pub const fn is_done(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next field's number and payload; `None` at the end.
    ///
    /// # Errors
    /// `Error::Malformed` when the bytes end inside a field or the wire type is unknown.
    #[inline]
    pub fn field(&mut self) -> Result<Option<(u32, Payload<'a>)>, Error> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let field = u32::try_from(tag >> 3).map_err(|_| Error::Malformed("field number"))?;
        let payload = match tag & 7 {
            0 => Payload::Varint(self.varint()?),
            1 => Payload::Fixed64(self.fixed64()?),
            2 => {
                let length = usize::try_from(self.varint()?)
                    .map_err(|_| Error::Malformed("length of a field"))?;
                Payload::Delimited(self.take(length)?)
            }
            5 => Payload::Fixed32(self.fixed32()?),
            _ => return Err(Error::Malformed("wire type")),
        };
        Ok(Some((field, payload)))
    }

    /// The next base-128 number.
    ///
    /// # Errors
    /// `Error::Malformed` when the bytes end inside it or it is longer than ten bytes.
    #[inline]
    pub fn varint(&mut self) -> Result<u64, Error> {
        match self.rest.split_first() {
            // Nearly every tag and length.
            Some((byte, rest)) if *byte < 0x80 => {
                self.rest = rest;
                Ok(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, Error> {
        let mut number = 0_u64;
        for place in 0..VARINT_LEN_MAX {
            let (byte, rest) = self.rest.split_first().ok_or(Error::Malformed("varint"))?;
            self.rest = rest;
            number |= u64::from(byte & 0x7f) << (7 * place);
            if *byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Error::Malformed("varint"))
    }

    /// The next number of eight bytes.
    ///
    /// # Errors
    /// `Error::Malformed` when fewer are left.
    #[inline]
    pub fn fixed64(&mut self) -> Result<u64, Error> {
        Ok(u64::from_le_bytes(self.fixed()?))
    }

    /// The next number of four bytes.
    ///
    /// # Errors
    /// `Error::Malformed` when fewer are left.
    #[inline]
    pub fn fixed32(&mut self) -> Result<u32, Error> {
        Ok(u32::from_le_bytes(self.fixed()?))
    }

    #[inline]
    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (bytes, rest) =
            self.rest.split_first_chunk().ok_or(Error::Malformed("fixed-size number"))?;
        self.rest = rest;
        Ok(*bytes)
    }

    #[inline]
    fn take(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let (bytes, rest) =
            self.rest.split_at_checked(length).ok_or(Error::Malformed("length of a field"))?;
        self.rest = rest;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_every_width_read_back() {
        for length in [0, 1, 127, 128, 16_383, 16_384, 2_097_152] {
            let mut out = BytesMut::from(&b"before"[..]);
            let payload: Vec<u8> = (0..length).map(|n| n as u8).collect();
            put_delimited::<Error>(&mut out, |out| {
                out.put_slice(&payload);
                Ok(())
            })
            .expect("nothing in the closure fails");
            let mut plain = BytesMut::from(&b"before"[..]);
            put_bytes(&mut plain, &payload);
            assert_eq!(out, plain, "length {length}");
        }
    }

    #[test]
    fn truncated_bytes_are_refused() {
        for message in [&b"\x08"[..], b"\x12\x05ab", b"\x29\0\0", b"\x35\0", b"\x80", b"\x0b"] {
            assert!(Reader::new(message).field().is_err(), "{message:?}");
        }
    }

    #[test]
    fn negative_numbers_take_ten_bytes() {
        let mut out = BytesMut::new();
        put_int(&mut out, i64::MIN);
        assert_eq!(&out[..], b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01");
    }
}
