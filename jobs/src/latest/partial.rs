//! The reduction before rows are spread over partitions: what loses here is not copied there.
//!
//! It may leave several rows of a key, so it needs little memory and may stop at any time.
//! Deliberately absent: spilling.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use futures::stream::{BoxStream, Fuse};
use futures::{StreamExt, TryStreamExt};

use super::LatestColumns;
use super::newest::Newest;
use super::pool::consumer;
use crate::progress::Progress;

/// Entity keys of a partial reduction: with their table, they stay in the processor's caches.
const KEYS_MAX: usize = 64 * 1024;

/// Memory of a partial reduction, so that wide rows stay within bounds as well.
const BYTES_MAX: usize = 16 << 20;

/// Rows after which it is known whether a partial reduction is worth its time.
const TRIAL_ROWS: usize = 32 * 1024;

/// Rows left of a trial above which it is not. A lookup in the caches costs about a third of what
/// copying a row to its partition and looking it up there does.
const LEFT_MAX: f64 = 0.7;

/// A partial reduction under way.
pub(super) struct Partial {
    columns: LatestColumns,
    schema: SchemaRef,
    batch_rows: usize,
    progress: Arc<Progress>,
    memory: MemoryReservation,
    /// The rows held back; `None` once it has turned out not to be worth it.
    newest: Option<Newest>,
    /// Rows that went into `newest`.
    seen: usize,
}

/// Rows on their way out.
type Rows = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

impl Partial {
    pub(super) fn new(
        schema: SchemaRef,
        columns: &LatestColumns,
        context: &TaskContext,
        progress: Arc<Progress>,
        partition: usize,
    ) -> Result<Self> {
        let batch_rows = context.session_config().batch_size();
        Ok(Self {
            columns: columns.clone(),
            newest: Some(Newest::new(&schema, columns, batch_rows)?),
            schema,
            batch_rows,
            progress,
            memory: consumer(partition, ", partial").register(context.memory_pool()),
            seen: 0,
        })
    }

    /// Reduces an input to fewer rows, if that is quickly done.
    pub(super) fn run(
        self,
        input: SendableRecordBatchStream,
    ) -> BoxStream<'static, Result<RecordBatch>> {
        let step = |(mut partial, mut input): (Self, Fuse<SendableRecordBatchStream>)| async move {
            let rows = match input.next().await {
                Some(batch) => partial.push(batch?)?,
                None => match partial.newest.take() {
                    Some(newest) => partial.drain(newest),
                    None => return Ok(None),
                },
            };
            Ok::<_, DataFusionError>(Some((futures::stream::iter(rows), (partial, input))))
        };
        futures::stream::try_unfold((self, input.fuse()), step).try_flatten().boxed()
    }

    fn push(&mut self, batch: RecordBatch) -> Result<Rows> {
        self.progress.add_read(batch.num_rows());
        let Some(mut newest) = self.newest.take() else {
            return Ok(Box::new(std::iter::once(Ok(batch))));
        };
        let mut out: Rows = Box::new(std::iter::empty());
        if !self.has_room(&mut newest, &batch)? {
            out = self.drain(newest);
            newest = Newest::new(&self.schema, &self.columns, self.batch_rows)?;
            self.seen = 0;
        }
        self.seen += batch.num_rows();
        newest.push(batch)?;
        if self.seen >= TRIAL_ROWS && newest.len() as f64 > self.seen as f64 * LEFT_MAX {
            out = Box::new(out.chain(self.drain(newest)));
        } else {
            self.newest = Some(newest);
        }
        Ok(out)
    }

    fn has_room(&self, newest: &mut Newest, batch: &RecordBatch) -> Result<bool> {
        let fits = |newest: &Newest| {
            let wanted = newest.bytes_with(batch);
            wanted <= BYTES_MAX && self.memory.try_resize(wanted).is_ok()
        };
        if newest.len() >= KEYS_MAX {
            return Ok(false);
        }
        if newest.is_empty() || fits(newest) {
            return Ok(true);
        }
        newest.compact()?;
        // A sixteenth, so that it is not compacted again at once.
        Ok(newest.bytes() <= BYTES_MAX - BYTES_MAX / 16 && fits(newest))
    }

    fn drain(&mut self, newest: Newest) -> Rows {
        Box::new(newest.drain(self.memory.take()))
    }
}
