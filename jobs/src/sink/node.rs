//! Plan node: encodes the newest rows, hands them to the sink, yields one receipt row.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::TimestampNanosecondType;
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
use model::{EventTime, Receipt};

use super::FeatureSink;
use super::receipt::{receipt_batch, receipt_schema};
use crate::encode::{self, Encoded, Encoder};
use crate::keys::KeyLog;
use crate::progress::Progress;

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
    /// Notes the keys that are written, where they are asked for afterwards.
    pub(crate) log: Option<Arc<KeyLog>>,
}

/// Encodes and writes rows.
///
/// # Shape
/// In: one row per entity key, columns as the encoder expects. Out: one row per partition, the
/// partition's receipt, see [`super::receipts`].
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
            // Before the write, because the batch goes with it: a key too many does no harm where
            // the attempt fails.
            if let Some(log) = &self.log {
                let noted = log.add(&batch.keys);
                noted.map_err(|error| DataFusionError::External(Box::new(error)))?;
            }
            let written = self.sink.write(batch).await;
            receipt.counts = written.map_err(|error| DataFusionError::External(Box::new(error)))?;
            self.progress.add_counts(receipt.counts);
        }
        Ok(receipt)
    }
}
