//! `jobs::FeatureSink` over the online store.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jobs::{FeatureSink, FeatureSinks, SinkError};
use model::{EncodedBatch, MemoryState, OnlineView, RowSize, WriteCounts, WriteMode};
use online_store::{OnlineStore, PreparedView};

/// Sinks of one online store, a sink a view.
#[derive(Clone, Debug)]
pub struct OnlineSinks {
    store: Arc<OnlineStore>,
}

impl OnlineSinks {
    /// Makes the sinks of a connected store.
    pub fn new(store: Arc<OnlineStore>) -> Self {
        Self { store }
    }
}

#[async_trait]
impl FeatureSinks for OnlineSinks {
    fn key_suffix(&self, project: &str) -> Vec<u8> {
        self.store.key_suffix(project).to_vec()
    }

    async fn open(&self, view: &OnlineView) -> Result<Arc<dyn FeatureSink>, SinkError> {
        let view = self.store.prepare(view, &WriteMode::default()).await.map_err(sink_error)?;
        Ok(Arc::new(OnlineSink { store: Arc::clone(&self.store), view }))
    }

    async fn memory(&self) -> Result<Vec<MemoryState>, SinkError> {
        self.store.server_memory().await.map_err(sink_error)
    }

    fn row_bytes(&self, view: &OnlineView, size: &RowSize) -> u64 {
        self.store.row_bytes(view, size)
    }

    fn slowed(&self) -> Duration {
        self.store.slowed()
    }
}

#[derive(Debug)]
struct OnlineSink {
    store: Arc<OnlineStore>,
    view: PreparedView,
}

#[async_trait]
impl FeatureSink for OnlineSink {
    async fn write(&self, batch: EncodedBatch) -> Result<WriteCounts, SinkError> {
        self.store.write(&self.view, batch).await.map_err(sink_error)
    }

    async fn confirm(&self) -> Result<(), SinkError> {
        self.store.confirm(&self.view).await.map_err(sink_error)
    }
}

fn sink_error(error: online_store::Error) -> SinkError {
    SinkError { retryable: error.is_retryable(), source: Box::new(error) }
}
