//! Newest rows on disk, in files by key: each file is reduced by itself later.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::error::Result;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::SpillManager;
use datafusion::physical_plan::metrics::SpillMetrics;
use datafusion::physical_plan::spill::spill_pool::{SpillPoolSink, spsc_channel};

use super::newest::Newest;

/// Files that rows are dealt out to: what is 16 times too large fits in one more reading, and 16
/// batches under way are little memory.
const FILES: usize = 16;

/// The files of one reduction; they are removed with whoever holds their ends.
pub(super) struct Spill {
    ends: Vec<(SpillPoolSink, SendableRecordBatchStream)>,
    seed: u64,
}

impl Spill {
    /// Opens the files; one without rows is never made.
    pub(super) fn new(
        runtime: Arc<RuntimeEnv>,
        metrics: SpillMetrics,
        schema: &SchemaRef,
        seed: u64,
    ) -> Self {
        let files = Arc::new(SpillManager::new(runtime, metrics, Arc::clone(schema)));
        // One file each, however large.
        let end = |_| spsc_channel(usize::MAX, Arc::clone(&files));
        Self { ends: (0..FILES).map(end).collect(), seed }
    }

    /// Appends the rows to the files, by their keys, and leaves none behind.
    pub(super) fn write(&self, newest: &mut Newest) -> Result<()> {
        newest.deal_out(FILES, self.seed, |part, rows| self.ends[part].0.push_batch(rows))
    }

    /// Closes the files and gives what is in them.
    pub(super) fn finish(self) -> Vec<SendableRecordBatchStream> {
        self.ends.into_iter().map(|(_, rows)| rows).collect()
    }
}
