//! Plan node: encodes the newest rows, hands them to the online store, yields one receipt row.
//!
//! The node knows no online store: [`FeatureSink`] is the door, and whoever runs the plan brings
//! the implementation. Only a receipt comes back up.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::array::{Array, AsArray, Int64Array, RecordBatch, UInt64Array};
use arrow::datatypes::{
    DataType, Field, Int64Type, Schema, SchemaRef, TimestampNanosecondType, UInt64Type,
};
use async_trait::async_trait;
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{
    Boundedness, EmissionType, ReplaceChildrenOptions,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties,
    PlanProperties,
};
use futures::{StreamExt, TryStreamExt};
use model::{EncodedBatch, EventTime, MemoryState, OnlineView, Receipt, RowSize, WriteCounts};

use crate::encode::{self, Encoded, Encoder};
use crate::progress::Progress;

/// What an online store answers when it does not take a batch.
#[derive(Debug, thiserror::Error)]
#[error("the online store did not take a batch")]
pub struct SinkError {
    /// Tells whether the same write may succeed later.
    pub retryable: bool,
    /// The cause.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// Takes encoded rows into an online store.
#[async_trait]
pub trait FeatureSink: Send + Sync + fmt::Debug {
    /// Writes a batch; every row is acknowledged when it returns.
    ///
    /// # Errors
    /// When the store did not take the batch; rows of it may have been taken, which is harmless
    /// because a row is only ever replaced by a newer one.
    async fn write(&self, batch: EncodedBatch) -> std::result::Result<WriteCounts, SinkError>;

    /// Confirms, after the last batch, that what was acknowledged is still there as far as the
    /// store can tell.
    ///
    /// # Errors
    /// When it may be gone. If the error is retryable, the window is to be run again from its
    /// start; if not, that would only lose as much again.
    async fn confirm(&self) -> std::result::Result<(), SinkError>;
}

/// Opens the sinks of one online store.
#[async_trait]
pub trait FeatureSinks: Send + Sync + fmt::Debug {
    /// What the store's keys carry behind the serialized entity key.
    fn key_suffix(&self, project: &str) -> Vec<u8>;

    /// Checks that a view can be written, and opens its sink. Writes nothing.
    ///
    /// # Errors
    /// When the store cannot be reached or could not hold the view.
    async fn open(&self, view: &OnlineView)
    -> std::result::Result<Arc<dyn FeatureSink>, SinkError>;

    /// The memory of the store's servers; empty where the store has no limit of its own, or does
    /// not tell.
    ///
    /// # Errors
    /// When the store cannot be reached.
    async fn memory(&self) -> std::result::Result<Vec<MemoryState>, SinkError>;

    /// Bytes that a new row of a view takes in the store's memory.
    fn row_bytes(&self, view: &OnlineView, size: &RowSize) -> u64;

