//! Whole windows, from Parquet files to a sink that remembers.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod memory;
mod resume;
mod sweep;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use feast::config::OnBadRow;
use feast::{DataSource, FeatureView, Field, JoinKey, ValueType};
use model::{EventTime, Interval};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;

use self::memory::{Memory, Rows};
use super::*;
use crate::plan::{TAG_ACTIVE_WHEN, TAG_DATE_PARTITION, WindowSpec};
use crate::session::SessionOptions;

fn field(name: &str, value_type: ValueType) -> Field {
    Field { name: name.to_owned(), value_type, vector_length: 0, vector_index: false }
}

fn view(path: &str, features: &[(&str, ValueType)]) -> FeatureView {
    FeatureView {
        name: "v".to_owned(),
        features: features.iter().map(|&(name, kind)| field(name, kind)).collect(),
        join_keys: vec![JoinKey { name: "id".to_owned(), value_type: ValueType::Int64 }],
        source: DataSource {
            path: path.to_owned(),
            timestamp_field: "ts".to_owned(),
            ..DataSource::default()
        },
        online: true,
        ..FeatureView::default()
    }
}

/// Rows of `id, ts in µs, text`.
fn write(path: &Path, rows: &[(i64, i64, &str)], row_group: usize) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let ids: Int64Array = rows.iter().map(|row| Some(row.0)).collect();
    let times: TimestampMicrosecondArray = rows.iter().map(|row| Some(row.1)).collect();
    let texts: StringArray = rows.iter().map(|row| Some(row.2)).collect();
    let columns: Vec<(&str, ArrayRef)> =
        vec![("id", Arc::new(ids)), ("ts", Arc::new(times)), ("text", Arc::new(texts))];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let properties =
        WriterProperties::builder().set_max_row_group_row_count(Some(row_group)).build();
    let file = File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

fn session() -> Session {
    session_within(64 << 20)
}

fn session_within(memory_limit_bytes: u64) -> Session {
    Session::new(SessionOptions {
        partitions: 2,
        memory_limit_bytes,
        object_store: BTreeMap::new(),
    })
    .unwrap()
}

fn spec(dir: &Path, view: FeatureView, micros: (i64, i64)) -> WindowSpec {
    WindowSpec {
        view,
        repo_dir: dir.to_owned(),
        interval: Interval::new(
            EventTime::from_micros(micros.0),
            EventTime::from_micros(micros.1).plus_nanos(1),
        ),
        entity_key_serialization_version: 3,
        key_suffix: b"p".to_vec(),
        on_bad_row: OnBadRow::Fail,
        batch_rows_max: None,
    }
}

async fn materialize(spec: WindowSpec) -> (Result<Outcome, Error>, WindowPlan, Rows) {
    materialize_in(&session(), spec).await
}

async fn materialize_in(
    session: &Session,
    spec: WindowSpec,
) -> (Result<Outcome, Error>, WindowPlan, Rows) {
    let plan = WindowPlan::new(session, spec).await.unwrap();
    let sink = Arc::new(Memory::default());
    let door: Arc<dyn FeatureSink> = Arc::<Memory>::clone(&sink);
    let attempt = Attempt::new(plan.partitions(session));
    let outcome = run(session, &plan, door, &attempt, &Arc::default()).await;
    (outcome, plan, sink.take())
}

const TEXT: &[(&str, ValueType)] = &[("text", ValueType::String)];

#[tokio::test]
async fn both_ends_of_the_window_belong_to_it_and_the_newest_row_wins() {
    let dir = tempfile::tempdir().unwrap();
    let rows = [(1, 10, "a"), (1, 20, "b"), (1, 31, "c"), (2, 9, "d"), (3, 30, "e")];
    write(&dir.path().join("d.parquet"), &rows, 2);
    let (outcome, _, rows) = materialize(spec(dir.path(), view("d.parquet", TEXT), (10, 30))).await;
    let receipt = outcome.unwrap().receipt;
    assert_eq!((receipt.rows_read, receipt.entities, receipt.counts.written), (3, 2, 2));
    let mut kept: Vec<_> = rows.into_values().collect();
    kept.sort();
    let text = |text: &str| Some(vec![[&[0x12, 1], text.as_bytes()].concat()]);
    assert_eq!(kept, [(20, text("b")), (30, text("e"))]);
}

#[tokio::test]
async fn row_groups_and_files_outside_the_window_are_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let rows: Vec<_> = (0..10).map(|n| (n, n * 10, "x")).collect();
    write(&dir.path().join("d/a.parquet"), &rows, 2);
    write(&dir.path().join("d/b.parquet"), &[(50, 500, "y")], 2);
    let (outcome, plan, _) = materialize(spec(dir.path(), view("d", TEXT), (30, 50))).await;
    let read: Vec<_> = plan.files().iter().map(|f| (f.row_groups, f.row_groups_read)).collect();
    assert_eq!(read, [(5, 2), (1, 0)]);
    assert_eq!(plan.rows_max(), 4);
    assert_eq!(outcome.unwrap().receipt.rows_read, 3);
}

