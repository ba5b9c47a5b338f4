//! The data: one row for each entity and day, six features, and a repository that describes them.
//!
//! Values come from the row's number, so the same numbers give the same bytes on every machine and
//! nothing has to be kept in memory. Rows are in no order of their keys, as in a real table.

use std::fs::{self, File};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use arrow::array::{ArrayRef, Float32Array, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use feast::ValueType;
use feast::value::Value;
use harness::{Feast, Redis};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use crate::hash::{self, JOIN_KEY, Layout, PROJECT, Pair, mix};

/// The view.
pub const VIEW: &str = "driver_stats";
/// The features: half of them float32, half int64.
pub const FEATURES: [&str; 6] =
    ["conv_rate", "acc_rate", "rating", "daily_trips", "total_trips", "total_earned"];
const FLOATS: usize = 3;

/// 2026-01-01T00:00:00Z.
pub(crate) const FIRST_MICROS: i64 = 1_767_225_600_000_000;
pub(crate) const DAY_MICROS: i64 = 86_400_000_000;
/// Rows in one batch and one row group: what other writers make by default is about as large.
const GROUP_ROWS: usize = 131_072;

/// A day of event times. Every entity has one row on each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Day {
    /// 2026-01-01.
    First,
    /// 2026-01-02, with other values.
    Second,
}

impl Day {
    /// Start and end of the day, as the command line takes them.
    #[must_use]
    pub fn window(self) -> [&'static str; 2] {
        match self {
            Self::First => ["2026-01-01T00:00:00", "2026-01-01T23:59:59"],
            Self::Second => ["2026-01-02T00:00:00", "2026-01-02T23:59:59"],
        }
    }

    pub(crate) fn number(self) -> i64 {
        match self {
            Self::First => 0,
            Self::Second => 1,
        }
    }

    pub(crate) fn file(self) -> &'static str {
        match self {
            Self::First => "2026-01-01.parquet",
            Self::Second => "2026-01-02.parquet",
        }
    }
}

/// So many entities.
#[derive(Clone, Copy, Debug)]
pub struct Dataset {
    rows: usize,
}

/// One row.
struct Row {
    key: i64,
    micros: i64,
    floats: [f32; FLOATS],
    integers: [i64; FEATURES.len() - FLOATS],
}

impl Dataset {
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

    /// The join key's value in the row of a number.
    #[must_use]
    pub fn key(index: usize) -> i64 {
        // Of distinct numbers, distinct keys in no order: the factor is odd.
        (index as i64).wrapping_mul(0x9E37_79B1) & 0x7FFF_FFFF_FFFF
    }

    /// The values of a row's features, in their order.
    #[must_use]
    pub fn values(&self, day: Day, index: usize) -> Vec<Value> {
        self.row(day, index).values().collect()
    }

    fn row(&self, day: Day, index: usize) -> Row {
        let number = index as i64;
        let random = |feature: u64| mix((number as u64) << 4 | feature << 1 | day.number() as u64);
        // 24 bits are exact as float32.
        let float = |feature| (random(feature) >> 40) as f32 / 16_777_216.0;
        let integer = |feature| (random(feature) >> 44) as i64;
        Row {
            key: Self::key(index),
            // All of the day's rows lie within it, up to five million of them.
            micros: FIRST_MICROS + day.number() * DAY_MICROS + number % 5_000_000 * 17_000,
            floats: [float(0), float(1), float(2)],
            integers: [integer(3), integer(4), integer(5)],
        }
    }

    /// Calls with each row's number, key and fields, as they must be in Redis.
    pub fn for_each_hash(&self, day: Day, mut each: impl FnMut(usize, &[u8], &[Pair])) {
        let layout = layout();
        for index in 0..self.rows {
            let (key, fields) = self.row(day, index).hash(&layout);
            each(index, &key, &fields);
        }
    }

    /// Checks that Redis holds every row of a day: how many keys, and some of them byte by byte.
    ///
    /// # Errors
    /// When it does not.
    pub fn check(&self, day: Day, redis: &Redis) -> Result<()> {
        let layout = layout();
        hash::check(redis, self.rows, |index| self.row(day, index).hash(&layout))
    }

    /// Writes one Parquet file a day into a directory.
    ///
    /// # Errors
    /// When it cannot.
    pub fn write(&self, directory: &Path, days: &[Day]) -> Result<()> {
        fs::create_dir_all(directory)?;
        days.iter().try_for_each(|&day| self.write_day(&directory.join(day.file()), day))
    }

    /// Some rows as Arrow.
    ///
    /// # Errors
    /// When Arrow refuses them.
    pub fn batch(&self, day: Day, rows: Range<usize>) -> Result<RecordBatch> {
        let rows: Vec<Row> = rows.map(|index| self.row(day, index)).collect();
        Ok(RecordBatch::try_new(Arc::new(schema()), columns(&rows))?)
    }

    fn write_day(&self, path: &Path, day: Day) -> Result<()> {
        let schema = Arc::new(schema());
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .build();
        let file = File::create(path).with_context(|| path.display().to_string())?;
        let mut writer = ArrowWriter::try_new(file, schema, Some(properties))?;
        for start in (0..self.rows).step_by(GROUP_ROWS) {
            let end = (start + GROUP_ROWS).min(self.rows);
            writer.write(&self.batch(day, start..end)?)?;
        }
        writer.close()?;
        Ok(())
    }
}

impl Row {
    fn hash(&self, layout: &Layout) -> (Vec<u8>, Vec<Pair>) {
        layout.hash(self.key, self.micros, self.values())
    }

