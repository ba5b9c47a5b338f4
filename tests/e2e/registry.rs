//! Feast's registry in PostgreSQL, SQLite and files, while others change it.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use feast::config::{RegistryConfig, RegistryLocation};
use feast::{ValueType, ViewKind};
use harness::{Postgres, Redis};
use registry::{Recorded, Registry};
use serde_json::{Value, json};
use tests::definition::{Project, View};
use tests::ledger::Ledger;
use tests::online;
use tests::registry::{Place, make_postgres, make_sqlite};
use tests::repo::{Repo, configuration, redis_store};

use crate::redis::{until_writing, wait};
use crate::sample::{PROJECT, Row, at, fill, iso, landed, many, view};

const ROWS: [Row; 2] = [(1, 1_704_085_200_000_000, 10), (2, 1_704_085_200_000_000, 20)];
/// Enough that a run is still writing when its first rows are seen.
const MANY: i64 = 200_000;

fn shop(redis: &Redis, registry: Value) -> Result<Repo> {
    let mut settings = configuration(PROJECT, redis_store(redis.port()));
    settings["registry"] = registry;
    Repo::new(&settings)
}

fn sql(url: &str) -> Value {
    json!({ "registry_type": "sql", "path": url })
}

fn arguments() -> [String; 3] {
    ["materialize".to_owned(), iso(at(0)), iso(at(9))]
}

#[test]
fn a_postgres_registry_keeps_the_ledger_in_a_schema_of_its_own() -> Result<()> {
    let (server, redis) = (Postgres::shared()?, Redis::start()?);
    let project = Project::new(PROJECT, [view("v")]);
    let place = make_postgres(&server, "own_schema", &project)?;
    let tables = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'";
    let before = server.psql("own_schema", tables)?;
    let url = server.url("own_schema").replace("postgresql:", "postgresql+psycopg:");
    let repo = shop(&redis, sql(&url))?;
    fill(&repo, "v", &ROWS)?;
    repo.succeed(&arguments())?;
    repo.succeed(&["materialize-incremental", &iso(at(20))])?;
    assert_eq!(online::hashes(&redis, 0)?, landed("v", &ROWS));
    let state = place.state()?;
    assert_eq!(state.intervals("v"), [(at(0), at(20))], "intervals that adjoin are one");
    assert_eq!(state.views["v"].state, 4);
    let ledger = Ledger::Postgres(&server, "own_schema".to_owned());
    assert_eq!(ledger.coverage()?["v"].intervals, [(at(0) * 1_000, at(20) * 1_000 + 1)]);
    assert_eq!(ledger.count("mirrors", "true")?, 0);
    assert_eq!(ledger.count("runs", "state = 'succeeded'")?, 2);
    assert_eq!(server.psql("own_schema", tables)?, before, "Feast's schema is Feast's");
    assert!(!repo.ledger().exists());
    // Feast stamps whole seconds on the row and on the project.
    let stamps = "SELECT last_updated_timestamp > 1701388800 FROM feature_views";
    assert_eq!(server.psql("own_schema", stamps)?, "t");
    Ok(())
}

#[test]
fn a_sqlite_registry_is_read_and_recorded_in() -> Result<()> {
    let redis = Redis::start()?;
    let repo = shop(&redis, json!("unused"))?;
    let path = repo.path("data/registry.sqlite");
    make_sqlite(&path, &Project::new(PROJECT, [view("v")]))?;
    let mut settings = configuration(PROJECT, redis_store(redis.port()));
    settings["registry"] = sql(&format!("sqlite:///{}", path.display()));
    repo.configure(&settings)?;
    fill(&repo, "v", &ROWS)?;
    repo.succeed(&arguments())?;
    assert_eq!(online::hashes(&redis, 0)?, landed("v", &ROWS));
    let state = Place::Sqlite(path).state()?;
    assert_eq!((state.intervals("v"), state.views["v"].state), (vec![(at(0), at(9))], 4));
    assert!(repo.ledger().is_file(), "the ledger stands beside the registry");
    Ok(())
}

