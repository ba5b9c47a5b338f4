//! Values against bytes that Feast 0.67 wrote, and against themselves.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn encoded(value: &Value) -> BytesMut {
    let mut out = BytesMut::new();
    value.encode(&mut out);
    out
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

#[test]
fn golden_bytes_read_as_json_and_write_back() {
    for (hex, json) in [
        ("1203302e31", json!("0.1")),
        ("18ffffffffffffffffff01", json!(-1)),
        ("20ffffffffffffffff7f", json!(i64::MAX)),
        ("35cdcccc3d", json!(0.100_000_001_490_116_12)),
        ("290000000000000080", json!(-0.0)),
        ("29000000000000f07f", json!("Infinity")),
        ("3801", json!(true)),
        ("4080808080808080808001", json!(i64::MIN)),
        ("0a03616263", json!("YWJj")),
        ("0a0461626364", json!("YWJjZA==")),
        ("0a00", json!("")),
        ("8202046e756c6c", json!("null")),
        ("a20203414243", json!("ABC")),
        ("e20204312e3530", json!("1.50")),
        ("6a00", json!([])),
        ("720d0a0b01feffffffffffffffff01", json!([1, -2])),
        ("82010a0a080000c07f0000f0ff", json!(["NaN", "NaN"])),
        ("62050a01610a00", json!(["a", ""])),
        ("8a01040a020100", json!([true, false])),
        ("9a02160a090a070a0161120220010a090a070a016112022002", json!([{"a": 1}, {"a": 2}])),
        ("a2010c0a0a0a016112050a0362696e", json!({"a": "Ymlu"})),
        ("9202170a0e0a016212092900000000000000400a050a01611200", json!({"b": 2.0, "a": null})),
        ("d2020f0a0672040a0201020a0572030a0103", json!([[1, 2], [3]])),
        ("d2020d0a07d202040a000a000a000a00", json!([[null, null], null, null])),
        ("", json!(null)),
    ] {
        let bytes = unhex(hex);
        let value = Value::decode(&bytes).unwrap();
        assert_eq!(value.to_json(), json, "{hex}");
        assert_eq!(encoded(&value), bytes, "{hex}");
    }
}

#[test]
fn explicit_null_and_unpacked_lists_are_read() {
    assert_eq!(Value::decode(b"\x98\x01\x00").unwrap(), Value::Null);
    let unpacked = Value::decode(b"\x72\x04\x08\x01\x08\x02").unwrap();
    assert_eq!(unpacked.to_json(), json!([1, 2]));
}

#[test]
fn broken_bytes_are_refused() {
    for hex in
        ["12", "1205616263", "2000ff", "2a0401020304", "1202ff00", "a2010b0a09", "4201", "15"]
    {
        assert!(Value::decode(&unhex(hex)).is_err(), "{hex}");
    }
}

#[test]
fn endless_nesting_is_refused() {
    let mut bytes = BytesMut::new();
    for _ in 0..200 {
        let mut outer = BytesMut::new();
        message(&mut outer, ValueType::ValueList, |out| element(out, |out| out.put_slice(&bytes)));
        bytes = outer;
    }
    assert_eq!(Value::decode(&bytes), Err(Error::TooDeep));
}

