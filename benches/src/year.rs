//! A year of rows, a day of it in each row group, in one file or in 365; and a store that counts
//! what is read of them.
//!
//! Values come from the row's number, so nothing has to be kept in memory. Every entity has one
//! row on each day.

use std::fmt;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use arrow::array::{ArrayRef, Float32Array, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use async_trait::async_trait;
use clap::ValueEnum;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path as StorePath;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

/// Days of the year.
pub const DAYS: u64 = 365;
/// 2025-01-01T00:00:00Z.
pub const FIRST_MICROS: i64 = 1_735_689_600_000_000;
/// Microseconds of a day.
pub const DAY_MICROS: i64 = 86_400_000_000;
/// Join key, event time, and a feature of each size.
pub const COLUMNS: [&str; 4] = ["driver_id", "event_timestamp", "conv_rate", "daily_trips"];
/// Rows made at a time: a few megabytes.
const BATCH_ROWS: u64 = 65_536;

/// Where the days are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Layout {
    /// In one file of 365 row groups.
    OneFile,
    /// In 365 files of one row group each.
    FileADay,
}

/// A year of so many entities.
#[derive(Clone, Copy, Debug)]
pub struct Year {
    /// Rows of a day.
    pub entities: u64,
    /// Where the days are.
    pub layout: Layout,
}

impl Year {
    /// About so many rows: as many on every day.
    #[must_use]
    pub fn new(rows: u64, layout: Layout) -> Self {
        Self { entities: (rows / DAYS).max(1), layout }
    }

    /// Rows of the year.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.entities * DAYS
    }

    /// Writes the year into a directory, a batch at a time.
    ///
    /// # Errors
    /// When it cannot.
    pub fn write(&self, directory: &Path) -> Result<()> {
        fs::create_dir_all(directory)?;
        match self.layout {
            Layout::OneFile => self.write_days(&directory.join("year.parquet"), 0..DAYS),
            Layout::FileADay => (0..DAYS).try_for_each(|day| {
                self.write_days(&directory.join(format!("day-{day:03}.parquet")), day..day + 1)
            }),
        }
    }

    fn write_days(&self, path: &Path, days: std::ops::Range<u64>) -> Result<()> {
        let schema = Arc::new(schema());
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            // A row group is a day, however large.
            .set_max_row_group_row_count(None)
            .build();
        let file = File::create(path).with_context(|| path.display().to_string())?;
        let mut writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties))?;
        for day in days {
            for start in (0..self.entities).step_by(usize::try_from(BATCH_ROWS)?) {
                let end = (start + BATCH_ROWS).min(self.entities);
                let columns = self.columns(day, start..end);
                writer.write(&RecordBatch::try_new(Arc::clone(&schema), columns)?)?;
            }
            writer.flush()?;
        }
        writer.close()?;
        Ok(())
    }

    fn columns(&self, day: u64, entities: std::ops::Range<u64>) -> Vec<ArrayRef> {
        let (day_micros, entity_micros) =
            (FIRST_MICROS + day as i64 * DAY_MICROS, DAY_MICROS / self.entities as i64);
        let keys = entities.clone().map(|entity| (mix(entity) >> 8) as i64);
        let times = entities.clone().map(|entity| day_micros + entity as i64 * entity_micros);
        let random = |entity: u64| mix(entity << 16 | day);
        // 24 bits are exact as float32.
        let floats = entities.clone().map(|entity| (random(entity) >> 40) as f32 / 16_777_216.0);
        let integers = entities.map(|entity| (random(entity) & 0xF_FFFF) as i64);
        let times = TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC");
        vec![
            Arc::new(Int64Array::from_iter_values(keys)),
            Arc::new(times),
            Arc::new(Float32Array::from_iter_values(floats)),
            Arc::new(Int64Array::from_iter_values(integers)),
        ]
    }
}

fn schema() -> Schema {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let types = [DataType::Int64, time, DataType::Float32, DataType::Int64];
    let fields = COLUMNS.iter().zip(types).map(|(name, kind)| Field::new(*name, kind, false));
    Schema::new(fields.collect::<Vec<_>>())
}

/// Spreads a number over all 64 bits: one step of the generator SplitMix64.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The local file system, counting what is read of files.
#[derive(Debug, Default)]
pub struct Counting {
    inner: LocalFileSystem,
    requests: AtomicU64,
    bytes: AtomicU64,
}

impl Counting {
    /// Requests and bytes so far.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.requests.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}

impl fmt::Display for Counting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "counting {}", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Counting {
    async fn get_opts(
        &self,
        location: &StorePath,
        options: GetOptions,
    ) -> object_store::Result<GetResult> {
        let head = options.head;
        let got = self.inner.get_opts(location, options).await?;
        if !head {
            self.requests.fetch_add(1, Ordering::Relaxed);
            self.bytes.fetch_add(got.range.end - got.range.start, Ordering::Relaxed);
        }
        Ok(got)
    }

    fn list(
        &self,
        prefix: Option<&StorePath>,
    ) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(
        &self,
        prefix: Option<&StorePath>,
    ) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn put_opts(
        &self,
        location: &StorePath,
        payload: PutPayload,
        options: PutOptions,
    ) -> object_store::Result<PutResult> {
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &StorePath,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<StorePath>>,
    ) -> BoxStream<'static, object_store::Result<StorePath>> {
        self.inner.delete_stream(locations)
    }

    async fn copy_opts(
        &self,
        from: &StorePath,
        to: &StorePath,
        options: CopyOptions,
    ) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests {
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;

    #[test]
    fn a_year_has_a_row_group_a_day_in_both_layouts() -> Result<()> {
        for (layout, files) in [(Layout::OneFile, 1), (Layout::FileADay, 365)] {
            let directory = tempfile::tempdir()?;
            let year = Year::new(1_000, layout);
            year.write(directory.path())?;
            let (mut found, mut groups, mut rows) = (0, 0, 0);
            for entry in fs::read_dir(directory.path())? {
                let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(entry?.path())?)?;
                found += 1;
                groups += reader.metadata().num_row_groups();
                rows += reader.metadata().file_metadata().num_rows();
            }
            assert_eq!((found, groups, rows as u64), (files, 365, year.rows()));
        }
        Ok(())
    }
}
