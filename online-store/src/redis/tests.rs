//! A real Redis against the rules, its layout, and every way in which it can refuse.

mod protocol;
mod protocol_cluster;
mod replica;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use feast::config::{OnlineStoreConfig, RedisConfig, RedisNode, RedisServers, RedisTls};
use feast::redis_layout::{encode_timestamp, feature_field};
use harness::{Redis, Reply};
use model::{RetryPolicy, WriteCounts, WriteMode};

use crate::conformance::{PROJECT, Row, batch, entity_key, int64, row, tombstone, view};
use crate::{Error, OWN_KEY_PREFIX, OnlineStore, PreparedView, Trouble, WriteLimits};

const SECOND: i64 = 1_000_000_000;

fn one(host: &str, port: u16) -> RedisServers {
    RedisServers::One(RedisNode { host: host.to_owned(), port })
}

pub(in crate::redis) fn config(server: &Redis) -> RedisConfig {
    config_of(one("127.0.0.1", server.port()))
}

pub(in crate::redis) fn config_of(servers: RedisServers) -> RedisConfig {
    RedisConfig {
        servers,
        db: 0,
        username: None,
        password: None,
        tls: None,
        key_ttl_seconds: None,
        skip_dedup: false,
    }
}

/// Limits under which a test of failures is quick.
pub(in crate::redis) fn impatient() -> WriteLimits {
    let millis = Duration::from_millis;
    let retry = RetryPolicy { attempts_max: 3, backoff_first: millis(10), backoff_max: millis(20) };
    WriteLimits { retry, ..WriteLimits::default() }
}

async fn connect(config: RedisConfig, limits: WriteLimits) -> Result<OnlineStore, Error> {
    OnlineStore::connect(&OnlineStoreConfig::Redis(config), limits).await
}

async fn open() -> (OnlineStore, Redis) {
    let server = Redis::start().expect("a Redis server");
    let store = connect(config(&server), WriteLimits::default()).await.expect("it lets us in");
    (store, server)
}

async fn prepared(store: &OnlineStore, name: &str, features: usize) -> PreparedView {
    store
        .prepare(&view(name, features), &WriteMode::default())
        .await
        .expect("the view can be written")
}

async fn write(
    store: &OnlineStore,
    view: &PreparedView,
    rows: &[Row],
) -> Result<WriteCounts, Error> {
    let features = rows.iter().find_map(|row| row.values.as_ref()).map_or(1, Vec::len);
    store.write(view, batch(rows, features, store.key_suffix(PROJECT))).await
}

fn key(entity: u32) -> Vec<u8> {
    entity_key(entity, PROJECT.as_bytes())
}

fn command(server: &Redis, words: &[&str]) -> Reply {
    server.command(words).expect("the server answers")
}

fn of_key(server: &Redis, name: &str, entity: u32) -> Reply {
    server.command(&[name.as_bytes(), &key(entity)]).expect("the server answers")
}

/// All keys of a server, in order.
fn keys(server: &Redis) -> Vec<Vec<u8>> {
    let reply = command(server, &["KEYS", "*"]);
    let keys = reply.items().expect("a list").iter().filter_map(Reply::bytes);
    let mut keys: Vec<_> = keys.map(<[u8]>::to_vec).collect();
    keys.sort();
    keys
}

/// Those that are Feast's.
fn of_feast(server: &Redis) -> Vec<Vec<u8>> {
    keys(server).into_iter().filter(|key| !key.starts_with(OWN_KEY_PREFIX)).collect()
}

fn written(rows: u64) -> WriteCounts {
    WriteCounts { written: rows, ..WriteCounts::default() }
}

mod rules {
    crate::conformance_suite!(super::open);
}

/// Calls of one row each, so that every rule also holds across calls.
mod rules_row_by_row {
    use super::*;

    async fn open() -> (OnlineStore, Redis) {
        let server = Redis::start().expect("a Redis server");
        let limits = WriteLimits { rows_per_call: 1, ..WriteLimits::default() };
        let store = connect(config(&server), limits).await.expect("it lets us in");
        (store, server)
    }

    crate::conformance_suite!(open);
}

