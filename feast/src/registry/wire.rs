//! Protobuf at the level of raw fields.
//!
//! A registry file is edited here without being decoded, so that fields we do not know, and the
//! bytes of every object we do not touch, stay as they are.

use prost::DecodeError;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, encode_key};
use prost::encoding::{encode_varint, skip_field};

/// One field of a message, as it stands in the bytes.
#[derive(Clone, Copy)]
pub(super) struct RawField<'a> {
    /// Its number.
    pub(super) number: u32,
    /// Key and value.
    pub(super) whole: &'a [u8],
    /// The value of a length-delimited field; empty for any other.
    pub(super) payload: &'a [u8],
}

/// Splits a message into its fields, in the order of the bytes.
///
/// # Errors
/// When the bytes are no protobuf message.
pub(super) fn fields(message: &[u8]) -> Result<Vec<RawField<'_>>, DecodeError> {
    let mut fields = Vec::new();
    let mut rest = message;
    while !rest.is_empty() {
        let start = rest;
        let (number, wire_type) = decode_key(&mut rest)?;
        let mut value = rest;
        skip_field(wire_type, number, &mut rest, DecodeContext::default())?;
        let whole = &start[..start.len() - rest.len()];
        let payload = if wire_type == WireType::LengthDelimited {
            let length = decode_varint(&mut value)? as usize;
            &value[..length]
        } else {
            &[]
        };
        fields.push(RawField { number, whole, payload });
    }
    Ok(fields)
}

/// Appends a length-delimited field.
pub(super) fn put_field(number: u32, payload: &[u8], out: &mut Vec<u8>) {
    encode_key(number, WireType::LengthDelimited, out);
    encode_varint(payload.len() as u64, out);
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]
    use super::*;

    #[test]
    fn fields_put_together_again_are_the_message() {
        // varint, fixed64, length-delimited, fixed32, and a field number of two bytes
        let message = [
            &[0x08, 0x96, 0x01][..],
            &[0x11, 1, 2, 3, 4, 5, 6, 7, 8],
            &[0x1a, 2, b'h', b'i'],
            &[0x25, 1, 2, 3, 4],
            &[0xa2, 0x01, 1, b'x'],
        ]
        .concat();
        let fields = fields(&message).unwrap();
        assert_eq!(fields.iter().map(|field| field.number).collect::<Vec<_>>(), [1, 2, 3, 4, 20]);
        assert_eq!(fields[2].payload, b"hi");
        assert_eq!(fields.iter().map(|field| field.whole).collect::<Vec<_>>().concat(), message);
    }

    #[test]
    fn cut_bytes_are_refused() {
        assert!(fields(&[0x1a, 5, b'h']).is_err());
        assert!(fields(&[0x80]).is_err());
    }
}
