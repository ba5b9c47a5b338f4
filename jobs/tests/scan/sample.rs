//! Days of rows in Parquet files, and a view that reads some of their columns.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray};
use async_trait::async_trait;
use feast::config::OnBadRow;
use feast::{DataSource, FeatureView, Field, JoinKey, ValueType};
use futures::StreamExt;
use futures::stream::BoxStream;
use jobs::{FeatureSink, KnownKeys, Session, SessionOptions, SinkError, WindowSpec};
use model::{EncodedBatch, EventTime, Interval, Marker, WriteCounts};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use url::Url;

use crate::store::Counting;

/// A day in microseconds.
pub(crate) const DAY: i64 = 86_400_000_000;

/// Takes every row.
#[derive(Debug)]
pub(crate) struct Taking;

#[async_trait]
impl FeatureSink for Taking {
    async fn write(&self, batch: EncodedBatch) -> Result<WriteCounts, SinkError> {
        Ok(WriteCounts { written: batch.len() as u64, ..WriteCounts::default() })
    }

    async fn confirm(&self) -> Result<(), SinkError> {
        Ok(())
    }

    fn identity(&self) -> String {
        "nothing".to_owned()
    }

    async fn mark(&self, _: &Marker, _: u32) -> Result<(), SinkError> {
        Ok(())
    }

    fn stored_inside<'a>(
        &'a self,
        _: Interval,
        _: KnownKeys<'a>,
    ) -> BoxStream<'a, Result<Vec<Vec<u8>>, SinkError>> {
        futures::stream::empty().boxed()
    }

    async fn remove(&self, _: &[Vec<u8>]) -> Result<u64, SinkError> {
        Ok(0)
    }
}

/// Puts a file of whole days with so many rows each, evenly spread over the day, a row group a day.
///
/// Values do not compress. Of `a` to `f` the view reads `a` and `f`.
pub(crate) async fn put(store: &Counting, path: &str, days: std::ops::Range<i64>, rows: i64) {
    let schema = batch(0, 1).schema();
    let properties = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_data_page_row_count_limit(2_000)
        .set_write_batch_size(1_000)
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), schema, Some(properties)).unwrap();
    for day in days {
        writer.write(&batch(day, rows)).unwrap();
        writer.flush().unwrap();
    }
    let bytes = writer.into_inner().unwrap();
    store.put(&Path::from(path), bytes.into()).await.unwrap();
}

fn batch(day: i64, rows: i64) -> RecordBatch {
    let ids = Int64Array::from_iter_values((0..rows).map(|row| scatter(row) >> 8));
    let times = (0..rows).map(|row| day * DAY + row * (DAY / rows));
    let times = TimestampMicrosecondArray::from_iter_values(times);
    let mut columns: Vec<(String, ArrayRef)> =
        vec![("id".to_owned(), Arc::new(ids)), ("ts".to_owned(), Arc::new(times))];
    for (number, name) in ('a'..='f').enumerate() {
        let salt = (day * 7 + number as i64) << 32;
        let values = (0..rows).map(|row| scatter(row + salt));
        columns.push((name.to_string(), Arc::new(Int64Array::from_iter_values(values))));
    }
    RecordBatch::try_from_iter(columns).unwrap()
}

/// A number that looks like no other.
fn scatter(number: i64) -> i64 {
    let mixed = (number as u64).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ (mixed >> 29)) as i64
}

/// A session that reads `s3://bucket` from a store of ours.
pub(crate) fn session(store: &Arc<Counting>) -> Session {
    let options = SessionOptions {
        partitions: 2,
        memory_limit_bytes: 256 << 20,
        object_store: BTreeMap::new(),
    };
    let session = Session::new(options).unwrap();
    let store: Arc<dyn ObjectStore> = Arc::<Counting>::clone(store);
    session.put_store(Url::parse("s3://bucket").unwrap(), store);
    session
}

/// A window over some of the files in the bucket, by microseconds.
pub(crate) fn spec(path: &str, start: i64, end: i64) -> WindowSpec {
    let field = |name: &str| Field {
        name: name.to_owned(),
        value_type: ValueType::Int64,
        vector_length: 0,
        vector_index: false,
    };
    let view = FeatureView {
        name: "v".to_owned(),
        features: vec![field("a"), field("f")],
        join_keys: vec![JoinKey { name: "id".to_owned(), value_type: ValueType::Int64 }],
        source: DataSource {
            path: format!("s3://bucket/{path}"),
            timestamp_field: "ts".to_owned(),
            ..DataSource::default()
        },
        online: true,
        ..FeatureView::default()
    };
    WindowSpec {
        view,
        repo_dir: PathBuf::from("/"),
        interval: Interval::new(EventTime::from_micros(start), EventTime::from_micros(end)),
        entity_key_serialization_version: 3,
        key_suffix: b"p".to_vec(),
        on_bad_row: OnBadRow::Fail,
        batch_rows_max: None,
    }
}
