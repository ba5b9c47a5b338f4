//! A hash in the form that `RESTORE` takes: the whole value in one argument.
//!
//! Pure. Redis then neither parses the fields one by one nor searches the hash for each of them.
//! Deliberately absent: when a hash is sent this way (see `write`).
//!
//! # Source
//! Redis's listpack specification, <https://github.com/antirez/listpack/blob/master/listpack.md>,
//! and the format of `RDB` files as Redis 7.0 writes it; the tests compare with what a real server
//! dumps.

use bytes::Bytes;
use crc::{CRC_64_REDIS, Crc, Table};

/// Checksum of a payload; sixteen tables make it cheap beside the rest.
static CHECKSUM: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_REDIS);

/// A hash as pairs of strings; Redis builds what it would build for `HSET`. Every version has it.
const TYPE_HASH: u8 = 4;
/// A hash as a listpack, which Redis takes as it is.
const TYPE_HASH_LISTPACK: u8 = 16;
/// The first version of `RDB` files whose payloads carry a checksum, hence the first of `RESTORE`.
const VERSION_FIRST: u16 = 6;
/// The first version with listpack hashes: Redis 7.0. Later servers take payloads of earlier ones.
const VERSION_LISTPACK: u16 = 10;

/// Head of a listpack: its bytes and its elements.
const LISTPACK_HEAD: usize = 6;
const LISTPACK_END: u8 = 0xff;
/// Bytes of the longest text that can be a 64-bit integer.
const INTEGER_TEXT_MAX: usize = 20;

/// How large a hash may be to be a listpack: the server's own settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ListpackLimits {
    /// `hash-max-listpack-entries`: the most fields.
    pub fields: usize,
    /// `hash-max-listpack-value`: the most bytes of a field or of a value.
    pub bytes: usize,
}

/// Writes payloads of hashes that have the same fields.
#[derive(Clone, Debug)]
pub(super) struct HashDump {
    fields: Vec<Field>,
    /// `None` where the server has no listpack hashes, or the fields pass its limits.
    limits: Option<ListpackLimits>,
}

/// A field in both forms, made once.
#[derive(Clone, Debug)]
struct Field {
    element: Vec<u8>,
    string: Vec<u8>,
}

impl HashDump {
    /// Makes a writer for a server: `limits` is `None` for one older than 7.0.
    pub(super) fn new(fields: &[Bytes], limits: Option<ListpackLimits>) -> Self {
        let fits = |limits: &ListpackLimits| {
            fields.len() <= limits.fields && fields.iter().all(|field| field.len() <= limits.bytes)
        };
        let field = |name: &Bytes| {
            let mut field = Field { element: Vec::new(), string: Vec::new() };
            element(&mut field.element, name);
            string(&mut field.string, name);
            field
        };
        Self { limits: limits.filter(fits), fields: fields.iter().map(field).collect() }
    }

    /// Appends the payload of one hash; `values` has one entry a field, in their order. What
    /// `scratch` holds is overwritten.
    pub(super) fn write<'a>(
        &self,
        payload: &mut Vec<u8>,
        scratch: &mut Vec<u8>,
        values: impl Iterator<Item = &'a [u8]> + Clone,
    ) {
        let start = payload.len();
        let is_small = |limits: ListpackLimits| values.clone().all(|v| v.len() <= limits.bytes);
        let version = if self.limits.is_some_and(is_small) {
            payload.push(TYPE_HASH_LISTPACK);
            self.listpack(scratch, values);
            string(payload, scratch);
            VERSION_LISTPACK
        } else {
            payload.push(TYPE_HASH);
            length(payload, self.fields.len());
            for (field, value) in self.fields.iter().zip(values) {
                payload.extend_from_slice(&field.string);
                string(payload, value);
            }
            VERSION_FIRST
        };
        payload.extend_from_slice(&version.to_le_bytes());
        let checksum = CHECKSUM.checksum(&payload[start..]);
        payload.extend_from_slice(&checksum.to_le_bytes());
    }

    fn listpack<'a>(&self, listpack: &mut Vec<u8>, values: impl Iterator<Item = &'a [u8]>) {
        listpack.clear();
        listpack.extend_from_slice(&[0; LISTPACK_HEAD]);
        for (field, value) in self.fields.iter().zip(values) {
            listpack.extend_from_slice(&field.element);
            element(listpack, value);
        }
        listpack.push(LISTPACK_END);
        let bytes = listpack.len() as u32;
        listpack[..4].copy_from_slice(&bytes.to_le_bytes());
        // All ones stand for "count them", which is true of every longer list as well.
        let elements = u16::try_from(2 * self.fields.len()).unwrap_or(u16::MAX);
        listpack[4..LISTPACK_HEAD].copy_from_slice(&elements.to_le_bytes());
    }
}

