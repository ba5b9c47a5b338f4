//! One history's repository and servers, with a link before each, and the schedulers that run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::tests::dice::Dice;
use ::tests::ledger::{Known, Ledger};
use ::tests::registry::{Place, make_postgres};
use ::tests::repo::{Repo, configuration, redis_store};
use anyhow::{Context, Result};
use harness::{Link, Postgres, Redis};
use serde_json::json;

use crate::fault::Server;
use crate::oracle::Source;
use crate::scheduler::{Log, Scheduler};
use crate::source::{PROJECT, VIEWS, project, write_all};
use crate::watcher::Watcher;

/// Slow enough that faults fall into a run, and that a run of all rows takes some seconds.
const ROWS_PER_SECOND: u64 = 600;
/// Enough logs for a report: those of the schedulers that lived last.
const LOGS_MAX: usize = 4;

/// Everything that a history happens to.
#[derive(Debug)]
pub(crate) struct World<'a> {
    pub(crate) repo: Repo,
    pub(crate) postgres: &'a Postgres,
    pub(crate) database: String,
    pub(crate) redis: Arc<Redis>,
    /// Whether Redis keeps its data when it is killed.
    pub(crate) is_durable: bool,
    pub(crate) to_redis: Link,
    pub(crate) to_postgres: Link,
    pub(crate) registry: Place<'a>,
    pub(crate) ledger: Ledger<'a>,
    pub(crate) sources: Vec<Source>,
    pub(crate) watcher: Watcher,
    /// The one that is asked.
    pub(crate) scheduler: Option<Scheduler>,
    /// Others that still run, or stand still.
    pub(crate) others: Vec<Scheduler>,
    logs: Vec<Log>,
}

impl<'a> World<'a> {
    /// Sets it up in a database of its own.
    pub(crate) fn new(postgres: &'a Postgres, database: &str, dice: &mut Dice) -> Result<Self> {
        let is_durable = dice.once_in(2);
        let redis = Arc::new(start_redis(is_durable)?);
        let to_redis = Link::start(redis.port())?;
        let to_postgres = Link::start(postgres.port())?;
        let registry = make_postgres(postgres, database, &project())?;
        let url = format!("postgresql://postgres@127.0.0.1:{}/{database}", to_postgres.port());
        let mut settings = configuration(PROJECT, redis_store(to_redis.port()));
        settings["registry"] = json!({ "registry_type": "sql", "path": url });
        settings["tidegate"] = json!({
            "max_rows_per_second": ROWS_PER_SECOND,
            // Whether what was lost is written again without being asked for.
            "rebuild_lost": dice.once_in(2),
        });
        let repo = Repo::new(&settings)?;
        let sources: Vec<Source> =
            VIEWS.iter().map(|(_, has_ends)| Source::draw(dice, *has_ends)).collect();
        for ((view, _), source) in VIEWS.iter().zip(&sources) {
            write_all(&repo, view, source)?;
        }
        Ok(Self {
            repo,
            postgres,
            database: database.to_owned(),
            watcher: Watcher::start(&redis),
            redis,
            is_durable,
            to_redis,
            to_postgres,
            registry,
            ledger: Ledger::Postgres(postgres, database.to_owned()),
            sources,
            scheduler: None,
            others: Vec::new(),
            logs: Vec::new(),
        })
    }

    /// Starts another scheduler.
    pub(crate) fn start(&mut self, fail_at: Option<&str>) -> Result<Scheduler> {
        let scheduler = Scheduler::start(&self.repo, fail_at)?;
        if self.logs.len() == LOGS_MAX {
            self.logs.remove(0);
        }
        self.logs.push(scheduler.log());
        Ok(scheduler)
    }

    /// The scheduler that is asked; a new one when there is none that lives.
    pub(crate) fn scheduler(&mut self) -> Result<&Scheduler> {
        if !self.scheduler.as_mut().is_some_and(Scheduler::is_alive) {
            self.scheduler = None;
            self.scheduler = Some(self.start(None)?);
        }
        self.scheduler.as_ref().context("it has just been started")
    }

    /// The link to a server.
    pub(crate) fn link(&self, server: Server) -> &Link {
        match server {
            Server::Redis => &self.to_redis,
            Server::Postgres => &self.to_postgres,
        }
    }

    /// What the ledger says of every view; of none before it is made.
    pub(crate) fn coverage(&self) -> Result<BTreeMap<String, Known>> {
        if self.ledger.exists()? { self.ledger.coverage() } else { Ok(BTreeMap::new()) }
    }

    /// The last lines of the last schedulers.
    pub(crate) fn logs(&self) -> String {
        let of = |(place, log): (usize, &Log)| format!("--- scheduler {place}\n{}", log.text());
        self.logs.iter().enumerate().map(of).collect()
    }

    /// Undoes what a history that broke off in the middle may have left of its faults.
    pub(crate) fn release_everything(&mut self) -> Result<()> {
        self.scheduler = None;
        self.others.clear();
        for link in [&self.to_redis, &self.to_postgres] {
            link.delay(Duration::ZERO);
            link.cut();
            link.release();
        }
        if self.postgres.pid().is_none() {
            self.postgres.restart()?;
        }
        Ok(())
    }

    /// Ends everything that uses the database, and drops it.
    pub(crate) fn end(mut self) -> Result<()> {
        self.scheduler = None;
        self.others.clear();
        let drop = format!("DROP DATABASE \"{}\" WITH (FORCE)", self.database);
        self.postgres.psql("postgres", &drop).map(|_| ())
    }
}

fn start_redis(is_durable: bool) -> Result<Redis> {
    if !is_durable {
        return Redis::start();
    }
    Redis::start_with(&[
        "--appendonly",
        "yes",
        "--appendfsync",
        "always",
        // So slow that it is seen loading: microseconds a command, and who asks in between is
        // answered.
        "--key-load-delay",
        "300",
        "--loading-process-events-interval-bytes",
        "1024",
    ])
}

/// Asks until there is an answer; `None` when there is none in time.
///
/// # Errors
/// As `ask` has it: what may pass is `Ok(None)` there.
pub(crate) fn wait_for<T>(
    patience: Duration,
    mut ask: impl FnMut() -> Result<Option<T>>,
) -> Result<Option<T>> {
    const POLL: Duration = Duration::from_millis(20);
    let begun = Instant::now();
    while begun.elapsed() < patience {
        if let Some(answer) = ask()? {
            return Ok(Some(answer));
        }
        std::thread::sleep(POLL);
    }
    Ok(None)
}
