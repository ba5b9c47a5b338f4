//! Corrections: what the source does not have any more is withdrawn.

use super::*;

/// Inside these microseconds the source is corrected.
const WINDOW: (i64, i64) = (50, 99);

async fn load(dir: &Path, view: FeatureView) -> Rows {
    let (outcome, _, rows) = materialize(spec(dir, view, (0, 200))).await;
    outcome.unwrap();
    rows
}

/// Corrects the window of a store that has these rows.
async fn correct(dir: &Path, view: FeatureView, rows: Rows) -> (Result<Outcome, Error>, Rows) {
    correct_in(&session(), dir, view, rows, WINDOW).await
}

async fn correct_in(
    session: &Session,
    dir: &Path,
    view: FeatureView,
    rows: Rows,
    micros: (i64, i64),
) -> (Result<Outcome, Error>, Rows) {
    let spec = spec(dir, view, micros);
    let sink = Memory::correcting(rows, spec.interval);
    let plan = WindowPlan::new(session, spec).await.unwrap();
    let door: Arc<dyn FeatureSink> = Arc::<Memory>::clone(&sink);
    let partitions = plan.partitions(session);
    let done = (0..partitions).collect();
    let attempt = Attempt { correcting: true, done, ..Attempt::new(partitions) };
    let outcome = run(session, &plan, door, &attempt, &Arc::default()).await;
    (outcome, sink.take())
}

#[tokio::test]
async fn a_corrected_store_is_one_that_never_saw_the_old_rows() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("d/rows.parquet");
    let kept = [(2, 10, "before"), (2, 20, "newer before"), (4, 150, "after"), (5, 60, "same")];
    let wrong = [(1, 60, "wrong"), (2, 70, "wrong"), (3, 80, "wrong"), (4, 90, "wrong")];
    write(&path, &[&kept[..], &wrong[..]].concat(), 3);
    let stored = load(dir.path(), view("d", TEXT)).await;
    let right = [(1, 60, "right"), (6, 55, "late")];
    write(&path, &[&kept[..], &right[..]].concat(), 3);

    let (outcome, corrected) = correct(dir.path(), view("d", TEXT), stored).await;
    let receipt = outcome.unwrap().receipt;
    assert!(corrected == load(dir.path(), view("d", TEXT)).await, "{corrected:?}");
    assert_eq!(receipt.swept, 2, "2 restored and 3 removed");
    assert_eq!((receipt.rows_read, receipt.entities, receipt.counts.written), (3, 3, 3));
    assert!(receipt.is_balanced());

    let (outcome, again) = correct(dir.path(), view("d", TEXT), corrected.clone()).await;
    assert_eq!(outcome.unwrap().receipt.swept, 0);
    assert!(again == corrected, "a correction may be repeated");
}

#[tokio::test]
async fn a_restored_entity_is_inactive_if_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("d.parquet");
    let mut view = view("d.parquet", TEXT);
    view.tags.insert(TAG_ACTIVE_WHEN.to_owned(), "text = 'on'".to_owned());
    write(&path, &[(1, 10, "off"), (1, 60, "on"), (2, 10, "on"), (2, 60, "off")], 9);
    let stored = load(dir.path(), view.clone()).await;
    write(&path, &[(1, 10, "off"), (2, 10, "on")], 9);
    let (outcome, corrected) = correct(dir.path(), view.clone(), stored).await;
    assert_eq!(outcome.unwrap().receipt.swept, 2);
    let active: Vec<_> = corrected.values().map(|(at, values)| (*at, values.is_some())).collect();
    assert_eq!(active, [(10, false), (10, true)]);
}

#[tokio::test]
async fn a_bad_row_of_another_entity_does_not_stop_a_restoration() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("d.parquet");
    let numbers = view("d.parquet", &[("text", ValueType::Int64)]);
    write(&path, &[(1, 10, "1"), (1, 60, "2")], 9);
    let stored = load(dir.path(), numbers.clone()).await;
    write(&path, &[(1, 10, "1"), (2, 20, "no number")], 9);
    let (outcome, corrected) = correct(dir.path(), numbers, stored).await;
    assert_eq!(outcome.unwrap().receipt.swept, 1);
    assert_eq!(corrected.values().map(|(at, _)| *at).collect::<Vec<_>>(), [10]);
}

#[tokio::test]
async fn rows_are_not_restored_from_another_state_of_the_source() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("d/a.parquet"), &[(1, 10, "a")], 9);
    write(&dir.path().join("d/b.parquet"), &[(1, 60, "b")], 9);
    let session = session();
    let spec = spec(dir.path(), view("d", TEXT), WINDOW);
    let plan = WindowPlan::new(&session, spec).await.unwrap();
    write(&dir.path().join("d/c.parquet"), &[(2, 20, "came since")], 9);
    assert!(plan.earlier(&session).await.unwrap().is_some());
    write(&dir.path().join("d/a.parquet"), &[(1, 10, "a"), (1, 11, "another")], 9);
    let error = plan.earlier(&session).await.unwrap_err();
    assert!(matches!(&error, Error::SourceChanged { file } if file.ends_with("a.parquet")));
    assert!(error.asks_for_new_attempt());
}

#[tokio::test]
async fn a_correction_of_too_many_keys_says_to_cut_smaller_windows() {
    let dir = tempfile::tempdir().unwrap();
    let rows: Vec<_> = (0..100_000).map(|n| (n, n, "x")).collect();
    write(&dir.path().join("d.parquet"), &rows, 20_000);
    let text = || view("d.parquet", TEXT);
    let small = session_within(2 << 20);
    let (outcome, _) = correct_in(&small, dir.path(), text(), Rows::new(), (0, 100_000)).await;
    let error = outcome.unwrap_err();
    assert!(matches!(error, Error::Keys { .. }), "{error:?}");
    assert!(error.to_string().contains("cut smaller windows"), "{error}");
    assert_eq!(small.runtime().memory_pool.reserved(), 0);
    let (outcome, _) = correct_in(&small, dir.path(), text(), Rows::new(), (0, 40_000)).await;
    assert_eq!(outcome.unwrap().receipt.entities, 40_001);
}