#[test]
fn json_objects_infer_the_types_that_feast_infers() {
    let map = |text| infer::map(ValueType::Map, text).map(|map| encoded(&map).to_vec());
    let golden = "a2012a0a050a017112000a110a0172120c7a0a0a08000000000000f03f0a0e0a0169120929\
                  000000000000f07f";
    assert_eq!(map(r#"{"q":NaN,"r":[1.0],"i":1e400}"#).unwrap(), unhex(golden));
    let list = unhex("a201110a0f0a0171120a72080a06808080800801");
    assert_eq!(map(r#"{"q":[2147483648,1]}"#).unwrap(), list);
    let maps = unhex("a201150a130a0171120eaa010b0a000a070a050a01611200");
    assert_eq!(map(r#"{"q":[{},{"a":null}]}"#).unwrap(), maps);
    assert_eq!(map("{}").unwrap(), unhex("a20100"));
    assert_eq!(map(r#"{"":1}"#).unwrap(), unhex("a201080a060a0012022001"));
    for refused in [
        "[1]",
        "1",
        "null",
        "",
        "{bad",
        r#"{"a":[]}"#,
        r#"{"a":[1,2.5]}"#,
        r#"{"a":[1,"a"]}"#,
        r#"{"a":[null]}"#,
        r#"{"a":[1,null]}"#,
        r#"{"a":[[1]]}"#,
        r#"{"a":[{"b":1},null]}"#,
        r#"{"a":[true,1]}"#,
        r#"{"a":9223372036854775808}"#,
        r#"{"a":[9223372036854775808]}"#,
        r#"{"a":"\ud800"}"#,
    ] {
        assert!(map(refused).is_err(), "{refused}");
    }
}

#[test]
fn json_arrays_become_lists_of_maps_and_of_elements() {
    let maps = infer::map_list(ValueType::MapList, r#"[{"a":1},{}]"#).unwrap();
    assert_eq!(encoded(&maps), unhex("aa010d0a090a070a0161120220010a00"));
    assert_eq!(encoded(&infer::map_list(ValueType::MapList, "[]").unwrap()), unhex("aa0100"));
    for refused in ["[1]", "{}", "null", r#"[{"a":1},null]"#] {
        assert!(infer::map_list(ValueType::MapList, refused).is_err(), "{refused}");
    }
    let list = |kind, text| infer::list(kind, text).map(|list| encoded(&list).to_vec());
    assert_eq!(list(ValueType::Int64List, "[1,2]").unwrap(), unhex("72040a020102"));
    assert_eq!(list(ValueType::FloatList, "[1.5,2]").unwrap(), unhex("82010a0a080000c03f00000040"));
    assert_eq!(list(ValueType::UuidList, "[\"x\"]").unwrap(), unhex("b202030a0178"));
    for refused in ["[1,null]", "null", "1", "[", "[1.5]", "[\"1\"]"] {
        assert!(list(ValueType::Int64List, refused).is_err(), "{refused}");
    }
    assert!(list(ValueType::Int32List, "[2147483648]").is_err());
}

fn scalar() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        Just(ValueType::Json),
        Just(ValueType::Uuid),
        Just(ValueType::TimeUuid),
        Just(ValueType::Decimal)
    ];
    prop_oneof![
        any::<Vec<u8>>().prop_map(Value::Bytes),
        any::<String>().prop_map(Value::String),
        any::<i32>().prop_map(Value::Int32),
        any::<i64>().prop_map(Value::Int64),
        any::<f64>().prop_map(Value::Double),
        any::<f32>().prop_map(Value::Float),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::UnixTimestamp),
        (text, any::<String>()).prop_map(|(kind, text)| Value::Text(kind, text)),
    ]
}

fn list() -> impl Strategy<Value = Value> {
    prop_oneof![
        prop::collection::vec(any::<i64>().prop_map(Value::Int64), 0..40)
            .prop_map(|items| Value::List(ValueType::Int64Set, items)),
        prop::collection::vec(any::<f32>().prop_map(Value::Float), 0..40)
            .prop_map(|items| Value::List(ValueType::FloatList, items)),
        prop::collection::vec(any::<bool>().prop_map(Value::Bool), 0..200)
            .prop_map(|items| Value::List(ValueType::BoolList, items)),
        prop::collection::vec(any::<String>().prop_map(Value::String), 0..40)
            .prop_map(|items| Value::List(ValueType::StringList, items)),
    ]
}

pub(in crate::value) fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![Just(Value::Null), scalar(), list()].prop_recursive(4, 64, 6, |inner| {
        let entries = prop::collection::vec((any::<String>(), inner.clone()), 0..6);
        prop_oneof![
            entries.clone().prop_map(|entries| Value::Map(ValueType::Struct, entries)),
            prop::collection::vec(entries, 0..4)
                .prop_map(|maps| Value::MapList(ValueType::MapList, maps)),
            prop::collection::vec(inner, 0..6)
                .prop_map(|values| Value::Nested(ValueType::ValueSet, values)),
        ]
    })
}

proptest! {
    #[test]
    fn every_value_reads_back(value in any_value()) {
        // Bytes and not values are compared, since NaN differs from itself.
        let bytes = encoded(&value);
        prop_assert_eq!(encoded(&Value::decode(&bytes).unwrap()), bytes);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in any::<Vec<u8>>()) {
        let _ = Value::decode(&bytes);
    }
}
