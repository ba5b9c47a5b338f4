//! The rules that every online store keeps, as functions to run against each of them.
//!
//! Behind the feature `conformance`, so that other crates' suites may run them on servers of their
//! own: [`conformance_suite!`](crate::conformance_suite) makes one test of each rule. Every rule
//! has a view of its own; a store that does not create tables needs [`tables`] beforehand. The
//! rules of fences, markers and corrections are in `protocol`.

mod fetch;
mod protocol;

pub use fetch::a_fetch_reads_many_views_in_the_order_asked_for;
pub use protocol::*;

use std::collections::HashMap;

use bytes::Bytes;
use model::{
    ByteColumn, EncodedBatch, EventTime, FeatureColumn, OnlineView, ViewRef, WriteCounts, WriteMode,
};

use crate::error::Error;
use crate::store::{OnlineStore, PreparedView, StoredRow};

/// A project of the rules' own.
pub const PROJECT: &str = "conformance";
/// Wider than one `HSET` that Lua can issue.
const WIDE: usize = 5_000;
/// An event time that a double cannot tell from its neighbours.
const NOW: i64 = 1_700_000_000_000_000_001;
const SECOND: i64 = 1_000_000_000;
/// Feast's code for INT64.
const INT64: i32 = 4;

/// Makes one test of each rule: `conformance_suite!(open)`, where `open` is an async function that
/// gives an empty store and whatever must stay alive beside it.
#[macro_export]
macro_rules! conformance_suite {
    ($open:path) => {
        $crate::conformance_suite! { $open:
            a_newer_row_replaces_an_older_one
            an_equal_row_is_kept_out
            nanoseconds_are_told_apart
            rows_up_to_the_epoch_protect_nothing
            times_before_the_epoch_are_kept
            two_rows_of_one_key_in_a_batch_leave_the_newer
            a_tombstone_keeps_its_time
            a_tombstone_of_an_unknown_entity_keeps_its_time
            an_older_tombstone_removes_nothing
            a_null_is_an_empty_value
            views_of_one_entity_do_not_touch_each_other
            features_that_a_view_lost_stay
            a_wide_row_is_written_whole
            concurrent_writers_end_with_the_newest
            the_store_agrees_with_the_reference
            a_correction_replaces_what_lies_inside
            a_correction_leaves_what_lies_outside
            a_correction_is_repeatable
            a_corrections_bounds_are_exact
            corrections_agree_with_the_reference
            another_fence_refuses_every_write
            an_older_token_cannot_put_its_fence_up
            a_fence_is_of_one_view
            a_view_without_a_fence_is_let_through
            a_marker_is_read_back
            a_marker_never_goes_back
            another_fence_refuses_a_marker
            what_is_stored_inside_is_found
            what_is_removed_is_gone_and_may_come_again
            removing_leaves_what_lies_outside
            removing_leaves_other_views
            a_view_stays_the_same_until_the_store_does_not
            a_fetch_reads_many_views_in_the_order_asked_for
        }
    };
    ($open:path: $($rule:ident)*) => {
        $(
            #[tokio::test]
            async fn $rule() {
                let (store, _alive) = $open().await;
                $crate::conformance::$rule(&store).await;
            }
        )*
    };
}

/// `CREATE TABLE` statements for every view of the rules, with the columns that Feast gives them.
pub fn tables() -> String {
    let names = [
        "newer",
        "equal",
        "nanos",
        "epoch",
        "before",
        "twice",
        "tombstone",
        "unknown",
        "late",
        "null",
        "one",
        "two",
        "lost",
        "wide",
        "race",
        "reference",
        "correct",
        "outside",
        "repeat",
        "bounds",
        "corrections",
        "fence",
        "token",
        "fenced",
        "unfenced",
        "marker",
        "ahead",
        "noted",
        "sweep",
        "removed",
        "kept",
        "removed_one",
        "removed_two",
        "same",
    ];
    let table = |name: &str| {
        let name = format!("\"{PROJECT}_{name}\"");
        format!(
            "CREATE TABLE {name} (entity_key BLOB, feature_name TEXT, value BLOB, value_text TEXT,
             vector_value BLOB, event_ts timestamp, created_ts timestamp,
             PRIMARY KEY(entity_key, feature_name));"
        )
    };
    names.into_iter().map(table).collect()
}

