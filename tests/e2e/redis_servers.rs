//! Runs against several servers: a cluster, and a primary that sentinels replace.

use anyhow::{Context, Result, ensure};
use harness::{Certificates, Redis, RedisCluster, RedisSentinel, Reply};
use serde_json::{Value, json};
use tests::definition::Project;
use tests::online::{self, Hashes};
use tests::repo::Repo;

use crate::redis::{arguments, until_writing, wait};
use crate::sample::{PROJECT, Row, at, fill, landed, many, view};

/// Enough that a run is still writing when the first rows are seen.
const MANY: i64 = 200_000;

fn store(redis_type: &str, connection: &str) -> Value {
    json!({ "type": "redis", "redis_type": redis_type, "connection_string": connection })
}

fn repo_with(store: Value, rows: &[Row]) -> Result<Repo> {
    let repo = Repo::with_project(&Project::new(PROJECT, [view("v")]), store)?;
    fill(&repo, "v", rows)?;
    Ok(repo)
}

/// What some nodes hold together; no two of them may hold the same key.
fn union<'a>(nodes: impl IntoIterator<Item = &'a Redis>) -> Result<Hashes> {
    let mut all = Hashes::new();
    for node in nodes {
        let (before, held) = (all.len(), online::hashes(node, 0)?);
        let expected = before + held.len();
        all.extend(held);
        ensure!(all.len() == expected, "two nodes hold the same key");
    }
    Ok(all)
}

#[test]
fn a_cluster_gets_every_row_while_slots_move() -> Result<()> {
    let cluster = RedisCluster::start()?;
    // One node is enough: it knows the others.
    let seed = format!("127.0.0.1:{},skip_full_coverage_check=true", cluster.ports()[1]);
    let rows = many(MANY, at(5));
    let repo = repo_with(store("redis_cluster", &seed), &rows)?;
    let mut run = repo.spawn(&arguments())?;
    until_writing(&cluster.nodes()[0], &mut run)?;
    let mut moved = 0;
    for slot in 0..20 {
        moved += cluster.move_slot(slot, 1)?;
    }
    // The last one stays half moved until after the run.
    cluster.begin_move(20, 2)?;
    moved += cluster.move_keys(20, 2)?;
    wait(run)?.with_code(0)?;
    cluster.end_move(20, 2)?;
    ensure!(moved > 0, "the slots were empty");
    assert!(union(cluster.nodes())? == landed("v", &rows), "every row once, and nothing else");
    assert_eq!(repo.registry().state()?.intervals("v"), [(at(0), at(9))]);
    Ok(())
}

#[test]
fn a_cluster_that_fails_over_does_not_lose_a_row() -> Result<()> {
    let cluster = RedisCluster::start_with(1, &[])?;
    let rows = many(MANY, at(5));
    let repo = repo_with(store("redis_cluster", &cluster.connection_string()), &rows)?;
    let mut run = repo.spawn(&arguments())?;
    until_writing(&cluster.nodes()[0], &mut run)?;
    cluster.fail_over(0)?;
    wait(run)?.with_code(0)?;
    let primaries = [3, 1, 2].map(|node: usize| &cluster.nodes()[node]);
    assert!(union(primaries)? == landed("v", &rows), "every row once, and nothing else");
    assert_eq!(repo.registry().state()?.intervals("v"), [(at(0), at(9))]);
    Ok(())
}

#[test]
fn a_primary_that_sentinels_replace_does_not_lose_a_row() -> Result<()> {
    let made = RedisSentinel::start_with(3, None)?;
    let rows = many(MANY, at(5));
    let repo = repo_with(store("redis_sentinel", &made.connection_string()), &rows)?;
    let mut run = repo.spawn(&arguments())?;
    let [primary, replica] = made.servers();
    until_writing(primary, &mut run)?;
    made.fail_over()?;
    wait(run)?.with_code(0)?;
    assert!(online::hashes(replica, 0)? == landed("v", &rows), "every row, and nothing else");
    assert_eq!(repo.registry().state()?.intervals("v"), [(at(0), at(9))]);
    Ok(())
}

#[test]
fn a_primary_that_becomes_a_replica_gets_no_more_rows() -> Result<()> {
    let made = RedisSentinel::start()?;
    let rows = many(MANY, at(5));
    let store = store("redis_sentinel", &made.connection_string());
    let repo = repo_with(store.clone(), &rows)?;
    // The run may end just before the replica takes over, which then lacks what it was not waited
    // for.
    let mut configured = tests::repo::configuration(PROJECT, store);
    configured["tidegate"] = json!({ "wait_replicas": 1 });
    repo.configure(&configured)?;
    let mut run = repo.spawn(&arguments())?;
    let [primary, replica] = made.servers();
    until_writing(primary, &mut run)?;
    made.switch_over()?;
    wait(run)?.with_code(0)?;
    assert!(online::hashes(replica, 0)? == landed("v", &rows), "every row, and nothing else");
    Ok(())
}

#[test]
fn a_cluster_with_tls_gets_every_row_and_gives_it_back() -> Result<()> {
    let certificates = Certificates::make()?;
    let cluster = RedisCluster::start_tls(&certificates)?;
    let nodes = cluster.connection_string();
    let connection =
        format!("{nodes},ssl=true,ssl_ca_certs={}", certificates.authority().display());
    let rows = many(1_000, at(5));
    let repo = repo_with(store("redis_cluster", &connection), &rows)?;
    repo.succeed(&arguments())?;
    assert!(union(cluster.nodes())? == landed("v", &rows), "every row once, and nothing else");
    for node in cluster.nodes() {
        let Reply::Integer(keys) = node.command(&["DBSIZE"])? else { continue };
        ensure!(keys > 200, "a third of the keys is on each node, not {keys}");
    }
    Ok(())
}

#[test]
fn servers_of_another_kind_are_named() -> Result<()> {
    let redis = Redis::start()?;
    let address = format!("127.0.0.1:{}", redis.port());
    let repo = repo_with(store("redis_cluster", &address), &many(3, at(5)))?;
    let of = |redis_type: &str, says: &[&str]| -> Result<()> {
        let store = store(redis_type, &address);
        repo.configure(&tests::repo::configuration(PROJECT, store))?;
        let ended = repo.run(&arguments())?.with_code(1).context("another kind")?;
        says.iter().try_for_each(|words| ended.says(words).map(drop))
    };
    of("redis_cluster", &[&address, "is not in cluster mode", "`redis_type: redis`"])?;
    of("redis_sentinel", &[&address, "is no sentinel", "`redis_type: redis`"])?;
    assert!(online::hashes(&redis, 0)?.is_empty());
    Ok(())
}
