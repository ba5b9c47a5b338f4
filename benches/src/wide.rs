//! The data of `bench wide`: two hundred features of eleven types, with nulls and long texts.
//!
//! As in `dataset`, values come from the row's number. They are Feast values first; both the Arrow
//! columns and the bytes that must be in Redis are made from those.

use std::fs::{self, File};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Float32Array, Float64Array, Int32Array, Int64Array,
    ListArray, ListBuilder, RecordBatch, StringArray, StringBuilder, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Float32Type, Int64Type, Schema, TimeUnit};
use feast::ValueType;
use feast::value::Value;
use harness::Redis;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use crate::dataset::{DAY_MICROS, Day, FIRST_MICROS};
use crate::hash::{self, JOIN_KEY, Layout, Pair, mix};

/// The view.
pub const VIEW: &str = "driver_wide";
/// How many features.
pub const FEATURES: usize = 200;
/// Rows in one row group: a few tens of megabytes, as of a narrow table.
const GROUP_ROWS: usize = 16_384;
/// One value in so many is null.
const NULL_IN: u64 = 16;
/// Texts have up to this many bytes, so that four in ten are longer than the 64 up to which Redis
/// packs a hash.
const TEXT_BYTES_MAX: u64 = 110;
/// Lists have fewer items than this.
const ITEMS_MAX: u64 = 8;

/// The type of a feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Int32,
    Int64,
    Float,
    Double,
    Bool,
    String,
    Bytes,
    Time,
    Integers,
    Floats,
    Strings,
}

/// Features take these in turn.
const KINDS: [Kind; 11] = [
    Kind::Int32,
    Kind::Int64,
    Kind::Float,
    Kind::Double,
    Kind::Bool,
    Kind::String,
    Kind::Bytes,
    Kind::Time,
    Kind::Integers,
    Kind::Floats,
    Kind::Strings,
];

impl Kind {
    fn of(feature: usize) -> Self {
        KINDS[feature % KINDS.len()]
    }

    /// Its type in Feast, and the name of that in Feast's Python.
    fn feast(self) -> (ValueType, &'static str) {
        match self {
            Self::Int32 => (ValueType::Int32, "Int32"),
            Self::Int64 => (ValueType::Int64, "Int64"),
            Self::Float => (ValueType::Float, "Float32"),
            Self::Double => (ValueType::Double, "Float64"),
            Self::Bool => (ValueType::Bool, "Bool"),
            Self::String => (ValueType::String, "String"),
            Self::Bytes => (ValueType::Bytes, "Bytes"),
            Self::Time => (ValueType::UnixTimestamp, "UnixTimestamp"),
            Self::Integers => (ValueType::Int64List, "Array(Int64)"),
            Self::Floats => (ValueType::FloatList, "Array(Float32)"),
            Self::Strings => (ValueType::StringList, "Array(String)"),
        }
    }

    fn value(self, random: u64) -> Value {
        if mix(random).is_multiple_of(NULL_IN) {
            // Feast writes the smallest number for a time that is not there.
            let time = self == Self::Time;
            return if time { Value::UnixTimestamp(i64::MIN) } else { Value::Null };
        }
        let items = || (0..random % ITEMS_MAX).map(|item| mix(random ^ item));
        match self {
            Self::Int32 => Value::Int32(random as i32),
            Self::Int64 => Value::Int64((random >> 20) as i64),
            Self::Float => Value::Float(float(random)),
            Self::Double => Value::Double(f64::from(float(random)) * 1e3),
            Self::Bool => Value::Bool(random & 1 == 1),
            Self::String => Value::String(text(random)),
            Self::Bytes => Value::Bytes(text(random).into_bytes()),
            Self::Time => Value::UnixTimestamp((random % 2_000_000_000) as i64),
            Self::Integers => {
                Value::List(ValueType::Int64List, items().map(|n| Value::Int64(n as i64)).collect())
            }
            Self::Floats => {
                Value::List(ValueType::FloatList, items().map(|n| Value::Float(float(n))).collect())
            }
            Self::Strings => {
                let short = |n: u64| Value::String(format!("item-{:x}", n >> 40));
                Value::List(ValueType::StringList, items().map(short).collect())
            }
        }
    }