    /// How long writing was held back so far because the store answered slowly.
    fn slowed(&self) -> Duration;
}

/// A row that was refused, by what it can be found again with.
#[derive(Clone, Debug)]
pub(crate) struct RefusedRow {
    pub(crate) event_time: EventTime,
    /// Plan column and the row's value in it: the entity key, then the column at fault.
    pub(crate) values: Vec<(String, ScalarValue)>,
    pub(crate) column: String,
    pub(crate) reason: String,
}

/// A bad row on its way out of the plan.
#[derive(Debug, thiserror::Error)]
#[error("column `{}`: {}", .0.column, .0.reason)]
pub(crate) struct BadRowError(pub(crate) RefusedRow);

/// Refused rows kept for the report; beyond it they are only counted.
pub(crate) const REFUSED_REPORTED_MAX: usize = 20;

/// Writes of one partition under way at a time: the next batch is encoded while Redis works.
const WRITES_AT_ONCE: usize = 2;

/// Bytes of Arrow data encoded into one write, so that rows of any width stay within memory.
const BATCH_BYTES: usize = 8 << 20;

/// What the node needs besides its input.
#[derive(Clone, Debug)]
pub(crate) struct SinkParts {
    pub(crate) encoder: Arc<Encoder>,
    pub(crate) sink: Arc<dyn FeatureSink>,
    pub(crate) progress: Arc<Progress>,
    /// Event time column of the input.
    pub(crate) event_time: usize,
    /// Columns that identify a row in messages.
    pub(crate) keys: Vec<usize>,
    /// Most rows of one write.
    pub(crate) rows_max: usize,
    pub(crate) refused: Arc<Mutex<Vec<RefusedRow>>>,
}

/// Encodes and writes rows.
///
/// # Shape
/// In: one row per entity key, columns as the encoder expects. Out: one row per partition, the
/// partition's receipt, see [`receipts`].
/// # Errors
/// A row that cannot be encoded, unless refused rows are skipped; whatever the sink answers.
#[derive(Debug)]
pub(crate) struct SinkExec {
    input: Arc<dyn ExecutionPlan>,
    parts: SinkParts,
    properties: Arc<PlanProperties>,
}

impl SinkExec {
    pub(crate) fn new(input: Arc<dyn ExecutionPlan>, parts: SinkParts) -> Self {
        let partitions = input.output_partitioning().partition_count();
        let properties = PlanProperties::new(
            EquivalenceProperties::new(receipt_schema()),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Self { input, parts, properties: Arc::new(properties) }
    }
}

impl DisplayAs for SinkExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SinkExec: sink={:?}", self.parts.sink)
    }
}

impl ExecutionPlan for SinkExec {
    fn name(&self) -> &str {
        "SinkExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self::new(children.swap_remove(0), self.parts.clone())))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
        self.replace_children(children, options)
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context)?;
        let written = write_all(input, self.parts.clone());
        let stream = futures::stream::once(written).map_ok(|receipt| receipt_batch(&receipt));
        Ok(Box::pin(RecordBatchStreamAdapter::new(receipt_schema(), stream)))
    }
}

async fn write_all(input: SendableRecordBatchStream, parts: SinkParts) -> Result<Receipt> {
    let parts = Arc::new(parts);
    let rows_max = parts.rows_max;
    let pieces = input
        .map_ok(|batch| futures::stream::iter(pieces(&batch, rows_max).into_iter().map(Ok)))
        .try_flatten();
    pieces
        .and_then(|piece| std::future::ready(parts.encode(&piece)))
        .map(|encoded| {
            let parts = Arc::clone(&parts);
            async move { parts.write(encoded?).await }
        })
        .buffered(WRITES_AT_ONCE)
        .try_fold(Receipt::default(), |mut sum, receipt| async move {
            sum.add(&receipt);
            Ok(sum)
        })
        .await
}

/// Cuts a batch by rows and by bytes; slices share the batch's buffers.
fn pieces(batch: &RecordBatch, rows_max: usize) -> Vec<RecordBatch> {
    let rows = batch.num_rows();
    let row_bytes = batch.get_array_memory_size().div_ceil(rows.max(1)).max(1);
    let step = rows_max.min(BATCH_BYTES / row_bytes).max(1);
    (0..rows).step_by(step).map(|at| batch.slice(at, step.min(rows - at))).collect()
}

impl SinkParts {
    fn encode(&self, batch: &RecordBatch) -> Result<Encoded> {
        match self.encoder.encode(batch) {
            Ok(encoded) => {
                self.keep_refused(batch, &encoded);
                Ok(encoded)
            }
            Err(encode::Error::BadRow(bad)) => {
                let row = self.refused_row(batch, &bad);
                Err(DataFusionError::External(Box::new(BadRowError(row))))
            }
            Err(other) => Err(DataFusionError::External(Box::new(other))),
        }
    }

