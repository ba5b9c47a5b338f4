//! Redis in trouble: full, killed, guarded, a replica, behind TLS, or of a kind not supported.

use std::process::Child;

use anyhow::{Context, Result, ensure};
use harness::{Certificates, Redis, Reply};
use serde_json::{Value, json};
use tests::definition::Project;
use tests::ledger::Ledger;
use tests::online;
use tests::repo::{Ended, Repo, configuration, redis_store};
use tests::wait::until;

use crate::sample::{PROJECT, Row, Shop, at, fill, iso, landed, many, view};

const ROWS: [Row; 2] = [(1, 1_704_085_200_000_000, 10), (2, 1_704_085_200_000_000, 20)];
/// Enough that a run is still writing when the first rows are seen.
const MANY: i64 = 200_000;
/// Waits until a run has stored its first rows, while it goes on.
pub(crate) fn until_writing(redis: &Redis, run: &mut Child) -> Result<()> {
    // Keys of ours begin with an underscore, and are there before any row.
    let none = Reply::Array(Vec::new());
    until("rows are written", || Ok(redis.command(&["KEYS", "[^_]*"])? != none))?;
    ensure!(run.try_wait()?.is_none(), "the run was over before anything could happen to it");
    Ok(())
}

pub(crate) fn wait(run: Child) -> Result<Ended> {
    Ok(run.wait_with_output()?.into())
}

pub(crate) fn arguments() -> [String; 3] {
    ["materialize".to_owned(), iso(at(0)), iso(at(9))]
}

#[test]
fn a_full_redis_fails_the_view_without_a_commit() -> Result<()> {
    let redis = Redis::start_with(&["--maxmemory", "4mb", "--maxmemory-policy", "noeviction"])?;
    let project = Project::new(PROJECT, [view("v")]);
    let repo = Repo::with_project(&project, redis_store(redis.port()))?;
    let rows = many(MANY, at(5));
    fill(&repo, "v", &rows)?;
    let ended = repo.run(&arguments())?.with_code(1)?;
    ended.says("out of memory")?;
    ended.says("maxmemory")?;
    assert!(repo.registry().state()?.intervals("v").is_empty());
    let ledger = Ledger::Sqlite(repo.ledger());
    assert!(ledger.coverage()?["v"].intervals.is_empty());
    assert_eq!(ledger.count("runs", "state = 'failed'")?, 1);

    redis.command(&["CONFIG", "SET", "maxmemory", "0"])?;
    repo.succeed(&arguments())?;
    assert!(online::hashes(&redis, 0)? == landed("v", &rows), "every row, and nothing else");
    assert_eq!(repo.registry().state()?.intervals("v"), [(at(0), at(9))]);
    Ok(())
}

#[test]
fn a_redis_that_comes_back_does_not_fail_the_run() -> Result<()> {
    let redis = Redis::start_with(&["--appendonly", "yes", "--appendfsync", "always"])?;
    let project = Project::new(PROJECT, [view("v")]);
    let repo = Repo::with_project(&project, redis_store(redis.port()))?;
    let rows = many(MANY, at(5));
    fill(&repo, "v", &rows)?;
    let mut run = repo.spawn(&arguments())?;
    until_writing(&redis, &mut run)?;
    redis.restart()?;
    wait(run)?.with_code(0)?;
    assert!(online::hashes(&redis, 0)? == landed("v", &rows), "every row, and nothing else");
    assert_eq!(repo.registry().state()?.intervals("v"), [(at(0), at(9))]);
    Ok(())
}

#[test]
fn a_redis_that_comes_back_empty_is_not_taken_for_done() -> Result<()> {
    let shop = Shop::new([view("v")])?;
    let rows = many(MANY, at(5));
    fill(&shop.repo, "v", &rows)?;
    let mut run = shop.repo.spawn(&arguments())?;
    until_writing(&shop.redis, &mut run)?;
    // Without persistence, what was acknowledged so far is gone.
    shop.redis.restart()?;
    let ended = wait(run)?;
    if ended.code == Some(0) {
        assert!(shop.stored()? == landed("v", &rows), "rows are missing");
        return Ok(());
    }
    ended.with_code(1)?;
    assert!(shop.intervals("v")?.is_empty());
    shop.repo.succeed(&arguments())?;
    assert!(shop.stored()? == landed("v", &rows), "every row, and nothing else");
    Ok(())
}

#[test]
fn a_redis_that_stays_away_fails_the_view_without_a_commit() -> Result<()> {
    let shop = Shop::new([view("v")])?;
    fill(&shop.repo, "v", &many(MANY, at(5)))?;
    let mut run = shop.repo.spawn(&arguments())?;
    until_writing(&shop.redis, &mut run)?;
    shop.redis.kill();
    let ended = wait(run)?.with_code(1)?;
    ended.says(&format!("Redis at `127.0.0.1:{}`", shop.redis.port()))?;
    assert!(shop.intervals("v")?.is_empty());
    assert!(Ledger::Sqlite(shop.repo.ledger()).coverage()?["v"].intervals.is_empty());
    Ok(())
}

#[test]
fn a_redis_that_is_not_there_is_named() -> Result<()> {
    let shop = Shop::new([view("v")])?;
    fill(&shop.repo, "v", &ROWS)?;
    shop.redis.kill();
    let ended = shop.repo.run(&arguments())?.with_code(1)?;
    ended.says(&format!("cannot connect to Redis at `127.0.0.1:{}`", shop.redis.port()))?;
    Ok(())
}

fn with_store(repo: &Repo, connection: &str) -> Result<()> {
    let store = json!({ "type": "redis", "connection_string": connection });
    repo.configure(&configuration(PROJECT, store))
}