#[tokio::test]
async fn a_connection_that_was_lost_is_made_anew_before_a_view_is_prepared_or_read() {
    let server = Redis::start().expect("a Redis server");
    let store = connect(config(&server), impatient()).await.expect("it lets us in");
    for _ in 0..2 {
        server.kill();
        server.restart().expect("the server comes up again");
        prepared(&store, "lost", 1).await;
        server.kill();
        server.restart().expect("the server comes up again");
        store.ping().await.expect("it answers");
    }
}

#[tokio::test]
async fn a_row_is_the_hash_that_feast_writes() {
    let (store, server) = open().await;
    let view = prepared(&store, "fv", 1).await;
    write(&store, &view, &[row(1, -5 * SECOND, 1, 2)]).await.expect("the row is taken");
    let Reply::Array(items) = of_key(&server, "HGETALL", 1) else { panic!("a hash") };
    let items: Vec<_> = items.iter().map(|item| item.bytes().expect("bytes").to_vec()).collect();
    let mut fields: Vec<_> = items.chunks(2).map(<[_]>::to_vec).collect();
    fields.sort();
    let feature = feature_field("fv", "f0").to_vec();
    let mut expected =
        vec![vec![feature, int64(2)], vec![b"_ts:fv".to_vec(), encode_timestamp(-5, 0)]];
    expected.sort();
    assert_eq!(fields, expected);
}

#[tokio::test]
async fn only_rows_that_are_written_renew_the_ttl() {
    let server = Redis::start().expect("a Redis server");
    let config = RedisConfig { key_ttl_seconds: Some(1000), ..config(&server) };
    let store = connect(config, WriteLimits::default()).await.expect("it lets us in");
    let view = prepared(&store, "ttl", 1).await;
    write(&store, &view, &[row(1, 5, 1, 1), tombstone(2, 5), row(3, 5, 1, 1)])
        .await
        .expect("the rows are taken");
    for entity in [1, 2, 3] {
        assert_eq!(of_key(&server, "TTL", entity), Reply::Integer(1000));
        let shorten: [&[u8]; 3] = [b"EXPIRE", &key(entity), b"500"];
        server.command(&shorten).expect("the server answers");
    }
    let rows = [row(1, 5, 1, 2), tombstone(2, 6), row(3, 4, 1, 2)];
    write(&store, &view, &rows).await.expect("the rows are taken");
    let ttls = [1, 2, 3].map(|entity| of_key(&server, "TTL", entity));
    assert_eq!(ttls, [Reply::Integer(500), Reply::Integer(1000), Reply::Integer(500)]);
}

#[tokio::test]
async fn without_a_ttl_that_of_a_tombstone_stays() {
    let (store, server) = open().await;
    let view = prepared(&store, "ttl", 1).await;
    write(&store, &view, &[row(1, 5, 1, 1)]).await.expect("the row is taken");
    let shorten: [&[u8]; 3] = [b"EXPIRE", &key(1), b"500"];
    server.command(&shorten).expect("the server answers");
    write(&store, &view, &[tombstone(1, 6)]).await.expect("the tombstone is taken");
    assert_eq!(of_key(&server, "TTL", 1), Reply::Integer(500));
}

#[tokio::test]
async fn skip_dedup_writes_whatever_is_stored() {
    let server = Redis::start().expect("a Redis server");
    let config = RedisConfig { skip_dedup: true, ..config(&server) };
    let store = connect(config, WriteLimits::default()).await.expect("it lets us in");
    let one = prepared(&store, "skip", 1).await;
    let rows = [row(1, 9, 1, 1), row(1, 5, 1, 2)];
    assert_eq!(write(&store, &one, &rows).await.expect("the rows are taken"), written(2));
    let stored = store.read(&view("skip", 1), &[key(1)]).await.expect("it can be read");
    let stored = stored[0].as_ref().expect("the row");
    assert_eq!(stored.event_time, Some((0, 5)));
    assert_eq!(stored.values, [Some(int64(2).into())]);
}

#[tokio::test]
async fn features_that_share_a_field_are_refused() {
    let (store, server) = open().await;
    let mut colliding = view("fv", 3);
    colliding.features[0].name = "f18433".to_owned();
    colliding.features[2].name = "f68910".to_owned();
    let error = store
        .prepare(&colliding, &WriteMode::default())
        .await
        .expect_err("the fields collide")
        .to_string();
    assert!(error.contains("`f18433`") && error.contains("`f68910`"), "{error}");
    assert_eq!(command(&server, &["DBSIZE"]), Reply::Integer(0));
}