#[test]
fn two_runs_at_once_land_the_same() -> Result<()> {
    let redis = Redis::start()?;
    let project = Project::new(PROJECT, [view("v"), view("w")]);
    let repo = Repo::with_project(&project, redis_store(redis.port()))?;
    let rows = many(MANY / 10, at(5));
    fill(&repo, "v", &rows)?;
    fill(&repo, "w", &rows)?;
    let runs = [repo.spawn(&arguments())?, repo.spawn(&arguments())?];
    for run in runs {
        wait(run)?.with_code(0)?;
    }
    let w = landed("w", &rows);
    let wanted = landed("v", &rows).into_iter().map(|(key, mut hash)| {
        hash.extend(w[&key].clone());
        (key, hash)
    });
    assert!(online::hashes(&redis, 0)? == wanted.collect(), "every row, and nothing else");
    let ledger = Ledger::Sqlite(repo.ledger());
    for (view, known) in ledger.coverage()? {
        assert_eq!(known.intervals, [(at(0) * 1_000, at(9) * 1_000 + 1)], "{view}");
    }
    assert_eq!(ledger.count("mirrors", "true")?, 0);
    assert_eq!(ledger.count("runs", "state = 'succeeded'")?, 2);
    assert_eq!(repo.registry().state()?.views["v"].intervals, [(at(0), at(9))]);
    Ok(())
}

#[test]
fn a_view_is_served_after_a_run_over_an_interval_that_is_listed_already() -> Result<()> {
    let redis = Redis::start()?;
    let mut known = view("v");
    // GENERATED, in which Feast's readers refuse a view.
    known.state = 2;
    known.intervals = vec![(at(0), at(9))];
    let repo = Repo::with_project(&Project::new(PROJECT, [known]), redis_store(redis.port()))?;
    fill(&repo, "v", &ROWS)?;
    repo.succeed(&arguments())?;
    let state = repo.registry().state()?;
    assert_eq!(state.views["v"].intervals, [(at(0), at(9))], "it is not listed twice");
    assert_eq!(state.views["v"].state, 4);
    Ok(())
}

/// The view as a later `feast apply` defines it.
fn redefined() -> View {
    let mut view = view("v").tag("owner", "somebody else");
    view.features.push(("g".to_owned(), ValueType::Int64));
    view
}

/// A definition that is applied while a run writes stays, and so does the run's interval.
fn keeps_both(redis: &Redis, repo: &Repo, place: &Place<'_>) -> Result<()> {
    fill(repo, "v", &many(MANY, at(5)))?;
    let mut run = repo.spawn(&arguments())?;
    until_writing(redis, &mut run)?;
    let project = Project::new(PROJECT, [redefined()]);
    place.apply(&project)?;
    assert!(run.try_wait()?.is_none(), "the definition came too late to be in the way");
    wait(run)?.with_code(0)?;
    let state = place.state()?;
    assert_eq!(state.intervals("v"), [(at(0), at(9))], "the interval is there");
    let wanted = tests::registry::view_state(&redefined().encode(PROJECT))?.1;
    assert_eq!(state.views["v"].spec, wanted.spec, "and so is the definition");
    Ok(())
}

#[test]
fn a_definition_applied_to_a_file_during_a_run_stays() -> Result<()> {
    let redis = Redis::start()?;
    let project = Project::new(PROJECT, [view("v")]);
    let repo = Repo::with_project(&project, redis_store(redis.port()))?;
    keeps_both(&redis, &repo, &repo.registry())
}

#[test]
fn a_definition_applied_to_sqlite_during_a_run_stays() -> Result<()> {
    let redis = Redis::start()?;
    let repo = shop(&redis, json!("unused"))?;
    let path = repo.path("data/registry.sqlite");
    make_sqlite(&path, &Project::new(PROJECT, [view("v")]))?;
    let mut settings = configuration(PROJECT, redis_store(redis.port()));
    settings["registry"] = sql(&format!("sqlite:///{}", path.display()));
    repo.configure(&settings)?;
    keeps_both(&redis, &repo, &Place::Sqlite(path))
}

