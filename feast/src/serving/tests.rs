//! Serving messages against bytes that Feast 0.67's gRPC server sent, and against the field
//! numbers of the contract.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::*;
use crate::value::Value;

/// Two entities, one unknown; names without their views.
const BASIC: &str = "0a290a270a096472697665725f69640a0f6176675f6461696c795f74726970730a09636f6e76\
    5f7261746512120a0320e9070a03208f4e120201011a001a0012140a02200a0a00120201011a0608dee68fd806\
    1a00121b0a09299a9999999999b93f0a00120201011a0608dee68fd8061a00";
/// A service of two views; full feature names.
const SERVICE: &str = "0a5a0a580a096472697665725f69640a1d6472697665725f73746174735f5f6176675f6461\
    696c795f74726970730a176472697665725f73746174735f5f636f6e765f726174650a136472697665725f6f6c64\
    5f5f6f6c645f76616c120a0a0320e9071201011a00120f0a02200a1201011a0608dee68fd80612160a09299a9999\
    999999b93f1201011a0608dee68fd806120f0a0220011201011a0608eea4dbd706";
/// An int32 where the key is an int64.
const INT32: &str = "0a180a160a096472697665725f69640a09636f6e765f72617465120a0a0318e9071201011a00\
    12070a001201011a00";

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn bytes(value: &Value) -> Bytes {
    let mut out = bytes::BytesMut::new();
    value.encode(&mut out);
    out.freeze()
}

fn basic() -> GetOnlineFeaturesResponse {
    let present = i32::from(FieldStatus::Present);
    let time = |seconds| Timestamp { seconds, nanos: 0 };
    let column = |values: [Value; 2], seconds| FeatureVector {
        values: values.iter().map(bytes).collect(),
        statuses: vec![present; 2],
        event_timestamps: vec![time(seconds), time(0)],
    };
    let names = ["driver_id", "avg_daily_trips", "conv_rate"];
    GetOnlineFeaturesResponse {
        metadata: Some(GetOnlineFeaturesResponseMetadata {
            feature_names: Some(FeatureList { val: names.map(str::to_owned).to_vec() }),
            feature_view_metadata: Vec::new(),
        }),
        results: vec![
            column([Value::Int64(1001), Value::Int64(9999)], 0),
            column([Value::Int64(10), Value::Null], 1_795_421_022),
            column([Value::Double(0.1), Value::Null], 1_795_421_022),
        ],
        status: false,
    }
}

#[test]
fn a_recorded_response_is_written_byte_for_byte() {
    assert_eq!(basic().encode_to_vec(), unhex(BASIC));
    assert_eq!(GetOnlineFeaturesResponse::decode(&unhex(BASIC)[..]).unwrap(), basic());
}

#[test]
fn recorded_responses_read_back() {
    for hex in [BASIC, SERVICE, INT32] {
        let response = GetOnlineFeaturesResponse::decode(&unhex(hex)[..]).unwrap();
        assert_eq!(response.encode_to_vec(), unhex(hex));
    }
}

#[test]
fn values_pass_through_undecoded() {
    let response = GetOnlineFeaturesResponse::decode(&unhex(INT32)[..]).unwrap();
    assert_eq!(response.results[0].values, [Bytes::from_static(b"\x18\xe9\x07")]);
    assert_eq!(response.results[1].values, [Bytes::new()]);
    // No value at all, and a list of one null, differ.
    let column = RepeatedValue { val: vec![Bytes::new()] };
    assert_eq!(column.encode_to_vec(), b"\x0a\x00");
    assert_eq!(RepeatedValue::decode(&b""[..]).unwrap(), RepeatedValue::default());
    let broken = RepeatedValue { val: vec![Bytes::from_static(b"\xff")] };
    assert_eq!(RepeatedValue::decode(&broken.encode_to_vec()[..]).unwrap(), broken);
}

#[test]
fn requests_have_the_contracts_field_numbers() {
    let column = |value| RepeatedValue { val: vec![bytes(&value)] };
    let request = GetOnlineFeaturesRequest {
        kind: Some(RequestKind::Features(FeatureList { val: vec!["v:f".to_owned()] })),
        entities: [("id".to_owned(), column(Value::Int64(1)))].into(),
        full_feature_names: true,
        request_context: [("x".to_owned(), column(Value::Bool(true)))].into(),
        include_feature_view_version_metadata: true,
    };
    let wire = b"\x12\x05\x0a\x03v:f\x1a\x0a\x0a\x02id\x12\x04\x0a\x02\x20\x01\x20\x01\
        \x2a\x09\x0a\x01x\x12\x04\x0a\x02\x38\x01\x30\x01";
    assert_eq!(request.encode_to_vec(), wire);
    assert_eq!(GetOnlineFeaturesRequest::decode(&wire[..]).unwrap(), request);
    let service = GetOnlineFeaturesRequest::decode(&b"\x0a\x01s"[..]).unwrap();
    assert_eq!(service.kind, Some(RequestKind::FeatureService("s".to_owned())));
}

