//! Watches the online store while a history goes on: no value ever gives way to an older one.
//!
//! A reader of its own, straight to the server and as often as it can, so that it sees states that
//! last for a moment only. What may go back is excused by whoever knows: a correction of a view, or
//! a server that loses its data.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::Redis;

use crate::oracle::Held;
use crate::source::VIEWS;
use crate::stored::{self, Stored};

/// Between two looks: a look takes about as long, so half of the time is the program's.
const PAUSE: Duration = Duration::from_millis(4);

/// A watcher of one server.
#[derive(Debug)]
pub(crate) struct Watcher {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    seen: Mutex<Seen>,
    ended: AtomicBool,
}

/// What was seen last, and what went wrong.
#[derive(Debug, Default)]
struct Seen {
    last: BTreeMap<(usize, i64), Held>,
    excused: BTreeSet<usize>,
    looks: u64,
    violation: Option<String>,
}

impl Watcher {
    /// Begins to watch.
    pub(crate) fn start(redis: &Arc<Redis>) -> Self {
        let shared = Arc::<Shared>::default();
        let (watched, theirs) = (Arc::clone(redis), Arc::clone(&shared));
        let thread = thread::spawn(move || theirs.watch(&watched));
        Self { shared, thread: Some(thread) }
    }

    /// From now on a view may go back.
    pub(crate) fn excuse(&self, view: usize) {
        self.shared.seen().excused.insert(view);
    }

    /// From now on all views may go back.
    pub(crate) fn excuse_all(&self) {
        (0..VIEWS.len()).for_each(|view| self.excuse(view));
    }

    /// From now on a view may not go back any more, from what it is now.
    pub(crate) fn hold_to_account(&self, view: usize) {
        let mut seen = self.shared.seen();
        if seen.excused.remove(&view) {
            seen.last.retain(|(other, _), _| *other != view);
        }
    }

    /// How often it has looked.
    pub(crate) fn looks(&self) -> u64 {
        self.shared.seen().looks
    }

    /// What it has seen so far.
    ///
    /// # Errors
    /// When a value has gone back.
    pub(crate) fn verdict(&self) -> Result<()> {
        let violation = self.shared.seen().violation.clone();
        ensure!(violation.is_none(), "{}", violation.unwrap_or_default());
        Ok(())
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

impl Shared {
    /// A panic elsewhere leaves nothing half done here, so a poisoned lock is as good as any.
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(&self, redis: &Redis) {
        while !self.ended.load(Ordering::Relaxed) {
            // Held while it looks: an excuse that comes in between is one for what is seen.
            let mut seen = self.seen();
            // A server that is down or loading shows nothing.
            if let Ok(stored) = stored::read(redis) {
                seen.look(&stored);
            }
            drop(seen);
            thread::sleep(PAUSE);
        }
    }
}

impl Seen {
    fn look(&mut self, stored: &Stored) {
        self.looks += 1;
        let places: BTreeSet<(usize, i64)> =
            self.last.keys().chain(stored.keys()).copied().collect();
        for (view, entity) in places {
            let now = stored::of(stored, view, entity);
            let before = self.last.insert((view, entity), now).unwrap_or(Held::Nothing);
            let is_forward = now == before || now.micros() > before.micros();
            if !is_forward && !self.excused.contains(&view) && self.violation.is_none() {
                let name = VIEWS[view].0;
                self.violation =
                    Some(format!("`{name}`, entity {entity}: {before:?} gave way to {now:?}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::Fact;

    fn row(micros: i64, value: i64) -> Held {
        Held::Row(micros, Fact { f: value, g: -value, active: true })
    }

    fn seen(steps: &[Held], excused: &[usize]) -> Option<String> {
        let mut seen = Seen { excused: excused.iter().copied().collect(), ..Seen::default() };
        for held in steps {
            seen.look(&Stored::from([((1, 7), *held)]));
        }
        seen.violation
    }

    #[test]
    fn newer_values_and_the_same_again_are_in_order() {
        let steps = [Held::Nothing, row(5, 1), row(5, 1), Held::Tombstone(6), row(7, 2)];
        assert_eq!(seen(&steps, &[]), None);
    }

    #[test]
    fn what_goes_back_changes_or_vanishes_is_told() {
        for now in [row(4, 1), row(5, 2), Held::Tombstone(5), Held::Nothing] {
            let violation = seen(&[row(5, 1), now], &[]).expect("it is one");
            assert!(violation.contains("`ending`, entity 7"), "{violation}");
            assert_eq!(seen(&[row(5, 1), now], &[1]), None, "an excuse is good for its view");
            assert!(seen(&[row(5, 1), now], &[0]).is_some(), "and for no other");
        }
    }

    #[test]
    fn an_entity_that_is_not_stored_any_more_has_vanished() {
        let mut seen = Seen::default();
        seen.look(&Stored::from([((0, 1), row(5, 1))]));
        seen.look(&Stored::new());
        assert!(seen.violation.is_some());
    }

    #[test]
    fn a_server_is_watched_until_the_end() -> Result<()> {
        let redis = Arc::new(Redis::start()?);
        let watcher = Watcher::start(&redis);
        let write = |micros| -> Result<()> {
            let hash = ::tests::online::int_hash("plain", micros, &[("f", 1), ("g", 2)]);
            let key = ::tests::online::redis_key(crate::source::PROJECT, 3);
            let mut command = vec![b"HSET".to_vec(), key];
            command.extend(hash.into_iter().flat_map(<[_; 2]>::from));
            redis.command(&command)?;
            let looks = watcher.looks();
            while watcher.looks() < looks + 2 {
                thread::yield_now();
            }
            Ok(())
        };
        write(9)?;
        watcher.verdict()?;
        watcher.excuse(0);
        write(8)?;
        watcher.hold_to_account(0);
        write(8)?;
        watcher.verdict()?;
        write(7)?;
        assert!(watcher.verdict().is_err());
        Ok(())
    }
}
