//! The data of `bench latest`: a row for each entity and day, and what the newest rows add up to.
//!
//! A row's values come from its entity's number and its day, so the rows that must remain are known
//! without asking anybody. Each day has its entities in another random order.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use arrow::array::{
    Array, ArrayRef, AsArray, Float32Array, Int64Array, RecordBatch, StringArray,
    TimestampNanosecondArray,
};
use arrow::datatypes::{
    DataType, Field, Float32Type, Int64Type, Schema, TimeUnit, TimestampNanosecondType,
};
use clap::ValueEnum;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

/// 2026-01-01T00:00:00Z.
const FIRST_NANOS: i64 = 1_767_225_600_000_000_000;
const DAY_NANOS: u64 = 86_400_000_000_000;
/// Rows in one batch and one row group: what other writers make by default is about as large.
const GROUP_ROWS: usize = 131_072;
const FLOATS: usize = 3;
const INTEGERS: usize = 3;

/// What an entity is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Key {
    /// One `int64`.
    Integer,
    /// One string of 19 characters.
    String,
    /// An `int64` and a string of 12 characters.
    Composite,
}

impl Key {
    /// The columns that hold it, which are the first ones.
    #[must_use]
    pub fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Integer => &["id"],
            Self::String => &["name"],
            Self::Composite => &["id", "name"],
        }
    }

    fn values(self, number: u64) -> Vec<Value> {
        let id = number.wrapping_mul(0x9E37_79B1) & 0x7FFF_FFFF_FFFF;
        match self {
            Self::Integer => vec![Value::Integer(id as i64)],
            Self::String => vec![Value::Text(format!("user-{id:014x}"))],
            // Neither of the two is distinct by itself.
            Self::Composite => {
                let (whole, rest) = (number / 1_000, number % 1_000);
                vec![Value::Integer(whole as i64), Value::Text(format!("user-{rest:07}"))]
            }
        }
    }
}

/// So many entities, each with a row on so many days.
#[derive(Clone, Copy, Debug)]
pub struct Newest {
    /// What an entity is known by.
    pub key: Key,
    /// How many entities.
    pub entities: u32,
    /// How many days.
    pub days: u32,
}

/// A value of a row as it takes part in the sum.
enum Value {
    Integer(i64),
    Float(f32),
    Text(String),
}

/// How many rows there are and what they add up to, in whatever order they come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// How many.
    pub rows: u64,
    /// The rows' hashes, over all columns, added up.
    pub hashes: u64,
}

impl Sum {
    /// Adds the rows of a batch.
    ///
    /// # Errors
    /// When a column has a type that the data does not.
    pub fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut hashes = vec![0; batch.num_rows()];
        for column in batch.columns() {
            ensure!(column.null_count() == 0, "nothing is null in this data");
            match column.data_type() {
                DataType::Int64 => {
                    let values = column.as_primitive::<Int64Type>().values();
                    chain(&mut hashes, values.iter().map(|&value| value as u64));
                }
                DataType::Timestamp(TimeUnit::Nanosecond, _) => {
                    let values = column.as_primitive::<TimestampNanosecondType>().values();
                    chain(&mut hashes, values.iter().map(|&value| value as u64));
                }
                DataType::Float32 => {
                    let values = column.as_primitive::<Float32Type>().values();
                    chain(&mut hashes, values.iter().map(|value| u64::from(value.to_bits())));
                }
                _ => {
                    let texts = arrow::compute::cast(column, &DataType::Utf8)?;
                    let texts = texts.as_string::<i32>();
                    chain(&mut hashes, texts.iter().flatten().map(hash_text));
                }
            }
        }
        self.rows += batch.num_rows() as u64;
        self.hashes = hashes.into_iter().fold(self.hashes, u64::wrapping_add);
        Ok(())
    }
}

impl Newest {
    /// How many rows in all.
    #[must_use]
    pub fn rows(&self) -> u64 {
        u64::from(self.entities) * u64::from(self.days)
    }

    /// What the newest rows must add up to: those of the last day.
    #[must_use]
    pub fn expected(&self) -> Sum {
        let mut sum = Sum { rows: u64::from(self.entities), hashes: 0 };
        for entity in 0..self.entities {
            let hash = self.row(entity, self.days - 1).iter().fold(0, |hash, value| {
                mix(hash
                    ^ match value {
                        Value::Integer(value) => *value as u64,
                        Value::Float(value) => u64::from(value.to_bits()),
                        Value::Text(text) => hash_text(text),
                    })
            });
            sum.hashes = sum.hashes.wrapping_add(hash);
        }
        sum
    }

    /// Writes the rows into a Parquet file.
    ///
    /// Every two days come the wrong way round, so that the newest row is not just the last one.
    ///
    /// # Errors
    /// When it cannot.
    pub fn write(&self, path: &Path) -> Result<()> {
        let schema = Arc::new(self.schema());
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .build();
        let file = File::create(path).with_context(|| path.display().to_string())?;
        let mut writer = ArrowWriter::try_new(file, schema, Some(properties))?;
        self.for_each_batch(GROUP_ROWS, |batch| Ok(writer.write(&batch)?))?;
        writer.close()?;
        Ok(())
    }

    /// Calls with batches of the rows, none larger than `batch_rows`, in the order of the file.
    ///
    /// # Errors
    /// What `each` gives.
    pub fn for_each_batch(
        &self,
        batch_rows: usize,
        mut each: impl FnMut(RecordBatch) -> Result<()>,
    ) -> Result<()> {
        let schema = Arc::new(self.schema());
        for turn in 0..self.days {
            let day = if turn ^ 1 < self.days { turn ^ 1 } else { turn };
            for entities in shuffled(self.entities, u64::from(day)).chunks(batch_rows) {
                let rows: Vec<_> = entities.iter().map(|&entity| self.row(entity, day)).collect();
                each(RecordBatch::try_new(Arc::clone(&schema), columns(&rows))?)?;
            }
        }
        Ok(())
    }

