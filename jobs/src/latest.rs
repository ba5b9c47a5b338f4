//! Plan node: keeps the newest row of each entity key.
//!
//! A node of its own because no general aggregate does it in one pass without copying the columns
//! of rows that lose. Deliberately absent: spilling to disk.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::{Schema, SchemaRef, TimestampNanosecondType};
use arrow::row::{RowConverter, Rows, SortField};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::aggregates::group_values::{GroupValues, new_group_values};
use datafusion::physical_plan::aggregates::order::GroupOrdering;
use datafusion::physical_plan::execution_plan::{
    Boundedness, EmissionType, ReplaceChildrenOptions,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, Distribution, ExecutionPlan,
    ExecutionPlanProperties, PlanProperties,
};
use futures::{StreamExt, TryStreamExt};

use crate::progress::Progress;

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

/// Keeps the newest row of each entity key.
///
/// # Shape
/// In: key columns, event time and the rest as [`LatestColumns`] says; equal keys in one partition,
/// any order. Out: the same columns, one row per key, in batches; order of first appearance.
///
/// Greater event time wins, then greater created time (null loses), then the row that is greater
/// when all other columns are compared from left to right (null lowest): a rule that does not
/// depend on how rows are spread over files, batches and partitions.
/// # Errors
/// When the memory pool refuses the rows that are kept.
/// # Source
/// Feast `pull_latest_from_table_or_query`: newest event time, then newest created time; it leaves
/// further ties to an unstable sort.
#[derive(Debug)]
pub struct LatestExec {
    input: Arc<dyn ExecutionPlan>,
    columns: LatestColumns,
    progress: Arc<Progress>,
    properties: Arc<PlanProperties>,
}

impl LatestExec {
    /// Makes the node over an input.
    pub fn new(
        input: Arc<dyn ExecutionPlan>,
        columns: LatestColumns,
        progress: Arc<Progress>,
    ) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(input.schema()),
            input.output_partitioning().clone(),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Self { input, columns, progress, properties: Arc::new(properties) }
    }
}

impl DisplayAs for LatestExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schema = self.input.schema();
        let keys: Vec<&str> =
            self.columns.keys.iter().map(|&key| schema.field(key).name().as_str()).collect();
        write!(f, "LatestExec: keys=[{}]", keys.join(", "))
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
        vec![Distribution::KeyPartitioned(self.columns.key_exprs(&self.input.schema()))]
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
        Ok(Arc::new(Self::new(input, self.columns.clone(), Arc::clone(&self.progress))))
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
        let mut input = self.input.execute(partition, Arc::clone(&context))?;
        let schema = self.input.schema();
        let consumer = MemoryConsumer::new(format!("LatestExec[{partition}]"));
        let memory = consumer.register(context.memory_pool());
        let batch_rows = context.session_config().batch_size();
        let mut newest =
            Newest::new(Arc::clone(&schema), self.columns.clone(), memory, batch_rows)?;
        let progress = Arc::clone(&self.progress);
        let reduced = async move {
            while let Some(batch) = input.next().await {
                let batch = batch?;
                progress.add_read(batch.num_rows());
                newest.push(batch)?;
            }
            progress.add_entities(newest.len());
            Ok::<_, datafusion::error::DataFusionError>(newest.into_batches())
        };
        let stream = futures::stream::once(reduced).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, stream)))
    }
}

/// Rows held per entity before the losers' batches are compacted away. At 2, compaction copies
/// each row a constant number of times on average and memory stays within twice what is needed.
const ROWS_PER_ENTITY_MAX: usize = 2;

/// Rows below which compaction is not worth its copy.
const COMPACT_ROWS_MIN: usize = 64 * 1024;

/// The newest row of every key seen so far. Batches are kept by reference.
struct Newest {
    columns: LatestColumns,
    groups: Box<dyn GroupValues>,
    winners: Vec<Winner>,
    held: Vec<Held>,
    held_rows: usize,
    held_bytes: usize,
    tie_columns: Vec<usize>,
    converter: RowConverter,
    memory: MemoryReservation,
    batch_rows: usize,
    group_ids: Vec<usize>,
}

