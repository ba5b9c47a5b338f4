//! Withdraws what a correction's source does not have any more.
//!
//! After a correcting attempt has written every row of its window, an entity whose stored row lies
//! inside the window and that the attempt did not write has a row that was taken back. What the
//! source holds of it before the window is restored; where there is nothing, the row is removed.

mod wanted;

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use datafusion::error::DataFusionError;
use futures::TryStreamExt;
use futures::stream::BoxStream;
use model::{EncodedBatch, Interval, Marker, WriteCounts};

use crate::engine::{unwritten, write_wanted};
use crate::error::Error;
use crate::keys::KeyLog;
use crate::plan::WindowPlan;
use crate::session::Session;
use crate::sink::{FeatureSink, KnownKeys, SinkError};

pub(crate) use wanted::{Wanted, WantedExec};

/// Bytes that a key takes in a set besides its own: its place, and what allocation rounds up.
const KEY_OVERHEAD: usize = 64;

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Swept {
    /// Entities whose row was withdrawn.
    pub(crate) entities: u64,
    /// Bytes of keys and values handed to the online store for them.
    pub(crate) bytes_written: u64,
}

/// Withdraws the rows inside a plan's interval whose keys are not in the log.
///
/// Harmless to repeat: what was withdrawn does not lie inside the interval any more.
pub(crate) async fn sweep(
    session: &Session,
    plan: &WindowPlan,
    sink: &Arc<dyn FeatureSink>,
    log: &KeyLog,
) -> Result<Swept, Error> {
    let wanted = Arc::new(unknown(plan, sink.as_ref(), log).await?);
    if wanted.0.is_empty() {
        return Ok(Swept::default());
    }
    let restoring = Arc::new(Restoring::new(Arc::clone(sink)));
    let mut swept = Swept::default();
    if let Some(earlier) = plan.earlier(session).await? {
        let door: Arc<dyn FeatureSink> = Arc::<Restoring>::clone(&restoring);
        let restored = write_wanted(session, &earlier, Arc::clone(&wanted), door).await?;
        // A stale one was written anew by someone else meanwhile.
        swept.entities = restored.counts.written + restored.counts.tombstoned;
        swept.bytes_written = restored.bytes_written;
    }
    let gone = restoring.without(&wanted);
    if !gone.is_empty() {
        swept.entities += sink.remove(&gone).await.map_err(|error| unwritten(plan, error))?;
    }
    Ok(swept)
}

/// The keys that the store has inside a plan's interval and that are not in the log.
async fn unknown(plan: &WindowPlan, sink: &dyn FeatureSink, log: &KeyLog) -> Result<Wanted, Error> {
    let keys = log.finish();
    let known = |key: &[u8]| keys.contains(key);
    let mut batches = sink.stored_inside(plan.interval(), &known);
    let mut unknown = HashSet::new();
    while let Some(batch) = batches.try_next().await.map_err(|error| unwritten(plan, error))? {
        let bytes: usize = batch.iter().map(|key| key.len() + KEY_OVERHEAD).sum();
        log.hold(bytes).map_err(|error| Error::Keys {
            view: plan.view().to_owned(),
            source: DataFusionError::External(Box::new(error)),
        })?;
        unknown.extend(batch);
    }
    Ok(Wanted(unknown))
}

/// Hands rows on to a sink and remembers their keys.
struct Restoring {
    sink: Arc<dyn FeatureSink>,
    restored: Mutex<HashSet<Vec<u8>>>,
}

impl Restoring {
    fn new(sink: Arc<dyn FeatureSink>) -> Self {
        Self { sink, restored: Mutex::default() }
    }

    /// The wanted keys that no row came by for.
    fn without(&self, wanted: &Wanted) -> Vec<Vec<u8>> {
        let restored = self.restored.lock().unwrap_or_else(PoisonError::into_inner);
        wanted.0.iter().filter(|key| !restored.contains(*key)).cloned().collect()
    }
}

impl fmt::Debug for Restoring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Restoring").field("sink", &self.sink).finish_non_exhaustive()
    }
}

#[async_trait]
impl FeatureSink for Restoring {
    async fn write(&self, batch: EncodedBatch) -> Result<WriteCounts, SinkError> {
        {
            let mut restored = self.restored.lock().unwrap_or_else(PoisonError::into_inner);
            restored.extend((0..batch.len()).map(|row| batch.keys.get(row).to_vec()));
        }
        self.sink.write(batch).await
    }

    async fn confirm(&self) -> Result<(), SinkError> {
        self.sink.confirm().await
    }

    fn identity(&self) -> String {
        self.sink.identity()
    }

    async fn mark(&self, marker: &Marker, wait_replicas: u32) -> Result<(), SinkError> {
        self.sink.mark(marker, wait_replicas).await
    }

    fn stored_inside<'a>(
        &'a self,
        interval: Interval,
        known: KnownKeys<'a>,
    ) -> BoxStream<'a, Result<Vec<Vec<u8>>, SinkError>> {
        self.sink.stored_inside(interval, known)
    }

    async fn remove(&self, keys: &[Vec<u8>]) -> Result<u64, SinkError> {
        self.sink.remove(keys).await
    }
}