    fn column(self, values: &[Value]) -> ArrayRef {
        match self {
            Self::Int32 => {
                Arc::new(Int32Array::from_iter(values.iter().map(|value| match value {
                    Value::Int32(value) => Some(*value),
                    _ => None,
                })))
            }
            Self::Int64 => Arc::new(Int64Array::from_iter(values.iter().map(integer))),
            Self::Float => Arc::new(Float32Array::from_iter(values.iter().map(single))),
            Self::Double => {
                Arc::new(Float64Array::from_iter(values.iter().map(|value| match value {
                    Value::Double(value) => Some(*value),
                    _ => None,
                })))
            }
            Self::Bool => {
                Arc::new(BooleanArray::from_iter(values.iter().map(|value| match value {
                    Value::Bool(value) => Some(*value),
                    _ => None,
                })))
            }
            Self::String => Arc::new(StringArray::from_iter(values.iter().map(string))),
            Self::Bytes => {
                Arc::new(BinaryArray::from_iter(values.iter().map(|value| match value {
                    Value::Bytes(value) => Some(value),
                    _ => None,
                })))
            }
            Self::Time => {
                let micros = values.iter().map(|value| match value {
                    Value::UnixTimestamp(i64::MIN) => None,
                    Value::UnixTimestamp(seconds) => Some(seconds * 1_000_000),
                    _ => None,
                });
                Arc::new(TimestampMicrosecondArray::from_iter(micros).with_timezone("UTC"))
            }
            Self::Integers => {
                let lists = values.iter().map(|value| items(value, integer));
                Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists))
            }
            Self::Floats => {
                let lists = values.iter().map(|value| items(value, single));
                Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(lists))
            }
            Self::Strings => {
                let mut lists = ListBuilder::new(StringBuilder::new());
                values.iter().for_each(|value| lists.append_option(items(value, string)));
                Arc::new(lists.finish())
            }
        }
    }
}

fn float(random: u64) -> f32 {
    // 24 bits are exact as float32.
    (random >> 40) as f32 / 16_777_216.0
}

fn text(random: u64) -> String {
    let bytes = (random >> 8) % TEXT_BYTES_MAX;
    let letter =
        |place: u64| char::from(b'a' + (mix(random ^ (place / 8)) >> (place % 8 * 8)) as u8 % 26);
    (0..bytes).map(letter).collect()
}

fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Int64(value) => Some(*value),
        _ => None,
    }
}

fn single(value: &Value) -> Option<f32> {
    match value {
        Value::Float(value) => Some(*value),
        _ => None,
    }
}

fn string(value: &Value) -> Option<&str> {
    match value {
        Value::String(value) => Some(value),
        _ => None,
    }
}

fn items<'a, T>(value: &'a Value, item: impl Fn(&'a Value) -> Option<T>) -> Option<Vec<Option<T>>> {
    match value {
        Value::List(_, values) => Some(values.iter().map(item).collect()),
        _ => None,
    }
}

/// So many entities of two hundred features.
#[derive(Clone, Copy, Debug)]
pub struct Wide {
    rows: usize,
}

impl Wide {
    /// So many entities.
    #[must_use]
    pub fn new(rows: usize) -> Self {
        Self { rows }
    }

    /// How many entities.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The features' names and types.
    pub fn features() -> impl Iterator<Item = (String, ValueType)> {
        (0..FEATURES).map(|feature| (name(feature), Kind::of(feature).feast().0))
    }

    /// Calls with each row's key and fields, as they must be in Redis.
    pub fn for_each_hash(&self, day: Day, mut each: impl FnMut(&[u8], &[Pair])) {
        let layout = layout();
        for index in 0..self.rows {
            let (key, fields) = row_hash(&layout, day, index);
            each(&key, &fields);
        }
    }

    /// Checks that Redis holds every row of a day: how many keys, and some of them byte by byte.
    ///
    /// # Errors
    /// When it does not.
    pub fn check(&self, day: Day, redis: &Redis) -> Result<()> {
        let layout = layout();
        hash::check(redis, self.rows, |index| row_hash(&layout, day, index))
    }

    /// Some rows as Arrow.
    ///
    /// # Errors
    /// When Arrow refuses them.
    pub fn batch(&self, day: Day, rows: Range<usize>) -> Result<RecordBatch> {
        let keys = Int64Array::from_iter_values(rows.clone().map(key));
        let times =
            TimestampMicrosecondArray::from_iter_values(rows.clone().map(|row| micros(day, row)));
        let mut columns: Vec<ArrayRef> = vec![Arc::new(keys), Arc::new(times.with_timezone("UTC"))];
        let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let mut fields = vec![
            Field::new(JOIN_KEY, DataType::Int64, false),
            Field::new("event_timestamp", time, false),
        ];
        for feature in 0..FEATURES {
            let values: Vec<Value> = rows.clone().map(|row| value(day, row, feature)).collect();
            let column = Kind::of(feature).column(&values);
            fields.push(Field::new(name(feature), column.data_type().clone(), true));
            columns.push(column);
        }
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
    }

