//! The rules of what the commit protocol asks of a store: corrections, fences, markers, the sweep.

use std::collections::BTreeSet;

use futures::TryStreamExt;
use model::{AttemptId, FencingToken, Interval, Marker, WriteMode};
use uuid::Uuid;

use super::{NOW, PROJECT, Probe, Random, SECOND, counts, entity_key, random_row, row, tombstone};
use crate::error::Error;
use crate::store::{OnlineStore, StoreMarker};

/// A mode with a fence and nothing to correct.
pub fn fenced(token: u64) -> WriteMode {
    WriteMode { fence: Some(FencingToken(token)), correct: None }
}

/// A mode that corrects an interval, in nanoseconds.
pub fn correcting(token: u64, start: i64, end: i64) -> WriteMode {
    WriteMode { correct: Some(interval(start, end)), ..fenced(token) }
}

/// An interval in nanoseconds.
pub fn interval(start: i64, end: i64) -> Interval {
    use model::EventTime;
    Interval::new(EventTime::from_nanos(start), EventTime::from_nanos(end))
}

/// The marker of a commit.
pub fn marker(sequence: u64, attempt: u128) -> Marker {
    Marker { sequence, attempt: AttemptId::from_uuid(Uuid::from_u128(attempt)) }
}

impl Probe<'_> {
    async fn refused(&self, stored: Option<u64>) {
        let is_refused = |error: Error| {
            let Error::Superseded { stored: found, view, .. } = &error else { panic!("{error:?}") };
            assert_eq!(*found, stored.map(FencingToken), "{error}");
            assert!(view.contains(&self.view.view.storage_name), "{error}");
            assert!(!error.is_retryable(), "{error}");
        };
        for rows in [&[row(1, NOW + SECOND, 1, 9)][..], &[tombstone(1, NOW + SECOND)]] {
            is_refused(self.try_write(rows).await.expect_err("the fence is another's"));
        }
        let error = self.store.mark(&self.prepared, &marker(1, 1), 0).await;
        is_refused(error.expect_err("the fence is another's"));
    }

    async fn inside(&self, interval: Interval, known: &[u32]) -> Vec<u32> {
        let suffix = self.store.key_suffix(PROJECT);
        let key = |entity| entity_key(entity, suffix);
        let known: BTreeSet<_> = known.iter().map(|entity| key(*entity)).collect();
        let is_known = |key: &[u8]| known.contains(key);
        let found = self.store.stored_inside(&self.prepared, interval, &is_known);
        let found: Vec<Vec<Vec<u8>>> = found.try_collect().await.expect("the store can be walked");
        let found: BTreeSet<_> = found.into_iter().flatten().collect();
        let entities: Vec<u32> =
            (0..5_000).filter(|entity| found.contains(&key(*entity))).collect();
        assert_eq!(entities.len(), found.len(), "a key of no entity of ours");
        entities
    }

    async fn remove(&self, entities: &[u32]) -> u64 {
        let suffix = self.store.key_suffix(PROJECT);
        let keys: Vec<_> = entities.iter().map(|entity| entity_key(*entity, suffix)).collect();
        self.store.remove(&self.prepared, &keys).await.expect("the store removes them")
    }

    async fn last(&self) -> StoreMarker {
        self.store.marker(&self.view.view).await.expect("the store can be asked")
    }

    async fn mark(&self, marker: Marker) -> Result<(), Error> {
        self.store.mark(&self.prepared, &marker, 0).await
    }
}