/// Appends one element of a listpack. What reads as an integer is stored as one, as Redis does.
fn element(listpack: &mut Vec<u8>, value: &[u8]) {
    let start = listpack.len();
    match integer(value) {
        Some(number) => element_integer(listpack, number),
        None => {
            match value.len() {
                len @ 0..64 => listpack.push(0x80 | len as u8),
                len @ 64..4096 => {
                    listpack.extend_from_slice(&[0xe0 | (len >> 8) as u8, len as u8]);
                }
                len => {
                    listpack.push(0xf0);
                    listpack.extend_from_slice(&(len as u32).to_le_bytes());
                }
            }
            listpack.extend_from_slice(value);
        }
    }
    element_length(listpack, listpack.len() - start);
}

fn element_integer(listpack: &mut Vec<u8>, number: i64) {
    let bytes = number.to_le_bytes();
    match number {
        0..128 => listpack.push(number as u8),
        -4096..4096 => {
            let bits = (number as u16) & 0x1fff;
            listpack.extend_from_slice(&[0xc0 | (bits >> 8) as u8, bits as u8]);
        }
        -0x8000..0x8000 => {
            listpack.push(0xf1);
            listpack.extend_from_slice(&bytes[..2]);
        }
        -0x80_0000..0x80_0000 => {
            listpack.push(0xf2);
            listpack.extend_from_slice(&bytes[..3]);
        }
        -0x8000_0000..0x8000_0000 => {
            listpack.push(0xf3);
            listpack.extend_from_slice(&bytes[..4]);
        }
        _ => {
            listpack.push(0xf4);
            listpack.extend_from_slice(&bytes);
        }
    }
}

/// Appends an element's length, seven bits a byte, most significant first: it is read backwards.
fn element_length(listpack: &mut Vec<u8>, length: usize) {
    let low = |shift: u32| (length >> shift) as u8 & 0x7f | 0x80;
    match length {
        0..128 => listpack.push(length as u8),
        128..0x3fff => listpack.extend_from_slice(&[(length >> 7) as u8, low(0)]),
        0x3fff..0x1f_ffff => listpack.extend_from_slice(&[(length >> 14) as u8, low(7), low(0)]),
        0x1f_ffff..0xfff_ffff => {
            listpack.extend_from_slice(&[(length >> 21) as u8, low(14), low(7), low(0)]);
        }
        _ => listpack.extend_from_slice(&[(length >> 28) as u8, low(21), low(14), low(7), low(0)]),
    }
}

/// The integer that a text is, if printing the integer gives the same text.
fn integer(text: &[u8]) -> Option<i64> {
    let first = *text.first()?;
    if !(first == b'-' || first.is_ascii_digit()) || text.len() > INTEGER_TEXT_MAX {
        return None;
    }
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let is_canonical = match digits.first()? {
        b'0' => text.len() == 1,
        _ => digits.iter().all(u8::is_ascii_digit),
    };
    is_canonical.then(|| std::str::from_utf8(text).ok()?.parse().ok())?
}

/// Appends a string of an `RDB` file.
fn string(payload: &mut Vec<u8>, value: &[u8]) {
    length(payload, value.len());
    payload.extend_from_slice(value);
}