    /// Writes one Parquet file a day into a directory.
    ///
    /// # Errors
    /// When it cannot.
    pub fn write(&self, directory: &Path, days: &[Day]) -> Result<()> {
        fs::create_dir_all(directory)?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .build();
        for &day in days {
            let path = directory.join(day.file());
            let file = File::create(&path).with_context(|| path.display().to_string())?;
            let schema = self.batch(day, 0..0)?.schema();
            let mut writer = ArrowWriter::try_new(file, schema, Some(properties.clone()))?;
            for start in (0..self.rows).step_by(GROUP_ROWS) {
                writer.write(&self.batch(day, start..(start + GROUP_ROWS).min(self.rows))?)?;
            }
            writer.close()?;
        }
        Ok(())
    }
}

/// The definitions of a repository over the Parquet files in `data`.
#[must_use]
pub fn definitions(data: &Path) -> String {
    let field =
        |feature| format!("Field(name='{}', dtype={})", name(feature), Kind::of(feature).feast().1);
    let fields: Vec<String> = (0..FEATURES).map(field).collect();
    format!(
        "from datetime import timedelta\n\
         from feast import Entity, FeatureView, Field, FileSource, ValueType\n\
         from feast.types import (Array, Bool, Bytes, Float32, Float64, Int32, Int64, String,\n\
         \x20   UnixTimestamp)\n\
         driver = Entity(name='driver', join_keys=['{JOIN_KEY}'], value_type=ValueType.INT64)\n\
         source = FileSource(name='s', path='{}', timestamp_field='event_timestamp')\n\
         view = FeatureView(name='{VIEW}', entities=[driver], ttl=timedelta(0), source=source,\n\
         \x20   schema=[Field(name='{JOIN_KEY}', dtype=Int64),\n{}])\n",
        data.display(),
        fields.join(",\n")
    )
}

fn name(feature: usize) -> String {
    format!("feature_{feature:03}")
}

fn layout() -> Layout {
    let names: Vec<String> = (0..FEATURES).map(name).collect();
    Layout::new(VIEW, names.iter().map(String::as_str))
}

fn row_hash(layout: &Layout, day: Day, row: usize) -> (Vec<u8>, Vec<Pair>) {
    let values = (0..FEATURES).map(|feature| value(day, row, feature));
    layout.hash(key(row), micros(day, row), values)
}

/// Of distinct rows, distinct keys in no order: the factor is odd.
fn key(row: usize) -> i64 {
    (row as i64).wrapping_mul(0x9E37_79B1) & 0x7FFF_FFFF_FFFF
}

fn micros(day: Day, row: usize) -> i64 {
    FIRST_MICROS + day.number() * DAY_MICROS + row as i64 % 5_000_000 * 17_000
}

fn value(day: Day, row: usize, feature: usize) -> Value {
    Kind::of(feature).value(mix((row as u64) << 16 | (feature as u64) << 1 | day.number() as u64))
}

#[cfg(test)]
mod tests {
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;

    #[test]
    fn every_kind_has_nulls_and_values_and_texts_are_long_and_short() {
        for (feature, kind) in KINDS.iter().enumerate() {
            let values: Vec<Value> =
                (0..1_000).map(|row| value(Day::First, row, feature)).collect();
            let nulls = kind.column(&values).null_count();
            assert!((30..100).contains(&nulls), "{kind:?} has {nulls} nulls");
            if *kind == Kind::String {
                let long = values.iter().filter_map(string).filter(|text| text.len() > 64).count();
                assert!((200..500).contains(&long), "{long} long texts");
            }
        }
    }

    #[test]
    fn days_differ_and_files_hold_the_rows() -> Result<()> {
        let wide = Wide::new(GROUP_ROWS / 8 + 3);
        assert_ne!(wide.batch(Day::First, 0..9)?, wide.batch(Day::Second, 0..9)?);
        let directory = tempfile::tempdir()?;
        wide.write(directory.path(), &[Day::First])?;
        let file = File::open(directory.path().join(Day::First.file()))?;
        let reader = ParquetRecordBatchReaderBuilder::try_new(file)?.with_batch_size(9).build()?;
        let first = reader.into_iter().next().context("it has rows")??;
        assert_eq!(first.columns(), wide.batch(Day::First, 0..9)?.columns());
        Ok(())
    }
}
