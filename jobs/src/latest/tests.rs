//! The rule of the newest row, and that neither disk nor partial reduction changes it.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::array::{TimestampNanosecondArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Int64Type, SchemaRef, TimeUnit, TimestampNanosecondType};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::physical_plan::execute_stream_partitioned;
use datafusion::prelude::SessionConfig;
use proptest::prelude::*;

use super::*;

/// Two key columns, event time, created time, value.
type Row = (Option<i64>, Option<i64>, i64, Option<i64>, Option<i64>);

const INTEGER: &[usize] = &[0];
const STRING: &[usize] = &[1];
const COMPOSITE: &[usize] = &[0, 1];

/// How a test reduces.
#[derive(Clone, Copy, Debug)]
struct Setup {
    keys: &'static [usize],
    memory: usize,
    batch_rows: usize,
    partitions: usize,
    is_partial: bool,
}

/// Everything at once, in plenty of memory.
const PLAIN: Setup =
    Setup { keys: INTEGER, memory: 16 << 20, batch_rows: 8_192, partitions: 1, is_partial: false };

fn schema() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Nanosecond, None);
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("name", DataType::Utf8, true),
        Field::new("event", time.clone(), false),
        Field::new("created", time, true),
        Field::new("text", DataType::Utf8, true),
        Field::new("value", DataType::Int64, true),
    ]))
}

fn batch(rows: &[Row]) -> RecordBatch {
    let ids: Int64Array = rows.iter().map(|row| row.0).collect();
    let names: StringArray = rows.iter().map(|row| row.1.map(|v| format!("name {v}"))).collect();
    let events = TimestampNanosecondArray::from_iter_values(rows.iter().map(|row| row.2));
    let created: TimestampNanosecondArray = rows.iter().map(|row| row.3).collect();
    let texts: StringArray = rows.iter().map(|row| row.4.map(|v| format!("t{v}"))).collect();
    let values: Int64Array = rows.iter().map(|row| row.4).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(ids),
        Arc::new(names),
        Arc::new(events),
        Arc::new(created),
        Arc::new(texts),
        Arc::new(values),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

fn rows(batch: &RecordBatch) -> Vec<Row> {
    let ints = |column: usize| batch.column(column).as_primitive::<Int64Type>();
    let times = |column: usize| batch.column(column).as_primitive::<TimestampNanosecondType>();
    let names = batch.column(1).as_string::<i32>();
    let some = |array: &Int64Array, row| array.is_valid(row).then(|| array.value(row));
    let one = |row| {
        let name = names.is_valid(row).then(|| names.value(row)["name ".len()..].parse().unwrap());
        let created = times(3).is_valid(row).then(|| times(3).value(row));
        (some(ints(0), row), name, times(2).value(row), created, some(ints(5), row))
    };
    (0..batch.num_rows()).map(one).collect()
}

fn columns(keys: &[usize]) -> LatestColumns {
    LatestColumns { keys: keys.to_vec(), event_time: 2, created_time: Some(3) }
}

/// What came out, sorted; how many files it went through; and what the progress says.
struct Left {
    rows: Vec<Row>,
    files: usize,
    progress: crate::ProgressSnapshot,
}

async fn reduce(batches: &[Vec<Row>], setup: Setup) -> Left {
    let directory = tempfile::tempdir().unwrap();
    let mut inputs: Vec<Vec<RecordBatch>> = vec![Vec::new(); setup.partitions];
    for (number, rows) in batches.iter().enumerate() {
        inputs[number % setup.partitions].push(batch(rows));
    }
    let input = MemorySourceConfig::try_new_exec(&inputs, schema(), None).unwrap();
    let progress = Arc::new(Progress::default());
    let columns = columns(setup.keys);
    let plan: Arc<dyn ExecutionPlan> = if setup.is_partial {
        let input: Arc<dyn ExecutionPlan> = input;
        newest_rows(input, columns, setup.partitions, &BTreeSet::new(), &progress).unwrap()
    } else {
        let partitioning = Partitioning::Hash(columns.key_exprs(&schema()), setup.partitions);
        let spread = Arc::new(RepartitionExec::try_new(input, partitioning).unwrap());
        Arc::new(LatestExec::new(spread, columns, Stage::Whole, Arc::clone(&progress)))
    };
    let mode = DiskManagerMode::Directories(vec![directory.path().to_owned()]);
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(NewestPool::new(setup.memory)))
        .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(mode));
    let config = SessionConfig::new().with_batch_size(setup.batch_rows);
    let context = TaskContext::default()
        .with_runtime(runtime.build_arc().unwrap())
        .with_session_config(config);
    let streams = execute_stream_partitioned(Arc::clone(&plan), Arc::new(context)).unwrap();
    let parts = futures::future::try_join_all(
        streams.into_iter().map(|stream| stream.try_collect::<Vec<RecordBatch>>()),
    );
    let batches = parts.await.unwrap().concat();
    assert!(batches.iter().all(|batch| batch.num_rows() <= setup.batch_rows.max(8_192)));
    let mut left: Vec<Row> = batches.iter().flat_map(rows).collect();
    left.sort();
    assert_nothing_open_below(directory.path());
    let files = plan.metrics().unwrap().spill_count().unwrap_or(0);
    Left { rows: left, files, progress: progress.snapshot() }
}

