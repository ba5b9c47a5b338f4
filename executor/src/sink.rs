//! `jobs::FeatureSink` over the online store.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use jobs::{FeatureSink, FeatureSinks, KnownKeys, Refusal, SinkError};
use model::{
    EncodedBatch, Interval, Marker, MemoryState, OnlineView, RowSize, ViewRef, WriteCounts,
    WriteMode,
};
use online_store::{Error, OnlineStore, PreparedView};

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

    async fn open(
        &self,
        view: &OnlineView,
        mode: &WriteMode,
    ) -> Result<Arc<dyn FeatureSink>, SinkError> {
        let view = self.store.prepare(view, mode).await.map_err(sink_error)?;
        Ok(Arc::new(OnlineSink { store: Arc::clone(&self.store), view }))
    }

    async fn marker(&self, view: &ViewRef) -> Result<Option<Marker>, SinkError> {
        // Where parts of the store differ, it is the least: what the whole store has.
        Ok(self.store.marker(view).await.map_err(sink_error)?.last)
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

    fn identity(&self) -> String {
        self.view.identity()
    }

    async fn mark(&self, marker: &Marker, wait_replicas: u32) -> Result<(), SinkError> {
        self.store.mark(&self.view, marker, wait_replicas).await.map_err(sink_error)
    }

    fn stored_inside<'a>(
        &'a self,
        interval: Interval,
        known: KnownKeys<'a>,
    ) -> BoxStream<'a, Result<Vec<Vec<u8>>, SinkError>> {
        self.store.stored_inside(&self.view, interval, known).map_err(sink_error).boxed()
    }

    async fn remove(&self, keys: &[Vec<u8>]) -> Result<u64, SinkError> {
        self.store.remove(&self.view, keys).await.map_err(sink_error)
    }
}

fn sink_error(error: Error) -> SinkError {
    SinkError { refusal: refusal(&error), source: Box::new(error) }
}

/// What a store's error means for the attempt.
fn refusal(error: &Error) -> Refusal {
    match error {
        // A fence that is gone, or an older one, is that of a store that lost rows with it.
        Error::Superseded { .. } if !error.is_retryable() => Refusal::Superseded,
        Error::Superseded { .. } | Error::Restarted { .. } | Error::Emptied { .. } => Refusal::Lost,
        _ if error.is_retryable() => Refusal::Passing,
        _ => Refusal::Lasting,
    }
}

#[cfg(test)]
mod tests {
    use model::FencingToken;

    use super::*;

    fn fence(token: u64, stored: Option<u64>) -> Error {
        let stored = stored.map(FencingToken);
        Error::Superseded { view: "p/v".to_owned(), token: FencingToken(token), stored }
    }

    #[test]
    fn only_a_newer_fence_means_that_another_has_the_view() {
        assert_eq!(refusal(&fence(2, Some(3))), Refusal::Superseded);
        assert_eq!(refusal(&fence(2, Some(1))), Refusal::Lost);
        assert_eq!(refusal(&fence(2, None)), Refusal::Lost);
    }

    #[test]
    fn a_store_that_was_emptied_needs_a_new_attempt() {
        assert_eq!(refusal(&Error::Emptied { store: "s".to_owned() }), Refusal::Lost);
        let ahead = Error::MarkerAhead { view: "p/v".to_owned(), sequence: 1, stored: 2 };
        assert_eq!(refusal(&ahead), Refusal::Lasting);
    }
}