#[tokio::test]
async fn a_database_and_a_user_are_honoured() {
    let server = Redis::start().expect("a Redis server");
    let user = ["ACL", "SETUSER", "tide", "on", ">sesame", "~*", "+@all"];
    assert_eq!(command(&server, &user), Reply::Status("OK".to_owned()));
    let config = RedisConfig {
        db: 3,
        username: Some("tide".to_owned()),
        password: Some("sesame".to_owned()),
        ..config(&server)
    };
    let store = connect(config, WriteLimits::default()).await.expect("it lets us in");
    let view = prepared(&store, "db", 1).await;
    write(&store, &view, &[row(1, 5, 1, 1)]).await.expect("the row is taken");
    assert_eq!(command(&server, &["DBSIZE"]), Reply::Integer(0));
    let Reply::Bulk(info) = command(&server, &["INFO", "keyspace"]) else { panic!("a text") };
    // The row and the nonce.
    assert!(String::from_utf8_lossy(&info).contains("db3:keys=2"));
}

#[tokio::test]
async fn a_wrong_password_is_told_at_once_and_never_shown() {
    let server = Redis::start_with(&["--requirepass", "right"]).expect("a Redis server");
    let started = Instant::now();
    for password in [Some("wr0ng".to_owned()), None] {
        let config = RedisConfig { password, ..config(&server) };
        let error = connect(config, WriteLimits::default()).await.expect_err("a wrong password");
        assert!(matches!(error, Error::Access { .. }), "{error:?}");
        assert!(!error.is_retryable() && !format!("{error:?} {error}").contains("wr0ng"));
        assert!(error.to_string().contains(&format!("127.0.0.1:{}", server.port())), "{error}");
    }
    assert!(started.elapsed() < Duration::from_secs(5), "it is not tried again");
    let config = RedisConfig { password: Some("right".to_owned()), ..config(&server) };
    let store = connect(config, WriteLimits::default()).await.expect("the right password");
    assert!(!format!("{store:?}").contains("right"));
}

#[tokio::test]
async fn a_server_without_a_password_refuses_ours() {
    let server = Redis::start().expect("a Redis server");
    let config = RedisConfig {
        username: Some("nobody".to_owned()),
        password: Some("wr0ng".to_owned()),
        ..config(&server)
    };
    let error = connect(config, WriteLimits::default()).await.expect_err("no such user");
    assert!(matches!(error, Error::Access { .. }), "{error:?}");
}

#[tokio::test]
async fn nobody_listening_is_told_at_once() {
    let server = Redis::start().expect("a Redis server");
    server.kill();
    let error = connect(config(&server), WriteLimits::default()).await.expect_err("no server");
    assert!(matches!(error, Error::Connect { .. }) && error.is_retryable(), "{error:?}");
}

#[tokio::test]
async fn a_full_server_is_tried_again_and_then_named() {
    let server = Redis::start().expect("a Redis server");
    let store = connect(config(&server), impatient()).await.expect("it lets us in");
    let view = prepared(&store, "full", 1).await;
    command(&server, &["CONFIG", "SET", "maxmemory", "1"]);
    let error = write(&store, &view, &[row(1, 5, 1, 1)]).await.expect_err("the server is full");
    let Error::Exhausted { attempts: 3, source } = &error else { panic!("{error:?}") };
    let full = Trouble::OutOfMemory;
    assert!(matches!(&**source, Error::Unavailable { trouble, .. } if *trouble == full));
    assert!(error.is_retryable());
    command(&server, &["CONFIG", "SET", "maxmemory", "0"]);
    let counts = write(&store, &view, &[row(1, 5, 1, 1)]).await.expect("there is room again");
    assert_eq!(counts, written(1));
}

#[tokio::test]
async fn a_write_outlives_a_server_that_is_full_for_a_while() {
    let server = Redis::start().expect("a Redis server");
    let store = connect(config(&server), WriteLimits::default()).await.expect("it lets us in");
    let view = prepared(&store, "full", 1).await;
    command(&server, &["CONFIG", "SET", "maxmemory", "1"]);
    let make_room = async {
        // Not before the first refusal, which the server counts.
        let started = Instant::now();
        while !refused(&server, "OOM") {
            assert!(started.elapsed() < Duration::from_secs(30), "nothing was refused");
            tokio::task::yield_now().await;
        }
        command(&server, &["CONFIG", "SET", "maxmemory", "0"]);
    };
    let rows: Vec<_> = (0..500).map(|entity| row(entity, 5, 1, 1)).collect();
    let (counts, ()) = tokio::join!(write(&store, &view, &rows), make_room);
    assert_eq!(counts.expect("there is room in time"), written(500));
    assert_eq!(of_feast(&server).len(), 500);
}

