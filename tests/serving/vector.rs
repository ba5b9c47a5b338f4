//! A service whose vectors Feast has precomputed, on the bytes that the real Feast left in Redis.

use ::tests::golden::Case;
use ::tests::hex;
use ::tests::repo::{Repo, configuration, redis_store};
use anyhow::{Context, Result, ensure};
use feast::redis_layout::{encode_timestamp, feature_field, timestamp_field};
use feast::value::Value;
use harness::Redis;
use serde_json::json;

use crate::caller::Caller;
use crate::server::Server;
use crate::table::Table;

/// The service's one view, with one feature.
const VIEW: &str = "fv";
/// The event time of entity 1.
const SECONDS: i64 = 1_704_110_401;

/// A server on the recorded case: entities 1 and 2 have vectors.
struct Recorded {
    redis: Redis,
    key: Vec<u8>,
    server: Server,
    _repo: Repo,
}

impl Recorded {
    fn start() -> Result<Self> {
        let case = Case::load("precompute_service")?;
        let redis = Redis::start()?;
        let hashes = case.json["expected"]["redis"].as_object().context("it has hashes")?;
        for (key, hash) in hashes {
            let mut command = vec![b"HSET".to_vec(), hex::decode(key)?];
            for (field, value) in hash.as_object().context("a hash has fields")? {
                command.push(hex::decode(field)?);
                command.push(hex::decode(value.as_str().context("a value is text")?)?);
            }
            redis.command(&command)?;
        }
        let repo = Repo::new(&configuration(case.project()?, redis_store(redis.port())))?;
        repo.write("data/registry.db", std::fs::read(case.registry("after")?)?)?;
        let server = Server::start(&repo)?;
        let key = ::tests::online::redis_key(case.project()?, 1);
        Ok(Self { redis, key, server, _repo: repo })
    }

    /// Changes the hash of entity 1.
    fn set(&self, field: &[u8], value: &[u8]) -> Result<()> {
        let command = [b"HSET".to_vec(), self.key.clone(), field.to_vec(), value.to_vec()];
        self.redis.command(&command).map(drop)
    }

    /// Gives entity 1 another value.
    fn set_value(&self, number: i64) -> Result<()> {
        let mut bytes = Default::default();
        Value::Int64(number).encode(&mut bytes);
        self.set(&feature_field(VIEW, "f"), &bytes)
    }

    /// What the service has for entities 1 to 3.
    fn ask(&self) -> Result<Table> {
        let body = json!({ "feature_service": "svc", "entities": { "id": [1, 2, 3] } });
        Table::read(&Caller::new(self.server.http())?.features(&body)?.body)
    }

    /// Rows that a vector told so far, and rows that were read from the view.
    fn rows(&self) -> Result<[u64; 2]> {
        let metrics = Caller::new(self.server.admin())?.get("/metrics")?.body;
        let counted = |name: &str| -> Result<u64> {
            let line = metrics.lines().find_map(|line| line.strip_prefix(name));
            Ok(line.with_context(|| format!("no `{name}` in:\n{metrics}"))?.trim().parse()?)
        };
        Ok([
            counted("tidegate_serve_vector_rows_used_total")?,
            counted("tidegate_serve_vector_rows_assembled_total")?,
        ])
    }
}

#[test]
fn a_vector_is_read_until_its_view_has_a_newer_row() -> Result<()> {
    let recorded = Recorded::start()?;
    let first = recorded.ask()?;
    let column = &first.columns[1];
    ensure!(column.values == ["20", "30", "null"], "{first:?}");
    ensure!(column.statuses == ["PRESENT", "PRESENT", "NOT_FOUND"], "{first:?}");
    // The time of the row, and not that of the vector.
    ensure!(column.event_times[0] == "2024-01-01T12:00:01Z", "{first:?}");
    ensure!(recorded.rows()? == [2, 1], "{:?}", recorded.rows()?);

    // Nobody writes a view so; it shows where the answer comes from.
    recorded.set_value(21)?;
    ensure!(recorded.ask()? == first, "{:?}", recorded.ask()?);

    recorded.set(&timestamp_field(VIEW), &encode_timestamp(SECONDS + 1, 0))?;
    let newer = recorded.ask()?;
    ensure!(newer.columns[1].values == ["21", "30", "null"], "{newer:?}");
    ensure!(newer.columns[1].event_times[0] == "2024-01-01T12:00:02Z", "{newer:?}");
    Ok(())
}

#[test]
fn without_a_vector_the_views_answer() -> Result<()> {
    let recorded = Recorded::start()?;
    let first = recorded.ask()?;
    let field = feature_field("__precomputed__svc", "vector").to_vec();
    recorded.redis.command(&[b"HDEL".to_vec(), recorded.key.clone(), field.clone()])?;
    ensure!(recorded.ask()? == first, "{:?}", recorded.ask()?);
    recorded.set(&field, b"no vector")?;
    ensure!(recorded.ask()? == first, "{:?}", recorded.ask()?);
    // Entity 2 has its vector throughout, and entity 3 none.
    ensure!(recorded.rows()? == [4, 5], "{:?}", recorded.rows()?);
    Ok(())
}
