//! Hash fields and the timestamp field of Feast's Redis online store.
//!
//! One hash holds every view of one entity: a four-byte field for each feature, and one readable
//! field a view for the event time. A file of its own because readers in three languages depend
//! on these bytes. Deliberately absent: the key (see `entity_key`; Redis adds the project's name
//! after it) and every command.

use std::collections::HashMap;

const SECONDS_TAG: u8 = 0x08;
const NANOS_TAG: u8 = 0x10;
/// Ten bytes of seven bits hold any 64-bit number.
const VARINT_BYTES_MAX: usize = 10;

/// The hash field of a feature.
///
/// # Source
/// Feast 0.67: MurmurHash3 x86-32, seed 0, of `<storage name>:<feature>`, little-endian.
pub fn feature_field(storage_name: &str, feature: &str) -> [u8; 4] {
    murmur3(format!("{storage_name}:{feature}").as_bytes()).to_le_bytes()
}

/// The hash field that holds a view's event time.
pub fn timestamp_field(storage_name: &str) -> Vec<u8> {
    format!("_ts:{storage_name}").into_bytes()
}

/// The first two features of a view whose fields are the same; Feast serves one for the other.
pub fn field_collision<'a>(
    storage_name: &str,
    features: impl IntoIterator<Item = &'a str>,
) -> Option<(&'a str, &'a str)> {
    let mut owners = HashMap::new();
    features.into_iter().find_map(|feature| {
        let field = feature_field(storage_name, feature);
        owners.insert(field, feature).map(|first| (first, feature))
    })
}

/// Appends a serialized `google.protobuf.Timestamp`; fields that are zero are left out, so the
/// epoch is empty.
///
/// # Units
/// Seconds since the epoch, rounded down, and the nanoseconds above them.
pub fn write_timestamp(seconds: i64, nanos: u32, out: &mut impl Extend<u8>) {
    // Two's complement, as protobuf's int64: negative seconds take ten bytes.
    for (tag, number) in [(SECONDS_TAG, seconds as u64), (NANOS_TAG, u64::from(nanos))] {
        if number != 0 {
            out.extend([tag]);
            write_varint(number, out);
        }
    }
}

/// A serialized `google.protobuf.Timestamp` of its own.
pub fn encode_timestamp(seconds: i64, nanos: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(VARINT_BYTES_MAX + 7);
    write_timestamp(seconds, nanos, &mut out);
    out
}

/// Seconds and nanoseconds of a serialized `google.protobuf.Timestamp`; `None` when it is none.
pub fn decode_timestamp(mut bytes: &[u8]) -> Option<(i64, i32)> {
    let (mut seconds, mut nanos) = (0, 0);
    while let Some((&tag, rest)) = bytes.split_first() {
        let (number, rest) = read_varint(rest)?;
        match tag {
            SECONDS_TAG => seconds = number as i64,
            // Protobuf keeps the low 32 bits of a number that is too long.
            NANOS_TAG => nanos = number as i32,
            _ => return None,
        }
        bytes = rest;
    }
    Some((seconds, nanos))
}

fn write_varint(mut number: u64, out: &mut impl Extend<u8>) {
    while number >= 0x80 {
        out.extend([number as u8 | 0x80]);
        number >>= 7;
    }
    out.extend([number as u8]);
}

fn read_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0;
    for (index, &byte) in bytes.iter().take(VARINT_BYTES_MAX).enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            return Some((number, &bytes[index + 1..]));
        }
    }
    None
}

/// MurmurHash3 x86-32 with seed 0.
///
/// # Source
/// Austin Appleby's public-domain algorithm; the constants are its own.
fn murmur3(data: &[u8]) -> u32 {
    let mut blocks = data.chunks_exact(4);
    let mut hash = blocks.by_ref().fold(0_u32, |hash, block| {
        let word = u32::from_le_bytes(block.try_into().expect("blocks are four bytes"));
        (hash ^ scramble(word)).rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64)
    });
    let tail = blocks.remainder();
    if !tail.is_empty() {
        hash ^= scramble(tail.iter().rev().fold(0, |word, &byte| (word << 8) | u32::from(byte)));
    }
    // The algorithm takes the length as 32 bits.
    hash ^= data.len() as u32;
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}

fn scramble(word: u32) -> u32 {
    word.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_those_of_feast() {
        assert_eq!(feature_field("fv", "f"), [0x3a, 0x27, 0xcb, 0x89]);
        assert_eq!(timestamp_field("fv"), b"_ts:fv");
    }

    #[test]
    fn the_hash_is_murmur3_for_every_length_of_tail() {
        // Values of the reference implementation with seed 0.
        assert_eq!(murmur3(b""), 0);
        assert_eq!(murmur3(b"a"), 0x3c25_69b2);
        assert_eq!(murmur3(b"aa"), 0x3710_91a9);
        assert_eq!(murmur3(b"aaa"), 0xb4d0_5fb7);
        assert_eq!(murmur3(b"test"), 0xba6b_d213);
        assert_eq!(murmur3(b"Hello, world!"), 0xc036_3e43);
        assert_eq!(murmur3(b"The quick brown fox jumps over the lazy dog"), 0x2e4f_f723);
    }

    #[test]
    fn known_collision_is_found() {
        let features = ["f1", "f18433", "f2", "f68910"];
        assert_eq!(field_collision("fv", features), Some(("f18433", "f68910")));
        assert_eq!(field_collision("other", features), None);
    }

    #[test]
    fn timestamps_leave_zeros_out() {
        assert_eq!(encode_timestamp(0, 0), b"");
        assert_eq!(encode_timestamp(1, 0), [0x08, 1]);
        assert_eq!(encode_timestamp(0, 1_000), [0x10, 0xe8, 0x07]);
    }

    #[test]
    fn negative_seconds_take_ten_bytes() {
        let five_before = [0x08, 0xfb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(encode_timestamp(-5, 0), five_before);
        assert_eq!(decode_timestamp(&five_before), Some((-5, 0)));
    }

    #[test]
    fn timestamps_come_back() {
        for seconds in [i64::MIN, -1, 0, 1, 127, 128, 1_700_000_000, i64::MAX] {
            for nanos in [0, 1, 999_999_000, 999_999_999] {
                let bytes = encode_timestamp(seconds, nanos);
                assert_eq!(decode_timestamp(&bytes), Some((seconds, nanos as i32)));
            }
        }
    }

    #[test]
    fn broken_timestamps_are_told() {
        assert_eq!(decode_timestamp(&[0x08]), None);
        assert_eq!(decode_timestamp(&[0x08, 0x80]), None);
        assert_eq!(decode_timestamp(b"2024-01-01"), None);
        let eleven_bytes = [&[0x08][..], &[0xff; 10], &[0x01]].concat();
        assert_eq!(decode_timestamp(&eleven_bytes), None);
    }
}