/// A stored row whose event time lies inside is replaced by an older, an equal and a newer row.
pub async fn a_correction_replaces_what_lies_inside(store: &OnlineStore) {
    let probe = Probe::with(store, "correct", 2, fenced(1)).await;
    let stored: Vec<_> = (1..=6).map(|entity| row(entity, NOW, 2, 1)).collect();
    assert_eq!(probe.write(&stored).await, counts(6, 0, 0));
    let mode = correcting(2, NOW - SECOND, NOW + SECOND);
    let probe = Probe::with(store, "correct", 2, mode).await;
    let rows = [row(1, NOW - 1, 2, 2), row(2, NOW, 2, 3), row(3, NOW + 1, 2, 4)];
    assert_eq!(probe.write(&rows).await, counts(3, 0, 0));
    let rows = [tombstone(4, NOW - 1), tombstone(5, NOW), tombstone(6, NOW + 1)];
    assert_eq!(probe.write(&rows).await, counts(0, 0, 3));
    for (entity, nanos, value) in [(1, NOW - 1, 2), (2, NOW, 3), (3, NOW + 1, 4)] {
        probe.expect(entity, nanos, Some(value)).await;
    }
    for (entity, nanos) in [(4, NOW - 1), (5, NOW), (6, NOW + 1)] {
        probe.expect(entity, nanos, None).await;
    }
}

/// A stored row from outside obeys newer wins; one of equal time is replaced all the same.
pub async fn a_correction_leaves_what_lies_outside(store: &OnlineStore) {
    let probe = Probe::with(store, "outside", 1, fenced(1)).await;
    let later = NOW + 10 * SECOND;
    probe.write(&[row(1, later, 1, 1), row(2, later, 1, 1), row(3, 1, 1, 1)]).await;
    assert_eq!(probe.write(&[tombstone(4, later)]).await, counts(0, 0, 1));
    let probe = Probe::with(store, "outside", 1, correcting(2, NOW, later)).await;
    let rows = [row(1, NOW, 1, 2), row(4, NOW, 1, 2), tombstone(2, NOW), row(3, NOW, 1, 2)];
    assert_eq!(probe.write(&rows).await, counts(1, 3, 0));
    probe.expect(1, later, Some(1)).await;
    probe.expect(2, later, Some(1)).await;
    probe.expect(3, NOW, Some(2)).await;
    probe.expect(4, later, None).await;
    assert_eq!(probe.write(&[row(1, later, 1, 3)]).await, counts(1, 0, 0));
    probe.expect(1, later, Some(3)).await;
}

/// A correction that is written again, in part or by another attempt, changes nothing.
pub async fn a_correction_is_repeatable(store: &OnlineStore) {
    let probe = Probe::with(store, "repeat", 1, fenced(1)).await;
    probe.write(&[row(1, NOW + 5, 1, 1), row(2, NOW + 5, 1, 1), row(3, NOW + SECOND, 1, 1)]).await;
    let rows = [row(1, NOW, 1, 2), tombstone(2, NOW + 1), row(3, NOW, 1, 2), row(4, NOW, 1, 2)];
    for token in [2, 2, 3] {
        let mode = correcting(token, NOW, NOW + SECOND);
        let probe = Probe::with(store, "repeat", 1, mode).await;
        assert_eq!(probe.write(&rows[..1]).await, counts(1, 0, 0));
        assert_eq!(probe.write(&rows).await, counts(2, 1, 1));
        probe.expect(1, NOW, Some(2)).await;
        probe.expect(2, NOW + 1, None).await;
        probe.expect(3, NOW + SECOND, Some(1)).await;
        probe.expect(4, NOW, Some(2)).await;
    }
}

/// The interval's start is inside and its end is not, by the nanosecond, before 1970 as well.
pub async fn a_corrections_bounds_are_exact(store: &OnlineStore) {
    // Before the epoch nothing is protected, so bounds decide there for the sweep alone.
    for (start, end) in [(NOW, NOW + 1), (NOW, NOW + 3 * SECOND), (-SECOND - 1, 7), (1, 2)] {
        let mode = fenced(1);
        let probe = Probe::with(store, "bounds", 1, mode).await;
        let times = [(1, start - 1), (2, start), (3, end - 1), (4, end)];
        let rows: Vec<_> = times.iter().map(|&(entity, nanos)| row(entity, nanos, 1, 1)).collect();
        probe.write(&rows).await;
        assert_eq!(probe.inside(interval(start, end), &[]).await, [2, 3], "[{start}, {end})");
        let clear = Probe::with(store, "bounds", 1, correcting(1, start, end)).await;
        let older: Vec<_> = times.iter().map(|&(entity, _)| row(entity, i64::MIN, 1, 2)).collect();
        let protected = times.iter().filter(|&&(at, nanos)| nanos > 0 && (at == 1 || at == 4));
        let stale = protected.count() as u64;
        assert_eq!(clear.write(&older).await, counts(4 - stale, stale, 0), "[{start}, {end})");
        let all = Probe::with(store, "bounds", 1, correcting(1, i64::MIN, i64::MAX)).await;
        assert_eq!(all.remove(&[1, 2, 3, 4]).await, 4);
    }
}