#[derive(Clone, Copy)]
struct Winner {
    event_time: i64,
    /// `i64::MIN` stands for null: it loses to every created time.
    created_time: i64,
    batch: u32,
    row: u32,
}

struct Held {
    batch: RecordBatch,
    /// The tie columns in comparable form, made when the first tie asks for them.
    ties: Option<Rows>,
}

impl Newest {
    fn new(
        schema: SchemaRef,
        columns: LatestColumns,
        memory: MemoryReservation,
        batch_rows: usize,
    ) -> Result<Self> {
        let key_fields: Vec<_> =
            columns.keys.iter().map(|&key| Arc::new(schema.field(key).clone())).collect();
        let groups = new_group_values(Arc::new(Schema::new(key_fields)), &GroupOrdering::None)?;
        let is_compared =
            |&index: &usize| index != columns.event_time && Some(index) != columns.created_time;
        let tie_columns: Vec<usize> = (0..schema.fields().len()).filter(is_compared).collect();
        let sort_fields: Vec<SortField> = tie_columns
            .iter()
            .map(|&index| SortField::new(schema.field(index).data_type().clone()))
            .collect();
        let (tie_columns, sort_fields) = comparable(tie_columns, sort_fields);
        Ok(Self {
            columns,
            groups,
            winners: Vec::new(),
            held: Vec::new(),
            held_rows: 0,
            held_bytes: 0,
            tie_columns,
            converter: RowConverter::new(sort_fields)?,
            memory,
            batch_rows,
            group_ids: Vec::new(),
        })
    }

    fn len(&self) -> usize {
        self.winners.len()
    }

    fn push(&mut self, batch: RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let keys: Vec<ArrayRef> =
            self.columns.keys.iter().map(|&key| Arc::clone(batch.column(key))).collect();
        let mut group_ids = std::mem::take(&mut self.group_ids);
        self.groups.intern(&keys, &mut group_ids)?;
        let index = self.hold(batch);
        let outcome = self.compare(index, &group_ids);
        self.group_ids = group_ids;
        outcome?;
        self.account()
    }

    fn hold(&mut self, batch: RecordBatch) -> u32 {
        self.held_rows += batch.num_rows();
        self.held_bytes += batch.get_array_memory_size();
        self.held.push(Held { batch, ties: None });
        u32::try_from(self.held.len() - 1).expect("compaction keeps the batches few")
    }

    fn compare(&mut self, batch: u32, group_ids: &[usize]) -> Result<()> {
        let held = self.held[batch as usize].batch.clone();
        let events = held.column(self.columns.event_time).as_primitive::<TimestampNanosecondType>();
        let created = self
            .columns
            .created_time
            .map(|column| held.column(column).as_primitive::<TimestampNanosecondType>());
        for (row, &group) in group_ids.iter().enumerate() {
            let challenger = Winner {
                event_time: events.value(row),
                created_time: created
                    .filter(|created| created.is_valid(row))
                    .map_or(i64::MIN, |created| created.value(row)),
                batch,
                row: row as u32,
            };
            match self.winners.get(group).copied() {
                // Group ids are dense and new ones come in order.
                None => self.winners.push(challenger),
                Some(winner) => {
                    if self.beats(challenger, winner)? {
                        self.winners[group] = challenger;
                    }
                }
            }
        }
        Ok(())
    }

    fn beats(&mut self, challenger: Winner, winner: Winner) -> Result<bool> {
        let times = |row: Winner| (row.event_time, row.created_time);
        if times(challenger) != times(winner) {
            return Ok(times(challenger) > times(winner));
        }
        self.ties(challenger.batch)?;
        self.ties(winner.batch)?;
        let row = |row: Winner| {
            let rows = self.held[row.batch as usize].ties.as_ref();
            rows.expect("made above").row(row.row as usize)
        };
        Ok(row(challenger) > row(winner))
    }

    fn ties(&mut self, batch: u32) -> Result<()> {
        let held = &mut self.held[batch as usize];
        if held.ties.is_none() {
            let columns: Vec<ArrayRef> = self
                .tie_columns
                .iter()
                .map(|&index| Arc::clone(held.batch.column(index)))
                .collect();
            let rows = if columns.is_empty() {
                self.converter.empty_rows(0, 0)
            } else {
                self.converter.convert_columns(&columns)?
            };
            self.held_bytes += rows.size();
            held.ties = Some(rows);
        }
        Ok(())
    }

