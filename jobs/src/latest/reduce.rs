//! The reduction that leaves one row of each entity key: in memory, or else by way of the disk.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::error::Result;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::metrics::SpillMetrics;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};

use super::LatestColumns;
use super::held::Drain;
use super::newest::Newest;
use super::pool::consumer;
use super::spill::Spill;
use super::table::WINNERS_MAX;
use crate::progress::Progress;

/// Times that a file is dealt out anew. Each makes it 16 times smaller, so what is left at the end
/// is too large because there is next to no memory, and not because there are too many rows.
const DEPTH_MAX: u64 = 6;

/// Room that compaction must make, as a share of what is wanted: less, and it would be called for
/// again at once.
const ROOM_DIVISOR: usize = 8;

/// What every reduction of one partition needs.
#[derive(Clone)]
pub(super) struct Reduction {
    pub(super) columns: LatestColumns,
    pub(super) context: Arc<TaskContext>,
    pub(super) progress: Arc<Progress>,
    pub(super) metrics: SpillMetrics,
    pub(super) partition: usize,
}

/// What is left of an input.
enum Reduced {
    /// The newest rows.
    Rows(Drain),
    /// Files in which the rows of a key are together, to be reduced one after the other.
    Files(Vec<SendableRecordBatchStream>),
}

impl Reduction {
    /// Reduces an input to its newest rows.
    pub(super) fn run(
        self,
        input: SendableRecordBatchStream,
    ) -> BoxStream<'static, Result<RecordBatch>> {
        self.run_at(input, 0)
    }

    fn run_at(
        self,
        input: SendableRecordBatchStream,
        depth: u64,
    ) -> BoxStream<'static, Result<RecordBatch>> {
        let next = self.clone();
        let reduced = async move { self.reduce(input, depth).await };
        let rows = move |reduced| {
            let next = next.clone();
            match reduced {
                Reduced::Rows(rows) => futures::stream::iter(rows).boxed(),
                Reduced::Files(files) => futures::stream::iter(files)
                    .flat_map(move |file| next.clone().run_at(file, depth + 1))
                    .boxed(),
            }
        };
        futures::stream::once(reduced).map_ok(rows).try_flatten().boxed()
    }

    async fn reduce(&self, mut input: SendableRecordBatchStream, depth: u64) -> Result<Reduced> {
        let schema = input.schema();
        let batch_rows = self.context.session_config().batch_size();
        let mut newest = Newest::new(&schema, &self.columns, batch_rows)?;
        let memory = consumer(self.partition, "").register(self.context.memory_pool());
        let mut spill = None;
        while let Some(batch) = input.next().await {
            let batch = batch?;
            if !make_room(&mut newest, &memory, &batch)? && depth < DEPTH_MAX {
                let runtime = || self.context.runtime_env();
                let spill = spill.get_or_insert_with(|| {
                    Spill::new(runtime(), self.metrics.clone(), &schema, depth)
                });
                spill.write(&mut newest)?;
            }
            // Even where there is no room for one batch, there is no going on without it.
            memory.resize(newest.bytes_with(&batch));
            newest.push(batch)?;
        }
        let Some(spill) = spill else {
            self.progress.add_entities(newest.len());
            return Ok(Reduced::Rows(newest.drain(memory)));
        };
        spill.write(&mut newest)?;
        Ok(Reduced::Files(spill.finish()))
    }
}

/// Tells whether there is room for a batch, after letting go what is not needed.
fn make_room(newest: &mut Newest, memory: &MemoryReservation, batch: &RecordBatch) -> Result<bool> {
    if newest.is_empty() {
        return Ok(true);
    }
    if newest.len() + batch.num_rows() > WINNERS_MAX {
        return Ok(false);
    }
    if memory.try_resize(newest.bytes_with(batch)).is_ok() {
        return Ok(true);
    }
    newest.compact()?;
    let wanted = newest.bytes_with(batch);
    Ok(memory.try_resize(wanted + wanted / ROOM_DIVISOR).is_ok())
}