/// A view of the rules' project with features `f0`, `f1`, ….
pub fn view(storage_name: &str, features: usize) -> OnlineView {
    let column = |index| FeatureColumn { name: format!("f{index}"), value_type: INT64 };
    OnlineView {
        view: ViewRef { project: PROJECT.to_owned(), storage_name: storage_name.to_owned() },
        features: (0..features).map(column).collect(),
    }
}

/// A row to write: entity, event time in nanoseconds, and the features' values; a tombstone has
/// none.
#[derive(Clone, Debug)]
pub struct Row {
    /// The entity.
    pub entity: u32,
    /// The event time in nanoseconds.
    pub nanos: i64,
    /// The values; `None` for a tombstone.
    pub values: Option<Vec<Vec<u8>>>,
}

/// A row whose features are all the same small integer.
pub fn row(entity: u32, nanos: i64, features: usize, value: u8) -> Row {
    Row { entity, nanos, values: Some(vec![int64(value); features]) }
}

/// A row that says that the entity is no longer active.
pub fn tombstone(entity: u32, nanos: i64) -> Row {
    Row { entity, nanos, values: None }
}

/// The serialized Feast value of a small integer.
pub fn int64(value: u8) -> Vec<u8> {
    assert!(value < 0x80, "one byte of varint");
    vec![0x20, value]
}

/// The key of an entity: Feast's serialization of the one join key `id`.
pub fn entity_key(entity: u32, suffix: &[u8]) -> Vec<u8> {
    let mut key = b"\x01\0\0\0\x02\0\0\0\x02\0\0\0id\x04\0\0\0\x08\0\0\0".to_vec();
    key.extend(u64::from(entity).to_le_bytes());
    key.extend(suffix);
    key
}

/// A batch of rows.
pub fn batch(rows: &[Row], features: usize, suffix: &[u8]) -> EncodedBatch {
    let keys: Vec<_> = rows.iter().map(|row| entity_key(row.entity, suffix)).collect();
    let value = |row: &Row, feature: usize| -> Vec<u8> {
        row.values.as_ref().map(|values| values[feature].clone()).unwrap_or_default()
    };
    let column = |feature| {
        let values: Vec<_> = rows.iter().map(|row| value(row, feature)).collect();
        values.iter().map(Vec::as_slice).collect::<ByteColumn>()
    };
    let tombstones: Vec<_> = rows.iter().map(|row| row.values.is_none()).collect();
    EncodedBatch {
        keys: keys.iter().map(Vec::as_slice).collect(),
        event_times: rows.iter().map(|row| EventTime::from_nanos(row.nanos)).collect(),
        created_times: None,
        tombstones: tombstones.contains(&true).then_some(tombstones),
        features: (0..features).map(column).collect(),
    }
}

/// A view of a store, to write to and to read from.
struct Probe<'a> {
    store: &'a OnlineStore,
    view: OnlineView,
    prepared: PreparedView,
}

impl<'a> Probe<'a> {
    async fn new(store: &'a OnlineStore, storage_name: &str, features: usize) -> Self {
        Self::with(store, storage_name, features, WriteMode::default()).await
    }

    async fn with(
        store: &'a OnlineStore,
        storage_name: &str,
        features: usize,
        mode: WriteMode,
    ) -> Self {
        let view = view(storage_name, features);
        let prepared = store.prepare(&view, &mode).await.expect("the view can be written");
        Self { store, view, prepared }
    }

    async fn write(&self, rows: &[Row]) -> WriteCounts {
        self.try_write(rows).await.expect("the store takes the batch")
    }

    async fn try_write(&self, rows: &[Row]) -> Result<WriteCounts, Error> {
        let batch = batch(rows, self.view.features.len(), self.store.key_suffix(PROJECT));
        self.store.write(&self.prepared, batch).await
    }

    async fn read(&self, entities: &[u32]) -> Vec<Option<StoredRow>> {
        let suffix = self.store.key_suffix(PROJECT);
        let keys: Vec<_> = entities.iter().map(|entity| entity_key(*entity, suffix)).collect();
        self.store.read(&self.view, &keys).await.expect("the store can be read")
    }

    async fn expect(&self, entity: u32, nanos: i64, value: Option<u8>) {
        let values = vec![value.map(|value| Bytes::from(int64(value))); self.view.features.len()];
        let stored = StoredRow { event_time: Some(time(nanos)), values };
        assert_eq!(self.read(&[entity]).await, [Some(stored)]);
    }
}

