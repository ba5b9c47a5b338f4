//! Runs the partitions of a plan side by side, and has each of them kept when it is done.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::{ExecutionPlan, execute_stream_partitioned};
use futures::TryStreamExt;
use futures::future::try_join_all;
use model::Receipt;

use crate::attempt::Checkpoints;
use crate::session::Session;
use crate::sink::{FeatureSink, SinkError, receipts};

/// Why a plan did not run to its end.
pub(super) enum Stop {
    /// The plan failed: reading, computing or writing.
    Plan(DataFusionError),
    /// What was acknowledged may be gone.
    Unconfirmed(SinkError),
    /// A partition is done and could not be kept.
    Checkpoint(usize, SinkError),
}

impl From<DataFusionError> for Stop {
    fn from(error: DataFusionError) -> Self {
        Self::Plan(error)
    }
}

/// Who is told of partitions that are done.
#[derive(Clone, Debug)]
pub(super) struct Keeping {
    pub(super) sink: Arc<dyn FeatureSink>,
    pub(super) checkpoints: Arc<dyn Checkpoints>,
    /// Partitions that somebody else has written.
    pub(super) skipped: BTreeSet<usize>,
}

impl Keeping {
    /// Keeps a partition, once the store still has what it acknowledged.
    async fn keep(&self, partition: usize, receipt: &Receipt) -> Result<(), Stop> {
        if self.skipped.contains(&partition) {
            return Ok(());
        }
        self.sink.confirm().await.map_err(Stop::Unconfirmed)?;
        // How many rows the partition had is lost where they are reduced before they are dealt
        // out; that each entity had one is known, and balances the receipt.
        let receipt = Receipt { rows_read: receipt.entities, ..*receipt };
        let kept = self.checkpoints.partition_done(partition, &receipt).await;
        kept.map_err(|error| Stop::Checkpoint(partition, error))
    }
}

/// Runs a plan that ends in receipts and adds them up.
///
/// # Cancel safety
/// Dropped, it ends its tasks at their next await, and with them reads and writes under way.
pub(super) async fn execute(
    session: &Session,
    root: Arc<dyn ExecutionPlan>,
    keeping: Option<Keeping>,
) -> Result<Receipt, Stop> {
    let streams = execute_stream_partitioned(root, session.context().task_ctx())?;
    // Each partition has a task of its own, so that encoding uses every core.
    let tasks = streams.into_iter().enumerate().map(|(partition, stream)| {
        let task = AbortOnDrop(tokio::spawn(run(partition, stream, keeping.clone())));
        async move { task.join().await }
    });
    let mut sum = Receipt::default();
    for receipt in try_join_all(tasks).await? {
        sum.add(&receipt);
    }
    Ok(sum)
}

async fn run(
    partition: usize,
    stream: SendableRecordBatchStream,
    keeping: Option<Keeping>,
) -> Result<Receipt, Stop> {
    let add = |mut sum: Receipt, batch| {
        sum.add(&receipts(&batch));
        std::future::ready(Ok(sum))
    };
    let receipt = stream.try_fold(Receipt::default(), add).await?;
    if let Some(keeping) = keeping {
        keeping.keep(partition, &receipt).await?;
    }
    Ok(receipt)
}

/// Stops a partition when the others have failed or the run is cancelled.
struct AbortOnDrop(tokio::task::JoinHandle<Result<Receipt, Stop>>);

impl AbortOnDrop {
    async fn join(mut self) -> Result<Receipt, Stop> {
        (&mut self.0).await.map_err(|error| DataFusionError::External(Box::new(error)))?
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
