//! Servers of the online store that end or hang under load, and others that take their place.
//!
//! Whoever asks meanwhile is answered rightly or told to come again, soon; in the end everybody is
//! answered, by the same process. Values come from the entity's number, so that one in the wrong
//! place is seen, and one is changed at the end, so that an old copy is seen as well.

use std::ops::RangeInclusive;
use std::time::Instant;

use ::tests::repo::{Repo, configuration, redis_store};
use ::tests::wait::until;
use anyhow::{Context, Result, bail, ensure};
use feast::value::Value as FeastValue;
use harness::{Link, Redis, RedisCluster, RedisSentinel, Reply};
use serde_json::{Value, json};

use crate::caller::Caller;
use crate::load::{Load, Question, Told};
use crate::server::{Server, signal};
use crate::store::{Row, put, redis_key};
use crate::svc;
use crate::table::Table;

const VIEW: &str = "driver_stats";
/// Entities, of which each caller asks for a part; in a cluster every primary has some.
const DRIVERS: RangeInclusive<i64> = 5_000..=5_059;
const CALLERS: usize = 4;
/// So many right answers, one after the other, show that an answer is no luck.
const ENOUGH: usize = 50;

fn row(id: i64, trips: i64) -> Row {
    Row {
        view: VIEW.to_owned(),
        keys: vec![svc::driver_key(id)],
        // The middle of a second that is long gone.
        event_micros: 1_795_421_022_500_000 + trips,
        values: vec![
            ("avg_daily_trips".to_owned(), FeastValue::Int64(trips)),
            // Exact in a double, and as text.
            ("conv_rate".to_owned(), FeastValue::Double(trips as f64 / 4.0)),
        ],
    }
}

fn trips(id: i64) -> i64 {
    id * 7 + 1
}

/// A server and who asks it.
struct Served {
    server: Server,
    caller: Caller,
    _repo: Repo,
}

impl Served {
    /// One on an online store that holds the rows already.
    fn start(store: Value, settings: &Value) -> Result<Self> {
        let project = svc::project();
        let repo = Repo::with_project(&project, store.clone())?;
        let mut all = configuration(&project.name, store);
        all["tidegate"] = json!({ "serve": settings });
        repo.configure(&all)?;
        let server = Server::start(&repo)?;
        let caller = Caller::new(server.http())?;
        Ok(Self { server, caller, _repo: repo })
    }

    /// What a caller asks of some entities; the answer is held to what was stored.
    fn question(&self, ids: &[i64]) -> Result<Question> {
        let features = ["avg_daily_trips", "conv_rate"].map(|name| format!("{VIEW}:{name}"));
        let body = json!({ "features": features, "entities": { "driver_id": ids } });
        let answer = self.caller.features(&body)?;
        ensure!(answer.status == 200, "{answer:?}");
        let table = Table::read(&answer.body)?;
        let texts = |of: &dyn Fn(i64) -> Value| -> Vec<String> {
            ids.iter().map(|id| of(*id).to_string()).collect()
        };
        assert_eq!(table.names(), ["driver_id", "avg_daily_trips", "conv_rate"]);
        assert_eq!(table.columns[1].values, texts(&|id| json!(trips(id))));
        assert_eq!(table.columns[2].values, texts(&|id| json!(trips(id) as f64 / 4.0)));
        Ok(Question { body, answer })
    }

    /// Some callers, who together ask for these entities.
    fn load(&self, ids: &[i64]) -> Result<Load> {
        let parts = ids.chunks(ids.len().div_ceil(CALLERS));
        let questions = parts.map(|part| self.question(part)).collect::<Result<_>>()?;
        let load = Load::start(self.server.http(), questions)?;
        load.until_answered("the load is served", ENOUGH)?;
        Ok(load)
    }

    /// All are answered again, and the server is ready.
    fn is_well(&self, load: &Load) -> Result<()> {
        load.until_answered("everybody is served again", ENOUGH)
            .with_context(|| self.server.log())?;
        until("it is ready", || Ok(self.caller.get("/readyz")?.status == 200))
    }

    /// What is stored from now on is what is read; `store` puts it where it belongs.
    fn reads_what_is_stored(&self, id: i64, store: impl Fn(&Row) -> Result<()>) -> Result<()> {
        let changed = -1_000 - id;
        store(&row(id, changed))?;
        let feature = format!("{VIEW}:avg_daily_trips");
        let body = json!({ "features": [feature], "entities": { "driver_id": [id] } });
        until("what was stored since then is served", || {
            let answer = self.caller.features(&body)?;
            ensure!(answer.status == 200, "{answer:?}");
            Ok(Table::read(&answer.body)?.columns[1].values == [changed.to_string()])
        })
    }
}

