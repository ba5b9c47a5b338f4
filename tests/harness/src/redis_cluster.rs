//! A Redis Cluster of a test's own: several servers on one machine.
//!
//! Put together by the commands that `redis-cli --cluster create` sends, so that a test may also
//! stop half-way: a slot in the middle of a move, a primary that is gone.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::redis::Redis;
use crate::resp::Reply;
use crate::tls::Certificates;

/// Slots of a cluster.
const SLOTS: usize = 16_384;
/// How long nodes may take to agree. They take three seconds, of which two are a fixed delay after
/// a start; the rest is for a machine that compiles on every core at the same time.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often nodes are asked whether they agree.
const POLL: Duration = Duration::from_millis(20);
/// Milliseconds until a node that is silent counts as gone: short, because a failover waits for it.
const NODE_TIMEOUT: &str = "1000";

/// A cluster of three primaries on loopback ports, with or without replicas.
///
/// It ends when the value is dropped, and when the test process dies in any way.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<Redis>,
    primaries: usize,
}

impl RedisCluster {
    /// Starts three primaries without replicas.
    ///
    /// # Errors
    /// When a server does not come up or the servers do not find each other.
    pub fn start() -> Result<Self> {
        Self::start_with(0, &[])
    }

    /// Starts three primaries with `replicas` each, all with further options.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with(replicas: usize, arguments: &[&str]) -> Result<Self> {
        let arguments: Vec<String> = arguments.iter().map(|&word| word.to_owned()).collect();
        Self::join(3, replicas, &arguments)
    }

    /// Starts three primaries that speak TLS, to each other as well.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_tls(certificates: &Certificates) -> Result<Self> {
        let mut arguments = certificates.redis_arguments(false);
        arguments.extend(["--tls-cluster", "yes", "--tls-replication", "yes"].map(str::to_owned));
        Self::join(3, 0, &arguments)
    }

    /// The servers; first the primaries of the start, then their replicas, in turn.
    #[must_use]
    pub fn nodes(&self) -> &[Redis] {
        &self.nodes
    }

    /// The ports of all servers: those for TLS where the cluster speaks that.
    #[must_use]
    pub fn ports(&self) -> Vec<u16> {
        self.nodes.iter().map(Redis::peer_port).collect()
    }

    /// The nodes as Feast's `connection_string` lists them.
    #[must_use]
    pub fn connection_string(&self) -> String {
        let nodes: Vec<String> =
            self.ports().iter().map(|port| format!("127.0.0.1:{port}")).collect();
        nodes.join(",")
    }

    /// The slots as a node tells them: first, last and the primary's port of each range.
    ///
    /// # Errors
    /// When the node does not answer.
    pub fn slots(&self, node: usize) -> Result<Vec<(u16, u16, u16)>> {
        let reply = self.nodes[node].command(&["CLUSTER", "SLOTS"])?;
        let mut ranges: Vec<_> =
            reply.items().context("no list of slots")?.iter().map(range).collect::<Result<_>>()?;
        ranges.sort_unstable();
        Ok(ranges)
    }

    /// The primary that holds a slot, as the first node that runs tells it.
    ///
    /// # Errors
    /// When no node answers, or nobody holds the slot.
    pub fn owner(&self, slot: u16) -> Result<usize> {
        let asked = self.running().next().context("every node is gone")?;
        let ranges = self.slots(asked)?;
        let (.., port) = ranges
            .into_iter()
            .find(|(first, last, _)| (*first..=*last).contains(&slot))
            .with_context(|| format!("nobody holds slot {slot}"))?;
        self.nodes
            .iter()
            .position(|node| node.port() == port)
            .with_context(|| format!("slot {slot} is with port {port}, which is nobody's"))
    }

    /// Begins to move a slot: what is not there yet is answered with `ASK` from now on.
    ///
    /// # Errors
    /// When a node does not answer or refuses.
    pub fn begin_move(&self, slot: u16, to: usize) -> Result<()> {
        let from = self.owner(slot)?;
        let (slot, from_id, to_id) = (slot.to_string(), self.id(from)?, self.id(to)?);
        self.ok(to, &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id])?;
        self.ok(from, &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id])
    }

    /// Moves the keys of a slot whose move has begun; gives how many there were.
    ///
    /// # Errors
    /// When a node does not answer or refuses.
    pub fn move_keys(&self, slot: u16, to: usize) -> Result<usize> {
        let from = self.owner(slot)?;
        let text = slot.to_string();
        let mut moved = 0;
        loop {
            let reply = self.nodes[from].command(&["CLUSTER", "GETKEYSINSLOT", &text, "100"])?;
            let keys = reply.items().context("no list of keys")?;
            if keys.is_empty() {
                return Ok(moved);
            }
            let port = self.nodes[to].peer_port().to_string();
            let head: [&[u8]; 7] =
                [b"MIGRATE", b"127.0.0.1", port.as_bytes(), b"", b"0", b"30000", b"KEYS"];
            let keys = keys.iter().filter_map(Reply::bytes);
            let command: Vec<&[u8]> = head.into_iter().chain(keys).collect();
            moved += command.len() - head.len();
            let reply = self.nodes[from].command(&command)?;
            ensure!(reply == Reply::Status("OK".to_owned()), "keys do not move: {reply:?}");
        }
    }

    /// Ends the move of a slot: its old owner answers `MOVED` from now on.
    ///
    /// # Errors
    /// When a node does not answer or refuses.
    pub fn end_move(&self, slot: u16, to: usize) -> Result<()> {
        let (text, id) = (slot.to_string(), self.id(to)?);
        // The new owner first, so that the slot is never nobody's.
        let others = (0..self.primaries).filter(|&node| node != to);
        for node in std::iter::once(to).chain(others) {
            self.ok(node, &["CLUSTER", "SETSLOT", &text, "NODE", &id])?;
        }
        Ok(())
    }

    /// Moves a slot with its keys; gives how many there were.
    ///
    /// # Errors
    /// When a node does not answer or refuses.
    pub fn move_slot(&self, slot: u16, to: usize) -> Result<usize> {
        self.begin_move(slot, to)?;
        let moved = self.move_keys(slot, to)?;
        self.end_move(slot, to)?;
        Ok(moved)
    }

    /// Kills a primary and waits until its replica is in its place and every node knows.
    ///
    /// # Errors
    /// When no replica takes over in time.
    pub fn fail_over(&self, primary: usize) -> Result<()> {
        self.nodes[primary].kill();
        self.await_replica(primary)
    }

    /// Waits until a primary's replica is in its place and every other node knows, whatever has
    /// become of the primary.
    ///
    /// # Errors
    /// When no replica takes over in time.
    pub fn await_replica(&self, primary: usize) -> Result<()> {
        let replica = self.primaries + primary;
        ensure!(replica < self.nodes.len(), "the cluster has no replicas");
        let port = self.nodes[replica].port();
        self.wait("the replica does not take over", |node| {
            // It may be there and say nothing.
            Ok(node == primary
                || info(&self.nodes[node], "cluster_state")? == "ok"
                    && self.slots(node)?.iter().any(|(.., owner)| *owner == port))
        })
    }

    fn join(primaries: usize, replicas: usize, arguments: &[String]) -> Result<Self> {
        let mut arguments = arguments.to_vec();
        arguments.extend(["--cluster-node-timeout".to_owned(), NODE_TIMEOUT.to_owned()]);
        // Redis waits five seconds for more replicas before it sends its data to the first.
        arguments.extend(["--repl-diskless-sync-delay", "0"].map(str::to_owned));
        let started = (0..primaries * (1 + replicas)).map(|_| Redis::start_node(&arguments));
        let (nodes, buses): (Vec<_>, Vec<_>) =
            started.collect::<Result<Vec<_>>>()?.into_iter().unzip();
        let cluster = Self { nodes, primaries };
        for node in 0..primaries {
            let (first, last) = (SLOTS * node / primaries, SLOTS * (node + 1) / primaries - 1);
            let epoch = (node + 1).to_string();
            cluster.ok(node, &["CLUSTER", "SET-CONFIG-EPOCH", &epoch])?;
            let slots = [first.to_string(), last.to_string()];
            cluster.ok(node, &["CLUSTER", "ADDSLOTSRANGE", &slots[0], &slots[1]])?;
        }
        for (node, bus) in cluster.nodes.iter().zip(&buses).skip(1) {
            let (port, bus) = (node.peer_port().to_string(), bus.to_string());
            cluster.ok(0, &["CLUSTER", "MEET", "127.0.0.1", &port, &bus])?;
        }
        let all = cluster.nodes.len().to_string();
        cluster.wait("the nodes do not find each other", |node| {
            let node = &cluster.nodes[node];
            Ok(info(node, "cluster_known_nodes")? == all && info(node, "cluster_state")? == "ok")
        })?;
        cluster.replicate()?;
        Ok(cluster)
    }

    fn replicate(&self) -> Result<()> {
        let replicas = self.primaries..self.nodes.len();
        for node in replicas.clone() {
            let primary = self.id(node % self.primaries)?;
            self.ok(node, &["CLUSTER", "REPLICATE", &primary])?;
        }
        self.wait("the replicas do not follow", |node| {
            if !replicas.contains(&node) {
                return Ok(true);
            }
            let Reply::Bulk(info) = self.nodes[node].command(&["INFO", "replication"])? else {
                bail!("no information on replication");
            };
            Ok(String::from_utf8_lossy(&info).contains("master_link_status:up"))
        })
    }

    fn running(&self) -> impl Iterator<Item = usize> {
        (0..self.nodes.len()).filter(|&node| self.nodes[node].pid().is_some())
    }

    /// Waits until something holds of every node that runs.
    fn wait(&self, complaint: &str, holds: impl Fn(usize) -> Result<bool>) -> Result<()> {
        let begun = Instant::now();
        'again: while begun.elapsed() < PATIENCE {
            for node in self.running() {
                if !holds(node)? {
                    thread::sleep(POLL);
                    continue 'again;
                }
            }
            return Ok(());
        }
        bail!("{complaint} within {} s", PATIENCE.as_secs())
    }

    fn id(&self, node: usize) -> Result<String> {
        let reply = self.nodes[node].command(&["CLUSTER", "MYID"])?;
        Ok(String::from_utf8_lossy(reply.bytes().context("a node has no id")?).into_owned())
    }

    fn ok(&self, node: usize, command: &[&str]) -> Result<()> {
        let reply = self.nodes[node].command(command)?;
        ensure!(reply == Reply::Status("OK".to_owned()), "`{}`: {reply:?}", command.join(" "));
        Ok(())
    }
}