/// Tells whether the server has answered with an error of this code.
fn refused(server: &Redis, code: &str) -> bool {
    let Reply::Bulk(info) = command(server, &["INFO", "errorstats"]) else { panic!("a text") };
    String::from_utf8_lossy(&info).contains(&format!("errorstat_{code}:"))
}

/// Calls of a command that the server has carried out.
fn calls(server: &Redis, name: &str) -> u64 {
    let Reply::Bulk(info) = command(server, &["INFO", "commandstats"]) else { panic!("a text") };
    let info = String::from_utf8_lossy(&info).into_owned();
    let prefix = format!("cmdstat_{name}:calls=");
    let line = info.lines().find_map(|line| line.strip_prefix(&prefix));
    line.and_then(|line| line.split(',').next()?.parse().ok()).unwrap_or(0)
}

fn rows_at(nanos: i64) -> Vec<Row> {
    (0..1000).map(|entity| row(entity, nanos, 1, nanos as u8)).collect()
}

#[tokio::test]
async fn a_lost_script_is_loaded_again() {
    let (store, server) = open().await;
    let view = prepared(&store, "script", 1).await;
    assert_eq!(write(&store, &view, &rows_at(5)).await.expect("taken"), written(1000));
    command(&server, &["SCRIPT", "FLUSH"]);
    assert_eq!(write(&store, &view, &rows_at(6)).await.expect("loaded"), written(1000));
    assert!(refused(&server, "NOSCRIPT"));
    // What ran nothing is not counted as if it had.
    command(&server, &["SCRIPT", "FLUSH"]);
    let counts = write(&store, &view, &rows_at(6)).await.expect("the script is loaded");
    assert_eq!(counts, WriteCounts { stale: 1000, ..WriteCounts::default() });
}

#[tokio::test]
async fn new_rows_are_restored_newer_ones_judged_and_stale_ones_only_looked_at() {
    let (store, server) = open().await;
    let view = prepared(&store, "ways", 1).await;
    write(&store, &view, &rows_at(5)).await.expect("the rows are taken");
    assert_eq!((calls(&server, "restore"), calls(&server, "evalsha")), (1000, 0));
    let object: [&[u8]; 3] = [b"OBJECT", b"ENCODING", &key(7)];
    assert_eq!(server.command(&object).expect("an answer"), Reply::Bulk(b"listpack".to_vec()));
    let view = prepared(&store, "ways", 1).await;
    write(&store, &view, &rows_at(6)).await.expect("the rows are taken");
    // The first 256 find out, and are refused.
    assert_eq!((calls(&server, "restore"), calls(&server, "evalsha")), (1256, 6 + 15));
    assert_eq!(calls(&server, "hset"), 1000);
    let hgets = calls(&server, "hget");
    let view = prepared(&store, "ways", 1).await;
    let counts = write(&store, &view, &rows_at(6)).await.expect("the rows are stale");
    assert_eq!(counts, WriteCounts { stale: 1000, ..WriteCounts::default() });
    assert_eq!((calls(&server, "evalsha"), calls(&server, "hget")), (21 + 6, hgets + 1000));
    assert_eq!(calls(&server, "hset"), 1000);
}

#[tokio::test]
async fn a_hash_with_another_view_keeps_it() {
    let (store, server) = open().await;
    let (one, two) = (prepared(&store, "one", 2).await, prepared(&store, "two", 1).await);
    let both = |value| (0..1000).map(|entity| row(entity, 5, 2, value)).collect::<Vec<_>>();
    write(&store, &one, &both(1)).await.expect("the rows are taken");
    assert_eq!(write(&store, &two, &rows_at(9)).await.expect("taken"), written(1000));
    let keys: Vec<_> = (0..1000).map(key).collect();
    for (name, features, value) in [("one", 2, 1), ("two", 1, 9)] {
        let stored = store.read(&view(name, features), &keys).await.expect("it can be read");
        let value = Some(int64(value).into());
        assert!(stored.iter().flatten().all(|row| row.values == vec![value.clone(); features]));
        assert_eq!(stored.iter().flatten().count(), 1000);
    }
    assert_eq!(of_key(&server, "HLEN", 1), Reply::Integer(5));
}

