//! The encoder on batches made here: layouts, tombstones, bad rows, vectors, keys.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::Arc;

use arrow::array::{
    BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int32Array, Int64Array,
    ListArray, MapArray, StringArray, StructArray, TimestampMicrosecondArray,
    TimestampNanosecondArray,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::compute::cast;
use arrow::datatypes::{Field as ArrowField, Float32Type, Int64Type, TimeUnit};
use feast::value::Value;
use model::EventTime;
use proptest::prelude::*;

use super::*;

fn spec(keys: &[(&str, ValueType)], features: &[(&str, ValueType)]) -> EncodeSpec {
    let join_key = |(name, value_type): &(&str, ValueType)| JoinKey {
        name: (*name).to_owned(),
        value_type: *value_type,
    };
    let feature = |(name, value_type): &(&str, ValueType)| Field {
        name: (*name).to_owned(),
        value_type: *value_type,
        vector_length: 0,
        vector_index: false,
    };
    EncodeSpec {
        join_keys: keys.iter().map(join_key).collect(),
        features: features.iter().map(feature).collect(),
        event_time: "ts".to_owned(),
        created_time: None,
        active: None,
        entity_key_serialization_version: 3,
        key_suffix: Vec::new(),
        on_bad_row: OnBadRow::Fail,
    }
}

/// A batch of these columns, with keys `id` from 0 and event times `ts` from the epoch.
fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let rows = columns[0].1.len() as i64;
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
    let times: ArrayRef = Arc::new(TimestampNanosecondArray::from_iter_values(0..rows));
    RecordBatch::try_from_iter([("id", ids), ("ts", times)].into_iter().chain(columns)).unwrap()
}

const ID: (&str, ValueType) = ("id", ValueType::Int64);

fn encoded(spec: EncodeSpec, batch: &RecordBatch) -> Result<Encoded, Error> {
    Encoder::new(spec, batch.schema_ref())?.encode(batch)
}

fn values(array: ArrayRef, value_type: ValueType) -> Result<Vec<Value>, Error> {
    let encoded = encoded(spec(&[ID], &[("f", value_type)]), &batch(vec![("f", array)]))?;
    let column = &encoded.batch.features[0];
    Ok((0..column.len()).map(|row| Value::decode(column.get(row)).unwrap()).collect())
}

fn bad_row(result: Result<Encoded, Error>) -> BadRow {
    match result.unwrap_err() {
        Error::BadRow(bad) => bad,
        other => panic!("{other}"),
    }
}

#[test]
fn every_layout_of_text_and_bytes_is_read() {
    let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some("é"), Some("")]));
    let text = |text: &str| Value::String(text.to_owned());
    for layout in [
        DataType::Utf8,
        DataType::LargeUtf8,
        DataType::Utf8View,
        DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8)),
        DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::LargeUtf8)),
    ] {
        let array = cast(&texts, &layout).unwrap();
        let values = values(array, ValueType::String).unwrap();
        assert_eq!(values, [text("a"), Value::Null, text("é"), text("")], "{layout}");
    }
    let fixed: ArrayRef = Arc::new(StringArray::from(vec![Some("ab"), None]));
    for layout in [
        DataType::Binary,
        DataType::LargeBinary,
        DataType::BinaryView,
        DataType::FixedSizeBinary(2),
    ] {
        let array = cast(&cast(&fixed, &DataType::Binary).unwrap(), &layout).unwrap();
        let values = values(array, ValueType::Bytes).unwrap();
        assert_eq!(values, [Value::Bytes(b"ab".to_vec()), Value::Null], "{layout}");
    }
}