fn time(nanos: i64) -> (i64, i32) {
    let (seconds, nanos) = EventTime::from_nanos(nanos).seconds_and_nanos();
    (seconds, nanos as i32)
}

fn counts(written: u64, stale: u64, tombstoned: u64) -> WriteCounts {
    WriteCounts { written, stale, tombstoned }
}

/// A newer row replaces an older one, an older one is refused.
pub async fn a_newer_row_replaces_an_older_one(store: &OnlineStore) {
    let probe = Probe::new(store, "newer", 2).await;
    assert_eq!(probe.read(&[1]).await, [None]);
    assert_eq!(probe.write(&[]).await, counts(0, 0, 0));
    assert_eq!(probe.write(&[row(1, NOW, 2, 1), row(2, NOW, 2, 2)]).await, counts(2, 0, 0));
    assert_eq!(probe.write(&[row(1, NOW + SECOND, 2, 3)]).await, counts(1, 0, 0));
    assert_eq!(probe.write(&[row(1, NOW, 2, 4), row(2, 1, 2, 4)]).await, counts(0, 2, 0));
    probe.expect(1, NOW + SECOND, Some(3)).await;
    probe.expect(2, NOW, Some(2)).await;
}

/// Equal event time keeps what is stored.
pub async fn an_equal_row_is_kept_out(store: &OnlineStore) {
    let probe = Probe::new(store, "equal", 1).await;
    probe.write(&[row(1, NOW, 1, 1)]).await;
    assert_eq!(probe.write(&[row(1, NOW, 1, 2)]).await, counts(0, 1, 0));
    assert_eq!(probe.write(&[tombstone(1, NOW)]).await, counts(0, 1, 0));
    probe.expect(1, NOW, Some(1)).await;
}

/// One nanosecond decides, also where a double would not tell the times apart.
pub async fn nanoseconds_are_told_apart(store: &OnlineStore) {
    let probe = Probe::new(store, "nanos", 1).await;
    probe.write(&[row(1, NOW, 1, 1)]).await;
    assert_eq!(probe.write(&[row(1, NOW - 1, 1, 2)]).await, counts(0, 1, 0));
    assert_eq!(probe.write(&[row(1, NOW + 1, 1, 3)]).await, counts(1, 0, 0));
    probe.expect(1, NOW + 1, Some(3)).await;
    // Fewer bytes are not a lesser time: whole seconds have no nanoseconds at all.
    let whole = (NOW / SECOND + 1) * SECOND;
    assert_eq!(probe.write(&[row(1, whole, 1, 4)]).await, counts(1, 0, 0));
    assert_eq!(probe.write(&[row(1, whole - 1, 1, 5)]).await, counts(0, 1, 0));
    probe.expect(1, whole, Some(4)).await;
}

/// A stored event time at or before 1970 is replaced by anything, as in Feast.
pub async fn rows_up_to_the_epoch_protect_nothing(store: &OnlineStore) {
    let probe = Probe::new(store, "epoch", 1).await;
    for (nanos, value) in [(0, 1), (0, 2), (-5 * SECOND, 3), (-9 * SECOND, 4), (-1, 5)] {
        assert_eq!(probe.write(&[row(1, nanos, 1, value)]).await, counts(1, 0, 0));
        probe.expect(1, nanos, Some(value)).await;
    }
    assert_eq!(probe.write(&[row(1, 1, 1, 6)]).await, counts(1, 0, 0));
    assert_eq!(probe.write(&[row(1, 0, 1, 7)]).await, counts(0, 1, 0));
    probe.expect(1, 1, Some(6)).await;
}

/// A time before 1970 comes back as it was.
pub async fn times_before_the_epoch_are_kept(store: &OnlineStore) {
    let probe = Probe::new(store, "before", 1).await;
    for (entity, nanos) in [(1, i64::MIN), (2, -1_500_000_000), (3, -1), (4, i64::MAX)] {
        assert_eq!(probe.write(&[row(entity, nanos, 1, 1)]).await, counts(1, 0, 0));
        probe.expect(entity, nanos, Some(1)).await;
    }
}