#[tokio::test]
async fn a_user_without_restore_writes_the_slower_way() {
    let server = Redis::start().expect("a Redis server");
    let rights = ["+@all", "-restore", "-config", "-info"];
    for last in 1..=rights.len() {
        command(&server, &["FLUSHALL"]);
        let mut user = vec!["ACL", "SETUSER", "tide", "reset", "on", ">sesame", "~*"];
        user.extend(&rights[..last]);
        assert_eq!(command(&server, &user), Reply::Status("OK".to_owned()));
        let config = RedisConfig {
            username: Some("tide".to_owned()),
            password: Some("sesame".to_owned()),
            ..config(&server)
        };
        let store = connect(config, impatient()).await.expect("it lets us in");
        let view = prepared(&store, "acl", 1).await;
        let before = calls(&server, "evalsha");
        assert_eq!(write(&store, &view, &rows_at(5)).await.expect("taken"), written(1000));
        let judged = calls(&server, "evalsha") - before;
        assert_eq!(judged > 0, last > 1, "{:?}", &rights[..last]);
        assert_eq!(write(&store, &view, &rows_at(6)).await.expect("taken"), written(1000));
        let commit = crate::conformance::marker(1, 1);
        store.mark(&view, &commit, 0).await.expect("the server is the same");
        store.confirm(&view).await.expect("the server is the same");
    }
}

#[tokio::test]
async fn a_hash_beyond_the_limits_of_a_listpack_is_stored_as_hset_would() {
    let server = Redis::start_with(&["--hash-max-listpack-value", "8"]).expect("a Redis server");
    let store = connect(config(&server), WriteLimits::default()).await.expect("it lets us in");
    let view = prepared(&store, "a view of a long name", 1).await;
    write(&store, &view, &rows_at(5)).await.expect("the rows are taken");
    assert_eq!(calls(&server, "restore"), 1000);
    let object: [&[u8]; 3] = [b"OBJECT", b"ENCODING", &key(7)];
    assert_eq!(server.command(&object).expect("an answer"), Reply::Bulk(b"hashtable".to_vec()));
}

#[tokio::test]
async fn a_replica_is_refused_before_and_while_writing() {
    let (primary, replica) = (Redis::start().expect("a server"), Redis::start().expect("a server"));
    let store = connect(config(&replica), impatient()).await.expect("it lets us in");
    let one = prepared(&store, "replica", 1).await;
    command(&replica, &["REPLICAOF", "127.0.0.1", &primary.port().to_string()]);
    let error = store
        .prepare(&view("replica", 1), &WriteMode::default())
        .await
        .expect_err("it is a replica");
    let read_only = Trouble::ReadOnly;
    assert!(matches!(&error, Error::Unavailable { trouble, .. } if *trouble == read_only));
    assert!(error.to_string().contains("primary"), "{error}");
    let error = write(&store, &one, &[row(1, 5, 1, 1)]).await.expect_err("it is a replica");
    let Error::Exhausted { source, .. } = error else { panic!("{error:?}") };
    // A replica that still synchronizes may say LOADING or MASTERDOWN first.
    assert!(matches!(*source, Error::Unavailable { .. }), "{source:?}");
    assert_eq!(command(&primary, &["DBSIZE"]), Reply::Integer(0));
}

#[tokio::test]
async fn a_node_of_a_cluster_is_refused() {
    let server = Redis::start_with(&["--cluster-enabled", "yes"]).expect("a Redis server");
    let store = connect(config(&server), impatient()).await.expect("it lets us in");
    let prepared = store.prepare(&view("cluster", 1), &WriteMode::default()).await;
    let error = prepared.expect_err("it serves no slot");
    let Error::Exhausted { source, .. } = error else { panic!("{error:?}") };
    let down = Trouble::ClusterDown;
    assert!(matches!(&*source, Error::Unavailable { trouble, .. } if *trouble == down));
}

