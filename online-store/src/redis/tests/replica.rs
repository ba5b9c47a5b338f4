//! Reading from replicas: they are asked, and primaries where they are not there.

use std::time::{Duration, Instant};

use harness::{Redis, RedisCluster, Reply};
use model::WriteMode;

use super::protocol_cluster::nodes;
use super::{config, connect, impatient};
use crate::conformance::{PROJECT, batch, entity_key, row, view};
use crate::{Fetch, Fields, OnlineStore};

const NANOS: i64 = 1_700_000_000_000_000_000;
const ENTITIES: u32 = 50;

async fn write(store: &OnlineStore) {
    let view = store.prepare(&view("one", 1), &WriteMode::default()).await.expect("it is there");
    let rows: Vec<_> = (0..ENTITIES).map(|entity| row(entity, NANOS, 1, 1)).collect();
    let batch = batch(&rows, 1, store.key_suffix(PROJECT));
    store.write(&view, batch).await.expect("rows are written");
}

/// Entities of which something is found.
async fn found(store: &OnlineStore) -> usize {
    let fields = Fields::new(vec![view("one", 1)]);
    let suffix = store.key_suffix(PROJECT);
    let keys: Vec<_> = (0..ENTITIES).map(|entity| entity_key(entity, suffix)).collect();
    let groups = [Fetch { fields: &fields, keys: &keys }];
    let fetched = store.fetch(&groups).await.expect("rows are read");
    fetched[0].iter().filter(|row| row.cell(1).is_some()).count()
}

/// Times that a server was asked for fields of a hash.
fn reads(server: &Redis) -> u64 {
    let Ok(Reply::Bulk(info)) = server.command(&["INFO", "commandstats"]) else {
        panic!("it answers with a text");
    };
    let info = String::from_utf8_lossy(&info).into_owned();
    let line = info.lines().find_map(|line| line.strip_prefix("cmdstat_hmget:calls="));
    let calls = line.and_then(|line| line.split(',').next());
    calls.map_or(0, |calls| calls.parse().expect("a number"))
}

#[tokio::test]
async fn a_replica_is_read_and_its_primary_when_it_is_gone() {
    let (primary, replica) = (Redis::start().expect("one"), Redis::start().expect("another"));
    let port = primary.port().to_string();
    replica.command(&["REPLICAOF", "127.0.0.1", &port]).expect("it follows");
    let store = connect(config(&primary), impatient()).await.expect("it lets us in");
    let store = store.reading_replicas();
    write(&store).await;
    primary.await_synced(&replica).expect("it catches up");
    assert_eq!(found(&store).await, ENTITIES as usize);
    assert_eq!((reads(&primary), reads(&replica)), (0, u64::from(ENTITIES)));
    replica.kill();
    assert_eq!(found(&store).await, ENTITIES as usize, "the primary has them as well");
    assert_eq!(reads(&primary), u64::from(ENTITIES));
}

#[tokio::test]
async fn replicas_of_a_cluster_are_read() {
    let cluster = RedisCluster::start_with(1, &[]).expect("a cluster with replicas");
    let store = connect(nodes(&cluster), impatient()).await.expect("it lets us in");
    let store = store.reading_replicas();
    write(&store).await;
    let begun = Instant::now();
    // Replicas may need a moment to have all.
    while found(&store).await < ENTITIES as usize {
        assert!(begun.elapsed() < Duration::from_secs(20), "replicas never catch up");
    }
    let total: u64 = cluster.nodes().iter().map(reads).sum();
    assert!(total >= u64::from(ENTITIES), "{total}");
}

#[tokio::test]
async fn a_primary_without_replicas_is_read() {
    let primary = Redis::start().expect("a server");
    let store = connect(config(&primary), impatient()).await.expect("it lets us in");
    let store = store.reading_replicas();
    write(&store).await;
    assert_eq!(found(&store).await, ENTITIES as usize);
    assert_eq!(reads(&primary), u64::from(ENTITIES));
}