/// How a server stops answering.
#[derive(Clone, Copy, Debug)]
enum End {
    /// Its process is killed, so its connections break.
    Killed,
    /// Its process is stopped: connections stay, and nothing is answered.
    Hung,
}

impl End {
    fn befall(self, server: &Redis) -> Result<()> {
        match self {
            Self::Killed => server.kill(),
            Self::Hung => signal(server.pid().context("it runs")?, "STOP")?,
        }
        Ok(())
    }
}

/// Says what was seen, for whoever asks how long a failover takes.
#[expect(clippy::print_stderr, reason = "what an outage took is worth knowing also when it passes")]
fn report(what: &str, begun: Instant, told: &[Told]) {
    for told in told {
        let Told { answers, refusals, longest, refused_for, .. } = told;
        eprintln!(
            "{what}: {answers} answers, {refusals} refusals within {refused_for:?}, the longest \
             took {longest:?}; over after {:?}",
            begun.elapsed()
        );
    }
}

fn refusals(told: &[Told]) -> usize {
    told.iter().map(|told| told.refusals).sum()
}

#[test]
fn sentinels_replace_a_primary_that_is_killed_under_load() -> Result<()> {
    sentinels_replace(End::Killed)
}

#[test]
fn sentinels_replace_a_primary_that_hangs_under_load() -> Result<()> {
    sentinels_replace(End::Hung)
}

fn sentinels_replace(end: End) -> Result<()> {
    let made = RedisSentinel::start_with(3, None)?;
    let [primary, replica] = made.servers();
    DRIVERS.into_iter().try_for_each(|id| put(primary, svc::PROJECT, &row(id, trips(id))))?;
    primary.await_synced(replica)?;
    let served = Served::start(
        json!({
            "type": "redis",
            "redis_type": "redis_sentinel",
            "connection_string": made.connection_string(),
        }),
        &json!({}),
    )?;
    let load = served.load(&DRIVERS.collect::<Vec<_>>())?;
    let begun = Instant::now();
    end.befall(primary)?;
    made.await_replica()?;
    served.is_well(&load)?;
    let told = load.end()?;
    report(&format!("sentinels, {end:?}"), begun, &told);
    ensure!(refusals(&told) > 0, "nobody met the failover: {told:?}");
    served.reads_what_is_stored(*DRIVERS.start(), |row| put(replica, svc::PROJECT, row))
}

/// The node that holds an entity.
fn node_of(cluster: &RedisCluster, asked: usize, id: i64) -> Result<usize> {
    let key = redis_key(svc::PROJECT, &[svc::driver_key(id)])?;
    let words: [&[u8]; 3] = [b"CLUSTER", b"KEYSLOT", &key];
    let Reply::Integer(slot) = cluster.nodes()[asked].command(&words)? else {
        bail!("no slot of a key");
    };
    let (.., port) = cluster
        .slots(asked)?
        .into_iter()
        .find(|(first, last, _)| (i64::from(*first)..=i64::from(*last)).contains(&slot))
        .context("somebody holds it")?;
    let node = cluster.nodes().iter().position(|node| node.port() == port);
    node.context("it is one of ours")
}

#[test]
fn a_cluster_replaces_a_primary_that_is_killed_under_load() -> Result<()> {
    a_cluster_replaces(End::Killed)
}

#[test]
fn a_cluster_replaces_a_primary_that_hangs_under_load() -> Result<()> {
    a_cluster_replaces(End::Hung)
}

fn a_cluster_replaces(end: End) -> Result<()> {
    // What the others hold is served on by them; Redis would rather have all or nothing.
    let cluster = RedisCluster::start_with(1, &["--cluster-require-full-coverage", "no"])?;
    let (mut lost, mut kept) = (Vec::new(), Vec::new());
    for id in DRIVERS {
        let node = node_of(&cluster, 1, id)?;
        put(&cluster.nodes()[node], svc::PROJECT, &row(id, trips(id)))?;
        if node == 0 { lost.push(id) } else { kept.push(id) }
    }
    let nodes = cluster.nodes();
    (0..3).try_for_each(|node| nodes[node].await_synced(&nodes[node + 3]))?;
    ensure!(lost.len() > CALLERS && kept.len() > CALLERS, "{} and {}", lost.len(), kept.len());
    let served = Served::start(
        json!({
            "type": "redis",
            "redis_type": "redis_cluster",
            "connection_string": cluster.connection_string(),
        }),
        &json!({}),
    )?;
    let (of_lost, of_kept) = (served.load(&lost)?, served.load(&kept)?);
    let begun = Instant::now();
    end.befall(&cluster.nodes()[0])?;
    cluster.await_replica(0)?;
    served.is_well(&of_lost)?;
    served.is_well(&of_kept)?;
    let (of_lost, of_kept) = (of_lost.end()?, of_kept.end()?);
    report(&format!("cluster, {end:?}, its keys"), begun, &of_lost);
    report(&format!("cluster, {end:?}, other keys"), begun, &of_kept);
    ensure!(refusals(&of_lost) > 0, "nobody met the failover: {of_lost:?}");
    ensure!(refusals(&of_kept) == 0, "who is served by others is none the worse: {of_kept:?}");
    let node = node_of(&cluster, 1, lost[0])?;
    assert_eq!(node, 3, "the replica holds what was lost");
    served.reads_what_is_stored(lost[0], |row| put(&cluster.nodes()[node], svc::PROJECT, row))
}

