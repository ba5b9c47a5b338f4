//! Keys of requests: what is taken, what is refused and why, and what is repeated.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::entity_key::{self, EntityKeyLayout};
use crate::{JoinKey, value::answer};

fn strict(json: JsonValue, value_type: ValueType) -> Result<KeyValue, String> {
    key_from_json(&json, value_type, Coercion::Strict).map_err(|error| error.to_string())
}

fn lenient(json: JsonValue, value_type: ValueType) -> Result<KeyValue, String> {
    key_from_json(&json, value_type, Coercion::Feast).map_err(|error| error.to_string())
}

fn proto(value: Value, value_type: ValueType, coercion: Coercion) -> Result<KeyValue, String> {
    let mut bytes = BytesMut::new();
    value.encode(&mut bytes);
    key_from_proto(&bytes, value_type, coercion).map_err(|error| error.to_string())
}

fn text(text: &str) -> KeyValue {
    KeyValue::Text(text.to_owned())
}

#[test]
fn exact_integers_are_keys_however_they_are_written() {
    for coercion in [Coercion::Strict, Coercion::Feast] {
        for (json, number) in [
            (json!(1001), 1001),
            (json!(1001.0), 1001),
            (json!(-0.0), 0),
            (json!("1001"), 1001),
            (json!("-5"), -5),
            (json!("9223372036854775807"), i64::MAX),
            (json!(i64::MIN), i64::MIN),
            (json!(9_007_199_254_740_993_i64), 9_007_199_254_740_993),
        ] {
            let key = key_from_json(&json, ValueType::Int64, coercion);
            assert_eq!(key, Ok(KeyValue::Integer(number)), "{json}");
        }
    }
    assert_eq!(strict(json!(i32::MIN), ValueType::Int32), Ok(KeyValue::Integer(-2_147_483_648)));
    assert_eq!(strict(json!(5), ValueType::UnixTimestamp), Ok(KeyValue::Integer(5)));
}

#[test]
fn inexact_integers_are_refused_with_what_was_found() {
    for (json, found) in [
        (json!(1001.7), "`1001.7`"),
        (json!(true), "`true`"),
        (json!(null), "null"),
        (json!("abc"), "the text `abc`"),
        (json!("1001.0"), "the text `1001.0`"),
        (json!(" 1"), "the text ` 1`"),
        (json!("+1"), "the text `+1`"),
        (json!("1_0"), "the text `1_0`"),
        (json!(""), "the text ``"),
        (json!("-"), "the text `-`"),
        (json!("9223372036854775808"), "the text `9223372036854775808`"),
        (json!(9_223_372_036_854_775_808_u64), "`9223372036854775808`"),
        (json!(9_007_199_254_740_992.0), "`9007199254740992.0`"),
        (json!([1]), "an array"),
        (json!({"a": 1}), "an object"),
    ] {
        let message = format!("an integer of 64 bits expected, and got {found}");
        assert_eq!(strict(json, ValueType::Int64), Err(message));
    }
    let message = "an integer of 32 bits expected, and got `2147483648`".to_owned();
    assert_eq!(strict(json!(2_147_483_648_i64), ValueType::Int32), Err(message));
}

#[test]
fn feasts_coercions_are_made_on_request() {
    for (json, number) in [
        (json!(1001.7), 1001),
        (json!(-1.5), -1),
        (json!(true), 1),
        (json!(false), 0),
        (json!(" 1_001 "), 1001),
        (json!("+7"), 7),
        (json!(1e16), 10_000_000_000_000_000),
    ] {
        assert_eq!(lenient(json, ValueType::Int64), Ok(KeyValue::Integer(number)));
    }
    for json in [json!(null), json!("abc"), json!("1.5"), json!(1e19), json!([1]), json!(u64::MAX)]
    {
        assert!(lenient(json.clone(), ValueType::Int64).is_err(), "{json}");
    }
    assert_eq!(lenient(json!(1.5), ValueType::String), Ok(text("1.5")));
    assert_eq!(lenient(json!(true), ValueType::String), Ok(text("True")));
    assert!(lenient(json!(null), ValueType::String).is_err());
    assert!(lenient(json!(2_147_483_648.5), ValueType::Int32).is_err());
}

#[test]
fn texts_are_keys_and_so_are_integers_as_their_digits() {
    assert_eq!(strict(json!(""), ValueType::String), Ok(text("")));
    assert_eq!(strict(json!(5), ValueType::String), Ok(text("5")));
    assert_eq!(strict(json!(u64::MAX), ValueType::String), Ok(text("18446744073709551615")));
    for json in [json!(5.0), json!(true), json!(null), json!(["a"])] {
        assert!(strict(json.clone(), ValueType::String).is_err(), "{json}");
    }
}

#[test]
fn bytes_are_base64_as_in_answers() {
    assert_eq!(strict(json!("AP8B"), ValueType::Bytes), Ok(KeyValue::Bytes(vec![0, 0xff, 1])));
    assert_eq!(strict(json!(""), ValueType::Bytes), Ok(KeyValue::Bytes(vec![])));
    let message = "bytes in base64 expected, and got the text `YWI`".to_owned();
    assert_eq!(strict(json!("YWI"), ValueType::Bytes), Err(message));
}

