//! The rules of the online store in their simplest form: a map.
//!
//! What Redis and SQLite must agree with; used by tests and by nothing that serves features.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use model::{
    EncodedBatch, EventTime, FencingToken, Interval, Marker, OnlineView, ViewRef, WriteCounts,
    WriteMode,
};

use crate::error::Error;
use crate::store::{StoreMarker, StoredRow, assert_fits};

/// An online store in memory.
#[derive(Debug, Default)]
pub(crate) struct MemoryStore {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    rows: HashMap<(ViewRef, Vec<u8>), Row>,
    fences: HashMap<ViewRef, FencingToken>,
    markers: HashMap<ViewRef, Marker>,
}

/// A view and how it is written.
#[derive(Debug)]
pub(crate) struct MemoryView {
    view: OnlineView,
    mode: WriteMode,
}

#[derive(Debug)]
struct Row {
    event_time: EventTime,
    values: HashMap<String, Bytes>,
}

impl State {
    /// Refuses a write that does not show the fence.
    fn check_fence(&self, of: &MemoryView) -> Result<(), Error> {
        let (stored, view) = (self.fences.get(&of.view.view).copied(), of.view.view.to_string());
        match of.mode.fence {
            Some(token) if stored != Some(token) => Err(Error::Superseded { view, token, stored }),
            _ => Ok(()),
        }
    }
}

impl MemoryStore {
    pub(crate) fn prepare(&self, view: &OnlineView, mode: &WriteMode) -> Result<MemoryView, Error> {
        let mut state = self.state();
        if let Some(token) = mode.fence {
            let stored = state.fences.entry(view.view.clone()).or_insert(token);
            if *stored > token {
                let (view, stored) = (view.view.to_string(), Some(*stored));
                return Err(Error::Superseded { view, token, stored });
            }
            *stored = token;
        }
        Ok(MemoryView { view: view.clone(), mode: *mode })
    }

    pub(crate) fn write(
        &self,
        of: &MemoryView,
        batch: &EncodedBatch,
    ) -> Result<WriteCounts, Error> {
        let MemoryView { view, mode } = of;
        assert_fits(view, batch);
        let mut state = self.state();
        state.check_fence(of)?;
        let mut counts = WriteCounts::default();
        for index in 0..batch.len() {
            let event_time = batch.event_times[index];
            let row = state
                .rows
                .entry((view.view.clone(), batch.keys.get(index).to_vec()))
                .or_insert_with(|| Row { event_time: EventTime::EPOCH, values: HashMap::new() });
            if is_stale(mode, row.event_time, event_time) {
                counts.stale += 1;
                continue;
            }
            row.event_time = event_time;
            if batch.is_tombstone(index) {
                view.features.iter().for_each(|feature| drop(row.values.remove(&feature.name)));
                counts.tombstoned += 1;
            } else {
                for (feature, column) in view.features.iter().zip(&batch.features) {
                    row.values.insert(feature.name.clone(), column.share(index));
                }
                counts.written += 1;
            }
        }
        Ok(counts)
    }

    pub(crate) fn read(&self, view: &OnlineView, keys: &[Vec<u8>]) -> Vec<Option<StoredRow>> {
        let state = self.state();
        let stored = |key: &Vec<u8>| {
            let row = state.rows.get(&(view.view.clone(), key.clone()))?;
            let (seconds, nanos) = row.event_time.seconds_and_nanos();
            let values = view.features.iter().map(|feature| row.values.get(&feature.name).cloned());
            Some(StoredRow { event_time: Some((seconds, nanos as i32)), values: values.collect() })
        };
        keys.iter().map(stored).collect()
    }

    pub(crate) fn marker(&self, view: &ViewRef) -> StoreMarker {
        StoreMarker { last: self.state().markers.get(view).copied(), is_whole: true }
    }

    pub(crate) fn mark(&self, of: &MemoryView, marker: &Marker) -> Result<(), Error> {
        let mut state = self.state();
        state.check_fence(of)?;
        let stored = state.markers.entry(of.view.view.clone()).or_insert(*marker);
        if stored.sequence > marker.sequence {
            let (view, sequence) = (of.view.view.to_string(), marker.sequence);
            return Err(Error::MarkerAhead { view, sequence, stored: stored.sequence });
        }
        *stored = *marker;
        Ok(())
    }

    pub(crate) fn stored_inside(
        &self,
        of: &MemoryView,
        interval: Interval,
        known: impl Fn(&[u8]) -> bool,
    ) -> Vec<Vec<u8>> {
        let state = self.state();
        let inside = state.rows.iter().filter(|((view, key), row)| {
            *view == of.view.view && interval.contains(row.event_time) && !known(key)
        });
        inside.map(|((_, key), _)| key.clone()).collect()
    }

    pub(crate) fn remove(&self, of: &MemoryView, keys: &[Vec<u8>]) -> Result<u64, Error> {
        let mut state = self.state();
        state.check_fence(of)?;
        let mut removed = 0;
        for key in keys {
            let place = (of.view.view.clone(), key.clone());
            let time = state.rows.get(&place).map(|row| row.event_time);
            if time.is_some_and(|time| is_inside(&of.mode, time)) {
                state.rows.remove(&place);
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// A panic elsewhere leaves nothing half done here, so a poisoned lock is as good as any.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells whether a row is to be refused because of the stored one.
fn is_stale(mode: &WriteMode, stored: EventTime, new: EventTime) -> bool {
    let is_newer_or_equal = stored > EventTime::EPOCH && new <= stored;
    is_newer_or_equal && !(mode.correct.is_some() && (new == stored || is_inside(mode, stored)))
}

/// Tells whether a stored time lies inside what is being corrected.
fn is_inside(mode: &WriteMode, stored: EventTime) -> bool {
    mode.correct.is_some_and(|interval| interval.contains(stored))
}

#[cfg(test)]
mod tests {
    async fn open() -> (crate::OnlineStore, ()) {
        (crate::OnlineStore::memory(), ())
    }

    crate::conformance_suite!(open);
}
