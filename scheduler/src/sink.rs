//! A sink that tells of the steps of an attempt that only it sees.

use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use jobs::{FeatureSink, KnownKeys, SinkError};
use model::{EncodedBatch, Interval, Marker, WriteCounts};

use crate::fail_point::{FailPoints, Step};

/// A sink whose writes pass the steps at which a test may have the process stop dead.
#[derive(Debug)]
pub(crate) struct Watched {
    sink: Arc<dyn FeatureSink>,
    points: Arc<FailPoints>,
}

impl Watched {
    pub(crate) fn over(
        sink: Arc<dyn FeatureSink>,
        points: &Arc<FailPoints>,
    ) -> Arc<dyn FeatureSink> {
        if points.is_empty() { sink } else { Arc::new(Self { sink, points: Arc::clone(points) }) }
    }
}

#[async_trait]
impl FeatureSink for Watched {
    async fn write(&self, batch: EncodedBatch) -> Result<WriteCounts, SinkError> {
        let counts = self.sink.write(batch).await?;
        self.points.pass(Step::FirstWrite);
        Ok(counts)
    }

    async fn confirm(&self) -> Result<(), SinkError> {
        self.points.pass(Step::PartitionWritten);
        self.sink.confirm().await
    }

    fn identity(&self) -> String {
        self.sink.identity()
    }

    async fn mark(&self, marker: &Marker, wait_replicas: u32) -> Result<(), SinkError> {
        self.sink.mark(marker, wait_replicas).await
    }

    fn stored_inside<'a>(
        &'a self,
        interval: Interval,
        known: KnownKeys<'a>,
    ) -> BoxStream<'a, Result<Vec<Vec<u8>>, SinkError>> {
        self.sink.stored_inside(interval, known)
    }

    async fn remove(&self, keys: &[Vec<u8>]) -> Result<u64, SinkError> {
        self.sink.remove(keys).await
    }
}
