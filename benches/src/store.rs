//! Rows through our own encoder into the online store, in this process.

use std::ops::Range;

use anyhow::Result;
use arrow::array::RecordBatch;
use feast::config::{OnBadRow, OnlineStoreConfig, RedisConfig, RedisNode, RedisServers};
use feast::{Field, JoinKey, ValueType};
use jobs::encode::{EncodeSpec, Encoder};
use jobs::session::BATCH_ROWS;
use model::{EncodedBatch, FeatureColumn, OnlineView, ViewRef, WriteCounts, WriteMode};
use online_store::{OnlineStore, PreparedView, WriteLimits};

use crate::dataset::{self, Dataset, Day};
use crate::hash::{JOIN_KEY, PROJECT};

/// A connected online store and the view of `dataset`.
#[derive(Debug)]
pub struct Store {
    store: OnlineStore,
    view: PreparedView,
}

impl Store {
    /// Connects to a Redis on a loopback port.
    ///
    /// # Errors
    /// When it does not let us in.
    pub async fn open(port: u16) -> Result<Self> {
        let config = RedisConfig {
            servers: RedisServers::One(RedisNode { host: "127.0.0.1".to_owned(), port }),
            db: 0,
            username: None,
            password: None,
            tls: None,
            key_ttl_seconds: None,
            skip_dedup: false,
        };
        let config = OnlineStoreConfig::Redis(config);
        let store = OnlineStore::connect(&config, WriteLimits::default()).await?;
        let feature = |(name, value_type): (&str, ValueType)| FeatureColumn {
            name: name.to_owned(),
            value_type: value_type.code(),
        };
        let storage_name = dataset::VIEW.to_owned();
        let view = OnlineView {
            view: ViewRef { project: PROJECT.to_owned(), storage_name },
            features: dataset::features().map(feature).collect(),
        };
        let view = store.prepare(&view, &WriteMode::default()).await?;
        Ok(Self { store, view })
    }

    /// Writes a batch.
    ///
    /// # Errors
    /// When Redis does not take it.
    pub async fn write(&self, batch: EncodedBatch) -> Result<WriteCounts> {
        Ok(self.store.write(&self.view, batch).await?)
    }
}

/// An encoder for six features, and a day's batches for it.
///
/// # Errors
/// When Arrow or the encoder refuses them.
pub fn narrow(dataset: Dataset, day: Day) -> Result<(Encoder, Vec<RecordBatch>)> {
    let batches = batches(dataset.rows(), |part| dataset.batch(day, part))?;
    let features = dataset::features().map(|(name, value_type)| field(name, value_type));
    Ok((encoder(features.collect(), &batches[0])?, batches))
}

/// Batches as large as those of a plan.
pub(crate) fn batches(
    rows: usize,
    batch: impl Fn(Range<usize>) -> Result<RecordBatch>,
) -> Result<Vec<RecordBatch>> {
    let starts = (0..rows).step_by(BATCH_ROWS);
    starts.map(|start| batch(start..(start + BATCH_ROWS).min(rows))).collect()
}

pub(crate) fn field(name: &str, value_type: ValueType) -> Field {
    Field { name: name.to_owned(), value_type, vector_length: 0, vector_index: false }
}

pub(crate) fn encoder(features: Vec<Field>, batch: &RecordBatch) -> Result<Encoder> {
    let spec = EncodeSpec {
        join_keys: vec![JoinKey { name: JOIN_KEY.to_owned(), value_type: ValueType::Int64 }],
        features,
        event_time: "event_timestamp".to_owned(),
        created_time: None,
        active: None,
        entity_key_serialization_version: 3,
        key_suffix: PROJECT.as_bytes().to_vec(),
        on_bad_row: OnBadRow::Fail,
    };
    Ok(Encoder::new(spec, batch.schema_ref())?)
}