#[test]
fn every_layout_of_lists_is_read() {
    let rows = vec![Some(vec![Some(1), Some(2)]), None, Some(vec![Some(-3), Some(4)])];
    let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(rows));
    let list = |items: [i64; 2]| Value::List(ValueType::Int64List, items.map(Value::Int64).into());
    let item = Arc::new(ArrowField::new("item", DataType::Int64, true));
    for layout in [
        DataType::List(Arc::clone(&item)),
        DataType::LargeList(Arc::clone(&item)),
        DataType::FixedSizeList(Arc::clone(&item), 2),
        DataType::ListView(Arc::clone(&item)),
        DataType::LargeListView(item),
    ] {
        let array = cast(&lists, &layout).unwrap();
        let values = values(array, ValueType::Int64List).unwrap();
        assert_eq!(values, [list([1, 2]), Value::Null, list([-3, 4])], "{layout}");
    }
}

#[test]
fn narrow_decimals_keep_their_scale() {
    let wide = Decimal128Array::from(vec![150, -1]).with_precision_and_scale(9, 2).unwrap();
    for layout in [DataType::Decimal32(9, 2), DataType::Decimal64(9, 2)] {
        let array = cast(&wide, &layout).unwrap();
        let text = |text: &str| Value::Text(ValueType::Decimal, text.to_owned());
        let values = values(array, ValueType::Decimal).unwrap();
        assert_eq!(values, [text("1.50"), text("-0.01")], "{layout}");
    }
}

#[test]
fn large_integers_are_exact_beside_nulls() {
    let large = (1 << 53) + 1;
    let array: ArrayRef = Arc::new(Int64Array::from(vec![Some(large), None, Some(i64::MAX)]));
    let as_int = values(Arc::clone(&array), ValueType::Int64).unwrap();
    assert_eq!(as_int, [Value::Int64(large), Value::Null, Value::Int64(i64::MAX)]);
    let as_text = values(Arc::clone(&array), ValueType::String).unwrap();
    assert_eq!(as_text[0], Value::String("9007199254740993".to_owned()));
    let as_time = values(array, ValueType::UnixTimestamp).unwrap();
    assert_eq!(as_time[0], Value::UnixTimestamp(large));
    assert_eq!(as_time[1], Value::UnixTimestamp(i64::MIN));
}

#[test]
fn sliced_batches_are_read_from_their_start() {
    let rows = (0..6).map(|row| Some(vec![Some(row as f32); row]));
    let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(rows));
    let whole = batch(vec![("f", lists), ("g", Arc::new(Int32Array::from_iter(0..6)))]);
    let spec = spec(&[ID], &[("f", ValueType::FloatList), ("g", ValueType::Int32)]);
    let encoder = Encoder::new(spec, whole.schema_ref()).unwrap();
    let all = encoder.encode(&whole).unwrap().batch;
    let part = encoder.encode(&whole.slice(2, 3)).unwrap().batch;
    assert_eq!(part.len(), 3);
    for row in 0..3 {
        assert_eq!(part.keys.get(row), all.keys.get(row + 2));
        for (part, all) in part.features.iter().zip(&all.features) {
            assert_eq!(part.get(row), all.get(row + 2));
        }
    }
}

#[test]
fn event_times_are_cut_to_microseconds_and_created_times_kept() {
    let times: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![1_999, -1]));
    let created: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![Some(5), None]));
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let batch =
        RecordBatch::try_from_iter([("id", ids), ("ts", times), ("created", created)]).unwrap();
    let spec = EncodeSpec { created_time: Some("created".to_owned()), ..spec(&[ID], &[]) };
    let encoded = encoded(spec, &batch).unwrap().batch;
    assert_eq!(encoded.event_times, [EventTime::from_nanos(1_000), EventTime::from_nanos(-1_000)]);
    assert_eq!(encoded.created_times, Some(vec![Some(EventTime::from_nanos(5_000)), None]));
}

#[test]
fn times_outside_nanoseconds_and_null_times_are_bad_rows() {
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![Some(i64::MAX), None]));
    let batch = RecordBatch::try_from_iter([("id", ids), ("ts", times)]).unwrap();
    let spec = EncodeSpec { on_bad_row: OnBadRow::Skip, ..spec(&[ID], &[]) };
    let encoded = encoded(spec, &batch).unwrap();
    assert!(encoded.batch.is_empty());
    assert!(encoded.refused[0].reason.contains("1677 to 2262"));
    assert!(encoded.refused[1].reason.contains("null"));
}

