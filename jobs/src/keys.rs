//! The entity keys that a correcting attempt has written, as far as it takes to know them again.
//!
//! Fingerprints of 128 bits instead of the keys themselves, which are three times as long at the
//! least. Of a billion keys, two share one with a probability of 10⁻²¹; the hash is keyed with
//! what this process drew, so that nobody can choose keys that do.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::mem::size_of;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use model::ByteColumn;

/// How the names of logs begin, by which the memory pool knows them.
pub(crate) const CONSUMER: &str = "KeyLog";

/// Buckets that fingerprints are dealt out to by their first byte: each is small enough to grow
/// and to be sorted without holding anyone up.
const BUCKETS: usize = 256;

/// A full bucket grows by one part in so many of what it holds: what stands empty stays little.
const GROWTH_SHARE: usize = 8;

/// The least that a bucket grows by, so that few keys do not mean many allocations.
const GROWTH_MIN: usize = 16;

/// More keys than there is memory for.
#[derive(Debug, thiserror::Error)]
#[error("there are too many entity keys to remember")]
pub(crate) struct TooManyKeys(#[from] DataFusionError);

type Result<T> = std::result::Result<T, TooManyKeys>;

/// Entity keys, each known by its fingerprint.
pub(crate) struct KeyLog {
    hashers: [RandomState; 2],
    held: Mutex<Held>,
}

struct Held {
    buckets: Vec<Vec<u128>>,
    memory: MemoryReservation,
}

impl KeyLog {
    /// Makes an empty log whose memory counts in a pool.
    pub(crate) fn new(pool: &Arc<dyn MemoryPool>) -> Self {
        let memory = MemoryConsumer::new(CONSUMER).register(pool);
        let held = Held { buckets: vec![Vec::new(); BUCKETS], memory };
        Self { hashers: [RandomState::new(), RandomState::new()], held: Mutex::new(held) }
    }

    /// Notes the keys of a batch.
    ///
    /// # Errors
    /// When the pool has no memory for more keys.
    pub(crate) fn add(&self, keys: &ByteColumn) -> Result<()> {
        let fingerprints: Vec<u128> =
            (0..keys.len()).map(|row| self.fingerprint(keys.get(row))).collect();
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        fingerprints.into_iter().try_for_each(|fingerprint| held.push(fingerprint))
    }

    /// Ends the noting: from here on keys can be looked up.
    pub(crate) fn finish(&self) -> Keys<'_> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let mut buckets = std::mem::take(&mut held.buckets);
        buckets.iter_mut().for_each(|bucket| bucket.sort_unstable());
        Keys { log: self, buckets }
    }

    /// Counts further bytes with the log, for as long as it is there.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub(crate) fn hold(&self, bytes: usize) -> Result<()> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).memory.try_grow(bytes)?;
        Ok(())
    }

    fn fingerprint(&self, key: &[u8]) -> u128 {
        let [high, low] = self.hashers.each_ref().map(|hasher| hasher.hash_one(key));
        u128::from(high) << 64 | u128::from(low)
    }
}

impl fmt::Debug for KeyLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(CONSUMER)
    }
}

impl Held {
    fn push(&mut self, fingerprint: u128) -> Result<()> {
        let bucket = &mut self.buckets[bucket(fingerprint)];
        if bucket.len() == bucket.capacity() {
            let more = (bucket.len() / GROWTH_SHARE).max(GROWTH_MIN);
            self.memory.try_grow(more * size_of::<u128>())?;
            bucket.reserve_exact(more);
        }
        bucket.push(fingerprint);
        Ok(())
    }
}

fn bucket(fingerprint: u128) -> usize {
    usize::from((fingerprint >> 120) as u8)
}

/// The keys of a log that is complete.
pub(crate) struct Keys<'a> {
    log: &'a KeyLog,
    /// Sorted.
    buckets: Vec<Vec<u128>>,
}

impl Keys<'_> {
    /// Tells whether a key was noted.
    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        let fingerprint = self.log.fingerprint(key);
        self.buckets[bucket(fingerprint)].binary_search(&fingerprint).is_ok()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use proptest::prelude::*;

    use super::*;
    use crate::latest::NewestPool;

    fn column(keys: &[Vec<u8>]) -> ByteColumn {
        keys.iter().map(Vec::as_slice).collect()
    }

    fn pool(limit: usize) -> Arc<dyn MemoryPool> {
        Arc::new(NewestPool::new(limit))
    }

    #[test]
    fn a_log_takes_up_to_half_of_the_memory_and_gives_it_back() {
        let pool = pool(1 << 20);
        let log = KeyLog::new(&pool);
        let batch: Vec<Vec<u8>> = (0..1_000_u32).map(|n| n.to_be_bytes().to_vec()).collect();
        // 16 bytes a key, and at most an eighth of that more.
        let taken = (0..100).take_while(|_| log.add(&column(&batch)).is_ok()).count();
        assert!((28..=33).contains(&taken), "{taken} thousand keys in half a mebibyte");
        assert!(pool.reserved() <= 1 << 19);
        drop(log);
        assert_eq!(pool.reserved(), 0);
    }

    proptest! {
        #[test]
        fn exactly_the_keys_that_were_noted_are_known(
            noted in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..200),
            others in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..50),
        ) {
            let log = KeyLog::new(&pool(1 << 20));
            for batch in noted.chunks(7) {
                log.add(&column(batch)).unwrap();
            }
            let keys = log.finish();
            prop_assert!(noted.iter().all(|key| keys.contains(key)));
            for key in others {
                prop_assert_eq!(keys.contains(&key), noted.contains(&key));
            }
        }
    }
}