#[test]
fn other_types_are_no_keys() {
    for value_type in [ValueType::Double, ValueType::Bool, ValueType::Uuid, ValueType::Int64List] {
        let error = lenient(json!(1), value_type).unwrap_err();
        assert!(error.starts_with("a join key of type STRING, BYTES"), "{error}");
    }
}

#[test]
fn either_integer_type_is_taken_for_the_other() {
    let strictly = |value, value_type| proto(value, value_type, Coercion::Strict);
    let number = Ok(KeyValue::Integer(1001));
    for value in [Value::Int32(1001), Value::Int64(1001)] {
        for value_type in [ValueType::Int32, ValueType::Int64, ValueType::UnixTimestamp] {
            assert_eq!(strictly(value.clone(), value_type), number);
        }
    }
    assert_eq!(strictly(Value::UnixTimestamp(1001), ValueType::UnixTimestamp), number);
    assert_eq!(strictly(Value::String("a".to_owned()), ValueType::String), Ok(text("a")));
    assert_eq!(strictly(Value::Bytes(vec![1]), ValueType::Bytes), Ok(KeyValue::Bytes(vec![1])));
    let message = "an integer of 32 bits expected, and got the INT64 `2147483648`".to_owned();
    assert_eq!(strictly(Value::Int64(2_147_483_648), ValueType::Int32), Err(message));
    let message = "an integer of 64 bits expected, and got a value of type String".to_owned();
    assert_eq!(strictly(Value::String("1".to_owned()), ValueType::Int64), Err(message));
    let message = "a text expected, and got null".to_owned();
    assert_eq!(strictly(Value::Null, ValueType::String), Err(message));
    assert!(strictly(Value::Int64(5), ValueType::String).is_err());
    assert!(strictly(Value::Bool(true), ValueType::Int64).is_err());
    assert!(strictly(Value::UnixTimestamp(5), ValueType::Int64).is_err());
    assert!(key_from_proto(b"\x12", ValueType::String, Coercion::Strict).is_err());
}

#[test]
fn feasts_coercions_hold_for_typed_values_too() {
    let leniently = |value, value_type| proto(value, value_type, Coercion::Feast);
    let number = Ok(KeyValue::Integer(1001));
    assert_eq!(leniently(Value::String("1001".to_owned()), ValueType::Int64), number);
    assert_eq!(leniently(Value::Double(1001.7), ValueType::Int64), number);
    assert_eq!(leniently(Value::Bool(true), ValueType::Int32), Ok(KeyValue::Integer(1)));
    assert_eq!(leniently(Value::Int64(5), ValueType::String), Ok(text("5")));
    assert!(leniently(Value::Null, ValueType::Int64).is_err());
    assert!(leniently(Value::Bytes(vec![49]), ValueType::String).is_err());
}

#[test]
fn a_response_repeats_the_value_as_it_was_read() {
    // As recorded: `"1001"` and `5` are answered as 1001 and "5".
    for (json, value_type, answered) in [
        (json!("1001"), ValueType::Int64, "1001"),
        (json!(-7.0), ValueType::Int32, "-7"),
        (json!(5), ValueType::String, "\"5\""),
        (json!("AP8B"), ValueType::Bytes, "\"AP8B\""),
        (json!(5), ValueType::UnixTimestamp, "5"),
    ] {
        let bytes = echo(&strict(json, value_type).unwrap(), value_type);
        let mut out = Vec::new();
        answer::write_json(&bytes, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), answered);
    }
    assert_eq!(echo(&KeyValue::Integer(1001), ValueType::Int64), &b"\x20\xe9\x07"[..]);
    assert_eq!(echo(&KeyValue::Integer(1001), ValueType::Int32), &b"\x18\xe9\x07"[..]);
}

proptest! {
    #[test]
    fn whatever_is_taken_can_be_written_as_a_key(
        number in any::<i64>(),
        words in any::<String>(),
        kind in prop::sample::select(vec![
            ValueType::Int32, ValueType::Int64, ValueType::String, ValueType::Bytes,
            ValueType::UnixTimestamp,
        ]),
    ) {
        let join_key = JoinKey { name: "id".to_owned(), value_type: kind };
        let layout = EntityKeyLayout::new(&[join_key], 3).unwrap();
        for json in [json!(number), json!(words), json!(number.to_string()), json!(number as f64)] {
            for coercion in [Coercion::Strict, Coercion::Feast] {
                if let Ok(key) = key_from_json(&json, kind, coercion) {
                    let written = entity_key::serialize(&layout, std::slice::from_ref(&key));
                    prop_assert!(written.is_ok());
                    let read = key_from_proto(&echo(&key, kind), kind, Coercion::Strict);
                    prop_assert_eq!(read, Ok(key));
                }
            }
        }
    }
}