    fn keep_refused(&self, batch: &RecordBatch, encoded: &Encoded) {
        if encoded.refused.is_empty() {
            return;
        }
        let mut kept = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let room = REFUSED_REPORTED_MAX.saturating_sub(kept.len());
        kept.extend(encoded.refused.iter().take(room).map(|bad| self.refused_row(batch, bad)));
    }

    fn refused_row(&self, batch: &RecordBatch, bad: &encode::BadRow) -> RefusedRow {
        let schema = batch.schema();
        let value = |index: usize| {
            let value = ScalarValue::try_from_array(batch.column(index), bad.row).ok()?;
            Some((schema.field(index).name().clone(), value))
        };
        let at_fault = schema.index_of(&bad.column).ok();
        let times = batch.column(self.event_time).as_primitive::<TimestampNanosecondType>();
        RefusedRow {
            event_time: EventTime::from_nanos(times.value(bad.row)),
            values: self.keys.iter().copied().chain(at_fault).filter_map(value).collect(),
            column: bad.column.clone(),
            reason: bad.reason.clone(),
        }
    }

    async fn write(&self, encoded: Encoded) -> Result<Receipt> {
        let Encoded { batch, refused } = encoded;
        let mut receipt = Receipt {
            entities: (batch.len() + refused.len()) as u64,
            refused: refused.len() as u64,
            bytes_written: batch.data_len() as u64,
            event_time_min: batch.event_times.iter().copied().min(),
            event_time_max: batch.event_times.iter().copied().max(),
            ..Receipt::default()
        };
        if !batch.is_empty() {
            let written = self.sink.write(batch).await;
            receipt.counts = written.map_err(|error| DataFusionError::External(Box::new(error)))?;
            self.progress.add_counts(receipt.counts);
        }
        Ok(receipt)
    }
}

const COUNT_COLUMNS: [&str; 6] =
    ["entities", "written", "stale", "tombstoned", "refused", "bytes_written"];

fn receipt_schema() -> SchemaRef {
    let count = |name| Field::new(name, DataType::UInt64, false);
    let time = |name| Field::new(name, DataType::Int64, true);
    let times = ["event_time_min", "event_time_max"].map(time);
    Arc::new(Schema::new(COUNT_COLUMNS.map(count).into_iter().chain(times).collect::<Vec<_>>()))
}

fn receipt_batch(receipt: &Receipt) -> RecordBatch {
    let counts = receipt.counts;
    let numbers = [
        receipt.entities,
        counts.written,
        counts.stale,
        counts.tombstoned,
        receipt.refused,
        receipt.bytes_written,
    ];
    let times = [receipt.event_time_min, receipt.event_time_max];
    let count = |number: u64| Arc::new(UInt64Array::from(vec![number])) as Arc<dyn Array>;
    let time = |time: Option<EventTime>| {
        Arc::new(Int64Array::from(vec![time.map(EventTime::nanos)])) as Arc<dyn Array>
    };
    let columns = numbers.map(count).into_iter().chain(times.map(time)).collect();
    RecordBatch::try_new(receipt_schema(), columns).expect("the columns are the schema's")
}

/// Adds up receipt rows.
///
/// # Shape
/// Six `UInt64` counts and two nullable `Int64` event times in nanoseconds, one row a partition.
pub(crate) fn receipts(batch: &RecordBatch) -> Receipt {
    let mut sum = Receipt::default();
    let count = |column: usize, row| batch.column(column).as_primitive::<UInt64Type>().value(row);
    let time = |column: usize, row| {
        let times = batch.column(column).as_primitive::<Int64Type>();
        times.is_valid(row).then(|| EventTime::from_nanos(times.value(row)))
    };
    for row in 0..batch.num_rows() {
        sum.add(&Receipt {
            rows_read: 0,
            entities: count(0, row),
            counts: WriteCounts {
                written: count(1, row),
                stale: count(2, row),
                tombstoned: count(3, row),
            },
            refused: count(4, row),
            bytes_written: count(5, row),
            event_time_min: time(6, row),
            event_time_max: time(7, row),
        });
    }
    sum
}
