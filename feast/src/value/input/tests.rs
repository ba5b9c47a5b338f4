//! Cells of pushed rows: what is stored for them, and what is refused and why.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::value::tests::any_value;

fn read(json: JsonValue, value_type: ValueType) -> Result<Value, String> {
    from_json(&json, value_type).map_err(|error| error.to_string())
}

fn string(text: &str) -> Value {
    Value::String(text.to_owned())
}

fn refused(what: &str, found: &str) -> Result<Value, String> {
    Err(format!("{what} expected, and got {found}"))
}

#[test]
fn null_is_null_of_every_type() {
    for kind in ValueType::ALL {
        assert_eq!(read(json!(null), kind), Ok(Value::Null));
    }
}

#[test]
fn integers_are_taken_however_they_are_written_without_loss() {
    for (json, number) in [
        (json!(7), 7),
        (json!(7.0), 7),
        (json!("7"), 7),
        (json!(true), 1),
        (json!(9_007_199_254_740_993_i64), 9_007_199_254_740_993),
    ] {
        assert_eq!(read(json, ValueType::Int64), Ok(Value::Int64(number)));
    }
    assert_eq!(read(json!(-7), ValueType::Int32), Ok(Value::Int32(-7)));
    let (small, large) = ("an integer of 32 bits", "an integer of 64 bits");
    assert_eq!(read(json!(7.9), ValueType::Int64), refused(large, "`7.9`"));
    assert_eq!(read(json!("x"), ValueType::Int64), refused(large, "the text `x`"));
    assert_eq!(read(json!(u64::MAX), ValueType::Int64), refused(large, "`18446744073709551615`"));
    assert_eq!(read(json!(2_147_483_648_i64), ValueType::Int32), refused(small, "`2147483648`"));
}

#[test]
fn floats_take_numbers_and_what_json_has_no_number_for() {
    assert_eq!(read(json!(0.77), ValueType::Double), Ok(Value::Double(0.77)));
    assert_eq!(read(json!(1), ValueType::Double), Ok(Value::Double(1.0)));
    assert_eq!(read(json!(0.1), ValueType::Float), Ok(Value::Float(0.1)));
    assert_eq!(read(json!(1e300), ValueType::Float), Ok(Value::Float(f32::INFINITY)));
    assert_eq!(read(json!("-Infinity"), ValueType::Double), Ok(Value::Double(f64::NEG_INFINITY)));
    let nan = read(json!("NaN"), ValueType::Float);
    assert!(matches!(nan, Ok(Value::Float(nan)) if nan.is_nan()));
    // As recorded, a text is no number; Feast answers with a list of Python's types.
    let what = "a number, `NaN`, `Infinity` or `-Infinity`";
    assert_eq!(read(json!("abc"), ValueType::Double), refused(what, "the text `abc`"));
    assert_eq!(read(json!(true), ValueType::Double), refused(what, "`true`"));
    assert_eq!(read(json!("0.5"), ValueType::Float), refused(what, "the text `0.5`"));
}

#[test]
fn bools_take_integers_as_whether_they_are_zero() {
    for (json, value) in [(json!(true), true), (json!(0), false), (json!(-2), true)] {
        assert_eq!(read(json, ValueType::Bool), Ok(Value::Bool(value)));
    }
    for json in [json!("true"), json!(1.0), json!([])] {
        assert!(read(json, ValueType::Bool).is_err());
    }
}

#[test]
fn texts_are_what_python_makes_of_a_scalar() {
    for (json, text) in [
        (json!("a"), "a"),
        (json!(""), ""),
        (json!(1), "1"),
        (json!(1.0), "1.0"),
        (json!(1e16), "1e+16"),
        (json!(true), "True"),
    ] {
        assert_eq!(read(json, ValueType::String), Ok(string(text)));
    }
    assert_eq!(read(json!([1]), ValueType::String), refused("a text", "an array"));
}

#[test]
fn bytes_are_base64_as_in_answers() {
    for kind in [ValueType::Bytes, ValueType::PdfBytes, ValueType::ImageBytes] {
        assert_eq!(read(json!("AP8B"), kind), Ok(Value::Bytes(vec![0, 0xff, 1])));
        assert_eq!(read(json!("é"), kind), refused("bytes in base64", "the text `é`"));
    }
}

