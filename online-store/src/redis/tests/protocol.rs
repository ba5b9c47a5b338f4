//! Fences, markers and nonces at a real Redis: what is lost, who notices, and what others see.

use harness::RedisSentinel;
use model::{Agreement, FencingToken, Marker};

use super::*;
use crate::StoreMarker;
use crate::conformance::{correcting, fenced, marker};
use crate::redis::own::Own;

fn of_view(name: &str) -> Own {
    Own::new(&view(name, 1).view)
}

async fn last(store: &OnlineStore, name: &str) -> Option<Marker> {
    let StoreMarker { last, is_whole } =
        store.marker(&view(name, 1).view).await.expect("it can be asked");
    assert!(is_whole, "one server has one marker");
    last
}

async fn with(store: &OnlineStore, name: &str, mode: WriteMode) -> PreparedView {
    store.prepare(&view(name, 1), &mode).await.expect("the view can be written")
}

#[tokio::test]
async fn a_flush_is_noticed_by_whoever_prepared_before() {
    let (store, server) = open().await;
    let before = prepared(&store, "flush", 1).await;
    write(&store, &before, &[row(1, 5, 1, 1)]).await.expect("the row is taken");
    store.mark(&before, &marker(1, 1), 0).await.expect("it is noted");
    assert_eq!(last(&store, "flush").await, Some(marker(1, 1)));
    command(&server, &["FLUSHALL"]);
    let gone = |error: Error| {
        let address = format!("127.0.0.1:{}", server.port());
        assert!(matches!(&error, Error::Emptied { store } if *store == address), "{error:?}");
        assert!(error.is_retryable());
    };
    assert_eq!(last(&store, "flush").await, None);
    gone(store.confirm(&before).await.expect_err("the row is gone"));
    gone(store.mark(&before, &marker(2, 2), 0).await.expect_err("the row is gone"));
    let after = prepared(&store, "flush", 1).await;
    assert_ne!(before.identity(), after.identity());
    // Another nonce is as good as none.
    gone(store.confirm(&before).await.expect_err("the row is gone"));
    gone(store.mark(&before, &marker(2, 2), 0).await.expect_err("the row is gone"));
    assert_eq!(last(&store, "flush").await, None, "who would note it would hide the loss");
    store.mark(&after, &marker(2, 2), 0).await.expect("it was prepared after the flush");
    store.confirm(&after).await.expect("nothing happened since");
}

#[tokio::test]
async fn a_server_that_was_restarted_keeps_the_marker_that_it_had() {
    let server = Redis::start_with(&["--appendonly", "yes", "--appendfsync", "always"])
        .expect("a Redis server");
    let store = connect(config(&server), WriteLimits::default()).await.expect("it lets us in");
    let before = prepared(&store, "restart", 1).await;
    store.mark(&before, &marker(1, 1), 0).await.expect("it is noted");
    server.restart().expect("it comes up again");
    let error = store.mark(&before, &marker(2, 2), 0).await.expect_err("it is another process");
    assert!(matches!(error, Error::Restarted { .. }), "{error:?}");
    assert_eq!(last(&store, "restart").await, Some(marker(1, 1)));
    let error = store.confirm(&before).await.expect_err("it is another process");
    assert!(matches!(error, Error::Restarted { .. }), "{error:?}");
    let after = prepared(&store, "restart", 1).await;
    assert_ne!(before.identity(), after.identity());
    store.mark(&after, &marker(2, 2), 0).await.expect("it is noted");
}

#[tokio::test]
async fn identities_agree_across_connections() {
    let (store, server) = open().await;
    let other = connect(config(&server), WriteLimits::default()).await.expect("it lets us in");
    let (one, two) = (prepared(&store, "one", 1).await, prepared(&other, "two", 1).await);
    assert_eq!(one.identity(), two.identity());
}

