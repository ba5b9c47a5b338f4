//! Fences, markers and nonces in a cluster: one a slot, and slots that move.

use harness::RedisCluster;

use super::*;
use crate::StoreMarker;
use crate::conformance::{fenced, marker};
use crate::redis::connection::Servers;

pub(super) fn nodes(cluster: &RedisCluster) -> RedisConfig {
    let node = |port| RedisNode { host: "127.0.0.1".to_owned(), port };
    config_of(RedisServers::Cluster(cluster.ports().into_iter().map(node).collect()))
}

async fn open() -> (OnlineStore, RedisCluster) {
    let cluster = RedisCluster::start().expect("a cluster");
    let store = connect(nodes(&cluster), WriteLimits::default()).await.expect("it lets us in");
    (store, cluster)
}

async fn with(store: &OnlineStore, name: &str, mode: WriteMode) -> PreparedView {
    store.prepare(&view(name, 1), &mode).await.expect("the view can be written")
}

mod rules {
    crate::conformance_suite! { super::open:
        the_store_agrees_with_the_reference
        a_fetch_reads_many_views_in_the_order_asked_for
        corrections_agree_with_the_reference
        a_corrections_bounds_are_exact
        another_fence_refuses_every_write
        an_older_token_cannot_put_its_fence_up
        a_marker_is_read_back
        a_marker_never_goes_back
        another_fence_refuses_a_marker
        what_is_stored_inside_is_found
        removing_leaves_other_views
        a_view_stays_the_same_until_the_store_does_not
    }
}

#[tokio::test]
async fn every_slot_has_a_fence_and_some_have_a_nonce() {
    let (store, cluster) = open().await;
    let view = with(&store, "slots", fenced(1)).await;
    store.mark(&view, &marker(1, 1), 0).await.expect("the fence is ours");
    let of_kind = |node: &Redis, kind: &str| {
        let kind = format!(":{kind}:");
        keys(node).iter().filter(|key| String::from_utf8_lossy(key).contains(&kind)).count()
    };
    let sum = |kind: &str| cluster.nodes().iter().map(|node| of_kind(node, kind)).sum::<usize>();
    assert_eq!((sum("fence"), sum("nonce"), sum("marker")), (16_384, 64, 64));
    assert!(cluster.nodes().iter().all(|node| of_kind(node, "nonce") >= 20));
}

#[tokio::test]
async fn a_node_that_was_flushed_is_noticed_though_the_others_were_not() {
    let (store, cluster) = open().await;
    let before = with(&store, "flush", fenced(1)).await;
    store.mark(&before, &marker(1, 1), 0).await.expect("it is noted");
    let told = async || store.marker(&view("flush", 1).view).await.expect("it can be asked");
    assert_eq!(told().await, StoreMarker { last: Some(marker(1, 1)), is_whole: true });
    command(&cluster.nodes()[1], &["FLUSHALL"]);
    assert_eq!(told().await, StoreMarker { last: None, is_whole: false });
    let error = store.confirm(&before).await.expect_err("a third of the rows is gone");
    let port = cluster.nodes()[1].port().to_string();
    assert!(matches!(&error, Error::Emptied { store } if store.ends_with(&port)), "{error:?}");
    let rows: Vec<_> = (0..100).map(|entity| row(entity, 5, 1, 1)).collect();
    let error = write(&store, &before, &rows).await.expect_err("a third of the fences is gone");
    assert!(matches!(error, Error::Superseded { stored: None, .. }), "{error:?}");
    store.mark(&before, &marker(2, 2), 0).await.expect_err("a third of the rows is gone");
    let after = with(&store, "flush", fenced(2)).await;
    assert_ne!(before.identity(), after.identity());
    assert_eq!(told().await.last, None, "it stays lost until it is marked anew");
    store.mark(&after, &marker(2, 3), 0).await.expect("it is noted");
    assert_eq!(told().await, StoreMarker { last: Some(marker(2, 3)), is_whole: true });
}

/// Some entities whose keys are in one slot, by counting.
fn entities_of_slot(slot: u16, count: usize) -> Vec<u32> {
    (0..).filter(|entity| Servers::slot(&key(*entity)) == slot).take(count).collect()
}

