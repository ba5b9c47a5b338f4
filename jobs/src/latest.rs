//! Plan node: keeps the newest row of each entity key.
//!
//! A node of its own because no general aggregate does it in one pass without copying the columns
//! of rows that lose. What does not fit into memory goes to disk, see
//! [ADR 7](../../docs/adr/0007-newest-rows-beyond-memory.md).

mod held;
mod key;
mod newest;
mod partial;
mod pool;
mod reduce;
mod spill;
mod table;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{
    Boundedness, EmissionType, ReplaceChildrenOptions,
};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricsSet, SpillMetrics};
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, Distribution, ExecutionPlan,
    ExecutionPlanProperties, PlanProperties,
};
use futures::TryStreamExt;

use self::partial::Partial;
pub(crate) use self::pool::NewestPool;
use self::reduce::Reduction;
use crate::progress::Progress;
use crate::skip::SkipExec;

/// Where the node finds what it compares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LatestColumns {
    /// The entity key: raw columns, before conversion to the entity's type, as in Feast.
    pub keys: Vec<usize>,
    /// Event time, `Timestamp(ns)`, never null.
    pub event_time: usize,
    /// Created time, `Timestamp(ns)`, null loses.
    pub created_time: Option<usize>,
}

impl LatestColumns {
    /// The key columns as expressions: equal ones belong into one partition.
    pub(crate) fn key_exprs(&self, schema: &Schema) -> Vec<Arc<dyn PhysicalExpr>> {
        let key = |&index: &usize| -> Arc<dyn PhysicalExpr> {
            Arc::new(Column::new(schema.field(index).name(), index))
        };
        self.keys.iter().map(key).collect()
    }
}

/// Puts the nodes on a plan that leave the newest row of each entity key, in so many partitions;
/// those that are skipped have no rows.
///
/// # Errors
/// When DataFusion refuses the plan.
pub fn newest_rows(
    input: Arc<dyn ExecutionPlan>,
    columns: LatestColumns,
    partitions: usize,
    skipped: &BTreeSet<usize>,
    progress: &Arc<Progress>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let node = |input, stage| LatestExec::new(input, columns.clone(), stage, Arc::clone(progress));
    if partitions == 1 && input.output_partitioning().partition_count() == 1 && skipped.is_empty() {
        return Ok(Arc::new(node(input, Stage::Whole)));
    }
    let keys = columns.key_exprs(&input.schema());
    let fewer = Arc::new(node(input, Stage::Partial));
    let mut spread: Arc<dyn ExecutionPlan> =
        Arc::new(RepartitionExec::try_new(fewer, Partitioning::Hash(keys, partitions))?);
    if !skipped.is_empty() {
        spread = Arc::new(SkipExec::new(spread, skipped.clone()));
    }
    Ok(Arc::new(node(spread, Stage::Final)))
}

/// What a node is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The whole reduction, of an input that has each entity key in one partition.
    Whole,
    /// Leaves fewer rows for [`Stage::Final`], at little cost: any distribution of keys.
    Partial,
    /// As `Whole`, over rows that the partial reductions have counted.
    Final,
}

/// Keeps the newest row of each entity key.
///
/// # Shape
/// In: key columns, event time and the rest as [`LatestColumns`] says; equal keys in one partition
/// unless the stage is partial, any order. Out: the same columns, one row per key unless the stage
/// is partial, in batches, in no order that means anything.
///
/// Greater event time wins, then greater created time (null loses), then the row that is greater
/// when all other columns are compared from left to right (null lowest): a rule that does not
/// depend on how rows are spread over files, batches and partitions.
/// # Errors
/// When rows that do not fit into memory cannot be written to disk.
/// # Source
/// Feast `pull_latest_from_table_or_query`: newest event time, then newest created time; it leaves
/// further ties to an unstable sort.
#[derive(Debug)]
pub struct LatestExec {
    input: Arc<dyn ExecutionPlan>,
    columns: LatestColumns,
    stage: Stage,
    progress: Arc<Progress>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl LatestExec {
    /// Makes the node over an input.
    pub fn new(
        input: Arc<dyn ExecutionPlan>,
        columns: LatestColumns,
        stage: Stage,
        progress: Arc<Progress>,
    ) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(input.schema()),
            input.output_partitioning().clone(),
            if stage == Stage::Partial { EmissionType::Incremental } else { EmissionType::Final },
            Boundedness::Bounded,
        );
        let metrics = ExecutionPlanMetricsSet::new();
        Self { input, columns, stage, progress, properties: Arc::new(properties), metrics }
    }
}

impl DisplayAs for LatestExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schema = self.input.schema();
        let keys: Vec<&str> =
            self.columns.keys.iter().map(|&key| schema.field(key).name().as_str()).collect();
        write!(f, "LatestExec: stage={:?}, keys=[{}]", self.stage, keys.join(", "))
    }
}

impl ExecutionPlan for LatestExec {
    fn name(&self) -> &str {
        "LatestExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn required_input_distribution(&self) -> Vec<Distribution> {
        match self.stage {
            Stage::Partial => vec![Distribution::UnspecifiedDistribution],
            Stage::Whole | Stage::Final => {
                vec![Distribution::KeyPartitioned(self.columns.key_exprs(&self.input.schema()))]
            }
        }
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
        let input = children.swap_remove(0);
        Ok(Arc::new(Self::new(input, self.columns.clone(), self.stage, Arc::clone(&self.progress))))
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
        let input = self.input.execute(partition, Arc::clone(&context))?;
        let schema = self.input.schema();
        let progress = Arc::clone(&self.progress);
        let rows = if self.stage == Stage::Partial {
            let schema = Arc::clone(&schema);
            Partial::new(schema, &self.columns, &context, progress, partition)?.run(input)
        } else {
            let reduction = Reduction {
                columns: self.columns.clone(),
                context,
                progress,
                metrics: SpillMetrics::new(&self.metrics, partition),
                partition,
            };
            reduction.run(self.counted(input))
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

impl LatestExec {
    /// Counts the rows that are read, where no partial reduction has.
    fn counted(&self, input: SendableRecordBatchStream) -> SendableRecordBatchStream {
        if self.stage == Stage::Final {
            return input;
        }
        let progress = Arc::clone(&self.progress);
        let counted = input.inspect_ok(move |batch| progress.add_read(batch.num_rows()));
        Box::pin(RecordBatchStreamAdapter::new(self.input.schema(), counted))
    }
}

#[cfg(test)]
mod tests;