#[tokio::test]
async fn a_fence_that_is_gone_refuses_and_is_put_up_by_the_next_attempt() {
    let (store, server) = open().await;
    let view = with(&store, "gone", fenced(7)).await;
    write(&store, &view, &[row(1, 5, 1, 1)]).await.expect("the fence is ours");
    let fence = of_view("gone").fence(0);
    for (stored, change) in [
        (None, vec![&b"DEL"[..], &fence]),
        (Some(FencingToken(6)), vec![&b"SET"[..], &fence, b"6"]),
    ] {
        server.command(&change).expect("the server answers");
        for rows in [&[row(2, 9, 1, 9)], &[tombstone(1, 9)]] {
            let error = write(&store, &view, rows).await.expect_err("the fence is gone");
            let Error::Superseded { token, stored: found, .. } = &error else {
                panic!("{error:?}")
            };
            assert_eq!((*token, *found), (FencingToken(7), stored));
            assert!(error.is_retryable(), "a new attempt puts it up: {error}");
        }
        assert_eq!(of_feast(&server), [key(1)]);
    }
    let view = with(&store, "gone", fenced(8)).await;
    let counts = write(&store, &view, &[row(1, 6, 1, 2)]).await.expect("the fence is ours");
    assert_eq!(counts, written(1));
}

#[tokio::test]
async fn a_fence_holds_off_every_way_to_write() {
    let (store, server) = open().await;
    let view = with(&store, "ways", fenced(1)).await;
    for nanos in [5, 6, 6] {
        write(&store, &view, &rows_at(nanos)).await.expect("the fence is ours");
    }
    // Only the script can see the fence.
    assert_eq!((calls(&server, "restore"), calls(&server, "hset")), (0, 2000));
    let before = calls(&server, "hget");
    let newer = with(&store, "ways", fenced(2)).await;
    let error = write(&store, &view, &rows_at(7)).await.expect_err("the fence is another's");
    assert!(matches!(error, Error::Superseded { .. }), "{error:?}");
    assert_eq!(calls(&server, "hget"), before, "a call is refused as a whole");
    assert_eq!(write(&store, &newer, &rows_at(7)).await.expect("ours"), written(1000));
}

#[tokio::test]
async fn scripts_do_not_pile_up_from_attempt_to_attempt() {
    let (store, server) = open().await;
    let scripts = || {
        let Reply::Bulk(info) = command(&server, &["INFO", "memory"]) else { panic!("a text") };
        let info = String::from_utf8_lossy(&info).into_owned();
        let line = info.lines().find_map(|line| line.strip_prefix("number_of_cached_scripts:"));
        line.and_then(|number| number.parse::<u32>().ok()).expect("a number")
    };
    let mut seen = Vec::new();
    for token in 1..4 {
        let mode = correcting(token, 0, i64::from(token as u32) * SECOND);
        let view = with(&store, "scripts", mode).await;
        write(&store, &view, &[row(1, 5, 1, 1)]).await.expect("the fence is ours");
        store.mark(&view, &marker(token, 1), 0).await.expect("the fence is ours");
        store.remove(&view, &[key(1)]).await.expect("the fence is ours");
        seen.push(scripts());
    }
    assert!(seen[0] > 0 && seen.iter().all(|number| *number == seen[0]), "{seen:?}");
}

#[tokio::test]
async fn keys_of_ours_are_no_bodys_but_ours() {
    let (store, server) = open().await;
    let view = with(&store, "names", fenced(1)).await;
    store.mark(&view, &marker(1, 1), 0).await.expect("the fence is ours");
    write(&store, &view, &[row(1, 5, 1, 1)]).await.expect("the fence is ours");
    let ours: Vec<_> =
        keys(&server).into_iter().filter(|key| key.starts_with(OWN_KEY_PREFIX)).collect();
    let own = of_view("names");
    let mut expected = vec![own.fence(0), own.marker(0), own.nonce(0)];
    expected.sort();
    assert_eq!(ours, expected);
    assert_eq!(of_feast(&server), [key(1)]);
    // How Feast finds what it deletes with a project.
    let pattern = format!("*{PROJECT}");
    let found = command(&server, &["KEYS", &pattern]);
    assert_eq!(found, Reply::Array(vec![Reply::Bulk(key(1))]));
    for key in &ours {
        let ttl: [&[u8]; 2] = [b"TTL", key];
        assert_eq!(server.command(&ttl).expect("the server answers"), Reply::Integer(-1));
    }
}

#[tokio::test]
async fn a_walk_passes_over_what_is_no_row() {
    let (store, server) = open().await;
    let view = prepared(&store, "walk", 1).await;
    write(&store, &view, &[row(1, 5, 1, 1)]).await.expect("the row is taken");
    let other = [&key(2)[..], b"no entity conformance"];
    for name in other {
        let set: [&[u8]; 3] = [b"SET", name, b"text"];
        server.command(&set).expect("the server answers");
    }
    let of_other_views: [&[u8]; 4] = [b"HSET", &key(3), b"_ts:other", &encode_timestamp(0, 5)];
    server.command(&of_other_views).expect("the server answers");
    let interval = crate::conformance::interval(0, 10);
    let found = store.stored_inside(&view, interval, &|_| false);
    let found: Vec<_> = futures::TryStreamExt::try_collect(found).await.expect("it can be walked");
    assert_eq!(found, [[key(1)]]);
}