#[test]
fn user_password_and_database_are_used() -> Result<()> {
    let redis = Redis::start_with(&["--user", "writer", "on", ">hunter2", "~*", "+@all"])?;
    let repo = Repo::with_project(&Project::new(PROJECT, [view("v")]), json!({}))?;
    fill(&repo, "v", &ROWS)?;
    let address = format!("127.0.0.1:{}", redis.port());
    with_store(&repo, &format!("{address},db=3,username=writer,password=hunter2"))?;
    repo.succeed(&arguments())?;
    assert_eq!(online::hashes(&redis, 3)?, landed("v", &ROWS));
    assert!(online::hashes(&redis, 0)?.is_empty());
    Ok(())
}

#[test]
fn a_wrong_password_is_refused_and_never_shown() -> Result<()> {
    let redis = Redis::start_with(&["--requirepass", "rightpass"])?;
    let repo = Repo::with_project(&Project::new(PROJECT, [view("v")]), json!({}))?;
    fill(&repo, "v", &ROWS)?;
    let address = format!("127.0.0.1:{}", redis.port());
    for password in [",password=hunter2", ""] {
        with_store(&repo, &format!("{address}{password}"))?;
        let debug = [&["--log-level".to_owned(), "debug".to_owned()][..], &arguments()].concat();
        for arguments in [arguments().to_vec(), debug] {
            let ended = repo.run(&arguments)?.with_code(1)?;
            ended.says(&format!("Redis at `{address}` refuses access"))?;
            assert!(!ended.all().contains("hunter2"), "{}", ended.all());
        }
    }
    with_store(&repo, &format!("{address},password=rightpass"))?;
    let ended = repo.succeed(&arguments())?;
    assert!(!ended.all().contains("rightpass"), "{}", ended.all());
    Ok(())
}

#[test]
fn a_replica_is_told_from_a_primary() -> Result<()> {
    let primary = Redis::start()?;
    let port = primary.port().to_string();
    let replica = Redis::start_with(&["--replicaof", "127.0.0.1", &port])?;
    until("the replica follows", || {
        let info = replica.command(&["INFO", "replication"])?;
        let text = String::from_utf8_lossy(info.bytes().unwrap_or_default()).into_owned();
        Ok(text.contains("master_link_status:up"))
    })?;
    let project = Project::new(PROJECT, [view("v")]);
    let repo = Repo::with_project(&project, redis_store(replica.port()))?;
    fill(&repo, "v", &ROWS)?;
    repo.run(&arguments())?.with_code(1)?.says("read-only replica")?;
    assert!(repo.registry().state()?.intervals("v").is_empty());
    Ok(())
}

#[test]
fn a_key_that_is_somebody_elses_is_named() -> Result<()> {
    let shop = Shop::new([view("v")])?;
    fill(&shop.repo, "v", &ROWS)?;
    let key = online::redis_key(PROJECT, 2);
    shop.redis.command(&[&b"SET"[..], &key, b"x"])?;
    let ended = shop.repo.run(&arguments())?.with_code(1)?;
    ended.says(&tests::hex::encode(&key))?;
    ended.says("is not a hash")?;
    assert!(shop.intervals("v")?.is_empty());
    Ok(())
}

#[test]
fn what_is_not_supported_is_refused_by_name() -> Result<()> {
    let shop = Shop::new([view("v")])?;
    fill(&shop.repo, "v", &ROWS)?;
    let address = format!("127.0.0.1:{}", shop.redis.port());
    for (key, value, says) in [
        ("redis_type", json!("redis_ring"), "redis_ring"),
        ("hosts", json!("x"), "unknown key `hosts`"),
        ("type", json!("dynamodb"), "dynamodb"),
    ] {
        let mut store: Value = json!({ "type": "redis", "connection_string": address });
        store[key] = value;
        shop.repo.configure(&configuration(PROJECT, store))?;
        let ended = shop.repo.run(&arguments())?.with_code(1)?;
        ended.says("online_store")?;
        ended.says(says)?;
    }
    assert!(shop.stored()?.is_empty());
    Ok(())
}

#[test]
fn tls_is_spoken_and_certificates_are_checked() -> Result<()> {
    let certificates = Certificates::make()?;
    let authority = certificates.authority();
    let redis = Redis::start_tls(&certificates, false, &[])?;
    let port = redis.tls_port().context("it listens for TLS")?;
    let repo = Repo::with_project(&Project::new(PROJECT, [view("v")]), json!({}))?;
    fill(&repo, "v", &ROWS)?;

    // Without the authority, nobody vouches for the server.
    with_store(&repo, &format!("localhost:{port},ssl=true"))?;
    let ended = repo.run(&arguments())?.with_code(1)?;
    ended.says(&format!("`localhost:{port}`"))?;
    ended.says("`ssl_ca_certs`")?;
    assert!(online::hashes(&redis, 0)?.is_empty());

    with_store(&repo, &format!("localhost:{port},ssl=true,ssl_ca_certs={}", authority.display()))?;
    repo.succeed(&arguments()).context("with the authority")?;
    assert_eq!(online::hashes(&redis, 0)?, landed("v", &ROWS));

    redis.command(&["FLUSHALL"])?;
    with_store(&repo, &format!("localhost:{port},ssl=true,ssl_cert_reqs=none"))?;
    repo.succeed(&arguments()).context("unchecked")?;
    assert_eq!(online::hashes(&redis, 0)?, landed("v", &ROWS));

    with_store(&repo, &format!("localhost:{port},ssl=true,ssl_ca_certs=/none.pem"))?;
    repo.run(&arguments())?.with_code(1)?.says("none.pem")?;
    Ok(())
}