/// One value of `CLUSTER INFO`.
fn info(node: &Redis, name: &str) -> Result<String> {
    let Reply::Bulk(info) = node.command(&["CLUSTER", "INFO"])? else {
        bail!("no information on the cluster");
    };
    let info = String::from_utf8_lossy(&info);
    let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    Ok(line.with_context(|| format!("no `{name}`"))?.trim().to_owned())
}

fn range(reply: &Reply) -> Result<(u16, u16, u16)> {
    let [first, last, primary, ..] = reply.items().context("no range")? else {
        bail!("a range without a primary");
    };
    let number = |reply: &Reply| match reply {
        Reply::Integer(number) => Ok(u16::try_from(*number)?),
        other => bail!("no number: {other:?}"),
    };
    let port = primary.items().and_then(|items| items.get(1)).context("a primary without port")?;
    Ok((number(first)?, number(last)?, number(port)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `foo`'s slot, from the specification.
    const SLOT_OF_FOO: u16 = 12_182;

    #[test]
    fn a_moved_slot_takes_its_keys_along() -> Result<()> {
        let cluster = RedisCluster::start()?;
        let from = cluster.owner(SLOT_OF_FOO)?;
        assert_eq!(from, 2);
        cluster.nodes()[from].command(&["SET", "foo", "1"])?;
        cluster.begin_move(SLOT_OF_FOO, 0)?;
        let Reply::Error(ask) = cluster.nodes()[from].command(&["GET", "{foo}.b"])? else {
            bail!("it has the key");
        };
        assert!(ask.starts_with("ASK 12182 127.0.0.1:"), "{ask}");
        assert_eq!(cluster.move_keys(SLOT_OF_FOO, 0)?, 1);
        cluster.end_move(SLOT_OF_FOO, 0)?;
        let Reply::Error(moved) = cluster.nodes()[from].command(&["GET", "foo"])? else {
            bail!("it has the key");
        };
        assert_eq!(moved, format!("MOVED 12182 127.0.0.1:{}", cluster.nodes()[0].port()));
        assert_eq!(cluster.nodes()[0].command(&["GET", "foo"])?, Reply::Bulk(b"1".to_vec()));
        assert_eq!(cluster.owner(SLOT_OF_FOO)?, 0);
        Ok(())
    }

    #[test]
    fn a_replica_takes_the_place_of_a_killed_primary() -> Result<()> {
        let cluster = RedisCluster::start_with(1, &[])?;
        assert_eq!(cluster.owner(0)?, 0);
        cluster.fail_over(0)?;
        assert_eq!(cluster.owner(0)?, 3);
        let answer = cluster.nodes()[3].command(&["SET", "{bar}", "1"])?;
        // `bar` is in slot 5061, the last third of the first primary's.
        assert_eq!(answer, Reply::Status("OK".to_owned()));
        Ok(())
    }

    #[test]
    fn nodes_that_speak_tls_tell_the_ports_for_it() -> Result<()> {
        let certificates = Certificates::make()?;
        let cluster = RedisCluster::start_tls(&certificates)?;
        assert!(cluster.nodes().iter().all(|node| node.tls_port().is_some()));
        assert!(cluster.ports().iter().zip(cluster.nodes()).all(|(tls, node)| *tls != node.port()));
        assert_eq!(cluster.owner(0)?, 0);
        Ok(())
    }
}