/// Random batches under corrections of random intervals leave the same rows and give the same
/// counts as in the reference.
pub async fn corrections_agree_with_the_reference(store: &OnlineStore) {
    let reference = OnlineStore::memory();
    let mut random = Random(7);
    let entities: Vec<u32> = (0..6).collect();
    for step in 0..40_u8 {
        let start = NOW + random.below(12) as i64 * (SECOND / 4);
        let end = start + random.below(8) as i64 * (SECOND / 4);
        let mode =
            if step % 3 == 0 { fenced(step.into()) } else { correcting(step.into(), start, end) };
        let probe = Probe::with(store, "corrections", 2, mode).await;
        let expected = Probe::with(&reference, "corrections", 2, mode).await;
        for _ in 0..2 {
            let rows: Vec<_> =
                (0..random.below(6)).map(|_| random_row(&mut random, step)).collect();
            let what = format!("step {step}, {mode:?}: {rows:?}");
            assert_eq!(probe.write(&rows).await, expected.write(&rows).await, "{what}");
            assert_eq!(probe.read(&entities).await, expected.read(&entities).await, "{what}");
        }
        let interval = interval(start, end);
        let inside = probe.inside(interval, &[1]).await;
        assert_eq!(inside, expected.inside(interval, &[1]).await, "step {step}");
        if mode.correct.is_some() && step % 4 == 0 {
            assert_eq!(probe.remove(&entities).await, expected.remove(&entities).await);
            assert_eq!(probe.read(&entities).await, expected.read(&entities).await);
        }
    }
}

/// Once another fence is up, nothing that was prepared before writes any more.
pub async fn another_fence_refuses_every_write(store: &OnlineStore) {
    let first = Probe::with(store, "fence", 1, fenced(1)).await;
    assert_eq!(first.write(&[row(1, NOW, 1, 1)]).await, counts(1, 0, 0));
    let again = Probe::with(store, "fence", 1, fenced(1)).await;
    assert_eq!(first.write(&[row(1, NOW + 1, 1, 2)]).await, counts(1, 0, 0));
    // Beyond what a double can tell from its neighbours.
    let (less, more) = ((1 << 60) + 1, (1 << 60) + 2);
    let second = Probe::with(store, "fence", 1, correcting(less, NOW, NOW + SECOND)).await;
    first.refused(Some(less)).await;
    again.refused(Some(less)).await;
    let third = Probe::with(store, "fence", 1, fenced(more)).await;
    second.refused(Some(more)).await;
    let removed = store.remove(&second.prepared, &[entity_key(1, store.key_suffix(PROJECT))]).await;
    let error = removed.expect_err("the fence is another's");
    assert!(matches!(error, Error::Superseded { .. }), "{error:?}");
    third.expect(1, NOW + 1, Some(2)).await;
    assert_eq!(third.write(&[row(1, NOW + 2, 1, 3)]).await, counts(1, 0, 0));
}

/// A smaller token is refused at preparing; the fence stays as it is.
pub async fn an_older_token_cannot_put_its_fence_up(store: &OnlineStore) {
    let (less, more) = (9, 10);
    let probe = Probe::with(store, "token", 1, fenced(more)).await;
    let error = store.prepare(&probe.view, &fenced(less)).await.expect_err("a greater one is up");
    let Error::Superseded { token, stored, .. } = &error else { panic!("{error:?}") };
    assert_eq!((*token, *stored), (FencingToken(less), Some(FencingToken(more))));
    assert!(!error.is_retryable(), "{error}");
    assert_eq!(probe.write(&[row(1, NOW, 1, 1)]).await, counts(1, 0, 0));
}

