//! A Redis primary with a replica, and the sentinels that watch them.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::redis::Redis;
use crate::resp::Reply;
use crate::tls::Certificates;

/// The name under which the sentinels know the primary: Feast's default.
const MASTER: &str = "mymaster";
/// How long servers may take to find each other or to agree on a failover. They take two to five
/// seconds; the rest is for a machine that compiles on every core at the same time.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often they are asked.
const POLL: Duration = Duration::from_millis(20);

/// A primary with one replica, watched by sentinels, all on loopback ports.
///
/// It ends when the value is dropped, and when the test process dies in any way.
#[derive(Debug)]
pub struct RedisSentinel {
    servers: [Redis; 2],
    sentinels: Vec<Redis>,
}

impl RedisSentinel {
    /// Starts them with one sentinel.
    ///
    /// # Errors
    /// When a server does not come up or they do not find each other.
    pub fn start() -> Result<Self> {
        Self::start_with(1, None)
    }

    /// Starts servers that speak TLS with each other and with whoever is sent to them by the one
    /// sentinel, which speaks it with them alone.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_tls(certificates: &Certificates) -> Result<Self> {
        // Redis waits five seconds for more replicas before it sends its data to the first.
        let options = ["--tls-replication", "yes", "--repl-diskless-sync-delay", "0"];
        let primary = Redis::start_tls(certificates, false, &options)?;
        let port = primary.tls_port().context("it listens for TLS")?.to_string();
        let follows = [&options[..], &["--replicaof", "127.0.0.1", &port]].concat();
        let replica = Redis::start_tls(certificates, false, &follows)?;
        let options = certificates.redis_arguments(false);
        let mut lines = "tls-replication yes\n".to_owned();
        for option in options.chunks_exact(2) {
            lines += &format!("{} {}\n", option[0].trim_start_matches('-'), option[1]);
        }
        Self { servers: [primary, replica], sentinels: Vec::new() }.watch(1, None, &lines)
    }

    /// Starts them with a number of sentinels, of which more than half must agree. With a password
    /// the servers and the sentinels want it, and know it of each other.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with(sentinels: usize, password: Option<&str>) -> Result<Self> {
        let secret = password.map_or_else(Vec::new, |password| {
            vec!["--requirepass", password, "--masterauth", password]
        });
        // Redis waits five seconds for more replicas before it sends its data to the first.
        let at_once = ["--repl-diskless-sync-delay", "0"];
        let primary = Redis::start_with(&[&at_once[..], &secret].concat())?;
        let port = primary.port().to_string();
        let follows = ["--replicaof", "127.0.0.1", &port];
        let replica = Redis::start_with(&[&at_once[..], &follows, &secret].concat())?;
        let mut lines = String::new();
        if let Some(password) = password {
            lines = format!("sentinel auth-pass {MASTER} {password}\nrequirepass {password}\n");
        }
        let made = Self { servers: [primary, replica], sentinels: Vec::new() };
        made.watch(sentinels, password, &lines)
    }

    /// Starts sentinels, with further lines in their files, once the replica follows.
    fn watch(mut self, sentinels: usize, password: Option<&str>, further: &str) -> Result<Self> {
        self.wait("the replica does not follow", |made| {
            Ok(info(&made.servers[1], password)?.contains("master_link_status:up"))
        })?;
        let (port, quorum) = (self.servers[0].peer_port(), sentinels / 2 + 1);
        let lines = format!(
            "sentinel monitor {MASTER} 127.0.0.1 {port} {quorum}\n\
             sentinel down-after-milliseconds {MASTER} 500\n\
             sentinel failover-timeout {MASTER} 3000\n{further}"
        );
        for _ in 0..sentinels {
            self.sentinels.push(Redis::start_sentinel(&lines)?);
        }
        let others = (sentinels - 1).to_string();
        self.wait("the sentinels do not find the others", |made| {
            for sentinel in &made.sentinels {
                let others_known = told(sentinel, password, "MASTER", "num-other-sentinels")?;
                // Before this a sentinel would not put the replica into the primary's place.
                let link = told(sentinel, password, "REPLICAS", "master-link-status")?;
                if others_known.as_ref() != Some(&others) || link.as_deref() != Some("ok") {
                    return Ok(false);
                }
            }
            Ok(true)
        })?;
        Ok(self)
    }

    /// The primary of the start and its replica.
    #[must_use]
    pub fn servers(&self) -> &[Redis; 2] {
        &self.servers
    }

    /// The sentinels.
    #[must_use]
    pub fn sentinels(&self) -> &[Redis] {
        &self.sentinels
    }

    /// The sentinels as Feast's `connection_string` lists them.
    #[must_use]
    pub fn connection_string(&self) -> String {
        let nodes: Vec<String> =
            self.sentinels.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
        nodes.join(",")
    }

    /// Kills the primary and waits until every sentinel knows the replica in its place. Not for
    /// servers with a password.
    ///
    /// # Errors
    /// When the replica does not take over in time.
    pub fn fail_over(&self) -> Result<()> {
        self.servers[0].kill();
        self.await_replica()
    }

    /// Has the sentinels put the replica into the primary's place while that still runs, and waits
    /// until every sentinel knows. The old primary refuses writes from then on. Not for servers
    /// with a password.
    ///
    /// # Errors
    /// When the replica does not take over in time.
    pub fn switch_over(&self) -> Result<()> {
        let reply = self.sentinels[0].command(&["SENTINEL", "FAILOVER", MASTER])?;
        ensure!(reply == Reply::Status("OK".to_owned()), "no failover: {reply:?}");
        self.await_replica()?;
        // What the sentinels do as well, but only after eight seconds of being sure.
        let port = self.servers[1].peer_port().to_string();
        let reply = self.servers[0].command(&["REPLICAOF", "127.0.0.1", &port])?;
        ensure!(reply == Reply::Status("OK".to_owned()), "it does not follow: {reply:?}");
        Ok(())
    }

    /// Waits until the replica is in the primary's place, and every sentinel knows, whatever has
    /// become of the primary. Not for servers with a password.
    ///
    /// # Errors
    /// When the replica does not take over in time.
    pub fn await_replica(&self) -> Result<()> {
        self.wait("the replica does not take over", |made| {
            let port = made.servers[1].peer_port().to_string();
            let mut known = true;
            for sentinel in &made.sentinels {
                let ask = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER];
                let reply = sentinel.command(&ask)?;
                let told = reply.items().and_then(|items| items.get(1)).and_then(Reply::bytes);
                known &= told == Some(port.as_bytes());
            }
            Ok(known && info(&made.servers[1], None)?.contains("role:master"))
        })
    }

    fn wait(&self, complaint: &str, holds: impl Fn(&Self) -> Result<bool>) -> Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if holds(self)? {
                return Ok(());
            }
            thread::sleep(POLL);
        }
        bail!("{complaint} within {} s", PATIENCE.as_secs())
    }
}