#[tokio::test]
async fn a_key_that_is_no_hash_is_named_and_nothing_else_is_lost() {
    let (store, server) = open().await;
    let one = prepared(&store, "type", 1).await;
    let set: [&[u8]; 3] = [b"SET", &key(2), b"text"];
    server.command(&set).expect("the server answers");
    let rows = [row(1, 5, 1, 1), row(2, 5, 1, 1), row(3, 5, 1, 1)];
    let error = write(&store, &one, &rows).await.expect_err("a string is in the way");
    let hex: String = key(2).iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(matches!(&error, Error::WrongType { key, .. } if *key == hex), "{error:?}");
    assert!(!error.is_retryable());
    let error = store.read(&view("type", 1), &[key(1), key(2)]).await.expect_err("no hash");
    assert!(matches!(&error, Error::WrongType { key, .. } if *key == hex), "{error:?}");
    assert_eq!(of_key(&server, "GET", 2), Reply::Bulk(b"text".to_vec()));
    assert_eq!(of_key(&server, "EXISTS", 1), Reply::Integer(1));
}

#[tokio::test]
async fn a_stored_time_of_another_make_is_named() {
    let (store, server) = open().await;
    let one = prepared(&store, "time", 1).await;
    for time in [&b"2024-01-01"[..], b"\x08", b"\x08\x80", b"\x0a\x01\x01"] {
        let set: [&[u8]; 4] = [b"HSET", &key(1), b"_ts:time", time];
        server.command(&set).expect("the server answers");
        let error = write(&store, &one, &[row(1, 5, 1, 1)]).await.expect_err("no time");
        assert!(matches!(error, Error::StoredTime { .. }), "{time:?}: {error:?}");
        let error = store.read(&view("time", 1), &[key(1)]).await.expect_err("no time");
        assert!(matches!(error, Error::StoredTime { .. }), "{time:?}: {error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_outlives_servers_that_are_killed() {
    let server = Redis::start_with(&["--appendonly", "yes", "--appendfsync", "always"])
        .expect("a Redis server");
    let limits = WriteLimits { rows_per_call: 10, ..WriteLimits::default() };
    let store = connect(config(&server), limits).await.expect("it lets us in");
    let one = prepared(&store, "killed", 1).await;
    let rows: Vec<_> = (0..20_000).map(|entity| row(entity, 5, 1, 1)).collect();
    let kills = || {
        let started = Instant::now();
        for rows in [2_000, 6_000, 12_000] {
            let stored = || server.command(&["DBSIZE"]).ok();
            while !matches!(stored(), Some(Reply::Integer(stored)) if stored >= rows) {
                assert!(started.elapsed() < Duration::from_secs(60), "the rows do not come");
            }
            server.restart().expect("the server comes up again");
        }
    };
    let counts = std::thread::scope(|scope| {
        let killer = scope.spawn(kills);
        let counts = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(write(&store, &one, &rows))
        });
        killer.join().expect("the server was killed three times");
        counts
    });
    // No row was there before, so every row counts as written, however often it was sent.
    assert_eq!(counts.expect("the server comes back"), written(20_000));
    let keys: Vec<_> = (0..20_000).map(key).collect();
    let stored = store.read(&view("killed", 1), &keys).await.expect("it can be read");
    assert!(stored.iter().all(|row| row.as_ref().is_some_and(|row| row.values[0].is_some())));
}

