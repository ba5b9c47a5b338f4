//! An online store in memory, which decides as the real ones do, and sinks that misbehave.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use model::{EncodedBatch, Interval, Marker, WriteCounts};

use crate::sink::{FeatureSink, KnownKeys, SinkError};

/// Every row: key, event time in microseconds, values; `None` for a tombstone.
pub(super) type Rows = BTreeMap<Vec<u8>, (i64, Option<Vec<Vec<u8>>>)>;

/// Keeps rows: newer wins, and inside the corrected interval any row.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) rows: Mutex<Rows>,
    pub(super) correct: Option<Interval>,
}

impl Memory {
    /// A store with these rows that takes corrections of an interval.
    pub(super) fn correcting(rows: Rows, interval: Interval) -> Arc<Self> {
        Arc::new(Self { rows: Mutex::new(rows), correct: Some(interval) })
    }

    pub(super) fn take(&self) -> Rows {
        std::mem::take(&mut *self.rows.lock().unwrap())
    }

    fn is_inside(interval: Interval, micros: i64) -> bool {
        interval.contains(model::EventTime::from_micros(micros))
    }
}

#[async_trait]
impl FeatureSink for Memory {
    async fn write(&self, batch: EncodedBatch) -> Result<WriteCounts, SinkError> {
        let mut counts = WriteCounts::default();
        let mut rows = self.rows.lock().unwrap();
        for row in 0..batch.len() {
            let values = batch.features.iter().map(|column| column.get(row).to_vec()).collect();
            let values = (!batch.is_tombstone(row)).then_some(values);
            let (key, time) = (batch.keys.get(row).to_vec(), batch.event_times[row].micros_floor());
            let is_stale = rows.get(&key).is_some_and(|&(stored, _)| {
                let is_corrected = |interval| Self::is_inside(interval, stored) || stored == time;
                stored >= time && !self.correct.is_some_and(is_corrected)
            });
            match (is_stale, &values) {
                (true, _) => counts.stale += 1,
                (false, Some(_)) => counts.written += 1,
                (false, None) => counts.tombstoned += 1,
            }
            if !is_stale {
                rows.insert(key, (time, values));
            }
        }
        Ok(counts)
    }

    async fn confirm(&self) -> Result<(), SinkError> {
        Ok(())
    }

    fn identity(&self) -> String {
        "memory".to_owned()
    }

    async fn mark(&self, _: &Marker, _: u32) -> Result<(), SinkError> {
        Ok(())
    }

    fn stored_inside<'a>(
        &'a self,
        interval: Interval,
        known: KnownKeys<'a>,
    ) -> BoxStream<'a, Result<Vec<Vec<u8>>, SinkError>> {
        let rows = self.rows.lock().unwrap();
        let inside =
            rows.iter().filter(|(key, (time, _))| Self::is_inside(interval, *time) && !known(key));
        let keys: Vec<_> = inside.map(|(key, _)| Ok(vec![key.clone()])).collect();
        futures::stream::iter(keys).boxed()
    }

    async fn remove(&self, keys: &[Vec<u8>]) -> Result<u64, SinkError> {
        let mut rows = self.rows.lock().unwrap();
        let interval = self.correct.expect("only a sink that corrects removes");
        let is_inside = |key: &&Vec<u8>| {
            rows.get(*key).is_some_and(|&(time, _)| Self::is_inside(interval, time))
        };
        let gone: Vec<_> = keys.iter().filter(is_inside).collect();
        for &key in &gone {
            rows.remove(key);
        }
        Ok(gone.len() as u64)
    }
}
