//! A Redis, a repository beside it, and the ways in which the server may be told to answer.

use ::tests::definition::Project;
use ::tests::repo::{Repo, configuration, redis_store};
use anyhow::{Result, ensure};
use harness::Redis;
use serde_json::{Value, json};

use crate::server::Server;
use crate::store::{Row, put};
use crate::svc;

/// How the server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Mode {
    /// As we do.
    Strict,
    /// As Feast does: `compat: feast`.
    Compat,
}

impl Mode {
    pub(crate) const BOTH: [Self; 2] = [Self::Strict, Self::Compat];

    /// The settings under `serve` that make it so.
    pub(crate) fn settings(self) -> Value {
        match self {
            Self::Strict => json!({}),
            Self::Compat => json!({ "compat": "feast" }),
        }
    }
}

/// Where a server can be started.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) redis: Redis,
    pub(crate) repo: Repo,
    project: Project,
}

impl Site {
    /// A site of a project with these rows; `settings` are those under `serve`.
    pub(crate) fn new(project: &Project, rows: &[Row], settings: &Value) -> Result<Self> {
        Self::on(Redis::start()?, project, rows, settings)
    }

    /// The same on a Redis that is there already.
    pub(crate) fn on(
        redis: Redis,
        project: &Project,
        rows: &[Row],
        settings: &Value,
    ) -> Result<Self> {
        let repo = Repo::with_project(project, redis_store(redis.port()))?;
        let site = Self { redis, repo, project: project.clone() };
        site.configure(settings)?;
        rows.iter().try_for_each(|row| put(&site.redis, &project.name, row))?;
        Ok(site)
    }

    /// The site of the recording.
    pub(crate) fn recorded(mode: Mode) -> Result<Self> {
        Self::new(&svc::project(), &svc::rows(), &mode.settings())
    }

    /// Writes the configuration anew.
    pub(crate) fn configure(&self, settings: &Value) -> Result<()> {
        let mut all = configuration(&self.project.name, redis_store(self.redis.port()));
        ensure!(settings.is_object(), "settings are an object, not {settings}");
        all["tidegate"] = json!({ "serve": settings });
        self.repo.configure(&all)
    }

    /// Has the registry read again every second, so that what becomes of it is seen soon.
    pub(crate) fn read_registry_often(&self) -> Result<()> {
        let path = self.repo.path("feature_store.yaml");
        let mut all: Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
        all["registry"] = json!({ "path": "data/registry.db", "cache_ttl_seconds": 1 });
        self.repo.configure(&all)
    }

    /// Stores a row.
    pub(crate) fn put(&self, row: &Row) -> Result<()> {
        put(&self.redis, &self.project.name, row)
    }

    /// Starts a server with further flags here.
    pub(crate) fn serve_with(&self, flags: &[&str]) -> Result<Server> {
        Server::start_with(&self.repo, flags)
    }

    /// Starts a server here.
    pub(crate) fn serve(&self) -> Result<Server> {
        Server::start(&self.repo)
    }
}