#[tokio::test]
async fn a_server_that_stops_answering_is_left_and_tried_again() {
    let server = Redis::start().expect("a Redis server");
    let limits = WriteLimits { command_timeout: Duration::from_millis(300), ..impatient() };
    let store = connect(config(&server), limits).await.expect("it lets us in");
    let view = prepared(&store, "slow", 1).await;
    command(&server, &["CLIENT", "PAUSE", "60000", "ALL"]);
    let started = Instant::now();
    let error = write(&store, &view, &[row(1, 5, 1, 1)]).await.expect_err("no answer");
    assert!(matches!(error, Error::Exhausted { .. }) && error.is_retryable(), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_on_two_connections_end_with_the_newest() {
    let (store, server) = open().await;
    let other = connect(config(&server), WriteLimits::default()).await.expect("it lets us in");
    let one = prepared(&store, "two", 1).await;
    let two = prepared(&other, "two", 1).await;
    let rows = |offset: i64| -> Vec<Row> {
        // Each writer is the newer one of every other entity.
        let nanos = |entity: i64| SECOND + (entity + offset) % 2;
        (0..3_000).map(|id| row(id, nanos(i64::from(id)), 1, offset as u8)).collect()
    };
    let (first, second) = (rows(0), rows(1));
    let (first, second) = tokio::join!(write(&store, &one, &first), write(&other, &two, &second));
    let (first, second) = (first.expect("taken"), second.expect("taken"));
    assert_eq!(first.written + first.stale + second.written + second.stale, 6_000);
    assert!(first.stale <= 1_500 && second.stale <= 1_500);
    let keys: Vec<_> = (0..3_000).map(key).collect();
    let stored = store.read(&view("two", 1), &keys).await.expect("it can be read");
    for (entity, row) in stored.into_iter().enumerate() {
        let row = row.expect("the row");
        assert_eq!(row.event_time, Some((1, 1)), "entity {entity}");
        assert_eq!(row.values, [Some(int64(1 - (entity % 2) as u8).into())], "entity {entity}");
    }
}

mod tls {
    use super::*;

    fn file(name: &str) -> PathBuf {
        [env!("CARGO_MANIFEST_DIR"), "testdata", "tls", name].iter().collect()
    }

    fn start(clients: &str) -> (Redis, u16) {
        let port = harness::free_port().expect("a free port");
        let path = |name| file(name).display().to_string();
        let server = Redis::start_with(&[
            "--tls-port",
            &port.to_string(),
            "--tls-cert-file",
            &path("server.pem"),
            "--tls-key-file",
            &path("server.key"),
            "--tls-ca-cert-file",
            &path("ca.pem"),
            "--tls-auth-clients",
            clients,
        ]);
        (server.expect("a Redis server with TLS"), port)
    }

    fn strict() -> RedisTls {
        RedisTls {
            verify: true,
            verify_hostname: true,
            ca_certs: Some(file("ca.pem")),
            certfile: None,
            keyfile: None,
        }
    }

    async fn works(server: &Redis, port: u16, host: &str, tls: RedisTls) -> Result<(), Error> {
        let servers = one(host, port);
        let config = RedisConfig { servers, tls: Some(tls), ..config(server) };
        let store = connect(config, impatient()).await?;
        let view = prepared(&store, "tls", 1).await;
        write(&store, &view, &[row(1, 5, 1, 1)]).await.map(drop)
    }

    #[tokio::test]
    async fn certificates_are_checked_as_far_as_the_options_say() {
        let (server, port) = start("no");
        works(&server, port, "localhost", strict()).await.expect("name and authority are right");
        let other = RedisTls { ca_certs: Some(file("other-ca.pem")), ..strict() };
        for (host, tls) in [("127.0.0.1", strict()), ("localhost", other.clone())] {
            let error = works(&server, port, host, tls).await.expect_err("not that certificate");
            assert!(matches!(error, Error::Connect { .. }), "{error:?}");
        }
        let any_name = RedisTls { verify_hostname: false, ..strict() };
        works(&server, port, "127.0.0.1", any_name.clone()).await.expect("any name will do");
        let wrong = RedisTls { ca_certs: Some(file("other-ca.pem")), ..any_name };
        works(&server, port, "127.0.0.1", wrong).await.expect_err("not that authority");
        let anything = RedisTls { verify: false, verify_hostname: false, ..other };
        works(&server, port, "127.0.0.1", anything).await.expect("nothing is checked");
    }

    #[tokio::test]
    async fn a_client_certificate_is_shown_where_it_is_asked_for() {
        let (server, port) = start("yes");
        works(&server, port, "localhost", strict()).await.expect_err("no certificate");
        let ours = RedisTls {
            certfile: Some(file("server.pem")),
            keyfile: Some(file("server.key")),
            ..strict()
        };
        works(&server, port, "localhost", ours).await.expect("the certificate is accepted");
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_used_is_named() {
        let (server, port) = start("no");
        let missing = RedisTls { ca_certs: Some(file("missing.pem")), ..strict() };
        let error = works(&server, port, "localhost", missing).await.expect_err("no such file");
        let text = error.to_string();
        assert!(text.contains("ssl_ca_certs") && text.contains("missing.pem"), "{text}");
        let alone = RedisTls { keyfile: Some(file("server.key")), ..strict() };
        let error = works(&server, port, "localhost", alone).await.expect_err("half a pair");
        assert!(error.to_string().contains("ssl_certfile"), "{error}");
    }
}