/// Looks for files, and for handles of files that have been removed.
fn assert_nothing_open_below(directory: &Path) {
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            assert!(path.is_dir(), "{path:?} was left behind");
            directories.push(path);
        }
    }
    let handles = std::fs::read_dir("/proc/self/fd").unwrap();
    let open = handles.flatten().filter_map(|handle| std::fs::read_link(handle.path()).ok());
    let open: Vec<_> = open.filter(|path| path.starts_with(directory)).collect();
    assert!(open.is_empty(), "{open:?} are open still");
}

fn reference(batches: &[Vec<Row>], keys: &[usize]) -> Vec<Row> {
    let mut newest = BTreeMap::new();
    for &row in batches.iter().flatten() {
        let text = |value: Option<i64>, prefix| value.map(|value| format!("{prefix}{value}"));
        let order = |row: Row| (row.2, row.3, row.0, text(row.1, "name "), text(row.4, "t"), row.4);
        let key = (keys.contains(&0).then_some(row.0), keys.contains(&1).then_some(row.1));
        let held = newest.entry(key).or_insert(row);
        if order(row) > order(*held) {
            *held = row;
        }
    }
    let mut rows: Vec<Row> = newest.into_values().collect();
    rows.sort();
    rows
}

/// So many rows of as many entities, in batches.
fn distinct(count: i64) -> Vec<Vec<Row>> {
    let rows: Vec<Row> = (0..count).map(|id| (Some(id), Some(id % 7), id, None, Some(1))).collect();
    rows.chunks(8_192).map(<[Row]>::to_vec).collect()
}

#[tokio::test]
async fn created_time_breaks_ties_and_null_loses() {
    let row = |created, value| (Some(1), None, 5, created, Some(value));
    let left = reduce(&[vec![row(None, 1), row(Some(-9), 2)]], PLAIN).await;
    assert_eq!(left.rows, [row(Some(-9), 2)]);
}

#[tokio::test]
async fn losers_are_compacted_away_within_the_memory_limit() {
    // 64 batches of 8,192 rows of the same thousand entities; all rows are 32 MB, the newest of
    // each under one.
    let row = |id: i64, n| (Some(id % 1_000), None, n, Some(id), Some(id));
    let batches: Vec<Vec<Row>> =
        (0..64).map(|n| (0..8_192).map(|id| row(id, n)).collect()).collect();
    let left = reduce(&batches, Setup { memory: 4 << 20, ..PLAIN }).await;
    assert_eq!(left.rows, reference(&batches, INTEGER));
    assert_eq!(left.files, 0, "there is room enough for those that win");
}

#[tokio::test]
async fn more_entities_than_memory_go_through_the_disk() {
    let batches = distinct(16 * 8_192);
    for keys in [INTEGER, COMPOSITE] {
        let left = reduce(&batches, Setup { keys, memory: 4 << 20, ..PLAIN }).await;
        assert_eq!(left.rows, batches.concat());
        assert!(left.files > 0);
        assert_eq!((left.progress.read, left.progress.entities), (131_072, 131_072));
    }
}