/// `INFO replication` of a server.
fn info(server: &Redis, password: Option<&str>) -> Result<String> {
    let reply = server.command_as(password, &["INFO", "replication"])?;
    Ok(String::from_utf8_lossy(reply.bytes().context("no information")?).into_owned())
}

/// One value of what a sentinel tells of the primary, or of its first replica.
fn told(
    sentinel: &Redis,
    password: Option<&str>,
    whom: &str,
    name: &str,
) -> Result<Option<String>> {
    let reply = sentinel.command_as(password, &["SENTINEL", whom, MASTER])?;
    let items = reply.items().unwrap_or_default();
    let pairs = items.first().and_then(Reply::items).unwrap_or(items);
    let pair = pairs.chunks_exact(2).find(|pair| pair[0].bytes() == Some(name.as_bytes()));
    let value = pair.and_then(|pair| pair[1].bytes());
    Ok(value.map(|value| String::from_utf8_lossy(value).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_sentinels_agree_on_a_failover() -> Result<()> {
        let made = RedisSentinel::start_with(3, None)?;
        assert_eq!(made.connection_string().split(',').count(), 3);
        made.servers()[0].command(&["SET", "k", "1"])?;
        let [primary, replica] = made.servers();
        primary.await_synced(replica)?;
        made.fail_over()?;
        assert_eq!(replica.command(&["GET", "k"])?, Reply::Bulk(b"1".to_vec()));
        assert_eq!(replica.command(&["SET", "k", "2"])?, Reply::Status("OK".to_owned()));
        Ok(())
    }

    #[test]
    fn after_a_switch_the_old_primary_refuses_writes() -> Result<()> {
        let made = RedisSentinel::start()?;
        made.switch_over()?;
        let Reply::Error(refusal) = made.servers()[0].command(&["SET", "k", "1"])? else {
            bail!("it takes writes");
        };
        assert!(refusal.starts_with("READONLY"), "{refusal}");
        Ok(())
    }
}
