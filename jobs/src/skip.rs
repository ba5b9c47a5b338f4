//! Plan node: closes the partitions that an earlier attempt has written.
//!
//! It stands between the repartition and what reduces its outputs. An output that nobody reads
//! would fill up without bound, since a repartition holds back only when none of its outputs is
//! empty; one whose receiver is gone takes nothing any more, and its rows are dropped where they
//! are dealt out.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::ReplaceChildrenOptions;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties,
};
use futures::{FutureExt, StreamExt};

/// Lets all partitions through but some, which it ends at once.
///
/// # Shape
/// In: any. Out: the same, with the skipped partitions empty.
#[derive(Debug)]
pub(crate) struct SkipExec {
    input: Arc<dyn ExecutionPlan>,
    skipped: BTreeSet<usize>,
}

impl SkipExec {
    pub(crate) fn new(input: Arc<dyn ExecutionPlan>, skipped: BTreeSet<usize>) -> Self {
        Self { input, skipped }
    }
}

impl DisplayAs for SkipExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SkipExec: partitions={:?}", self.skipped)
    }
}

impl ExecutionPlan for SkipExec {
    fn name(&self) -> &str {
        "SkipExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
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
        Ok(Arc::new(Self::new(children.swap_remove(0), self.skipped.clone())))
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
        let mut input = self.input.execute(partition, context)?;
        if !self.skipped.contains(&partition) {
            return Ok(input);
        }
        let schema = input.schema();
        let closed = async move {
            // Only a stream that was polled owns its receiver: until then the repartition holds
            // it, and dropping the stream would leave the output open. What a poll may have given
            // goes with it; so does an error, which the other partitions get as well.
            drop(input.next().now_or_never());
        };
        let nothing = closed.into_stream().filter_map(|()| std::future::ready(None));
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, nothing)))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use arrow::array::{Int64Array, RecordBatch};
    use datafusion::datasource::memory::MemorySourceConfig;
    use datafusion::physical_expr::Partitioning;
    use datafusion::physical_expr::expressions::Column;
    use datafusion::physical_plan::execute_stream_partitioned;
    use datafusion::physical_plan::repartition::RepartitionExec;
    use futures::TryStreamExt;

    use super::*;

    const BATCHES: i64 = 400;
    const ROWS: i64 = 8_192;

    /// Two inputs of so many batches, which share their memory.
    fn input() -> Arc<dyn ExecutionPlan> {
        let numbers = Int64Array::from_iter_values(0..ROWS);
        let batch = RecordBatch::try_from_iter([("key", Arc::new(numbers) as _)]).unwrap();
        let batches = vec![batch.clone(); BATCHES as usize / 2];
        MemorySourceConfig::try_new_exec(&[batches.clone(), batches], batch.schema(), None).unwrap()
    }

    #[tokio::test]
    async fn a_skipped_output_takes_no_memory_even_while_its_plan_is_held() {
        let keys = vec![Arc::new(Column::new("key", 0)) as _];
        let spread = RepartitionExec::try_new(input(), Partitioning::Hash(keys, 8)).unwrap();
        let skip = SkipExec::new(Arc::new(spread), (1..8).collect());
        let plan: Arc<dyn ExecutionPlan> = Arc::new(skip);
        let context = Arc::new(TaskContext::default());
        let streams = execute_stream_partitioned(Arc::clone(&plan), Arc::clone(&context)).unwrap();
        let count = |stream: SendableRecordBatchStream| {
            stream.try_fold((0, 0), |(rows, most), batch| {
                let held = context.memory_pool().reserved();
                std::future::ready(Ok((rows + batch.num_rows(), held.max(most))))
            })
        };
        let counted = futures::future::try_join_all(streams.into_iter().map(count)).await.unwrap();
        let (rows, most) = counted[0];
        assert!((BATCHES * ROWS / 10..BATCHES * ROWS / 6).contains(&(rows as i64)), "{rows}");
        assert!(counted[1..].iter().all(|&(rows, _)| rows == 0));
        // All outputs together are 26 MB.
        assert!(most < 2 << 20, "{most} bytes were held");
        drop(plan);
    }
}
