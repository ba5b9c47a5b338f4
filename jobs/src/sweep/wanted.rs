//! Plan node: lets the rows of some entities through.
//!
//! Before the reduction, so that of a long history only these entities' rows are held, and before
//! the encoding, so that a bad row of another entity stops nobody.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::ReplaceChildrenOptions;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties,
};
use futures::TryStreamExt;

use crate::encode::Encoder;

/// Entity keys in the store's bytes.
pub(crate) struct Wanted(pub(crate) HashSet<Vec<u8>>);

impl fmt::Debug for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} keys", self.0.len())
    }
}

/// Lets the rows of wanted entities through.
///
/// # Shape
/// In: columns as the encoder expects. Out: the same, fewer rows.
#[derive(Debug)]
pub(crate) struct WantedExec {
    input: Arc<dyn ExecutionPlan>,
    encoder: Arc<Encoder>,
    wanted: Arc<Wanted>,
}

impl WantedExec {
    pub(crate) fn new(
        input: Arc<dyn ExecutionPlan>,
        encoder: Arc<Encoder>,
        wanted: Arc<Wanted>,
    ) -> Self {
        Self { input, encoder, wanted }
    }
}

impl DisplayAs for WantedExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WantedExec: {:?}", self.wanted)
    }
}

impl ExecutionPlan for WantedExec {
    fn name(&self) -> &str {
        "WantedExec"
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
        let (encoder, wanted) = (Arc::clone(&self.encoder), Arc::clone(&self.wanted));
        Ok(Arc::new(Self::new(children.swap_remove(0), encoder, wanted)))
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
        let schema = input.schema();
        let (encoder, wanted) = (Arc::clone(&self.encoder), Arc::clone(&self.wanted));
        let chosen = input.and_then(move |batch| {
            let chosen = choose(&encoder, &wanted, &batch);
            std::future::ready(chosen)
        });
        let chosen = chosen.try_filter(|batch| std::future::ready(batch.num_rows() > 0));
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, chosen)))
    }
}

fn choose(encoder: &Encoder, wanted: &Wanted, batch: &RecordBatch) -> Result<RecordBatch> {
    let keys = encoder.entity_keys(batch);
    let keys = keys.map_err(|error| DataFusionError::External(Box::new(error)))?;
    let is_wanted: BooleanArray =
        (0..keys.len()).map(|row| Some(wanted.0.contains(keys.get(row)))).collect();
    Ok(filter_record_batch(batch, &is_wanted)?)
}