    fn values(&self) -> impl Iterator<Item = Value> {
        let floats = self.floats.map(Value::Float);
        floats.into_iter().chain(self.integers.map(Value::Int64))
    }
}

/// The features' names and types.
pub fn features() -> impl Iterator<Item = (&'static str, ValueType)> {
    let kind = |index| if index < FLOATS { ValueType::Float } else { ValueType::Int64 };
    FEATURES.into_iter().enumerate().map(move |(index, name)| (name, kind(index)))
}

fn layout() -> Layout {
    Layout::new(VIEW, FEATURES)
}

fn schema() -> Schema {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let mut fields = vec![
        Field::new(JOIN_KEY, DataType::Int64, false),
        Field::new("event_timestamp", time, false),
    ];
    fields.extend(FEATURES.iter().enumerate().map(|(index, name)| {
        let kind = if index < FLOATS { DataType::Float32 } else { DataType::Int64 };
        Field::new(*name, kind, false)
    }));
    Schema::new(fields)
}

fn columns(rows: &[Row]) -> Vec<ArrayRef> {
    let times = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.micros));
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.key))),
        Arc::new(times.with_timezone("UTC")),
    ];
    for index in 0..FLOATS {
        let values = rows.iter().map(|row| row.floats[index]);
        columns.push(Arc::new(Float32Array::from_iter_values(values)));
    }
    for index in 0..FEATURES.len() - FLOATS {
        let values = rows.iter().map(|row| row.integers[index]);
        columns.push(Arc::new(Int64Array::from_iter_values(values)));
    }
    columns
}

/// A feature repository whose registry `feast apply` has made.
#[derive(Debug)]
pub struct Repository {
    definitions: String,
    registry: PathBuf,
}

impl Repository {
    /// Applies definitions that name the Parquet files in `data`, with files in `directory`.
    ///
    /// # Errors
    /// When Feast cannot be installed or refuses.
    pub fn apply(feast: &Feast, directory: &Path, data: &Path) -> Result<Self> {
        Self::define(feast, directory, definitions(data))
    }

    /// Applies a Python text of definitions.
    ///
    /// # Errors
    /// When Feast cannot be installed or refuses.
    pub fn define(feast: &Feast, directory: &Path, definitions: String) -> Result<Self> {
        fs::create_dir_all(directory)?;
        fs::write(directory.join("definitions.py"), &definitions)?;
        // Nothing is written by `apply`, so the store's address does not matter.
        fs::write(directory.join("feature_store.yaml"), configuration(0))?;
        let output = Command::new(feast.command()).arg("apply").current_dir(directory).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "`feast apply` failed: {said}");
        Ok(Self { definitions, registry: directory.join("registry.db") })
    }

    /// A copy that nothing has been materialized from, for a Redis.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn fresh(&self, directory: &Path, redis: &Redis) -> Result<()> {
        fs::create_dir_all(directory)?;
        fs::write(directory.join("definitions.py"), &self.definitions)?;
        fs::write(directory.join("feature_store.yaml"), configuration(redis.port()))?;
        fs::copy(&self.registry, directory.join("registry.db"))?;
        Ok(())
    }
}

fn configuration(port: u16) -> String {
    format!(
        "project: {PROJECT}\nprovider: local\nregistry: registry.db\n\
         online_store: {{type: redis, connection_string: '127.0.0.1:{port}'}}\n\
         offline_store: {{type: file}}\nentity_key_serialization_version: 3\n"
    )
}

fn definitions(data: &Path) -> String {
    let field = |(index, name): (usize, &&str)| {
        let kind = if index < FLOATS { "Float32" } else { "Int64" };
        format!("Field(name='{name}', dtype={kind})")
    };
    let fields: Vec<String> = FEATURES.iter().enumerate().map(field).collect();
    format!(
        "from datetime import timedelta\n\
         from feast import Entity, FeatureView, Field, FileSource, ValueType\n\
         from feast.types import Float32, Int64\n\
         driver = Entity(name='driver', join_keys=['{JOIN_KEY}'], value_type=ValueType.INT64)\n\
         source = FileSource(name='s', path='{}', timestamp_field='event_timestamp')\n\
         view = FeatureView(name='{VIEW}', entities=[driver], ttl=timedelta(0), source=source,\n\
         \x20   schema=[Field(name='{JOIN_KEY}', dtype=Int64), {}])\n",
        data.display(),
        fields.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn keys_are_distinct_and_days_differ() {
        let dataset = Dataset::new(10_000);
        let (mut keys, mut hashes) = (HashSet::new(), HashSet::new());
        for day in [Day::First, Day::Second] {
            dataset.for_each_hash(day, |_, key, fields| {
                keys.insert(key.to_vec());
                hashes.insert(fields.to_vec());
            });
        }
        assert_eq!((keys.len(), hashes.len()), (10_000, 20_000));
    }

    #[test]
    fn rows_lie_within_their_day() {
        for rows in [1, 5_000_001] {
            let row = Dataset::new(rows).row(Day::First, rows - 1);
            assert!((FIRST_MICROS..FIRST_MICROS + DAY_MICROS - 1_000_000).contains(&row.micros));
        }
    }

    #[test]
    fn files_hold_the_rows() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let dataset = Dataset::new(GROUP_ROWS + 10);
        dataset.write(directory.path(), &[Day::First, Day::Second])?;
        for day in [Day::First, Day::Second] {
            let file = File::open(directory.path().join(day.file()))?;
            let reader =
                parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file)?;
            assert_eq!(reader.metadata().file_metadata().num_rows(), GROUP_ROWS as i64 + 10);
            assert_eq!(reader.metadata().num_row_groups(), 2);
        }
        Ok(())
    }
}
