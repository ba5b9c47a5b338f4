//! Reading from replicas, where that was asked for.
//!
//! Which there are is asked of each primary now and then, by a task of its own: no read waits for a
//! primary that is gone while its replicas are there. A replica may lag, and may be gone: what
//! cannot be read from one is read from its primary.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::RedisStore;
use super::connection::{Connection, Role, Server, Servers};
use super::lanes::Lanes;

/// How long what the primaries said is taken for true: a replica that comes or goes is noticed soon
/// enough, and one question in so long costs nothing.
const FRESH: Duration = Duration::from_secs(5);
/// How long a replica that failed is left alone. Each try may cost some reads their share of time.
const REST: Duration = Duration::from_secs(10);
/// A replica has this part of a command's time, so that there is some left for its primary.
const PATIENCE_SHARE: u32 = 3;

/// The replicas of each primary.
#[derive(Debug)]
pub(super) struct Replicas {
    pub(super) lanes: Lanes,
    known: Mutex<Known>,
    /// Held while the primaries are asked.
    asking: Arc<tokio::sync::Mutex<()>>,
}

/// What is known of the replicas.
#[derive(Debug, Default)]
struct Known {
    /// When the primaries were last asked, and the generation that they are of.
    asked: Option<(Instant, u64)>,
    /// The generation of the primaries that answered, and an entry for each of them.
    of: Option<(u64, Vec<Vec<Server>>)>,
    /// Those that failed, and when.
    failed: HashMap<Server, Instant>,
    turn: usize,
}

impl Known {
    /// Tells whether the primaries of a generation are to be asked, and notes that they are.
    fn is_due(&mut self, generation: u64) -> bool {
        let is_fresh = self.asked.is_some_and(|(at, of)| of == generation && at.elapsed() < FRESH);
        if !is_fresh {
            self.asked = Some((Instant::now(), generation));
        }
        !is_fresh
    }

    /// Takes what the primaries said; one that did not answer has the replicas that it had.
    fn learn(&mut self, generation: u64, said: Vec<Option<Vec<Server>>>) {
        let before = self.of.take().filter(|(of, _)| *of == generation);
        let mut before = before.map(|(_, of)| of).unwrap_or_default().into_iter();
        let keep = |said: Option<Vec<Server>>| {
            let before = before.next().unwrap_or_default();
            said.unwrap_or(before)
        };
        self.of = Some((generation, said.into_iter().map(keep).collect()));
        self.failed.retain(|_, at| at.elapsed() < REST);
    }

    /// One replica of each primary, in turns; `None` unless every one has some that have not just
    /// failed.
    fn pick(&mut self, generation: u64) -> Option<Vec<Server>> {
        let (_, of) = self.of.as_ref().filter(|(of, _)| *of == generation)?;
        let turn = self.turn;
        self.turn = turn.wrapping_add(1);
        let rests =
            |server: &&Server| self.failed.get(*server).is_some_and(|at| at.elapsed() < REST);
        let one = |of: &Vec<Server>| {
            let well: Vec<&Server> = of.iter().filter(|server| !rests(server)).collect();
            well.get(turn % well.len().max(1)).map(|server| (*server).clone())
        };
        of.iter().map(one).collect()
    }
}

impl Replicas {
    fn new(lanes_max: usize, command_timeout: Duration) -> Self {
        let lanes = Lanes::new(lanes_max, command_timeout / PATIENCE_SHARE, Role::Replica);
        Self { lanes, known: Mutex::default(), asking: Arc::default() }
    }

    /// Leaves replicas alone for a while: one of them has failed.
    pub(super) fn rest(&self, servers: &Servers) {
        self.lanes.close_free();
        let now = Instant::now();
        self.known().failed.extend(servers.list().iter().map(|server| (server.clone(), now)));
    }

    /// Asks each primary for its replicas.
    async fn ask(&self, connection: &Connection, servers: &Servers) {
        let mut said = Vec::with_capacity(servers.list().len());
        for primary in 0..servers.list().len() {
            said.push(connection.replicas(servers, primary).await.ok());
        }
        self.known().learn(servers.generation(), said);
    }

    /// Nothing that may panic is done while it is held, so a poisoned lock is as good as any.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RedisStore {
    /// Has features read from replicas.
    pub(crate) fn read_replicas(&mut self) {
        let limits = &self.limits;
        let replicas = Replicas::new(limits.lanes_max, limits.command_timeout);
        self.replicas = Some(Arc::new(replicas));
    }

    /// A replica in the place of each primary; `None` unless every one has some.
    pub(super) async fn readers(&self) -> Option<(&Replicas, Servers)> {
        let replicas = self.replicas.as_ref()?;
        let servers = self.connection.servers();
        let generation = servers.generation();
        if replicas.known().is_due(generation)
            && let Ok(alone) = Arc::clone(&replicas.asking).try_lock_owned()
        {
            let (replicas, servers) = (Arc::clone(replicas), Arc::clone(&servers));
            let connection = Arc::clone(&self.connection);
            tokio::spawn(async move {
                replicas.ask(&connection, &servers).await;
                drop(alone);
            });
        }
        let is_known = replicas.known().of.as_ref().is_some_and(|(of, _)| *of == generation);
        if !is_known {
            // The first question of all is waited for, by whoever else comes as well.
            drop(replicas.asking.lock().await);
        }
        let picked = replicas.known().pick(generation)?;
        Some((replicas, servers.instead(picked)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(ports: &[u16]) -> Vec<Server> {
        let one = |&port: &u16| Server { host: "127.0.0.1".to_owned(), port };
        ports.iter().map(one).collect()
    }

    #[test]
    fn replicas_take_turns_and_one_that_failed_is_left_alone() {
        let mut known = Known::default();
        assert_eq!(known.pick(1), None);
        known.learn(1, vec![Some(servers(&[1, 2])), Some(servers(&[3]))]);
        let picked: Vec<_> = (0..3).map(|_| known.pick(1)).collect();
        let pair = |ports: [u16; 2]| Some(servers(&ports));
        assert_eq!(picked, [pair([1, 3]), pair([2, 3]), pair([1, 3])]);
        known.failed.insert(servers(&[1])[0].clone(), Instant::now());
        assert_eq!((known.pick(1), known.pick(1)), (pair([2, 3]), pair([2, 3])));
        known.failed.insert(servers(&[3])[0].clone(), Instant::now());
        assert_eq!(known.pick(1), None, "a primary has none left");
        let long_ago = Instant::now().checked_sub(REST);
        known.failed.values_mut().for_each(|at| *at = long_ago.expect("the clock is older"));
        assert_eq!(known.pick(1), pair([1, 3]), "it may be back");
    }

    #[test]
    fn the_replicas_of_a_primary_that_is_gone_are_kept_until_another_takes_its_place() {
        let mut known = Known::default();
        known.learn(1, vec![Some(servers(&[1])), Some(servers(&[3]))]);
        known.learn(1, vec![None, Some(servers(&[4]))]);
        assert_eq!(known.pick(1), Some(servers(&[1, 4])));
        assert_eq!(known.pick(2), None, "others are primaries now");
        known.learn(2, vec![None, Some(servers(&[4]))]);
        assert_eq!(known.pick(2), None);
    }

    #[test]
    fn primaries_are_asked_now_and_then_and_after_each_change() {
        let mut known = Known::default();
        assert!(known.is_due(1) && !known.is_due(1));
        assert!(known.is_due(2) && !known.is_due(2));
        known.asked = Instant::now().checked_sub(FRESH).map(|at| (at, 2));
        assert!(known.is_due(2));
    }
}