/// A fence is of its view alone.
pub async fn a_fence_is_of_one_view(store: &OnlineStore) {
    let one = Probe::with(store, "fenced", 1, fenced(5)).await;
    let two = Probe::with(store, "token", 1, fenced(20)).await;
    assert_eq!(one.write(&[row(1, NOW, 1, 1)]).await, counts(1, 0, 0));
    assert_eq!(two.write(&[row(1, NOW, 1, 1)]).await, counts(1, 0, 0));
}

/// A view that was prepared without a fence is not kept out by one.
pub async fn a_view_without_a_fence_is_let_through(store: &OnlineStore) {
    let probe = Probe::new(store, "unfenced", 1).await;
    Probe::with(store, "unfenced", 1, fenced(5)).await;
    assert_eq!(probe.write(&[row(1, NOW, 1, 1)]).await, counts(1, 0, 0));
    probe.mark(marker(1, 1)).await.expect("it is let through");
    store.confirm(&probe.prepared).await.expect("the store is the same");
}

/// A marker is what was noted last, by whichever view it was prepared.
pub async fn a_marker_is_read_back(store: &OnlineStore) {
    let probe = Probe::new(store, "marker", 1).await;
    assert_eq!(probe.last().await, StoreMarker { last: None, is_whole: true });
    for marker in [marker(1, 7), marker(2, u128::MAX), marker(u64::from(u32::MAX) << 20, 8)] {
        probe.mark(marker).await.expect("it is noted");
        probe.mark(marker).await.expect("it is noted again");
        assert_eq!(probe.last().await, StoreMarker { last: Some(marker), is_whole: true });
    }
    assert_eq!(probe.read(&[1]).await, [None]);
    let other = Probe::new(store, "ahead", 1).await;
    assert_eq!(other.last().await.last, None, "a view has a marker of its own");
}

/// A later commit's marker stays; another attempt at the same commit replaces it.
pub async fn a_marker_never_goes_back(store: &OnlineStore) {
    let probe = Probe::new(store, "ahead", 1).await;
    probe.mark(marker(10, 1)).await.expect("it is noted");
    let error = probe.mark(marker(9, 2)).await.expect_err("a later one is noted");
    let Error::MarkerAhead { sequence: 9, stored: 10, .. } = &error else { panic!("{error:?}") };
    assert!(!error.is_retryable(), "{error}");
    assert_eq!(probe.last().await.last, Some(marker(10, 1)));
    probe.mark(marker(10, 2)).await.expect("the first was never committed");
    assert_eq!(probe.last().await.last, Some(marker(10, 2)));
}

/// Of a fenced view only who has the fence notes a commit.
pub async fn another_fence_refuses_a_marker(store: &OnlineStore) {
    let first = Probe::with(store, "noted", 1, fenced(1)).await;
    first.mark(marker(1, 1)).await.expect("the fence is ours");
    let second = Probe::with(store, "noted", 1, fenced(2)).await;
    let error = first.mark(marker(2, 1)).await.expect_err("the fence is another's");
    assert!(matches!(error, Error::Superseded { .. }), "{error:?}");
    assert_eq!(second.last().await.last, Some(marker(1, 1)));
    second.mark(marker(2, 2)).await.expect("the fence is ours");
    assert_eq!(second.last().await.last, Some(marker(2, 2)));
}

