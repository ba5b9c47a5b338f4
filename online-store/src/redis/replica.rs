//! Reading from replicas, where that was asked for.
//!
//! Which there are is asked of each primary now and then. A replica may lag, and may be gone: what
//! cannot be read from one is read from its primary.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::RedisStore;
use super::connection::{Role, Server, Servers};
use super::lanes::Lanes;

/// How long what the primaries said is taken for true: a replica that comes or goes is noticed soon
/// enough, and one question in so long costs nothing.
const FRESH: Duration = Duration::from_secs(5);

/// The replicas of each primary.
#[derive(Debug)]
pub(super) struct Replicas {
    pub(super) lanes: Lanes,
    known: Mutex<Option<Known>>,
    turn: AtomicUsize,
}

#[derive(Debug)]
struct Known {
    generation: u64,
    asked_at: Instant,
    /// One entry a primary.
    of: Vec<Vec<Server>>,
}

impl Replicas {
    fn new(lanes_max: usize, command_timeout: Duration) -> Self {
        let lanes = Lanes::new(lanes_max, command_timeout, Role::Replica);
        Self { lanes, known: Mutex::default(), turn: AtomicUsize::new(0) }
    }

    /// Asks anew before the next read: one of them has failed.
    pub(super) async fn forget(&self) {
        self.lanes.close_free();
        if let Some(known) = self.known.lock().await.as_mut() {
            // None until the time is up, so that a replica that fails is not tried at every read.
            known.of.iter_mut().for_each(Vec::clear);
        }
    }
}

impl RedisStore {
    /// Has features read from replicas.
    pub(crate) fn read_replicas(&mut self) {
        let limits = &self.limits;
        self.replicas = Some(Replicas::new(limits.lanes_max, limits.command_timeout));
    }

    /// A replica in the place of each primary; `None` unless every one has some. They take turns.
    pub(super) async fn readers(&self) -> Option<(&Replicas, Servers)> {
        let replicas = self.replicas.as_ref()?;
        let servers = self.connection.servers();
        let mut known = replicas.known.lock().await;
        let is_fresh = known.as_ref().is_some_and(|known| {
            known.generation == servers.generation() && known.asked_at.elapsed() < FRESH
        });
        if !is_fresh {
            let mut of = Vec::with_capacity(servers.list().len());
            for primary in 0..servers.list().len() {
                // Who does not answer has none to offer.
                let replicas = Box::pin(self.connection.replicas(&servers, primary)).await;
                of.push(replicas.unwrap_or_default());
            }
            let (generation, asked_at) = (servers.generation(), Instant::now());
            *known = Some(Known { generation, asked_at, of });
        }
        let turn = replicas.turn.fetch_add(1, Ordering::Relaxed);
        let one = |of: &Vec<Server>| of.get(turn % of.len().max(1)).cloned();
        let list: Option<Vec<Server>> = known.as_ref()?.of.iter().map(one).collect();
        Some((replicas, servers.instead(list?)))
    }
}