#[tokio::test]
async fn hive_directories_become_columns_and_rule_files_out() {
    let dir = tempfile::tempdir().unwrap();
    let day = 86_400_000_000;
    for n in 0..5 {
        let name = format!("d/day=1970-01-0{}/level={n}/f.parquet", n + 1);
        write(&dir.path().join(name), &[(n, n * day + 1, "x")], 2);
    }
    let mut view = view("d", &[("level", ValueType::Int64), ("day", ValueType::String)]);
    view.tags.insert(TAG_DATE_PARTITION.to_owned(), "day".to_owned());
    let (outcome, plan, rows) = materialize(spec(dir.path(), view, (0, day / 2))).await;
    outcome.unwrap();
    // The day after may hold rows of a zone east of UTC, so it is looked at and ruled out by its
    // statistics; nothing of the other files is.
    assert_eq!(plan.files().iter().filter(|file| file.row_groups_read > 0).count(), 1);
    let values = vec![vec![0x20, 0], b"\x12\x0a1970-01-01".to_vec()];
    assert_eq!(rows.into_values().collect::<Vec<_>>(), [(1, Some(values))]);
}

#[tokio::test]
async fn an_entity_is_active_as_its_newest_row_says() {
    let dir = tempfile::tempdir().unwrap();
    let rows = [(1, 1, "on"), (1, 2, "off"), (2, 1, "off"), (2, 2, "on"), (3, 1, "off")];
    write(&dir.path().join("d.parquet"), &rows, 9);
    let mut view = view("d.parquet", TEXT);
    view.tags.insert(TAG_ACTIVE_WHEN.to_owned(), "text = 'on' AND id IS NOT NULL".to_owned());
    let (outcome, _, rows) = materialize(spec(dir.path(), view, (0, 9))).await;
    let counts = outcome.unwrap().receipt.counts;
    assert_eq!((counts.written, counts.tombstoned), (1, 2));
    let active: Vec<_> = rows.into_values().map(|(_, values)| values.is_some()).collect();
    assert_eq!(active, [false, true, false]);
}

#[tokio::test]
async fn a_bad_row_is_named_by_file_row_and_column() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("d/a.parquet"), &[(1, 1, "1"), (2, 2, "2")], 1);
    write(&dir.path().join("d/b.parquet"), &[(3, 3, "3"), (4, 4, "four"), (5, 5, "5")], 2);
    let bad = view("d", &[("text", ValueType::Int64)]);
    let (outcome, _, rows) = materialize(spec(dir.path(), bad.clone(), (0, 9))).await;
    let error = outcome.unwrap_err().to_string();
    assert!(error.contains("column `text` of row 1 ") && error.contains("b.parquet"), "{error}");
    assert!(rows.is_empty(), "a small window is encoded whole before any of it is written");

    let skipping = WindowSpec { on_bad_row: OnBadRow::Skip, ..spec(dir.path(), bad, (0, 9)) };
    let (outcome, _, rows) = materialize(skipping).await;
    let outcome = outcome.unwrap();
    assert_eq!((outcome.receipt.refused, rows.len()), (1, 4));
    let report = &outcome.bad_rows[0];
    assert_eq!((report.row, report.column.as_str()), (Some(1), "text"));
}

#[tokio::test]
async fn a_file_that_is_replaced_after_planning_fails_the_window() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("d.parquet");
    write(&path, &[(1, 1, "a")], 9);
    let session = session();
    let spec = spec(dir.path(), view("d.parquet", TEXT), (0, 9));
    let plan = WindowPlan::new(&session, spec).await.unwrap();
    std::fs::remove_file(&path).unwrap();
    write(&path, &[(1, 1, "a"), (2, 2, "other")], 9);
    let sink = Arc::new(Memory::default());
    let attempt = Attempt::new(1);
    let error = run(&session, &plan, sink, &attempt, &Arc::default()).await.unwrap_err();
    assert!(matches!(error, Error::SourceChanged { .. }), "{error:?}");
}

#[tokio::test]
async fn many_partitions_give_the_same_rows_as_one() {
    let dir = tempfile::tempdir().unwrap();
    let rows: Vec<_> = (0..100_000).map(|n| (n % 30_000, n, "x")).collect();
    write(&dir.path().join("d.parquet"), &rows, 10_000);
    let whole = spec(dir.path(), view("d.parquet", TEXT), (0, 200_000));
    let (outcome, _, rows) = materialize(whole).await;
    assert_eq!(outcome.unwrap().receipt.counts.written, 30_000);
    assert_eq!(rows.len(), 30_000);
    // The newest row of entity n is the last one dealt to it.
    assert!(rows.values().all(|&(at, _)| at >= 70_000));
}

#[tokio::test]
async fn a_window_larger_than_memory_gives_the_same_rows() {
    let dir = tempfile::tempdir().unwrap();
    let rows: Vec<_> = (0..200_000).map(|n| (n % 150_000, n, "x")).collect();
    write(&dir.path().join("d.parquet"), &rows, 20_000);
    let whole = || spec(dir.path(), view("d.parquet", TEXT), (0, 200_000));
    let (outcome, _, expected) = materialize(whole()).await;
    assert_eq!(outcome.unwrap().receipt.entities, 150_000);
    // The keys and times alone are larger.
    let (outcome, _, rows) = materialize_in(&session_within(2 << 20), whole()).await;
    let receipt = outcome.unwrap().receipt;
    assert_eq!((receipt.rows_read, receipt.entities), (200_000, 150_000));
    assert!(rows == expected, "the rows differ");
}