#[test]
fn inactive_rows_are_tombstones_whose_values_are_not_looked_at() {
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["{}", "no JSON", "no JSON"]));
    let active: ArrayRef = Arc::new(BooleanArray::from(vec![Some(true), Some(false), None]));
    let batch = batch(vec![("f", texts), ("active", active)]);
    let spec =
        EncodeSpec { active: Some("active".to_owned()), ..spec(&[ID], &[("f", ValueType::Json)]) };
    let encoded = encoded(spec.clone(), &batch).unwrap().batch;
    assert_eq!(encoded.tombstones, Some(vec![false, true, true]));
    assert!(encoded.features[0].get(1).is_empty() && encoded.features[0].get(2).is_empty());
    let encoder = Encoder::new(spec, batch.schema_ref()).unwrap();
    assert_eq!(encoder.encode(&batch.slice(0, 1)).unwrap().batch.tombstones, None);
}

#[test]
fn the_first_bad_row_counts_and_not_the_first_column() {
    let later: ArrayRef = Arc::new(StringArray::from(vec!["1", "2", "x"]));
    let earlier: ArrayRef = Arc::new(StringArray::from(vec!["1", "y", "3"]));
    let batch = batch(vec![("f", later), ("g", earlier)]);
    let spec = spec(&[ID], &[("f", ValueType::Int64), ("g", ValueType::Int64)]);
    let bad = bad_row(encoded(spec.clone(), &batch));
    assert_eq!((bad.row, bad.column.as_str()), (1, "g"));
    assert!(bad.reason.contains("`y`"), "{bad:?}");
    let encoded = encoded(EncodeSpec { on_bad_row: OnBadRow::Skip, ..spec }, &batch).unwrap();
    assert_eq!(encoded.refused.iter().map(|bad| bad.row).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(encoded.batch.len(), 1);
    assert_eq!(Value::decode(encoded.batch.features[1].get(0)), Ok(Value::Int64(1)));
    assert_eq!(encoded.batch.event_times, [EventTime::EPOCH]);
}

#[test]
fn keys_are_sorted_converted_and_followed_by_the_suffix() {
    let names: ArrayRef = Arc::new(StringArray::from(vec!["ä", ""]));
    let numbers: ArrayRef = Arc::new(Int32Array::from(vec![7, -7]));
    let batch = batch(vec![("name", names), ("a", numbers)]);
    let keys = [("name", ValueType::String), ("a", ValueType::String)];
    let spec = EncodeSpec { key_suffix: b"proj".to_vec(), ..spec(&keys, &[]) };
    let encoded = encoded(spec.clone(), &batch).unwrap().batch;
    let layout = EntityKeyLayout::new(&spec.join_keys, 3).unwrap();
    for (row, (name, number)) in [("ä", "7"), ("", "-7")].into_iter().enumerate() {
        let values = [name, number].map(|text| entity_key::KeyValue::Text(text.to_owned()));
        let mut expected = entity_key::serialize(&layout, &values).unwrap();
        expected.extend_from_slice(b"proj");
        assert_eq!(encoded.keys.get(row), expected);
    }
}

#[test]
fn null_keys_are_bad_rows_but_for_timestamps() {
    let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None]));
    let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![Some(1_999_999), None]));
    let batch = batch(vec![("s", texts), ("t", times)]);
    let bad = bad_row(encoded(spec(&[("s", ValueType::String)], &[]), &batch));
    assert_eq!((bad.row, bad.column.as_str()), (1, "s"));
    let encoded = encoded(spec(&[("t", ValueType::UnixTimestamp)], &[]), &batch).unwrap().batch;
    assert!(encoded.keys.get(0).ends_with(&1_i64.to_le_bytes()));
    assert!(encoded.keys.get(1).ends_with(&i64::MIN.to_le_bytes()));
}

