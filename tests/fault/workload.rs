//! What is materialized: views over rows of a known newest one, in a repository of any kind.

use anyhow::{Result, ensure};
use feast::ValueType;
use harness::{Postgres, Redis};
use model::EventTime;
use serde_json::json;
use tests::definition::{Project, View};
use tests::ledger::Ledger;
use tests::online::{self, Hashes, Rows, int_hash, redis_key};
use tests::parquet::{ints, times, write};
use tests::registry::{self, make_postgres};
use tests::repo::{Repo, configuration, redis_store};

pub(crate) const PROJECT: &str = "fault";
/// 2024-01-01T00:00:00Z, where everything begins.
pub(crate) const START_MICROS: i64 = 1_704_067_200_000_000;
/// A hundred hours later, where everything ends.
pub(crate) const END_MICROS: i64 = START_MICROS + 100 * HOUR_MICROS;
const HOUR_MICROS: i64 = 3_600_000_000;
/// Rows of each entity inside the interval; one more lies behind it.
const ROWS_PER_ENTITY: i64 = 3;
/// Small, so that a file has many and partitions share them.
const GROUP_ROWS: usize = 4_096;

/// The size of a workload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workload {
    pub(crate) views: i64,
    pub(crate) entities: i64,
    pub(crate) store: Store,
}

/// The online store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    Redis,
    Sqlite,
}

/// Where registry and ledger live.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place<'a> {
    File,
    Postgres(&'a Postgres),
}

/// A workload put down somewhere.
pub(crate) struct World<'a> {
    pub(crate) repo: Repo,
    redis: Option<Redis>,
    registry: registry::Place<'a>,
    pub(crate) ledger: Ledger<'a>,
    workload: Workload,
}

/// Everything in an online store.
#[derive(Debug, PartialEq)]
pub(crate) enum Stored {
    Redis(Hashes),
    Sqlite(Vec<Rows>),
}

impl Workload {
    fn view(&self, index: i64) -> View {
        let name = format!("v{index}");
        let path = format!("data/{name}.parquet");
        let mut view = View::new(&name, &path, &[("f", ValueType::Int64), ("g", ValueType::Int64)]);
        // An instant of history, so that incremental runs start here and not a year ago.
        view.intervals = vec![(START_MICROS, START_MICROS)];
        view
    }

    fn project(&self) -> Project {
        Project::new(PROJECT, (0..self.views).map(|index| self.view(index)))
    }

    /// Event time of a row: each entity has its rows in an order of its own.
    fn row_micros(&self, view: i64, entity: i64, row: i64) -> i64 {
        let hour = 1 + (entity * 7 + row * 31 + view * 13) % 99;
        START_MICROS + hour * HOUR_MICROS + entity
    }

    fn value(view: i64, entity: i64, row: i64) -> i64 {
        (view * 1_000_000 + entity) * 10 + row
    }

    /// The newest row of an entity inside the interval.
    fn newest(&self, view: i64, entity: i64) -> (i64, i64) {
        let times = (0..ROWS_PER_ENTITY).map(|row| (self.row_micros(view, entity, row), row));
        times.max().expect("every entity has rows")
    }

    /// What Redis must hold of one view.
    pub(crate) fn hashes(&self, view: i64) -> Hashes {
        let hash = |entity| {
            let (micros, row) = self.newest(view, entity);
            let value = Self::value(view, entity, row);
            let features = [("f", value), ("g", value + 1)];
            (redis_key(PROJECT, entity), int_hash(&format!("v{view}"), micros, &features))
        };
        (0..self.entities).map(hash).collect()
    }

