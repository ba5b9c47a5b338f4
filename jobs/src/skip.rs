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