#[test]
fn without_join_keys_every_row_has_the_dummy_key() {
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let encoded = encoded(spec(&[], &[("f", ValueType::Int64)]), &batch(vec![("f", numbers)]));
    let batch = encoded.unwrap().batch;
    assert_eq!(batch.keys.get(0), EntityKeyLayout::new(&[], 3).unwrap().prefix());
    assert_eq!(batch.keys.get(0), batch.keys.get(1));
}

#[test]
fn old_versions_refuse_keys_beyond_four_bytes() {
    let spec = EncodeSpec { entity_key_serialization_version: 1, ..spec(&[ID], &[]) };
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 1 << 31]));
    let times: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![1, 2]));
    let batch = RecordBatch::try_from_iter([("id", ids), ("ts", times)]).unwrap();
    let bad = bad_row(encoded(spec, &batch));
    assert_eq!(bad.row, 1);
    assert!(bad.reason.contains("use version 3"), "{bad:?}");
}

#[test]
fn vectors_agree_in_length_across_batches() {
    let vectors = |lengths: &[usize]| -> RecordBatch {
        let rows = lengths.iter().map(|length| Some(vec![Some(0.5_f32); *length]));
        let lists = ListArray::from_iter_primitive::<Float32Type, _, _>(rows);
        batch(vec![("f", Arc::new(lists) as ArrayRef)])
    };
    let mut spec = spec(&[ID], &[("f", ValueType::FloatList)]);
    spec.features[0].vector_index = true;
    let encoder = Encoder::new(spec.clone(), vectors(&[3]).schema_ref()).unwrap();
    encoder.encode(&vectors(&[3, 3])).unwrap();
    let bad = bad_row(encoder.encode(&vectors(&[3, 4])));
    assert_eq!(bad.row, 1);
    assert!(bad.reason.contains("length 4") && bad.reason.contains("have 3"), "{bad:?}");
    spec.features[0].vector_length = 4;
    let encoder = Encoder::new(spec, vectors(&[3]).schema_ref()).unwrap();
    assert_eq!(bad_row(encoder.encode(&vectors(&[4, 3]))).row, 1);
}

#[test]
fn a_vector_that_is_no_list_is_refused() {
    let mut spec = spec(&[ID], &[("f", ValueType::Float)]);
    spec.features[0].vector_index = true;
    let numbers: ArrayRef = Arc::new(Float32Array::from(vec![1.0]));
    let refused = encoded(spec, &batch(vec![("f", numbers)])).unwrap_err().to_string();
    assert!(refused.contains("`vector_index`"), "{refused}");
}

#[test]
fn refusals_name_the_column_both_types_and_what_to_do() {
    let narrow: ArrayRef = Arc::new(Float32Array::from(vec![1.0]));
    let refused = values(narrow, ValueType::Double).unwrap_err().to_string();
    assert!(refused.contains("column `f` of Arrow type `Float32`"), "{refused}");
    assert!(refused.contains("written as Double") && refused.contains("FLOAT"), "{refused}");
    let entries = StructArray::from(vec![
        (
            Arc::new(ArrowField::new("keys", DataType::Utf8, false)),
            Arc::new(StringArray::from(vec!["a"])) as ArrayRef,
        ),
        (
            Arc::new(ArrowField::new("values", DataType::Int64, true)),
            Arc::new(Int64Array::from(vec![1])) as ArrayRef,
        ),
    ]);
    let entry = Arc::new(ArrowField::new("entries", entries.data_type().clone(), false));
    let offsets = OffsetBuffer::new(ScalarBuffer::from(vec![0, 1]));
    let map: ArrayRef = Arc::new(MapArray::new(entry, offsets, entries, None, false));
    let refused = values(map, ValueType::Map).unwrap_err().to_string();
    assert!(refused.contains("as JSON text"), "{refused}");
    let dates: ArrayRef = Arc::new(Date32Array::from(vec![1]));
    for value_type in [ValueType::ScalarMap, ValueType::ZonedTimestamp, ValueType::Invalid] {
        assert!(matches!(values(Arc::clone(&dates), value_type), Err(Error::Type { .. })));
    }
    let missing = encoded(spec(&[ID], &[("g", ValueType::Int64)]), &batch(vec![("f", dates)]));
    assert!(matches!(missing, Err(Error::MissingColumn { column }) if column == "g"));
}

