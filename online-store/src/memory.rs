//! The rules of the online store in their simplest form: a map.
//!
//! What Redis and SQLite must agree with; used by tests and by nothing that serves features.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use model::{EncodedBatch, EventTime, OnlineView, ViewRef, WriteCounts};

use crate::store::{StoredRow, assert_fits};

/// An online store in memory.
#[derive(Debug, Default)]
pub(crate) struct MemoryStore {
    rows: Mutex<HashMap<(ViewRef, Vec<u8>), Row>>,
}

#[derive(Debug)]
struct Row {
    event_time: EventTime,
    values: HashMap<String, Bytes>,
}

impl MemoryStore {
    pub(crate) fn write(&self, view: &OnlineView, batch: &EncodedBatch) -> WriteCounts {
        assert_fits(view, batch);
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counts = WriteCounts::default();
        for index in 0..batch.len() {
            let event_time = batch.event_times[index];
            let row = rows
                .entry((view.view.clone(), batch.keys.get(index).to_vec()))
                .or_insert_with(|| Row { event_time: EventTime::EPOCH, values: HashMap::new() });
            if row.event_time > EventTime::EPOCH && event_time <= row.event_time {
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
        counts
    }

    pub(crate) fn read(&self, view: &OnlineView, keys: &[Vec<u8>]) -> Vec<Option<StoredRow>> {
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let stored = |key: &Vec<u8>| {
            let row = rows.get(&(view.view.clone(), key.clone()))?;
            let (seconds, nanos) = row.event_time.seconds_and_nanos();
            let values = view.features.iter().map(|feature| row.values.get(&feature.name).cloned());
            Some(StoredRow { event_time: Some((seconds, nanos as i32)), values: values.collect() })
        };
        keys.iter().map(stored).collect()
    }
}

#[cfg(test)]
mod tests {
    async fn open() -> (crate::OnlineStore, ()) {
        (crate::OnlineStore::memory(), ())
    }

    crate::conformance_suite!(open);
}