#[test]
fn timestamps_are_seconds_or_iso_texts() {
    for (json, seconds) in [
        (json!(1_767_323_045), 1_767_323_045),
        (json!(5.0), 5),
        (json!("2026-01-02T03:04:05Z"), 1_767_323_045),
        (json!("2026-01-02T03:04:05.999"), 1_767_323_045),
        (json!("1969-12-31T23:59:59.5Z"), -1),
        (json!("2026-01-02T05:04:05+02:00"), 1_767_323_045),
        (json!("19700102"), 86_400),
    ] {
        let expected = Ok(Value::UnixTimestamp(seconds));
        assert_eq!(read(json.clone(), ValueType::UnixTimestamp), expected, "{json}");
    }
    for json in [json!(5.5), json!("now"), json!("1767323045"), json!("1712121212345"), json!(true)]
    {
        assert!(read(json.clone(), ValueType::UnixTimestamp).is_err(), "{json}");
    }
}

#[test]
fn json_is_kept_as_text_and_made_text() {
    let text = |text: &str| Ok(Value::Text(ValueType::Json, text.to_owned()));
    assert_eq!(read(json!("{\"a\":1}"), ValueType::Json), text("{\"a\":1}"));
    let object = json!({"é": [1, 2.0, null, true]});
    assert_eq!(read(object, ValueType::Json), text(r#"{"\u00e9": [1, 2.0, null, true]}"#));
    assert_eq!(read(json!(5), ValueType::Json), text("5"));
    assert!(read(json!("{bad"), ValueType::Json).unwrap_err().starts_with("no JSON"));
}

#[test]
fn uuids_and_decimals_are_texts() {
    for kind in [ValueType::Uuid, ValueType::TimeUuid, ValueType::Decimal] {
        assert_eq!(read(json!("1.50"), kind), Ok(Value::Text(kind, "1.50".to_owned())));
        assert!(read(json!(1.5), kind).is_err());
    }
}

#[test]
fn lists_hold_cells_of_the_element_type() {
    let list = |kind, items: &[Value]| Ok(Value::List(kind, items.to_vec()));
    let ints = [Value::Int64(1), Value::Int64(2)];
    assert_eq!(read(json!([1, 2.0]), ValueType::Int64List), list(ValueType::Int64List, &ints));
    assert_eq!(read(json!([]), ValueType::Int64List), list(ValueType::Int64List, &[]));
    let texts = [string("a"), string("")];
    assert_eq!(
        read(json!(["a", null]), ValueType::StringList),
        list(ValueType::StringList, &texts)
    );
    let times = [Value::UnixTimestamp(0), Value::UnixTimestamp(NULL_TIMESTAMP)];
    let kind = ValueType::UnixTimestampList;
    assert_eq!(read(json!(["1970-01-01", null]), kind), list(kind, &times));
    let nulls = refused("an array without nulls", "null");
    assert_eq!(read(json!([1, null]), ValueType::Int64List), nulls);
    assert_eq!(read(json!(1), ValueType::Int64List), refused("an array", "`1`"));
    assert!(read(json!(["x"]), ValueType::DoubleList).is_err());
}

#[test]
fn sets_hold_each_element_once_in_the_order_of_the_row() {
    let set = |json, kind| read(json, kind).map(|set| set.to_json());
    assert_eq!(set(json!([3, 1, 3, 2, 1]), ValueType::Int64Set), Ok(json!([3, 1, 2])));
    assert_eq!(set(json!([0.0, -0.0, 1]), ValueType::DoubleSet), Ok(json!([0.0, 1.0])));
    assert_eq!(set(json!(["a", "a"]), ValueType::StringSet), Ok(json!(["a"])));
}

#[test]
fn maps_are_objects_or_their_text() {
    let entries = vec![("a".to_owned(), Value::Int64(1)), ("b".to_owned(), Value::Null)];
    for json in [json!({"a": 1, "b": null}), json!("{\"a\": 1, \"b\": null}")] {
        for kind in [ValueType::Map, ValueType::Struct] {
            assert_eq!(read(json.clone(), kind), Ok(Value::Map(kind, entries.clone())));
        }
        let kind = ValueType::MapList;
        let maps = Value::MapList(kind, vec![entries.clone()]);
        assert_eq!(read(json!([json]), kind), Ok(maps));
    }
    let empty = Value::MapList(ValueType::StructList, vec![]);
    assert_eq!(read(json!("[]"), ValueType::StructList), Ok(empty));
    let what = "an object or its JSON text";
    assert_eq!(read(json!([1]), ValueType::Map), refused(what, "an array"));
    assert_eq!(read(json!([null]), ValueType::MapList), refused(what, "null"));
    assert!(read(json!({"a": u64::MAX}), ValueType::Map).is_err());
}

#[test]
fn nested_lists_take_the_type_of_their_leaves() {
    let nested = |json| read(json, ValueType::ValueList).map(|value| (value.to_json(), value));
    let (json, value) = nested(json!([[1, 2], [], null, [1, 2.5]])).unwrap();
    assert_eq!(json, json!([[1, 2], null, null, [1.0, 2.5]]));
    let Value::Nested(_, lists) = value else { panic!("it is nested") };
    assert_eq!(lists[0].kind(), Some(ValueType::Int64List));
    assert_eq!(lists[3].kind(), Some(ValueType::DoubleList));
    assert_eq!(nested(json!([[["a"]], [null, ["b"]]])).unwrap().0, json!([[["a"]], [null, ["b"]]]));
    for json in [json!([1]), json!({}), json!([[1, "a"]]), json!([[1, null]]), json!("[[1]]")] {
        assert!(nested(json.clone()).is_err(), "{json}");
    }
}

#[test]
fn what_no_reader_could_read_is_refused() {
    let deep = |depth| (0..depth).fold(json!([1]), |inner, _| json!([inner]));
    assert!(from_json(&deep(40), ValueType::ValueList).is_ok());
    assert_eq!(from_json(&deep(60), ValueType::ValueList), Err(Error::TooDeep));
    let deep = (0..60).fold(json!(1), |inner, _| json!({"a": inner}));
    assert_eq!(from_json(&deep, ValueType::Map), Err(Error::TooDeep));
}

#[test]
fn types_that_cannot_be_pushed_say_so() {
    let error = read(json!({}), ValueType::ScalarMap).unwrap_err();
    assert!(error.contains("cannot be pushed"), "{error}");
    assert!(read(json!("2026-01-02"), ValueType::ZonedTimestamp).is_err());
}

#[test]
fn event_times_are_iso_texts_or_seconds() {
    for (json, micros) in [
        (json!("2026-11-23T09:08:40.211502+00:00"), 1_795_424_920_211_502),
        (json!("2026-11-23T09:08:40.211502"), 1_795_424_920_211_502),
        (json!("2026-11-23T10:08:40.211502+01:00"), 1_795_424_920_211_502),
        (json!(1_795_424_920), 1_795_424_920_000_000),
        (json!(1_795_424_920.211_502), 1_795_424_920_211_502),
        (json!(-1), -1_000_000),
    ] {
        assert_eq!(event_time_from_json(&json), Ok(micros), "{json}");
    }
    for json in [json!(null), json!("x"), json!(true), json!(i64::MAX), json!(1e300), json!("")] {
        let error = event_time_from_json(&json).unwrap_err().to_string();
        assert!(error.starts_with("an ISO 8601 time or seconds since the epoch"), "{error}");
    }
    assert!(event_time_from_json(&json!("1712121212345")).is_err());
}

#[test]
fn a_typed_value_must_be_of_the_declared_type() {
    let bytes = serialized(&Value::Int32(5));
    assert_eq!(from_proto(&bytes, ValueType::Int32), Ok(Value::Int32(5)));
    let error = from_proto(&bytes, ValueType::Int64).unwrap_err().to_string();
    assert_eq!(error, "a value of type Int64 expected, and got the INT32 `5`");
    assert_eq!(from_proto(b"", ValueType::Int64), Ok(Value::Null));
    let bytes = serialized(&Value::Bytes(vec![1]));
    assert_eq!(from_proto(&bytes, ValueType::ImageBytes), Ok(Value::Bytes(vec![1])));
    assert!(from_proto(b"\x12", ValueType::String).is_err());
}

proptest! {
    #[test]
    fn an_answered_scalar_or_list_is_read_back(value in any_value()) {
        let kind = value.kind().unwrap_or(ValueType::Null);
        let is_inferred = matches!(value, Value::Map(..) | Value::MapList(..) | Value::Nested(..));
        if is_inferred || kind == ValueType::Json || kind.is_set() {
            return Ok(());
        }
        let read = from_json(&value.to_json(), kind);
        prop_assert!(read.is_ok(), "{:?} {:?}", value, read);
        prop_assert_eq!(read.unwrap().to_json(), value.to_json());
    }

    #[test]
    fn a_typed_value_is_of_its_own_type(value in any_value()) {
        let kind = value.kind().unwrap_or(ValueType::Int64);
        let read = from_proto(&serialized(&value), kind);
        prop_assert_eq!(read.map(|read| serialized(&read)), Ok(serialized(&value)));
    }
}