#[test]
fn a_batch_of_another_schema_is_refused() {
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let right = batch(vec![("f", Arc::clone(&numbers))]);
    let encoder =
        Encoder::new(spec(&[ID], &[("f", ValueType::Int64)]), right.schema_ref()).unwrap();
    let wrong = batch(vec![("g", numbers)]);
    assert!(matches!(encoder.encode(&wrong), Err(Error::MissingColumn { .. })));
}

#[test]
fn event_times_must_be_timestamps() {
    let dates: ArrayRef = Arc::new(Date32Array::from(vec![1]));
    let spec = EncodeSpec { event_time: "f".to_owned(), ..spec(&[ID], &[]) };
    assert!(matches!(encoded(spec, &batch(vec![("f", dates)])), Err(Error::Type { .. })));
}

proptest! {
    #[test]
    fn integers_read_back(numbers: Vec<Option<i64>>) {
        let array: ArrayRef = Arc::new(Int64Array::from(numbers.clone()));
        let values = values(array, ValueType::Int64).unwrap();
        let expected: Vec<Value> =
            numbers.into_iter().map(|number| number.map_or(Value::Null, Value::Int64)).collect();
        prop_assert_eq!(values, expected);
    }

    #[test]
    fn doubles_read_back_and_nan_is_null(numbers: Vec<Option<f64>>) {
        let array: ArrayRef = Arc::new(Float64Array::from(numbers.clone()));
        let values = values(array, ValueType::Double).unwrap();
        let value = |number: Option<f64>| match number {
            Some(number) if !number.is_nan() => Value::Double(number),
            _ => Value::Null,
        };
        prop_assert_eq!(values, numbers.into_iter().map(value).collect::<Vec<_>>());
    }

    #[test]
    fn texts_of_any_length_read_back(texts in prop::collection::vec(".{0,300}", 0..20)) {
        let array: ArrayRef = Arc::new(StringArray::from(texts.clone()));
        let values = values(array, ValueType::String).unwrap();
        prop_assert_eq!(values, texts.into_iter().map(Value::String).collect::<Vec<_>>());
    }

    #[test]
    fn sets_keep_each_value_once(rows: Vec<Option<Vec<i64>>>, repeat in 1_usize..4) {
        let repeated = rows.iter().map(|row| {
            row.as_ref().map(|row| {
                let items = std::iter::repeat_n(row, repeat).flatten();
                items.map(|item| Some(item % 20)).collect::<Vec<_>>()
            })
        });
        let array: ArrayRef =
            Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(repeated));
        for (row, value) in rows.iter().zip(values(array, ValueType::Int64Set).unwrap()) {
            let expected = row.as_ref().map_or(Value::Null, |row| {
                let mut seen = Vec::new();
                for item in row.iter().map(|item| item % 20) {
                    if !seen.contains(&item) {
                        seen.push(item);
                    }
                }
                let items = seen.into_iter().map(Value::Int64).collect();
                Value::List(ValueType::Int64Set, items)
            });
            prop_assert_eq!(value, expected);
        }
    }

    #[test]
    fn timestamps_are_floored_to_seconds(micros: Vec<i64>) {
        let array: ArrayRef = Arc::new(TimestampMicrosecondArray::from(micros.clone()));
        let unit = DataType::Timestamp(TimeUnit::Microsecond, None);
        prop_assert_eq!(array.data_type(), &unit);
        let values = values(array, ValueType::UnixTimestamp).unwrap();
        let seconds = micros.into_iter().map(|micros| micros.div_euclid(1_000_000));
        prop_assert_eq!(values, seconds.map(Value::UnixTimestamp).collect::<Vec<_>>());
    }
}
