//! A cluster: its map, slots that move, primaries that go.

use std::collections::BTreeSet;

use harness::RedisCluster;

use super::super::Servers;
use super::*;
use crate::redis::reply::Failure;

/// `foo`'s slot, from the specification; the third primary's at first.
const SLOT_OF_FOO: u16 = 12_182;

fn seeds(ports: impl IntoIterator<Item = u16>) -> RedisConfig {
    config(RedisServers::Cluster(nodes(ports)))
}

async fn read(connection: &Connection, key: &'static str) -> Result<Value, Failure> {
    let link = connection.link();
    connection.command(&link, "GET", vec![key.into()]).await
}

fn ports(connection: &Connection) -> Vec<u16> {
    connection.servers().list().iter().map(|server| server.port).collect()
}

/// A key of every slot there is, by counting.
fn keys() -> Vec<String> {
    let mut slots = vec![None; 16_384];
    let mut missing = slots.len();
    for number in 0.. {
        let key = format!("k{number}");
        let slot = &mut slots[usize::from(Servers::slot(key.as_bytes()))];
        if slot.is_none() {
            *slot = Some(key);
            missing -= 1;
        }
        if missing == 0 {
            break;
        }
    }
    slots.into_iter().flatten().collect()
}

#[tokio::test]
async fn the_map_is_what_the_cluster_tells() {
    let cluster = RedisCluster::start().expect("a cluster");
    let connection = open(&seeds(cluster.ports().into_iter().take(1))).await.expect("open");
    let servers = connection.servers();
    assert!(servers.is_cluster());
    let known: BTreeSet<u16> = ports(&connection).into_iter().collect();
    assert_eq!(known, cluster.ports().into_iter().collect());
    let ranges = cluster.slots(1).expect("it tells its slots");
    for (slot, key) in (0..16_384).zip(keys()) {
        let (.., told) = ranges
            .iter()
            .find(|(first, last, _)| (*first..=*last).contains(&slot))
            .expect("every slot has a primary");
        assert_eq!(servers.list()[servers.owner(key.as_bytes())].port, *told, "slot {slot}");
    }
}

#[tokio::test]
async fn commands_reach_the_server_that_is_named() {
    let cluster = RedisCluster::start().expect("a cluster");
    let connection = open(&seeds(cluster.ports())).await.expect("open");
    let servers = connection.servers();
    for (place, server) in servers.list().iter().enumerate() {
        let get = vec!["GET".into(), "port".into()];
        let answer = connection.command_on(&servers, place, "CONFIG", get).await.expect("answer");
        let pair: Vec<String> = answer.convert().expect("name and value");
        assert_eq!(pair, ["port", &server.port.to_string()]);
    }
    let script = bytes::Bytes::from_static(b"return 1");
    let sha = connection.load(&script).await.expect("every primary takes it");
    for node in cluster.nodes() {
        let loaded: [&[u8]; 3] = [b"SCRIPT", b"EXISTS", &sha];
        let there = node.command(&loaded).expect("the node answers");
        assert_eq!(there, Reply::Array(vec![Reply::Integer(1)]));
    }
    connection.check_writable().await.expect("all are primaries");
    let identities = connection.identities().await.expect("they may be asked");
    let addresses = servers.list().iter().map(Server::to_string);
    assert!(identities.keys().cloned().eq(addresses), "{identities:?}");
    assert_eq!(identities.values().collect::<BTreeSet<_>>().len(), 3);
}

#[tokio::test]
async fn a_key_on_its_way_is_read_and_a_moved_slot_is_in_the_next_map() {
    let cluster = RedisCluster::start().expect("a cluster");
    let connection = open(&seeds(cluster.ports())).await.expect("open");
    let seen = connection.servers();
    cluster.nodes()[2].command(&["SET", "foo", "1"]).expect("the node answers");
    cluster.begin_move(SLOT_OF_FOO, 0).expect("it may move");
    let foo = |answer: Value| answer.as_string();
    let answer = read(&connection, "foo").await.expect("it has not left");
    assert_eq!(foo(answer).as_deref(), Some("1"));
    assert_eq!(cluster.move_keys(SLOT_OF_FOO, 0).expect("the key moves"), 1);
    // Its owner says ASK now.
    let answer = read(&connection, "foo").await.expect("it is where the owner says");
    assert_eq!(foo(answer).as_deref(), Some("1"));
    cluster.end_move(SLOT_OF_FOO, 0).expect("the move ends");
    // And now MOVED.
    let failure = read(&connection, "foo").await.expect_err("the map is old");
    assert_eq!(failure.remedy, Remedy::Reconnect);
    let moved = Trouble::Moved;
    assert!(matches!(&failure.error, Error::Unavailable { trouble, .. } if *trouble == moved));
    connection.refresh(&seen).await.expect("the cluster is there");
    let answer = read(&connection, "foo").await.expect("the map is new");
    assert_eq!(foo(answer).as_deref(), Some("1"));
    let now = connection.servers();
    let owner = |servers: &Servers| servers.list()[servers.owner(b"foo")].port;
    assert_eq!(owner(&seen), cluster.nodes()[2].port());
    assert_eq!(owner(&now), cluster.nodes()[0].port());
    assert_eq!(now.generation(), seen.generation() + 1);
    connection.refresh(&seen).await.expect("nothing is to be done");
    assert_eq!(connection.servers().generation(), now.generation());
}