#[test]
fn a_replica_that_is_killed_under_load_is_done_without_and_comes_back() -> Result<()> {
    a_replica_is_done_without(End::Killed)
}

#[test]
fn a_replica_that_hangs_under_load_is_done_without_and_comes_back() -> Result<()> {
    a_replica_is_done_without(End::Hung)
}

/// How often a server has been read.
fn reads(server: &Redis) -> Result<u64> {
    let reply = server.command(&["INFO", "commandstats"])?;
    let text = String::from_utf8_lossy(reply.bytes().context("no statistics")?).into_owned();
    let calls = text.split_once("cmdstat_hmget:calls=").map_or("0", |(_, rest)| rest);
    Ok(calls.split(',').next().unwrap_or_default().parse()?)
}

fn a_replica_is_done_without(end: End) -> Result<()> {
    // Redis waits five seconds for more replicas before it sends its data to the first.
    let primary = Redis::start_with(&["--repl-diskless-sync-delay", "0"])?;
    let port = primary.port().to_string();
    let replica = Redis::start_with(&["--replicaof", "127.0.0.1", &port])?;
    DRIVERS.into_iter().try_for_each(|id| put(&primary, svc::PROJECT, &row(id, trips(id))))?;
    primary.await_synced(&replica)?;
    let served = Served::start(redis_store(primary.port()), &json!({ "read_from": "replica" }))?;
    let load = served.load(&DRIVERS.collect::<Vec<_>>())?;
    ensure!(reads(&replica)? > ENOUGH as u64 && reads(&primary)? == 0, "the replica is read");
    let begun = Instant::now();
    end.befall(&replica)?;
    until("the primary is read", || Ok(reads(&primary)? > ENOUGH as u64))?;
    served.is_well(&load)?;
    match end {
        End::Killed => replica.restart()?,
        End::Hung => signal(replica.pid().context("it runs")?, "CONT")?,
    }
    let before = reads(&replica)?;
    until("the replica is read again", || Ok(reads(&replica)? > before + ENOUGH as u64))?;
    served.is_well(&load)?;
    let told = load.end()?;
    report(&format!("replica, {end:?}"), begun, &told);
    ensure!(refusals(&told) == 0, "the primary answers in its place: {told:?}");
    served.reads_what_is_stored(*DRIVERS.start(), |row| put(&primary, svc::PROJECT, row))
}

#[test]
fn a_replica_that_has_come_back_empty_is_not_read() -> Result<()> {
    let primary = Redis::start_with(&["--repl-diskless-sync-delay", "0"])?;
    let links = [Link::start(primary.port())?, Link::start(primary.port())?];
    let replicas = links
        .iter()
        .map(|link| {
            let port = link.port().to_string();
            // What it loads its primary's data from is not kept.
            let forgets = ["--rdb-del-sync-files", "yes"];
            Redis::start_with(&[&["--replicaof", "127.0.0.1", &port][..], &forgets].concat())
        })
        .collect::<Result<Vec<_>>>()?;
    DRIVERS.into_iter().try_for_each(|id| put(&primary, svc::PROJECT, &row(id, trips(id))))?;
    replicas.iter().try_for_each(|replica| primary.await_synced(replica))?;
    let served = Served::start(redis_store(primary.port()), &json!({ "read_from": "replica" }))?;
    // One of them is read, and the other one is known.
    let question = served.question(&[*DRIVERS.start()])?;
    let unread = replicas.iter().position(|replica| reads(replica).is_ok_and(|reads| reads == 0));
    let unread = unread.context("one is not read yet")?;
    ensure!(reads(&primary)? == 0, "a replica is read");
    // It starts again, and cannot get its primary's data for now.
    links[unread].hold();
    replicas[unread].restart()?;
    for _ in 0..4 {
        let answer = served.caller.features(&question.body)?;
        ensure!(answer == question.answer, "{answer:?}");
    }
    Ok(())
}