    fn fill(&self, repo: &Repo) -> Result<()> {
        for view in 0..self.views {
            let (mut ids, mut at, mut values) = (Vec::new(), Vec::new(), Vec::new());
            for row in 0..ROWS_PER_ENTITY {
                for entity in 0..self.entities {
                    ids.push(entity);
                    at.push(self.row_micros(view, entity, row));
                    values.push(Self::value(view, entity, row));
                }
            }
            for entity in 0..self.entities {
                ids.push(entity);
                at.push(END_MICROS + 1 + entity);
                values.push(-1);
            }
            let above = values.iter().map(|value| value + 1).collect::<Vec<i64>>();
            write(
                &repo.path(format!("data/v{view}.parquet")),
                &[("id", ints(ids)), ("ts", times(at)), ("f", ints(values)), ("g", ints(above))],
                GROUP_ROWS,
            )?;
        }
        Ok(())
    }

    /// Puts the workload down; `name` tells several of one server apart.
    pub(crate) fn set_up<'a>(&self, place: Place<'a>, name: &str) -> Result<World<'a>> {
        let project = self.project();
        let (repo, redis) = match self.store {
            Store::Redis => {
                let redis = Redis::start()?;
                let repo = Repo::with_project(&project, redis_store(redis.port()))?;
                (repo, Some(redis))
            }
            Store::Sqlite => (Repo::with_sqlite_store(&project)?, None),
        };
        self.fill(&repo)?;
        let (registry, ledger) = match place {
            Place::File => (repo.registry(), Ledger::Sqlite(repo.ledger())),
            Place::Postgres(server) => {
                let redis = redis.as_ref().expect("PostgreSQL goes with Redis here");
                let mut settings = configuration(PROJECT, redis_store(redis.port()));
                settings["registry"] = json!({ "registry_type": "sql", "path": server.url(name) });
                repo.configure(&settings)?;
                let registry = make_postgres(server, name, &project)?;
                (registry, Ledger::Postgres(server, name.to_owned()))
            }
        };
        Ok(World { repo, redis, registry, ledger, workload: *self })
    }
}

impl World<'_> {
    /// A run over the whole interval, or from wherever each view has got to.
    pub(crate) fn arguments(incremental: bool) -> Vec<String> {
        let at = |micros| EventTime::from_micros(micros).to_string();
        if incremental {
            return vec!["materialize-incremental".to_owned(), at(END_MICROS)];
        }
        vec!["materialize".to_owned(), at(START_MICROS), at(END_MICROS)]
    }

    /// Everything in the online store.
    pub(crate) fn stored(&self) -> Result<Stored> {
        if let Some(redis) = &self.redis {
            return Ok(Stored::Redis(online::hashes(redis, 0)?));
        }
        let path = self.repo.path("data/online.db");
        let table = |view| {
            let rows = online::rows(&path, &format!("{PROJECT}_v{view}"))?;
            rows.ok_or_else(|| anyhow::anyhow!("the table of view {view} is gone"))
        };
        Ok(Stored::Sqlite((0..self.workload.views).map(table).collect::<Result<_>>()?))
    }

    /// Feast's registry; whole, whatever happened.
    pub(crate) fn registry(&self) -> Result<registry::State> {
        self.registry.state()
    }

    /// Tells how many rows of a view are stored as they must be in the end.
    pub(crate) fn check_view(&self, view: i64, stored: &Stored) -> Result<()> {
        match stored {
            Stored::Redis(hashes) => {
                for (key, wanted) in self.workload.hashes(view) {
                    let held = hashes.get(&key);
                    let has =
                        |(field, value)| held.is_some_and(|held| held.get(field) == Some(value));
                    ensure!(wanted.iter().all(has), "v{view} is done, but {key:?} holds {held:?}");
                }
            }
            Stored::Sqlite(tables) => {
                let table = &tables[usize::try_from(view)?];
                for entity in 0..self.workload.entities {
                    let (_, row) = self.workload.newest(view, entity);
                    let text = Workload::value(view, entity, row).to_string();
                    let key = (tests::hex::encode(&online::entity_key(entity)), "f".to_owned());
                    let held = table.get(&key).and_then(|row| row.text.as_ref());
                    ensure!(held == Some(&text), "v{view} is done, but {key:?} holds {held:?}");
                }
            }
        }
        Ok(())
    }

    /// The number of views.
    pub(crate) fn views(&self) -> i64 {
        self.workload.views
    }
}
