//! Scheduler and executor in this process, for a machine without servers of ours.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context;
use executor::OnlineSinks;
use jobs::{Session, SessionOptions, session::MEMORY_LIMIT_BYTES};
use metastore::{Ledger, LedgerUrl};
use online_store::{OnlineStore, PaceLimits, WriteLimits};
use registry::Registry;
use scheduler::{Process, Scheduler};

use crate::repo::{Repo, registry_options};

/// Whether the ledger may be created and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Opened as it is, if it is there.
    Read,
    /// Created and upgraded where needed.
    Write,
}

/// Builds a scheduler on the repository.
pub async fn scheduler(
    repo: &Repo,
    environment: &BTreeMap<String, String>,
    access: Access,
) -> anyhow::Result<Scheduler> {
    let options = registry_options(repo, environment);
    let registry = Registry::open(&repo.config.registry, &options).await?;
    Ok(Scheduler {
        repo_dir: repo.dir.clone(),
        config: repo.config.clone(),
        registry,
        ledger: ledger(repo, access).await?.map(Arc::new),
        session: session(repo)?,
        process: Process {
            host: host_name(environment),
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        },
    })
}

/// Opens the ledger.
pub async fn ledger(repo: &Repo, access: Access) -> anyhow::Result<Option<Ledger>> {
    let url = LedgerUrl::parse(&repo.ledger)?;
    Ok(match access {
        Access::Read => Ledger::open_read_only(&url).await?,
        Access::Write => Some(Ledger::open(&url).await?),
    })
}

fn session(repo: &Repo) -> anyhow::Result<Session> {
    let options = SessionOptions {
        partitions: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        memory_limit_bytes: repo.config.tidegate.memory_limit_bytes.unwrap_or(MEMORY_LIMIT_BYTES),
        object_store: repo.object_store.clone(),
    };
    Session::new(options).context("failed to start the query engine")
}

/// Connects the online store.
pub async fn online_store(repo: &Repo) -> anyhow::Result<Arc<OnlineStore>> {
    let settings = &repo.config.tidegate;
    let default = PaceLimits::default();
    let pace = PaceLimits {
        rows_per_second_max: settings.rows_per_second_max,
        latency_max: settings.latency_limit.unwrap_or(default.latency_max),
    };
    let limits = WriteLimits { pace, ..WriteLimits::default() };
    let store = OnlineStore::connect(&repo.config.online_store, limits).await?;
    Ok(Arc::new(store))
}

/// The executor's sinks.
pub async fn sinks(repo: &Repo) -> anyhow::Result<OnlineSinks> {
    Ok(OnlineSinks::new(online_store(repo).await?))
}

/// The host's name and, where there are such, the namespace that our process id belongs to: two
/// containers may share the host's name and not its process ids.
fn host_name(environment: &BTreeMap<String, String>) -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map(|name| name.trim().to_owned())
        .ok()
        .or_else(|| environment.get("HOSTNAME").cloned())
        .unwrap_or_else(|| "localhost".to_owned());
    match std::fs::read_link("/proc/self/ns/pid") {
        Ok(namespace) => format!("{name} {}", namespace.display()),
        Err(_) => name,
    }
}
