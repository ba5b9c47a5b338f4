//! `serve`: the process that answers online feature requests.

use std::time::Duration;

use anyhow::Context as _;
use daemon::{Drained, Protocol, Server};
use feast::config::RegistryLocation;
use feature_server::{Freshness, Limits, Serving, Sockets};

use super::Context;
use crate::args::Serve;
use crate::credentials::{auth, say, tls};
use crate::repo::Repo;
use crate::{EXIT_FAILED, EXIT_LANDED, features};

/// How often the registry is read when nothing says otherwise, as `feast serve` does it.
const REGISTRY_TTL: Duration = Duration::from_secs(60);

/// Serves until a signal asks for the end, and stops in good order.
pub async fn run(context: &Context, serve: &Serve) -> anyhow::Result<u8> {
    let repo = context.repo("serve")?;
    // What is wrong with the settings is said before anything is connected.
    let auth = auth(repo, &serve.credentials, serve.listen)?;
    let tls = tls(repo, &serve.credentials).await?;
    if let Some(address) = serve.grpc_listen.filter(|_| auth.is_open()) {
        daemon::Auth::none(address)?;
    }
    let limits = Limits {
        entities_max: serve.entities_max,
        features_max: serve.features_max,
        requests_max: serve.requests_max,
        read_timeout: serve.read_timeout,
        ..Limits::default()
    };
    let stop = daemon::stop_on_signal().context("failed to watch for signals")?;
    // Each connection takes a file descriptor; what is not granted only makes some wait.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let (server, metrics) = features::server(repo, &context.environment, limits).await?;
    if serve.warm {
        server.catalog().refresh().await.context("failed to read the registry")?;
        let services = server.catalog().warm().await?;
        say(&format!("worked out {services} feature services"));
    }
    let sockets = sockets(serve, tls).await?;
    let serving = Serving {
        server,
        sockets,
        auth,
        metrics,
        freshness: freshness(repo, serve),
        logs_access: serve.access_log,
        registry_age_max: serve.registry_age_max,
    };
    let drained = serving.run(&stop).await;
    Ok(if drained == Drained::All { EXIT_LANDED } else { EXIT_FAILED })
}

async fn sockets(serve: &Serve, tls: Option<daemon::Tls>) -> anyhow::Result<Sockets> {
    let limits = daemon::Limits {
        connections_max: serve.connections_max,
        streams_max: 1_024,
        drain_timeout: serve.drain_timeout,
        ..daemon::Limits::default()
    };
    let (http_scheme, grpc_scheme) =
        if tls.is_some() { ("https", "grpcs") } else { ("http", "grpc") };
    let http = Server::bind(serve.listen, tls.clone(), limits).await?;
    say(&format!("listening on {http_scheme}://{}", http.address()?));
    let grpc = match serve.grpc_listen {
        Some(address) => {
            let grpc = Server::bind(address, tls, limits).await?.speaking(Protocol::Http2);
            say(&format!("listening on {grpc_scheme}://{}", grpc.address()?));
            Some(grpc)
        }
        None => None,
    };
    let admin = match serve.admin_listen {
        Some(address) => {
            let admin = Server::bind(address, None, daemon::Limits::default()).await?;
            say(&format!("listening on admin http://{}", admin.address()?));
            Some(admin)
        }
        None => None,
    };
    Ok(Sockets { http, grpc, admin })
}

fn freshness(repo: &Repo, serve: &Serve) -> Freshness {
    let registry = &repo.config.registry;
    let configured = registry.cache_ttl_seconds.map(Duration::from_secs);
    // Feast's 0 means that the registry is never read again.
    let every = serve.registry_ttl.or(configured).unwrap_or(REGISTRY_TTL);
    let file = match &registry.location {
        RegistryLocation::File(path) | RegistryLocation::Sqlite(path) => Some(path.clone()),
        RegistryLocation::Object(_) | RegistryLocation::Postgres(_) => None,
    };
    Freshness { every: (!every.is_zero()).then_some(every), file }
}
