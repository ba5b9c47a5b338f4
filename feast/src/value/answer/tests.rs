//! Answers against what Feast 0.67's HTTP server sent, against `Value::to_json`, and floats against
//! Python's `repr`.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use bytes::BytesMut;
use proptest::prelude::*;
use serde_json::{Value as JsonValue, json};

use super::*;
use crate::text;
use crate::value::tests::any_value;
use crate::value::wire::{put_bytes, put_delimited, put_int, put_tag};
use crate::value::{Value, field_of};

fn answer(value: &Value) -> String {
    let mut bytes = BytesMut::new();
    value.encode(&mut bytes);
    answer_of(&bytes).unwrap()
}

fn answer_of(bytes: &[u8]) -> Result<String, Error> {
    let mut out = Vec::new();
    write_json(bytes, &mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

fn float(number: f64) -> String {
    answer(&Value::Double(number))
}

#[test]
fn recorded_values_are_answered_byte_for_byte() {
    let list = |kind, items: &[Value]| Value::List(kind, items.to_vec());
    for (value, json) in [
        (Value::Bool(true), "true"),
        (Value::Bool(false), "false"),
        (Value::Bytes(vec![0, 0xff, 1]), "\"AP8B\""),
        (Value::Bytes(vec![]), "\"\""),
        (
            list(ValueType::Int64List, &[Value::Int64(9_007_199_254_740_993), Value::Int64(2)]),
            "[9007199254740993,2]",
        ),
        (list(ValueType::Int64List, &[]), "[]"),
        (list(ValueType::BoolList, &[Value::Bool(true), Value::Bool(false)]), "[true,false]"),
        (
            list(
                ValueType::BytesList,
                &[Value::Bytes(vec![0, 0xff]), Value::Bytes(b"ab".to_vec())],
            ),
            "[\"AP8=\",\"YWI=\"]",
        ),
        (Value::String("héllo".to_owned()), "\"héllo\""),
        (Value::Float(0.1), "0.10000000149011612"),
        (Value::Float(0.0), "0.0"),
        (Value::UnixTimestamp(1_767_323_045), "1767323045"),
        (list(ValueType::Int32List, &[Value::Int32(1), Value::Int32(2)]), "[1,2]"),
        (
            list(ValueType::FloatList, &[Value::Float(0.1), Value::Float(2.5)]),
            "[0.10000000149011612,2.5]",
        ),
        (
            list(ValueType::UnixTimestampList, &[Value::UnixTimestamp(1_767_323_045)]),
            "[1767323045]",
        ),
        (Value::Int32(-7), "-7"),
        (
            list(
                ValueType::StringList,
                &[Value::String("a".to_owned()), Value::String("b".to_owned())],
            ),
            "[\"a\",\"b\"]",
        ),
        (Value::Int64(9_007_199_254_740_992), "9007199254740992"),
        (
            list(
                ValueType::DoubleList,
                &[Value::Double(0.1), Value::Double(f64::NAN), Value::Double(f64::INFINITY)],
            ),
            "[0.1,\"NaN\",\"Infinity\"]",
        ),
        (Value::Null, "null"),
    ] {
        assert_eq!(answer(&value), json);
    }
}

#[test]
fn floats_are_pythons_repr() {
    for (number, repr) in [
        (1e300, "1e+300"),
        (1e-5, "1e-05"),
        (1.25e-5, "1.25e-05"),
        (-9.87e-5, "-9.87e-05"),
        (1e-4, "0.0001"),
        (9.999_999_999_999_999e-5, "9.999999999999999e-05"),
        (1e16, "1e+16"),
        (9_999_999_999_999_998.0, "9999999999999998.0"),
        (1e22, "1e+22"),
        (123_456_789.0, "123456789.0"),
        (0.1, "0.1"),
        (-0.0, "-0.0"),
        (5e-324, "5e-324"),
        (1.5e-10, "1.5e-10"),
        (2e-6, "2e-06"),
        (f64::MAX, "1.7976931348623157e+308"),
        (f64::NAN, "\"NaN\""),
        (f64::INFINITY, "\"Infinity\""),
        (f64::NEG_INFINITY, "\"-Infinity\""),
    ] {
        assert_eq!(float(number), repr);
    }
}

#[test]
fn powers_of_two_and_small_subnormals_take_pythons_digits() {
    // Where the gap below a float is half of the one above, and where two shortest texts are
    // equally near.
    let powers = (0..0x7ff_u64).map(|exponent| exponent << 52);
    for bits in powers.chain(1..2_000).filter(|bits| *bits != 0) {
        let number = f64::from_bits(bits);
        let mut expected = String::new();
        text::write_float(&mut expected, number).unwrap();
        assert_eq!(float(number), expected, "bits {bits:x}");
    }
}

#[test]
fn texts_are_escaped_as_python_does_without_ascii() {
    for (text, json) in [
        ("", r#""""#),
        ("a\"b\\c/d", r#""a\"b\\c/d""#),
        ("\n\r\t\u{8}\u{c}", r#""\n\r\t\b\f""#),
        ("\0\u{1f}\u{7f}", "\"\\u0000\\u001f\u{7f}\""),
        ("é😀\u{2028}", "\"é😀\u{2028}\""),
    ] {
        let mut out = Vec::new();
        write_string(text, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), json);
        assert_eq!(serde_json::from_str::<String>(json).unwrap(), text);
    }
}

#[test]
fn a_null_timestamp_is_null_wherever_it_stands() {
    let null = Value::UnixTimestamp(NULL_TIMESTAMP);
    assert_eq!(answer(&null), "null");
    let list = Value::List(ValueType::UnixTimestampList, vec![null.clone(), null.clone()]);
    assert_eq!(answer(&list), "[null,null]");
    assert_eq!(answer(&Value::Map(ValueType::Map, vec![("a".to_owned(), null)])), r#"{"a":null}"#);
}

#[test]
fn null_is_no_bytes_the_explicit_null_and_the_null_timestamp() {
    for null in [&b""[..], b"\x98\x01\x00", b"\x40\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"] {
        assert!(is_null(null), "{null:?}");
        assert_eq!(answer_of(null).unwrap(), "null");
    }
    for value in [&b"\x12\x00"[..], b"\x20\x00", b"\x40\x00", b"\x6a\x00", b"\xff", b"\x12\x05a"] {
        assert!(!is_null(value), "{value:?}");
    }
}

#[test]
fn the_last_of_several_fields_counts() {
    assert_eq!(answer_of(b"\x20\x01\x12\x01a").unwrap(), "\"a\"");
    // Field 100 is none of Feast's.
    assert_eq!(answer_of(b"\x20\x01\xa0\x06\x07").unwrap(), "1");
    let entry = |value: &[u8]| [b"\x0a\x07\x0a\x01a\x12\x02".as_slice(), value].concat();
    let map = [entry(b"\x20\x01"), entry(b"\x20\x02")].concat();
    let map = [b"\xa2\x01\x12".as_slice(), &map].concat();
    assert_eq!(answer_of(&map).unwrap(), r#"{"a":2}"#);
}

#[test]
fn a_zoned_timestamp_is_written_in_its_zone() {
    let zoned = |seconds, zone: &str| {
        let mut out = BytesMut::new();
        put_tag(&mut out, field_of(ValueType::ZonedTimestamp), WireType::Delimited);
        put_delimited::<Error>(&mut out, |out| {
            put_tag(out, 1, WireType::Varint);
            put_int(out, seconds);
            put_tag(out, 2, WireType::Delimited);
            put_bytes(out, zone.as_bytes());
            Ok(())
        })
        .unwrap();
        answer_of(&out).unwrap()
    };
    assert_eq!(zoned(1_795_421_022, "-07:00"), "\"2026-11-23T01:03:42-07:00\"");
    assert_eq!(zoned(1_795_421_022, ""), "\"2026-11-23T08:03:42+00:00\"");
    assert_eq!(zoned(0, "Europe/Berlin"), "\"1970-01-01T00:00:00+00:00\"");
    assert_eq!(zoned(NULL_TIMESTAMP, "UTC"), "null");
    assert_eq!(answer(&Value::Opaque(ValueType::ScalarMap, vec![1, 2])), "null");
}

#[test]
fn malformed_bytes_append_nothing() {
    for bytes in [&b"\x12\x05a"[..], b"\x12\x01\xff", b"\x22\x00", b"\x72\x03\x0a\x01\x80"] {
        let mut out = b"before".to_vec();
        assert!(write_json(bytes, &mut out).is_err(), "{bytes:?}");
        assert_eq!(out, b"before");
    }
    let mut deep = BytesMut::new();
    for _ in 0..200 {
        let inner = deep.split();
        put_tag(&mut deep, field_of(ValueType::ValueList), WireType::Delimited);
        let item = |out: &mut BytesMut| -> Result<(), Error> {
            put_tag(out, REPEATED_FIELD, WireType::Delimited);
            put_bytes(out, &inner);
            Ok(())
        };
        put_delimited(&mut deep, item).unwrap();
    }
    assert_eq!(answer_of(&deep), Err(Error::TooDeep));
}

/// What `to_json` says, as text: floats by their `repr`, and null for null timestamps.
fn at_leisure(value: &Value) -> String {
    match value {
        Value::UnixTimestamp(NULL_TIMESTAMP) => "null".to_owned(),
        Value::List(_, items) | Value::Nested(_, items) => {
            let items: Vec<String> = items.iter().map(at_leisure).collect();
            format!("[{}]", items.join(","))
        }
        other => json_text(&other.to_json()),
    }
}

fn json_text(json: &JsonValue) -> String {
    match json {
        JsonValue::Number(number) if number.is_f64() => {
            let mut out = String::new();
            text::write_float(&mut out, number.as_f64().unwrap()).unwrap();
            out
        }
        JsonValue::Array(items) => {
            let items: Vec<String> = items.iter().map(json_text).collect();
            format!("[{}]", items.join(","))
        }
        JsonValue::Object(members) => {
            let member = |(key, member)| format!("{}:{}", json!(key), json_text(member));
            let members: Vec<String> = members.iter().map(member).collect();
            format!("{{{}}}", members.join(","))
        }
        other => other.to_string(),
    }
}

proptest! {
    #[test]
    fn every_value_is_answered_as_it_reads_at_leisure(value in any_value()) {
        prop_assert_eq!(answer(&value), at_leisure(&value));
    }

    #[test]
    fn every_float_is_pythons_repr(bits in any::<u64>()) {
        let number = f64::from_bits(bits);
        let mut expected = String::new();
        text::write_json_float(&mut expected, number).unwrap();
        let text = float(number);
        prop_assert_eq!(text.trim_matches('"'), expected);
    }

    #[test]
    fn no_bytes_make_the_writer_panic(bytes in any::<Vec<u8>>()) {
        let _ = (answer_of(&bytes), is_null(&bytes));
    }
}

#[test]
fn keys_and_texts_inside_maps_are_escaped() {
    let inner = Value::Map(ValueType::Struct, vec![("\"".to_owned(), Value::Double(1e16))]);
    let map = Value::MapList(ValueType::MapList, vec![vec![("é".to_owned(), inner)], vec![]]);
    assert_eq!(answer(&map), r#"[{"é":{"\"":1e+16}},{}]"#);
    let nested = Value::Nested(
        ValueType::ValueList,
        vec![Value::List(ValueType::Int32List, vec![Value::Int32(1)]), Value::Null],
    );
    assert_eq!(answer(&nested), "[[1],null]");
    assert_eq!(json!([[1], null]), nested.to_json());
}