#[test]
fn a_definition_applied_to_postgres_during_a_run_stays() -> Result<()> {
    let (server, redis) = (Postgres::shared()?, Redis::start()?);
    let place = make_postgres(&server, "redefined", &Project::new(PROJECT, [view("v")]))?;
    let repo = shop(&redis, sql(&server.url("redefined")))?;
    keeps_both(&redis, &repo, &place)
}

#[test]
fn a_registry_that_cannot_be_reached_after_the_commit_is_caught_up_with() -> Result<()> {
    let redis = Redis::start()?;
    let project = Project::new(PROJECT, [view("v")]);
    let repo = Repo::with_project(&project, redis_store(redis.port()))?;
    let rows = many(MANY, at(5));
    fill(&repo, "v", &rows)?;
    let before = std::fs::read(repo.path("data/registry.db"))?;
    let mut run = repo.spawn(&["materialize".to_owned(), iso(at(0)), iso(at(9))])?;
    until_writing(&redis, &mut run)?;
    std::fs::remove_file(repo.path("data/registry.db"))?;
    assert!(run.try_wait()?.is_none(), "the registry went too late to be missed");
    let ended = wait(run)?;
    ended.says("what has landed is not yet in Feast's registry")?;
    let ledger = Ledger::Sqlite(repo.ledger());
    assert_eq!(ledger.coverage()?["v"].intervals.len(), 1, "what landed is committed");
    assert_eq!(ledger.count("mirrors", "true")?, 1);

    repo.write("data/registry.db", before)?;
    repo.succeed(&["materialize-incremental", &iso(at(20))])?;
    let intervals = repo.registry().state()?.intervals("v");
    assert_eq!(intervals, [(at(0), at(20))]);
    assert_eq!(ledger.count("mirrors", "true")?, 0);
    Ok(())
}

/// Intervals of each recorder, and definitions of the one who applies.
const ROUNDS: i64 = 40;

#[tokio::test(flavor = "multi_thread")]
async fn recorders_and_an_apply_on_postgres_lose_nothing() -> Result<()> {
    let server = Postgres::shared()?;
    let place = make_postgres(&server, "recorders", &Project::new(PROJECT, [view("v")]))?;
    let config = RegistryConfig {
        location: RegistryLocation::Postgres(server.url("recorders")),
        versioning: false,
        purge_feast_metadata: false,
        cache_ttl_seconds: None,
    };
    let mut tasks = Vec::new();
    for recorder in 0..2 {
        let registry = Registry::open(&config, &BTreeMap::new()).await?;
        tasks.push(tokio::spawn(async move {
            for round in 0..ROUNDS {
                let start = recorder * 1_000_000 + round * 10;
                let recorded = registry
                    .record_interval(PROJECT, "v", ViewKind::Feature, start, start + 5, start)
                    .await?;
                anyhow::ensure!(recorded == Recorded::Added, "{recorded:?}");
            }
            anyhow::Ok(())
        }));
    }
    // A definition that only adds a tag: bytes behind a message are merged into it.
    let applies = Arc::clone(&server);
    tasks.push(tokio::task::spawn_blocking(move || {
        for round in 0..ROUNDS {
            let spec = tests::wire::Message::new().entry(5, &format!("tag{round}"), "x");
            let patch = tests::wire::Message::new().message(1, &spec).into_bytes();
            let patch = tests::hex::encode(&patch);
            applies.psql(
                "recorders",
                &format!(
                    "UPDATE feature_views SET feature_view_proto = \
                     feature_view_proto || decode('{patch}', 'hex')"
                ),
            )?;
        }
        anyhow::Ok(())
    }));
    for task in tasks {
        task.await??;
    }
    let registry = Registry::open(&config, &BTreeMap::new()).await?;
    let snapshot = registry.snapshot(PROJECT).await?;
    let view = snapshot.view("v").context("nobody removes it")?;
    assert_eq!(view.materialization_intervals.len(), 2 * usize::try_from(ROUNDS)?);
    assert_eq!(view.tags.len(), usize::try_from(ROUNDS)?);
    assert_eq!(place.state()?.views["v"].state, 4);
    Ok(())
}