#[tokio::test]
async fn a_wide_row_is_removed_whole() {
    let (store, server) = open().await;
    let wide = view("wide", 5_000);
    let mode = correcting(1, 0, SECOND);
    let view = store.prepare(&wide, &mode).await.expect("the view can be written");
    write(&store, &view, &[row(1, 5, 5_000, 1)]).await.expect("the row is taken");
    let of_another: [&[u8]; 4] = [b"HSET", &key(1), b"_ts:other", b""];
    server.command(&of_another).expect("the server answers");
    assert_eq!(store.remove(&view, &[key(1)]).await.expect("the fence is ours"), 1);
    assert_eq!(of_key(&server, "HLEN", 1), Reply::Integer(1));
}

/// Limits under which too few replicas are not waited for long.
fn hasty() -> WriteLimits {
    WriteLimits { command_timeout: Duration::from_secs(2), ..impatient() }
}

fn watched(made: &RedisSentinel) -> RedisConfig {
    let node = |server: &Redis| RedisNode { host: "127.0.0.1".to_owned(), port: server.port() };
    config_of(RedisServers::Sentinel {
        master: "mymaster".to_owned(),
        sentinels: made.sentinels().iter().map(node).collect(),
        password: None,
    })
}

#[tokio::test]
async fn a_commit_waits_for_as_many_replicas_as_it_is_told() {
    let made = RedisSentinel::start().expect("servers and a sentinel");
    let store = connect(watched(&made), hasty()).await.expect("it lets us in");
    let view = prepared(&store, "wait", 1).await;
    write(&store, &view, &[row(1, 5, 1, 1)]).await.expect("the row is taken");
    store.mark(&view, &marker(1, 1), 1).await.expect("there is a replica");
    let [primary, replica] = made.servers();
    assert_eq!(of_key(replica, "HLEN", 1), Reply::Integer(2));
    let error = store.mark(&view, &marker(2, 2), 2).await.expect_err("there is one replica");
    let Error::NotReplicated { address, wanted: 2, got: 1 } = &error else { panic!("{error:?}") };
    assert!(address.ends_with(&primary.port().to_string()) && error.is_retryable(), "{error}");
    assert_eq!(last(&store, "wait").await, Some(marker(2, 2)));
    store.mark(&view, &marker(2, 2), 0).await.expect("none is asked for");
}

#[tokio::test]
async fn a_stale_replica_in_the_primarys_place_shows_the_older_marker() {
    let made = RedisSentinel::start().expect("servers and a sentinel");
    let store = connect(watched(&made), hasty()).await.expect("it lets us in");
    let before = prepared(&store, "stale", 1).await;
    store.mark(&before, &marker(1, 1), 1).await.expect("there is a replica");
    // The replica is cut off, while the sentinel may still ask the primary.
    let [primary, _] = made.servers();
    let deny = ["ACL", "SETUSER", "default", "-psync", "-sync"];
    assert_eq!(command(primary, &deny), Reply::Status("OK".to_owned()));
    command(primary, &["CLIENT", "KILL", "TYPE", "replica"]);
    write(&store, &before, &[row(1, 5, 1, 1)]).await.expect("the row is taken");
    store.mark(&before, &marker(2, 2), 0).await.expect("it is noted");
    let error = store.mark(&before, &marker(2, 2), 1).await.expect_err("the replica is cut off");
    assert!(matches!(error, Error::NotReplicated { got: 0, .. }), "{error:?}");
    made.fail_over().expect("the replica takes over");
    let stored = last(&store, "stale").await;
    assert_eq!(stored, Some(marker(1, 1)));
    assert_eq!(Agreement::of(Some(marker(2, 2)), stored, true), Agreement::StoreLost);
    // Who had begun before does not hide it.
    let error = store.mark(&before, &marker(3, 3), 0).await.expect_err("it is another server");
    assert!(matches!(error, Error::Restarted { .. }), "{error:?}");
    assert_eq!(last(&store, "stale").await, Some(marker(1, 1)));
    let after = prepared(&store, "stale", 1).await;
    assert_ne!(before.identity(), after.identity());
}