/// Of two rows of one key in a batch the newer stays, in either order; of two equal ones the first.
pub async fn two_rows_of_one_key_in_a_batch_leave_the_newer(store: &OnlineStore) {
    let probe = Probe::new(store, "twice", 1).await;
    let rows = [row(1, NOW, 1, 1), row(2, NOW + 1, 1, 2), row(1, NOW + 1, 1, 3), row(2, NOW, 1, 4)];
    assert_eq!(probe.write(&rows).await, counts(3, 1, 0));
    assert_eq!(probe.write(&[row(3, NOW, 1, 5), row(3, NOW, 1, 6)]).await, counts(1, 1, 0));
    for (entity, nanos, value) in [(1, NOW + 1, 3), (2, NOW + 1, 2), (3, NOW, 5)] {
        probe.expect(entity, nanos, Some(value)).await;
    }
}

/// A tombstone removes the features, and an older row cannot bring them back; a newer one can.
pub async fn a_tombstone_keeps_its_time(store: &OnlineStore) {
    let probe = Probe::new(store, "tombstone", 3).await;
    probe.write(&[row(1, NOW, 3, 1)]).await;
    assert_eq!(probe.write(&[tombstone(1, NOW + 2)]).await, counts(0, 0, 1));
    probe.expect(1, NOW + 2, None).await;
    assert_eq!(probe.write(&[row(1, NOW + 1, 3, 2)]).await, counts(0, 1, 0));
    assert_eq!(probe.write(&[tombstone(1, NOW + 2)]).await, counts(0, 1, 0));
    probe.expect(1, NOW + 2, None).await;
    assert_eq!(probe.write(&[row(1, NOW + 3, 3, 3)]).await, counts(1, 0, 0));
    probe.expect(1, NOW + 3, Some(3)).await;
}

/// A tombstone of an entity without a row keeps its time too.
pub async fn a_tombstone_of_an_unknown_entity_keeps_its_time(store: &OnlineStore) {
    let probe = Probe::new(store, "unknown", 2).await;
    let rows = [row(7, NOW, 2, 7), tombstone(1, NOW), row(8, NOW, 2, 8)];
    assert_eq!(probe.write(&rows).await, counts(2, 0, 1));
    assert_eq!(probe.write(&[row(1, NOW - 1, 2, 1)]).await, counts(0, 1, 0));
    probe.expect(1, NOW, None).await;
    probe.expect(7, NOW, Some(7)).await;
    probe.expect(8, NOW, Some(8)).await;
}

/// A tombstone is subject to the same rule as a row.
pub async fn an_older_tombstone_removes_nothing(store: &OnlineStore) {
    let probe = Probe::new(store, "late", 1).await;
    probe.write(&[row(1, NOW, 1, 1)]).await;
    assert_eq!(probe.write(&[tombstone(1, NOW - 1)]).await, counts(0, 1, 0));
    probe.expect(1, NOW, Some(1)).await;
}

/// A null is stored as an empty value, and replaces a value.
pub async fn a_null_is_an_empty_value(store: &OnlineStore) {
    let probe = Probe::new(store, "null", 2).await;
    probe.write(&[row(1, NOW, 2, 1)]).await;
    let nulls = Row { entity: 1, nanos: NOW + 1, values: Some(vec![vec![], int64(2)]) };
    assert_eq!(probe.write(&[nulls]).await, counts(1, 0, 0));
    let values = vec![Some(Bytes::new()), Some(int64(2).into())];
    let stored = StoredRow { event_time: Some(time(NOW + 1)), values };
    assert_eq!(probe.read(&[1]).await, [Some(stored)]);
}

/// Two views of one entity have nothing in common but the key.
pub async fn views_of_one_entity_do_not_touch_each_other(store: &OnlineStore) {
    let (one, two) = (Probe::new(store, "one", 2).await, Probe::new(store, "two", 2).await);
    assert_eq!(one.write(&[row(1, NOW, 2, 1)]).await, counts(1, 0, 0));
    assert_eq!(two.read(&[1]).await, [None]);
    assert_eq!(two.write(&[row(1, NOW - 1, 2, 2)]).await, counts(1, 0, 0));
    assert_eq!(two.write(&[tombstone(1, NOW)]).await, counts(0, 0, 1));
    one.expect(1, NOW, Some(1)).await;
    two.expect(1, NOW, None).await;
}