    fn account(&mut self) -> Result<()> {
        let rows_max = (self.winners.len() * ROWS_PER_ENTITY_MAX).max(COMPACT_ROWS_MIN);
        if self.held_rows > rows_max {
            self.compact()?;
        }
        if self.memory.try_resize(self.size()).is_ok() {
            return Ok(());
        }
        // The pool is full: give back what the losers hold before giving up.
        self.compact()?;
        self.memory.try_resize(self.size())
    }

    fn size(&self) -> usize {
        self.held_bytes
            + self.groups.size()
            + self.winners.capacity() * size_of::<Winner>()
            + self.group_ids.capacity() * size_of::<usize>()
    }

    /// Copies the winners into new batches and lets the old ones go.
    fn compact(&mut self) -> Result<()> {
        let batches = self.gather().collect::<Result<Vec<_>>>()?;
        self.held.clear();
        (self.held_rows, self.held_bytes) = (0, 0);
        for batch in batches {
            self.hold(batch);
        }
        let batch_rows = self.batch_rows;
        for (group, winner) in self.winners.iter_mut().enumerate() {
            winner.batch = (group / batch_rows) as u32;
            winner.row = (group % batch_rows) as u32;
        }
        Ok(())
    }

    /// The winners in batches, in order of group.
    fn gather(&self) -> impl Iterator<Item = Result<RecordBatch>> + '_ {
        self.winners.chunks(self.batch_rows).map(|winners| gather(&self.held, winners))
    }

    fn into_batches(self) -> impl futures::Stream<Item = Result<RecordBatch>> {
        let Self { winners, held, batch_rows, memory, .. } = self;
        let chunks = winners.len().div_ceil(batch_rows);
        futures::stream::iter((0..chunks).map(move |chunk| {
            // The reservation lives as long as the batches that it stands for.
            let _held_until_the_stream_ends = &memory;
            let end = winners.len().min((chunk + 1) * batch_rows);
            gather(&held, &winners[chunk * batch_rows..end])
        }))
    }
}

/// Interleaves rows of several batches; only batches that have a row in it are looked at.
fn gather(held: &[Held], winners: &[Winner]) -> Result<RecordBatch> {
    let mut used: Vec<u32> = winners.iter().map(|winner| winner.batch).collect();
    used.sort_unstable();
    used.dedup();
    let batches: Vec<&RecordBatch> =
        used.iter().map(|&batch| &held[batch as usize].batch).collect();
    let indices: Vec<(usize, usize)> = winners
        .iter()
        .map(|winner| {
            let batch = used.binary_search(&winner.batch).expect("collected above");
            (batch, winner.row as usize)
        })
        .collect();
    Ok(interleave_record_batch(&batches, &indices)?)
}

