//! Scheduler and executor in this process, for a machine without servers of ours.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use executor::OnlineSinks;
use jobs::{Session, SessionOptions, session::MEMORY_LIMIT_BYTES};
use metastore::{Ledger, LedgerUrl};
use model::RetryPolicy;
use online_store::{OnlineStore, PaceLimits, WriteLimits};
use registry::Registry;
use scheduler::settings::{ATTEMPT_TIMEOUT, BEAT, LEASE, RETRY, WINDOW_BYTES};
use scheduler::{Defaults, FailPoints, Parts, Process, Scheduler, Settings};

use crate::args::Args;
use crate::command::UsageError;
use crate::repo::{Repo, registry_options};

/// Views side by side when nothing says otherwise: one reads while the other writes.
const PARALLEL: usize = 2;

/// A lease is extended so often that three signs of life may be lost before it ends.
const BEATS_PER_LEASE: u32 = 4;

/// Whether the ledger may be created and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Opened as it is, if it is there.
    Read,
    /// Created and upgraded where needed.
    Write,
}

/// How a scheduler goes about its work, by the repository's configuration.
pub fn settings(repo: &Repo, args: &Args) -> anyhow::Result<Settings> {
    let config = &repo.config.tidegate;
    let lease = config.lease_ttl.unwrap_or(LEASE);
    let attempts = config.attempts_max.map(|attempts| u32::try_from(attempts).unwrap_or(u32::MAX));
    Ok(Settings {
        lease,
        beat: beat(lease),
        retry: RetryPolicy { attempts_max: attempts.unwrap_or(RETRY.attempts_max), ..RETRY },
        retries_all: false,
        attempt_timeout: config.attempt_timeout.unwrap_or(ATTEMPT_TIMEOUT),
        wait_replicas: config.wait_replicas.unwrap_or(0),
        window_bytes: config.window_bytes.unwrap_or(WINDOW_BYTES),
        rebuild_lost: config.rebuild_lost,
        defaults: Defaults {
            parallel: config.parallel.unwrap_or(PARALLEL),
            refuse_over_memory: config.refuse_over_memory,
        },
        fail_points: Arc::new(fail_points(args)?),
    })
}

/// How often a lease is extended.
pub fn beat(lease: Duration) -> Duration {
    (lease / BEATS_PER_LEASE).min(BEAT)
}

fn fail_points(args: &Args) -> Result<FailPoints, UsageError> {
    let Some(step) = &args.fail_point else { return Ok(FailPoints::default()) };
    step.parse().map_err(|error: scheduler::UnknownStep| UsageError(error.to_string()))
}

/// Builds a scheduler on the repository.
pub async fn scheduler(
    repo: &Repo,
    environment: &BTreeMap<String, String>,
    settings: Settings,
    access: Access,
) -> anyhow::Result<Scheduler> {
    let options = registry_options(repo, environment);
    let registry = Registry::open(&repo.config.registry, &options).await?;
    Ok(Scheduler::new(Parts {
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
        settings,
    }))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_lease_is_extended_more_often() {
        for (lease, wanted) in [(15_000, 3_750), (60_000, 4_000), (1_000, 250)] {
            let lease = Duration::from_millis(lease);
            assert_eq!(beat(lease), Duration::from_millis(wanted), "{lease:?}");
        }
    }
}