fn length(payload: &mut Vec<u8>, length: usize) {
    match length {
        0..64 => payload.push(length as u8),
        64..0x4000 => payload.extend_from_slice(&[0x40 | (length >> 8) as u8, length as u8]),
        _ => {
            payload.push(0x80);
            payload.extend_from_slice(&(length as u32).to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use harness::{Redis, Reply};
    use proptest::prelude::*;

    use super::*;

    const LIMITS: ListpackLimits = ListpackLimits { fields: 128, bytes: 64 };

    fn payload(fields: &[Vec<u8>], values: &[Vec<u8>], limits: Option<ListpackLimits>) -> Vec<u8> {
        let fields: Vec<Bytes> = fields.iter().cloned().map(Bytes::from).collect();
        let (mut payload, mut scratch) = (b"before".to_vec(), b"garbage".to_vec());
        let values = values.iter().map(Vec::as_slice);
        HashDump::new(&fields, limits).write(&mut payload, &mut scratch, values);
        payload.split_off(b"before".len())
    }

    fn command(server: &Redis, words: &[&[u8]]) -> Reply {
        server.command(words).expect("the server answers")
    }

    /// Tells that a server makes the same of `RESTORE` as of `HSET`, and dumps the listpack as we
    /// write it.
    fn check(server: &Redis, fields: &[Vec<u8>], values: &[Vec<u8>]) {
        command(server, &[b"FLUSHALL"]);
        let mut hset: Vec<&[u8]> = vec![b"HSET", b"h"];
        for (field, value) in fields.iter().zip(values) {
            hset.extend([field.as_slice(), value.as_slice()]);
        }
        command(server, &hset);
        let encoding = command(server, &[b"OBJECT", b"ENCODING", b"h"]);
        for limits in [Some(LIMITS), None] {
            let payload = payload(fields, values, limits);
            command(server, &[b"DEL", b"r"]);
            let answer = command(server, &[b"RESTORE", b"r", b"0", &payload]);
            assert_eq!(answer, Reply::Status("OK".to_owned()), "{limits:?}");
            let encoded = command(server, &[b"OBJECT", b"ENCODING", b"r"]);
            assert_eq!(encoded, encoding, "{limits:?}");
            let pairs = |key: &[u8]| {
                let Reply::Array(items) = command(server, &[b"HGETALL", key]) else {
                    panic!("a hash")
                };
                let mut pairs: Vec<_> = items.chunks(2).map(<[_]>::to_vec).collect();
                // A hash table is in no order.
                if encoding.bytes() != Some(b"listpack") {
                    pairs.sort_by_key(|pair| pair[0].bytes().map(<[u8]>::to_vec));
                }
                pairs
            };
            assert_eq!(pairs(b"r"), pairs(b"h"), "{limits:?}");
            if limits.is_some() && encoding.bytes() == Some(b"listpack") {
                assert_eq!(command(server, &[b"DUMP", b"h"]), Reply::Bulk(payload));
            }
        }
    }

    fn server() -> Redis {
        // Compressed, a dump could not be compared.
        Redis::start_with(&["--rdbcompression", "no", "--hash-max-listpack-entries", "128"])
            .expect("a Redis server")
    }

    #[test]
    fn lengths_and_integers_at_every_boundary_are_as_the_server_writes_them() {
        let server = server();
        let integers: Vec<Vec<u8>> = [0, 7, 12, 13, 15, 16, 23, 24, 31, 32, 63]
            .into_iter()
            .flat_map(|bits| {
                let edge = 1_i128 << bits;
                [edge - 1, edge, -edge, -edge - 1, edge + 1]
            })
            .map(|number| number.to_string().into_bytes())
            .collect();
        let texts = ["", "-", "-0", "00", "01", "+1", "1 ", "1.0", "9223372036854775808", "\u{0}"];
        let texts = texts.into_iter().map(|text| text.as_bytes().to_vec());
        let lengths = (1..=64).map(|length| vec![b'x'; length]);
        let values: Vec<Vec<u8>> = integers.into_iter().chain(texts).chain(lengths).collect();
        for values in values.chunks(60) {
            let fields: Vec<Vec<u8>> = (0..values.len()).map(|n| vec![b'f', n as u8]).collect();
            check(&server, &fields, values);
        }
    }

    #[test]
    fn a_hash_beyond_the_limits_is_a_table_as_after_hset() {
        let server = server();
        let field = |n: usize| format!("field{n}").into_bytes();
        for length in [65, 4_095, 4_096, 16_383, 16_384, 70_000] {
            check(&server, &[field(0), field(1)], &[vec![b'v'; length], b"1".to_vec()]);
        }
        for count in [127, 128, 129, 20_000] {
            let fields: Vec<_> = (0..count).map(field).collect();
            check(&server, &fields, &vec![b"value".to_vec(); count]);
        }
        check(&server, &[vec![b'f'; 65]], &[b"v".to_vec()]);
    }

    #[test]
    fn a_listpack_of_larger_limits_is_what_a_server_with_them_makes() {
        let server = Redis::start_with(&[
            "--rdbcompression",
            "no",
            "--hash-max-listpack-value",
            "100000",
            "--hash-max-listpack-entries",
            "100000",
        ])
        .expect("a Redis server");
        let limits = ListpackLimits { fields: 100_000, bytes: 100_000 };
        for (count, length) in [(40_000, 3), (3, 126), (3, 4_096), (3, 16_384), (2, 99_999)] {
            let fields: Vec<_> = (0..count).map(|n| format!("f{n:05}").into_bytes()).collect();
            let values = vec![vec![b'v'; length]; count];
            let payload = payload(&fields, &values, Some(limits));
            let answer = command(&server, &[b"RESTORE", b"r", b"0", &payload]);
            assert_eq!(answer, Reply::Status("OK".to_owned()));
            assert_eq!(command(&server, &[b"DUMP", b"r"]), Reply::Bulk(payload));
            let strlen = command(&server, &[b"HSTRLEN", b"r", &fields[count - 1]]);
            assert_eq!(strlen, Reply::Integer(length as i64));
            command(&server, &[b"DEL", b"r"]);
        }
    }

    #[test]
    fn any_hash_is_the_one_that_hset_makes() {
        let server = server();
        let pair = (prop::collection::vec(any::<u8>(), 0..70), "[-0-9]{0,21}|.{0,5}");
        let hash = prop::collection::btree_map(
            prop::collection::vec(any::<u8>(), 1..6),
            pair.prop_map(|(bytes, text)| if text.is_empty() { bytes } else { text.into_bytes() }),
            1..20,
        );
        proptest!(|(hash in hash)| {
            let (fields, values): (Vec<_>, Vec<_>) = hash.into_iter().unzip();
            check(&server, &fields, &values);
        });
    }
}