#[test]
fn columns_of_a_request_come_in_the_order_of_their_names() {
    let wire = b"\x1a\x05\x0a\x01b\x12\x00\x1a\x05\x0a\x01a\x12\x00";
    let request = GetOnlineFeaturesRequest::decode(&wire[..]).unwrap();
    assert_eq!(request.entities.keys().collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn versions_of_views_have_the_contracts_field_numbers() {
    let view = FeatureViewMetadata { name: "v".to_owned(), version: 2 };
    let metadata = GetOnlineFeaturesResponseMetadata {
        feature_names: None,
        feature_view_metadata: vec![view],
    };
    assert_eq!(metadata.encode_to_vec(), b"\x12\x05\x0a\x01v\x10\x02");
    let info = GetFeastServingInfoResponse { version: "1".to_owned() };
    assert_eq!(info.encode_to_vec(), b"\x0a\x011");
}

#[test]
fn pushed_rows_have_the_contracts_field_numbers() {
    let push = PushRequest {
        features: [("id".to_owned(), "1".to_owned())].into(),
        stream_feature_view: "s".to_owned(),
        allow_registry_cache: true,
        to: "online".to_owned(),
        typed_features: [("f".to_owned(), bytes(&Value::Int32(-1)))].into(),
    };
    let wire = b"\x0a\x07\x0a\x02id\x12\x011\x12\x01s\x18\x01\x22\x06online\
        \x2a\x10\x0a\x01f\x12\x0b\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
    assert_eq!(push.encode_to_vec(), wire);
    assert_eq!(PushRequest::decode(&wire[..]).unwrap(), push);
    let write = WriteToOnlineStoreRequest {
        features: push.features.clone(),
        feature_view_name: "v".to_owned(),
        allow_registry_cache: true,
        typed_features: [("f".to_owned(), Bytes::new())].into(),
    };
    let wire = b"\x0a\x07\x0a\x02id\x12\x011\x12\x01v\x18\x01\x22\x03\x0a\x01f";
    assert_eq!(write.encode_to_vec(), wire);
    assert_eq!(WriteToOnlineStoreRequest::decode(&wire[..]).unwrap(), write);
    assert_eq!(PushResponse { status: true }.encode_to_vec(), b"\x08\x01");
    assert_eq!(WriteToOnlineStoreResponse { status: true }.encode_to_vec(), b"\x08\x01");
}

#[test]
fn statuses_have_feasts_codes_and_names() {
    for (code, name) in
        ["INVALID", "PRESENT", "NULL_VALUE", "NOT_FOUND", "OUTSIDE_MAX_AGE"].iter().enumerate()
    {
        let status = FieldStatus::try_from(i32::try_from(code).unwrap()).unwrap();
        assert_eq!(status.name(), *name);
    }
    assert!(FieldStatus::try_from(5).is_err());
}

#[test]
fn a_stored_vector_is_read_and_nothing_else_is_taken_for_one() {
    // Case `precompute_service` of the golden vectors.
    let stored = "0a260a0566765f5f66120220141a0c0a026676120608c1d2caac06220b08b39b90d80610f8829f6e";
    let vector = PrecomputedFeatureVector::of_value(unhex(stored).into()).unwrap();
    assert_eq!(vector.feature_names, [&b"fv__f"[..]]);
    assert_eq!(vector.values, [bytes(&Value::Int64(20))]);
    let [made_of] = &vector.fv_timestamps[..] else { panic!("{vector:?}") };
    assert_eq!(made_of.feature_view_name, "fv");
    let time = Timestamp { seconds: 1_704_110_401, nanos: 0 };
    assert_eq!(made_of.event_timestamp, Some(time));
    assert!(vector.precomputed_at.is_some());
    assert_eq!(vector.to_value(), unhex(stored));
    for other in [Value::Int64(20), Value::Bytes(b"\x0a\xff".to_vec()), Value::Null] {
        assert_eq!(PrecomputedFeatureVector::of_value(bytes(&other)), None, "{other:?}");
    }
}