/// The walk finds rows and tombstones of the interval, of this view and project, and no known ones.
pub async fn what_is_stored_inside_is_found(store: &OnlineStore) {
    let probe = Probe::new(store, "sweep", 1).await;
    let rows: Vec<_> = (0..2_500).map(|entity| row(entity, NOW, 1, 1)).collect();
    probe.write(&rows).await;
    probe.write(&[tombstone(3_000, NOW), row(3_001, NOW + SECOND, 1, 1)]).await;
    let other = Probe::new(store, "removed_one", 1).await;
    other.write(&[row(3_002, NOW, 1, 1)]).await;
    // A project whose name ends like ours.
    let mut foreign = probe.view.clone();
    foreign.view.project = format!("x{PROJECT}");
    if let Ok(foreign) = store.prepare(&foreign, &WriteMode::default()).await {
        let suffix = store.key_suffix("xconformance").to_vec();
        if !suffix.is_empty() {
            let rows = super::batch(&[row(3_003, NOW, 1, 1)], 1, &suffix);
            store.write(&foreign, rows).await.expect("the store takes the batch");
        }
    }
    let known: Vec<u32> = (0..2_500).filter(|entity| entity % 3 != 0).collect();
    let found = probe.inside(interval(NOW, NOW + SECOND), &known).await;
    let mut expected: Vec<u32> = (0..2_500).filter(|entity| entity % 3 == 0).collect();
    expected.push(3_000);
    assert_eq!(found, expected);
    assert_eq!(probe.inside(interval(NOW + 1, NOW + SECOND), &[]).await, [0; 0]);
}

/// What is removed is not there, and an older row may take its place.
pub async fn what_is_removed_is_gone_and_may_come_again(store: &OnlineStore) {
    let mode = correcting(1, NOW, NOW + SECOND);
    let probe = Probe::with(store, "removed", 2, mode).await;
    probe.write(&[row(1, NOW, 2, 1), tombstone(2, NOW), row(3, NOW, 2, 1)]).await;
    assert_eq!(probe.remove(&[1, 2, 9]).await, 2);
    assert_eq!(probe.read(&[1, 2]).await, [None, None]);
    assert_eq!(probe.remove(&[1, 2, 9]).await, 0);
    probe.expect(3, NOW, Some(1)).await;
    assert_eq!(probe.write(&[row(1, NOW - 9, 2, 2)]).await, counts(1, 0, 0));
    probe.expect(1, NOW - 9, Some(2)).await;
}

/// A row that is not of the interval, maybe since it was looked for, stays.
pub async fn removing_leaves_what_lies_outside(store: &OnlineStore) {
    let mode = correcting(1, NOW, NOW + SECOND);
    let probe = Probe::with(store, "kept", 1, mode).await;
    probe.write(&[row(1, NOW - 1, 1, 1), row(2, NOW + SECOND, 1, 1)]).await;
    assert_eq!(probe.remove(&[1, 2]).await, 0);
    probe.expect(1, NOW - 1, Some(1)).await;
    probe.expect(2, NOW + SECOND, Some(1)).await;
}

/// Other views of the entity keep their features and their event time.
pub async fn removing_leaves_other_views(store: &OnlineStore) {
    let mode = correcting(1, NOW, NOW + SECOND);
    let one = Probe::with(store, "removed_one", 2, mode).await;
    let two = Probe::new(store, "removed_two", 1).await;
    one.write(&[row(1, NOW, 2, 1)]).await;
    two.write(&[row(1, NOW, 1, 2)]).await;
    assert_eq!(one.remove(&[1]).await, 1);
    assert_eq!(one.read(&[1]).await, [None]);
    two.expect(1, NOW, Some(2)).await;
}

/// Two preparations of one store have the same identity, which confirms.
pub async fn a_view_stays_the_same_until_the_store_does_not(store: &OnlineStore) {
    let (one, two) = (Probe::new(store, "same", 1).await, Probe::new(store, "same", 1).await);
    assert_eq!(one.prepared.identity(), two.prepared.identity());
    assert!(!one.prepared.identity().is_empty());
    one.write(&[row(1, NOW, 1, 1)]).await;
    one.mark(marker(1, 1)).await.expect("it is noted");
    for probe in [one, two] {
        store.confirm(&probe.prepared).await.expect("the store is the same");
    }
}
