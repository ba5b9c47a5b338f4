//! The door to an online store, and the plan node that hands encoded rows to it.
//!
//! Nothing here knows an online store: whoever runs a plan brings the implementation. Only a
//! receipt comes back up.

mod node;
mod receipt;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use model::{
    EncodedBatch, Interval, Marker, MemoryState, OnlineView, RowSize, ViewRef, WriteCounts,
    WriteMode,
};

pub(crate) use node::{BadRowError, RefusedRow, SinkExec, SinkParts};
pub(crate) use receipt::receipts;

/// Why an online store, or what guards it, did not do as it was asked.
#[derive(Debug, thiserror::Error)]
#[error("{refusal}")]
pub struct SinkError {
    /// What that means for the attempt.
    pub refusal: Refusal,
    /// The cause.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl SinkError {
    /// Tells whether the same request may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self.refusal, Refusal::Passing | Refusal::Lost)
    }
}

/// What a refusal means for the attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The same request may succeed later.
    Passing,
    /// The same request fails until someone changes something.
    Lasting,
    /// What was acknowledged may be gone: the window is to be run again from its start.
    Lost,
    /// Another attempt holds the view, or may hold it: this one must stop and not come back.
    Superseded,
    /// The run was cancelled.
    Cancelled,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Passing | Self::Lasting => "the online store did not do as it was asked",
            Self::Lost => "the online store may have lost what it had acknowledged",
            Self::Superseded => "another attempt has taken the view over, or may have",
            Self::Cancelled => "the run was cancelled",
        })
    }
}

/// Tells of an entity key in the store's bytes whether it is known.
pub type KnownKeys<'a> = &'a (dyn Fn(&[u8]) -> bool + Sync);

/// Takes encoded rows of one view into an online store, in the mode it was opened with.
#[async_trait]
pub trait FeatureSink: Send + Sync + fmt::Debug {
    /// Writes a batch; every row is acknowledged when it returns.
    ///
    /// # Errors
    /// When the store did not take the batch; rows of it may have been taken, which is harmless
    /// because a row is only ever replaced as the mode says.
    async fn write(&self, batch: EncodedBatch) -> Result<WriteCounts, SinkError>;

    /// Confirms that what was acknowledged is still there as far as the store can tell.
    ///
    /// # Errors
    /// When it may be gone. If the error is retryable, the window is to be run again from its
    /// start; if not, that would only lose as much again.
    async fn confirm(&self) -> Result<(), SinkError>;

    /// What the store was when the sink was opened. Of two sinks with different identities, what
    /// the one had acknowledged may be missing in the other's store.
    fn identity(&self) -> String;

    /// Leaves a commit's marker in the store, and waits until so many replicas have it too.
    ///
    /// # Errors
    /// When the store did not take it, or too few replicas did in time.
    async fn mark(&self, marker: &Marker, wait_replicas: u32) -> Result<(), SinkError>;

    /// The keys of the view that are not known and whose stored event time, in whole
    /// microseconds, lies inside the interval, in bounded batches; some may come twice. A
    /// tombstone counts as stored.
    ///
    /// # Errors
    /// When the store could not be read.
    fn stored_inside<'a>(
        &'a self,
        interval: Interval,
        known: KnownKeys<'a>,
    ) -> BoxStream<'a, Result<Vec<Vec<u8>>, SinkError>>;

    /// Removes the view's rows of keys as if they had never been written, and tells how many there
    /// were. A row whose stored event time is not inside the interval that the sink corrects
    /// stays: someone has written it since.
    ///
    /// # Errors
    /// When the store did not do so for some of them; the call may be repeated.
    async fn remove(&self, keys: &[Vec<u8>]) -> Result<u64, SinkError>;
}

/// Opens the sinks of one online store.
#[async_trait]
pub trait FeatureSinks: Send + Sync + fmt::Debug {
    /// What the store's keys carry behind the serialized entity key.
    fn key_suffix(&self, project: &str) -> Vec<u8>;

    /// Checks that a view can be written, and opens its sink. Writes no row; the fence of the mode
    /// is put into the store.
    ///
    /// # Errors
    /// When the store cannot be reached or could not hold the view.
    async fn open(
        &self,
        view: &OnlineView,
        mode: &WriteMode,
    ) -> Result<Arc<dyn FeatureSink>, SinkError>;

    /// The marker that the view's last commit has left in the store, if any.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn marker(&self, view: &ViewRef) -> Result<Option<Marker>, SinkError>;

    /// The memory of the store's servers; empty where the store has no limit of its own, or does
    /// not tell.
    ///
    /// # Errors
    /// When the store cannot be reached.
    async fn memory(&self) -> Result<Vec<MemoryState>, SinkError>;

    /// Bytes that a new row of a view takes in the store's memory.
    fn row_bytes(&self, view: &OnlineView, size: &RowSize) -> u64;

    /// How long writing was held back so far because the store answered slowly.
    fn slowed(&self) -> Duration;
}