    fn row(&self, entity: u32, day: u32) -> Vec<Value> {
        let number = u64::from(entity);
        let random = |column: u64| mix(number << 20 | u64::from(day) << 4 | column);
        let within = u64::from(day) * DAY_NANOS + random(0) % DAY_NANOS;
        let mut row = self.key.values(number);
        row.push(Value::Integer(FIRST_NANOS + within as i64));
        // 24 bits are exact as float32.
        let floats = (1..=FLOATS as u64).map(|n| (random(n) >> 40) as f32 / 16_777_216.0);
        row.extend(floats.map(Value::Float));
        let integers = (4..4 + INTEGERS as u64).map(|n| (random(n) >> 44) as i64);
        row.extend(integers.map(Value::Integer));
        row
    }

    fn schema(&self) -> Schema {
        let key = |&name: &&str| {
            let data_type = if name == "id" { DataType::Int64 } else { DataType::Utf8 };
            Field::new(name, data_type, false)
        };
        let time = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
        let mut fields: Vec<Field> = self.key.columns().iter().map(key).collect();
        fields.push(Field::new("event_timestamp", time, false));
        for number in 0..FLOATS {
            fields.push(Field::new(format!("float_{number}"), DataType::Float32, false));
        }
        for number in 0..INTEGERS {
            fields.push(Field::new(format!("integer_{number}"), DataType::Int64, false));
        }
        Schema::new(fields)
    }
}

fn columns(rows: &[Vec<Value>]) -> Vec<ArrayRef> {
    let time = rows[0].len() - INTEGERS - FLOATS - 1;
    let column =
        |index: usize| -> ArrayRef {
            let integers = rows.iter().filter_map(|row| match row[index] {
                Value::Integer(value) => Some(value),
                _ => None,
            });
            match rows[0][index] {
                Value::Integer(_) if index == time => {
                    let times = TimestampNanosecondArray::from_iter_values(integers);
                    Arc::new(times.with_timezone("UTC"))
                }
                Value::Integer(_) => Arc::new(Int64Array::from_iter_values(integers)),
                Value::Float(_) => Arc::new(Float32Array::from_iter_values(
                    rows.iter().filter_map(|row| match row[index] {
                        Value::Float(value) => Some(value),
                        _ => None,
                    }),
                )),
                Value::Text(_) => Arc::new(StringArray::from_iter_values(rows.iter().filter_map(
                    |row| match &row[index] {
                        Value::Text(text) => Some(text),
                        _ => None,
                    },
                ))),
            }
        };
    (0..rows[0].len()).map(column).collect()
}

/// The numbers below `count` in an order that is as good as random and always the same.
fn shuffled(count: u32, seed: u64) -> Vec<u32> {
    let mut numbers: Vec<u32> = (0..count).collect();
    for last in (1..numbers.len()).rev() {
        let random = mix(seed << 40 | last as u64);
        numbers.swap(last, (random % (last as u64 + 1)) as usize);
    }
    numbers
}

fn chain(hashes: &mut [u64], values: impl Iterator<Item = u64>) {
    for (hash, value) in hashes.iter_mut().zip(values) {
        *hash = mix(*hash ^ value);
    }
}

fn hash_text(text: &str) -> u64 {
    text.bytes().fold(0, |hash, byte| mix(hash ^ u64::from(byte)))
}

/// Spreads a number over all 64 bits: one step of the generator SplitMix64.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;

    fn read(newest: &Newest) -> Result<Vec<RecordBatch>> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("rows.parquet");
        newest.write(&path)?;
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?.build()?;
        Ok(reader.collect::<Result<_, _>>()?)
    }

    #[test]
    fn the_sum_of_one_day_is_that_of_the_file_in_any_order() -> Result<()> {
        for key in [Key::Integer, Key::String, Key::Composite] {
            let newest = Newest { key, entities: 3_000, days: 1 };
            let (mut sum, batches) = (Sum::default(), read(&newest)?);
            batches.iter().rev().try_for_each(|batch| sum.add(batch))?;
            assert_eq!(sum, newest.expected());
        }
        Ok(())
    }

    #[test]
    fn a_value_that_differs_shows_in_the_sum() -> Result<()> {
        let newest = Newest { key: Key::Integer, entities: 100, days: 2 };
        let mut sum = Sum::default();
        // The first day's rows come last.
        let batches = read(&newest)?;
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        assert_eq!(rows, 200);
        let all = arrow::compute::concat_batches(&batches[0].schema(), &batches)?;
        sum.add(&all.slice(100, 100))?;
        assert_eq!(sum.rows, newest.expected().rows);
        assert_ne!(sum.hashes, newest.expected().hashes);
        Ok(())
    }

    #[test]
    fn every_entity_is_there_once_a_day() -> Result<()> {
        let batches = read(&Newest { key: Key::Integer, entities: 1_000, days: 3 })?;
        let all = arrow::compute::concat_batches(&batches[0].schema(), &batches)?;
        for day in 0..3 {
            let day = all.slice(day * 1_000, 1_000);
            let ids: HashSet<i64> =
                day.column(0).as_primitive::<Int64Type>().values().iter().copied().collect();
            assert_eq!(ids.len(), 1_000);
        }
        Ok(())
    }
}