#[tokio::test]
async fn a_file_that_is_too_large_itself_is_dealt_out_anew() {
    // All of one file by the first seed.
    let tags = (0..500_000_u64).filter(|&tag| table::part(tag, 0, 16) == 3);
    let rows: Vec<Row> = tags.map(|tag| (Some(tag as i64), None, 1, None, None)).collect();
    let batches: Vec<Vec<Row>> = rows.chunks(1_000).map(<[Row]>::to_vec).collect();
    let setup = Setup { memory: 256 << 10, batch_rows: 500, ..PLAIN };
    let left = reduce(&batches, setup).await;
    assert_eq!(left.rows, rows);
    // One file by the first seed and all of 16 by the next.
    assert!(left.files >= 17, "{}", left.files);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_that_are_all_short_of_memory_do_not_wait_for_each_other() {
    let batches = distinct(100_000);
    let setup = Setup { memory: 64 << 10, partitions: 3, is_partial: true, ..PLAIN };
    // Whoever waits for ever does so in one of a few runs.
    for _ in 0..5 {
        let left = reduce(&batches, setup).await;
        assert_eq!(left.rows, batches.concat());
    }
}

#[tokio::test]
async fn a_partial_reduction_keeps_what_repeats_and_passes_on_what_does_not() {
    let setup = Setup { is_partial: true, partitions: 2, memory: 64 << 20, ..PLAIN };
    for (name, batches) in [
        ("all distinct", distinct(200_000)),
        ("few entities", (0..20).flat_map(|_| distinct(10_000)).collect()),
        // More entities than it holds, each twice in a row.
        ("in order", {
            let twice = |row: Row| [row, (row.0, row.1, row.2 + 1, row.3, row.4)];
            distinct(150_000)
                .iter()
                .map(|rows| rows.iter().copied().flat_map(twice).collect())
                .collect()
        }),
    ] {
        let left = reduce(&batches, setup).await;
        assert_eq!(left.rows, reference(&batches, INTEGER), "{name}");
        let read: usize = batches.iter().map(Vec::len).sum();
        let expected = (read as u64, left.rows.len() as u64);
        assert_eq!((left.progress.read, left.progress.entities), expected, "{name}");
    }
}

#[tokio::test]
async fn a_partial_reduction_leaves_few_rows_of_few_entities_and_every_row_of_many() {
    for (batches, expected) in [
        ((0..20).flat_map(|_| distinct(10_000)).collect::<Vec<_>>(), 10_000),
        (distinct(200_000), 200_000),
    ] {
        let batches: Vec<RecordBatch> = batches.iter().map(|rows| batch(rows)).collect();
        let input = MemorySourceConfig::try_new_exec(&[batches], schema(), None).unwrap();
        let node = LatestExec::new(input, columns(INTEGER), Stage::Partial, Arc::default());
        let left: Vec<RecordBatch> =
            node.execute(0, Arc::default()).unwrap().try_collect().await.unwrap();
        assert_eq!(left.iter().map(RecordBatch::num_rows).sum::<usize>(), expected);
    }
}

#[tokio::test]
async fn every_type_of_key_tells_its_values_apart() {
    use arrow::array::{BooleanArray, Float64Array, Int8Array, Int32Array, LargeBinaryArray};
    let keys: Vec<(ArrayRef, usize)> = vec![
        (Arc::new(Int8Array::from(vec![Some(-1), Some(0), None, Some(-1), None])), 3),
        (Arc::new(Int32Array::from(vec![i32::MIN, -1, 0, i32::MAX, -1])), 4),
        (Arc::new(UInt64Array::from(vec![u64::MAX, 0, 1, u64::MAX, 1])), 3),
        (Arc::new(BooleanArray::from(vec![Some(true), Some(false), None, Some(true), None])), 3),
        (Arc::new(Float64Array::from(vec![0.0, -0.0, 1.0, f64::NAN, f64::NAN])), 3),
        (Arc::new(LargeBinaryArray::from(vec![&b""[..], b"\0", b"\0\0", b"", b"\0"])), 3),
    ];
    for (key, expected) in keys {
        let name = key.data_type().to_string();
        let events: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![1, 2, 3, 4, 5]));
        let batch = RecordBatch::try_from_iter([("key", key), ("event", events)]).unwrap();
        // The same rows in one batch and in one batch each.
        let single = (0..5).map(|row| batch.slice(row, 1)).collect();
        for batches in [vec![batch.clone()], single] {
            let input = MemorySourceConfig::try_new_exec(&[batches], batch.schema(), None).unwrap();
            let columns = LatestColumns { keys: vec![0], event_time: 1, created_time: None };
            let node = LatestExec::new(input, columns, Stage::Whole, Arc::default());
            let left: Vec<RecordBatch> =
                node.execute(0, Arc::default()).unwrap().try_collect().await.unwrap();
            let rows: usize = left.iter().map(RecordBatch::num_rows).sum();
            assert_eq!(rows, expected, "{name}");
        }
    }
}

fn any_row() -> impl Strategy<Value = Row> {
    (
        prop::option::of(0_i64..6),
        prop::option::of(0_i64..3),
        -2_i64..3,
        prop::option::of(0_i64..3),
        prop::option::of(0_i64..4),
    )
}

fn any_setup() -> impl Strategy<Value = Setup> {
    (
        prop::sample::select(vec![INTEGER, STRING, COMPOSITE]),
        // From no memory at all, where every batch goes to disk, to plenty.
        prop::sample::select(vec![0, 2 << 10, 8 << 10, 16 << 20]),
        prop::sample::select(vec![1_usize, 3, 8_192]),
        1_usize..4,
        any::<bool>(),
    )
        .prop_map(|(keys, memory, batch_rows, partitions, is_partial)| Setup {
            keys,
            memory,
            batch_rows,
            partitions,
            is_partial,
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]
    #[test]
    fn the_newest_row_wins_however_rows_are_spread(
        batches in prop::collection::vec(prop::collection::vec(any_row(), 0..30), 0..6),
        setup in any_setup(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let left = runtime.block_on(reduce(&batches, setup));
        prop_assert_eq!(left.rows, reference(&batches, setup.keys));
        let read: usize = batches.iter().map(Vec::len).sum();
        prop_assert_eq!(left.progress.read, read as u64);
    }
}