#[tokio::test]
async fn a_replica_in_a_primarys_place_is_another_server() {
    let cluster = RedisCluster::start_with(1, &[]).expect("a cluster");
    let connection = open(&seeds(cluster.ports().into_iter().take(1))).await.expect("open");
    let seen = connection.servers();
    let before = connection.identities().await.expect("they may be asked");
    assert_eq!(seen.list().len(), 3, "replicas take no writes");
    // The one node that the configuration names is the one that goes.
    cluster.fail_over(0).expect("the replica takes over");
    connection.refresh(&seen).await.expect("the others are still known");
    let after = connection.identities().await.expect("they may be asked");
    let (gone, come) = (cluster.nodes()[0].port(), cluster.nodes()[3].port());
    assert!(before.contains_key(&format!("127.0.0.1:{gone}")));
    assert!(!after.contains_key(&format!("127.0.0.1:{gone}")));
    assert!(after.contains_key(&format!("127.0.0.1:{come}")));
    let kept = |port: u16| {
        let address = format!("127.0.0.1:{port}");
        before.contains_key(&address) && before.get(&address) == after.get(&address)
    };
    assert!(kept(cluster.nodes()[1].port()) && kept(cluster.nodes()[2].port()));
    // Who still holds the old map is told to look anew.
    let place = seen.list().iter().position(|server| server.port == gone).expect("it was known");
    let failure = connection.command_on(&seen, place, "PING", Vec::new()).await;
    assert_eq!(failure.expect_err("it is gone").remedy, Remedy::Reconnect);
}

#[tokio::test]
async fn a_cluster_that_is_down_is_named() {
    let cluster = RedisCluster::start().expect("a cluster");
    let connection = open(&seeds(cluster.ports())).await.expect("open");
    let seen = connection.servers();
    cluster.nodes()[1].kill();
    let failure = connection.refresh(&seen).await.expect_err("a primary is gone");
    assert_eq!(failure.remedy, Remedy::Reconnect);
    assert!(failure.error.is_retryable(), "{}", chain(&failure.error));
}

#[tokio::test]
async fn a_server_outside_a_cluster_is_refused() {
    let server = Redis::start().expect("a Redis server");
    let error = open(&seeds([server.port()])).await.expect_err("it is no cluster");
    assert!(matches!(error, Error::NotACluster { .. }), "{error:?}");
    assert!(error.to_string().contains("redis_type: redis"), "{error}");
    let alone = Redis::start_with(&["--cluster-enabled", "yes"]).expect("a Redis server");
    let error = open(&seeds([alone.port()])).await.expect_err("nobody has a slot");
    let Error::Exhausted { source, .. } = error else { panic!("{error:?}") };
    let down = Trouble::ClusterDown;
    assert!(matches!(&*source, Error::Unavailable { trouble, .. } if *trouble == down));
}

#[tokio::test]
async fn a_cluster_with_tls_is_reached_by_the_ports_for_it() {
    let made = Certificates::make().expect("certificates");
    let cluster = RedisCluster::start_tls(&made).expect("a cluster");
    let config = RedisConfig { tls: Some(certificate_of(&made)), ..seeds(cluster.ports()) };
    let connection = open(&config).await.expect("open");
    let servers = connection.servers();
    let known: BTreeSet<u16> = ports(&connection).into_iter().collect();
    assert_eq!(known, cluster.ports().into_iter().collect());
    for server in servers.list() {
        let mut socket = connection.dial(server, Role::Primary).await.expect("it speaks TLS");
        assert_eq!(say(&mut socket, "PING").await, "+PONG");
    }
    let other = RedisTls { ca_certs: Some(made.other_authority()), ..certificate_of(&made) };
    let config = RedisConfig { tls: Some(other), ..seeds(cluster.ports()) };
    let error = open(&config).await.expect_err("not that authority");
    assert!(chain(&error).contains("`ssl_ca_certs`"), "{}", chain(&error));
}