/// Leaves out columns of types without an order, which no Feast type can hold either.
fn comparable(columns: Vec<usize>, fields: Vec<SortField>) -> (Vec<usize>, Vec<SortField>) {
    columns
        .into_iter()
        .zip(fields)
        .filter(|(_, field)| RowConverter::supports_fields(std::slice::from_ref(field)))
        .unzip()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use std::collections::BTreeMap;

    use arrow::array::{Int64Array, StringArray, TimestampNanosecondArray};
    use arrow::datatypes::{DataType, Field, TimeUnit};
    use datafusion::datasource::memory::MemorySourceConfig;
    use datafusion::execution::runtime_env::RuntimeEnvBuilder;
    use proptest::prelude::*;

    use super::*;

    type Row = (Option<i64>, i64, Option<i64>, Option<i64>);

    fn schema() -> SchemaRef {
        let time = DataType::Timestamp(TimeUnit::Nanosecond, None);
        Arc::new(Schema::new(vec![
            Field::new("id", DataType::Int64, true),
            Field::new("event", time.clone(), false),
            Field::new("created", time, true),
            Field::new("text", DataType::Utf8, true),
            Field::new("value", DataType::Int64, true),
        ]))
    }

    fn batch(rows: &[Row]) -> RecordBatch {
        let ids: Int64Array = rows.iter().map(|row| row.0).collect();
        let events = TimestampNanosecondArray::from_iter_values(rows.iter().map(|row| row.1));
        let created: TimestampNanosecondArray = rows.iter().map(|row| row.2).collect();
        let texts: StringArray = rows.iter().map(|row| row.3.map(|v| format!("t{v}"))).collect();
        let values: Int64Array = rows.iter().map(|row| row.3).collect();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(ids),
            Arc::new(events),
            Arc::new(created),
            Arc::new(texts),
            Arc::new(values),
        ];
        RecordBatch::try_new(schema(), columns).unwrap()
    }

    async fn latest(batches: Vec<Vec<Row>>, memory: usize) -> Result<Vec<Row>> {
        let batches: Vec<RecordBatch> = batches.iter().map(|rows| batch(rows)).collect();
        let input = MemorySourceConfig::try_new_exec(&[batches], schema(), None)?;
        let columns = LatestColumns { keys: vec![0], event_time: 1, created_time: Some(2) };
        let node = LatestExec::new(input, columns, Arc::default());
        let runtime = RuntimeEnvBuilder::new().with_memory_limit(memory, 1.0).build_arc()?;
        let context = Arc::new(TaskContext::default().with_runtime(runtime));
        let batches: Vec<RecordBatch> = node.execute(0, context)?.try_collect().await?;
        let mut rows = Vec::new();
        for batch in batches {
            let ints =
                |column: usize| batch.column(column).as_primitive::<arrow::datatypes::Int64Type>();
            let times =
                |column: usize| batch.column(column).as_primitive::<TimestampNanosecondType>();
            for row in 0..batch.num_rows() {
                let some = |array: &Int64Array| array.is_valid(row).then(|| array.value(row));
                let created = times(2).is_valid(row).then(|| times(2).value(row));
                rows.push((some(ints(0)), times(1).value(row), created, some(ints(4))));
            }
        }
        rows.sort();
        Ok(rows)
    }

    fn reference(batches: &[Vec<Row>]) -> Vec<Row> {
        let mut newest: BTreeMap<Option<i64>, Row> = BTreeMap::new();
        for &row in batches.iter().flatten() {
            let order = |row: Row| (row.1, row.2, row.3.map(|v| format!("t{v}")), row.3);
            let held = newest.entry(row.0).or_insert(row);
            if order(row) > order(*held) {
                *held = row;
            }
        }
        newest.into_values().collect()
    }

    #[tokio::test]
    async fn created_time_breaks_ties_and_null_loses() {
        let rows = vec![vec![(Some(1), 5, None, Some(1)), (Some(1), 5, Some(-9), Some(2))]];
        assert_eq!(latest(rows, 1 << 20).await.unwrap(), [(Some(1), 5, Some(-9), Some(2))]);
    }

    #[tokio::test]
    async fn losers_are_compacted_away_within_the_memory_limit() {
        // 512 batches of 8,192 rows of the same thousand entities; all rows are 200 MB, the
        // newest of each under one.
        let batches: Vec<Vec<Row>> = (0..64)
            .map(|n| (0..8_192).map(|id| (Some(id % 1_000), n, Some(id), Some(id))).collect())
            .collect();
        let expected = reference(&batches);
        assert_eq!(latest(batches, 16 << 20).await.unwrap(), expected);
    }

    #[tokio::test]
    async fn more_entities_than_memory_is_an_error_that_names_the_pool() {
        let batches: Vec<Vec<Row>> = (0..16)
            .map(|n| (0..8_192).map(|id| (Some(n * 8_192 + id), 1, None, None)).collect())
            .collect();
        let error = latest(batches, 1 << 20).await.unwrap_err();
        assert!(error.to_string().contains("LatestExec"), "{error}");
    }

    proptest! {
        #[test]
        fn the_newest_row_wins_however_rows_are_spread(
            batches in prop::collection::vec(
                prop::collection::vec(
                    (
                        prop::option::of(0_i64..6),
                        -2_i64..3,
                        prop::option::of(0_i64..3),
                        prop::option::of(0_i64..4),
                    ),
                    0..30,
                ),
                0..6,
            ),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let expected = reference(&batches);
            prop_assert_eq!(runtime.block_on(latest(batches, 16 << 20)).unwrap(), expected);
        }
    }
}