/// What was stored for a feature that the view no longer has stays as it is.
pub async fn features_that_a_view_lost_stay(store: &OnlineStore) {
    let (before, after) = (Probe::new(store, "lost", 2).await, Probe::new(store, "lost", 1).await);
    before.write(&[row(1, NOW, 2, 1)]).await;
    assert_eq!(after.write(&[row(1, NOW + SECOND, 1, 2)]).await, counts(1, 0, 0));
    let values = vec![Some(int64(2).into()), Some(int64(1).into())];
    let stored = StoredRow { event_time: Some(time(NOW + SECOND)), values };
    assert_eq!(before.read(&[1]).await, [Some(stored)]);
    assert_eq!(before.write(&[row(1, NOW + 1, 2, 3)]).await, counts(0, 1, 0));
}

/// A view of thousands of features is written, replaced and removed whole.
pub async fn a_wide_row_is_written_whole(store: &OnlineStore) {
    let probe = Probe::new(store, "wide", WIDE).await;
    let rows = [row(1, NOW, WIDE, 1), row(2, NOW, WIDE, 2)];
    assert_eq!(probe.write(&rows).await, counts(2, 0, 0));
    let rows = [row(1, NOW + 1, WIDE, 3), tombstone(2, NOW + 1)];
    assert_eq!(probe.write(&rows).await, counts(1, 0, 1));
    probe.expect(1, NOW + 1, Some(3)).await;
    probe.expect(2, NOW + 1, None).await;
}

/// Whatever the interleaving of writers, the newest row of each entity is what stays.
pub async fn concurrent_writers_end_with_the_newest(store: &OnlineStore) {
    const WRITERS: u64 = 8;
    const ENTITIES: u32 = 20;
    let probe = Probe::new(store, "race", 2).await;
    let batches = |writer: u64| {
        let mut random = Random(writer + 1);
        // A time of its own for every writer, so that no two rows are equal in time.
        let row_of = |random: &mut Random| {
            let nanos = NOW + (random.below(1_000_000) * WRITERS + writer) as i64;
            row(random.below(u64::from(ENTITIES)) as u32, nanos, 2, (nanos % 101) as u8)
        };
        (0..12).map(|_| (0..25).map(|_| row_of(&mut random)).collect()).collect::<Vec<Vec<Row>>>()
    };
    let batches: Vec<_> = (0..WRITERS).map(batches).collect();
    let mut newest = HashMap::new();
    for row in batches.iter().flatten().flatten() {
        let time = newest.entry(row.entity).or_insert(row.nanos);
        *time = row.nanos.max(*time);
    }
    let write_all = async |batches: &Vec<Vec<Row>>| {
        for batch in batches {
            probe.write(batch).await;
        }
    };
    futures::future::join_all(batches.iter().map(write_all)).await;
    assert_eq!(newest.len(), ENTITIES as usize);
    for (entity, nanos) in newest {
        probe.expect(entity, nanos, Some((nanos % 101) as u8)).await;
    }
}

/// Random batches leave the same rows, and give the same counts, as in the reference.
pub async fn the_store_agrees_with_the_reference(store: &OnlineStore) {
    let reference = OnlineStore::memory();
    let (probe, expected) =
        (Probe::new(store, "reference", 2).await, Probe::new(&reference, "reference", 2).await);
    let mut random = Random(42);
    let entities: Vec<u32> = (0..6).collect();
    for step in 0..80_u8 {
        let rows: Vec<_> = (0..random.below(6)).map(|_| random_row(&mut random, step)).collect();
        assert_eq!(probe.write(&rows).await, expected.write(&rows).await, "step {step}: {rows:?}");
        assert_eq!(
            probe.read(&entities).await,
            expected.read(&entities).await,
            "step {step}: {rows:?}"
        );
    }
}

/// Few entities and few times, some before 1970, so that rows often meet.
fn random_row(random: &mut Random, value: u8) -> Row {
    let entity = random.below(6) as u32;
    let nanos = match random.below(4) {
        0 => random.below(5) as i64 - 3,
        1 => random.below(4) as i64 * (SECOND / 2) - SECOND,
        _ => NOW + random.below(12) as i64 * (SECOND / 4),
    };
    match random.below(4) {
        0 => tombstone(entity, nanos),
        1 => Row { entity, nanos, values: Some(vec![vec![], int64(value)]) },
        _ => row(entity, nanos, 2, value),
    }
}

/// A sequence of numbers that is the same in every run (a linear congruential generator).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        // Knuth's constants for 64 bits; the upper bits are the random ones.
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}