#[tokio::test]
async fn a_fence_goes_along_with_its_slot() {
    let cluster = RedisCluster::start().expect("a cluster");
    let store = connect(nodes(&cluster), impatient()).await.expect("it lets us in");
    let slot = Servers::slot(&key(1));
    let from = cluster.owner(slot).expect("somebody has it");
    let to = (from + 1) % 3;
    let entities = entities_of_slot(slot, 3);
    let rows = |of: &[u32], nanos| of.iter().map(|id| row(*id, nanos, 1, 1)).collect::<Vec<_>>();
    let view = with(&store, "moves", fenced(1)).await;
    let counts = write(&store, &view, &rows(&entities[..2], 5)).await.expect("the fence is ours");
    assert_eq!(counts, written(2));
    // Rows and fence are where `ASK` says.
    cluster.begin_move(slot, to).expect("it may move");
    cluster.move_keys(slot, to).expect("the keys move");
    let counts = write(&store, &view, &rows(&entities[..2], 6)).await.expect("the fence is there");
    assert_eq!(counts, written(2));
    // A new row beside a fence that has moved: nobody has both for now.
    let error = write(&store, &view, &rows(&entities[2..], 6)).await.expect_err("not yet");
    assert!(error.is_retryable(), "{error:?}");
    let newer = with(&store, "moves", fenced(2)).await;
    let error = write(&store, &view, &rows(&entities[..1], 7)).await.expect_err("another's");
    assert!(matches!(error, Error::Superseded { .. }), "{error:?}");
    cluster.end_move(slot, to).expect("the move ends");
    let counts = write(&store, &newer, &rows(&entities, 7)).await.expect("the fence is there");
    assert_eq!(counts, written(3));
    let error = write(&store, &view, &rows(&entities, 8)).await.expect_err("another's");
    assert!(matches!(error, Error::Superseded { .. }), "{error:?}");
}

#[tokio::test]
async fn a_slot_that_moved_while_keys_were_walked_is_not_missed() {
    let (store, cluster) = open().await;
    let prepared = with(&store, "walk", WriteMode::default()).await;
    let rows: Vec<_> = (0..6_000).map(|entity| row(entity, 5, 1, 1)).collect();
    write(&store, &prepared, &rows).await.expect("the rows are taken");
    // The first page is of the server that is walked first; a slot moves there that the walk would
    // come to later.
    let list: Vec<u16> = {
        let mut ports: Vec<u16> = cluster.nodes().iter().map(Redis::port).collect();
        ports.sort_unstable();
        ports
    };
    let node_at = |port: u16| cluster.nodes().iter().position(|node| node.port() == port);
    let (first, final_one) = (node_at(list[0]).expect("it is"), node_at(list[2]).expect("it is"));
    let slot = (0..6_000)
        .map(|entity| Servers::slot(&key(entity)))
        .find(|slot| cluster.owner(*slot).ok() == Some(final_one))
        .expect("it has some");
    let moves = std::sync::Once::new();
    let interval = crate::conformance::interval(0, 10);
    let known = |key: &[u8]| {
        // As soon as the second server's keys come.
        if Servers::slot(key) != slot && key_is_at(&cluster, key) != first {
            moves.call_once(|| {
                cluster.move_slot(slot, first).expect("the slot moves");
            });
        }
        false
    };
    let found = store.stored_inside(&prepared, interval, &known);
    let found: Vec<_> = futures::TryStreamExt::try_collect(found).await.expect("it can be walked");
    let found: std::collections::BTreeSet<Vec<u8>> =
        found.into_iter().flat_map(|page: Vec<Vec<u8>>| page).collect();
    assert!(moves.is_completed());
    assert_eq!(found.len(), 6_000);
}

fn key_is_at(cluster: &RedisCluster, key: &[u8]) -> usize {
    cluster.owner(Servers::slot(key)).expect("somebody has it")
}

#[tokio::test]
async fn a_commit_waits_for_a_replica_of_every_primary() {
    let cluster = RedisCluster::start_with(1, &[]).expect("a cluster");
    let limits = WriteLimits { command_timeout: Duration::from_secs(2), ..impatient() };
    let store = connect(nodes(&cluster), limits).await.expect("it lets us in");
    let view = with(&store, "wait", fenced(1)).await;
    store.mark(&view, &marker(1, 1), 1).await.expect("every primary has a replica");
    // One of them has none for now.
    let deny = ["ACL", "SETUSER", "default", "-psync", "-sync"];
    command(&cluster.nodes()[1], &deny);
    command(&cluster.nodes()[1], &["CLIENT", "KILL", "TYPE", "replica"]);
    let error = store.mark(&view, &marker(2, 2), 1).await.expect_err("one has no replica");
    let port = cluster.nodes()[1].port().to_string();
    let Error::NotReplicated { address, got: 0, .. } = &error else { panic!("{error:?}") };
    assert!(address.ends_with(&port), "{error}");
}
