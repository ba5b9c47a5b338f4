//! The feature server in this process: for `serve`, and for one question of `get-online-features`.

use std::collections::BTreeMap;
use std::sync::Arc;

use daemon::Metrics;
use feast::config::OnlineStoreConfig;
use feature_server::{
    Catalog, Compat, Expired, FeatureServer, Limits, OnDemand, Project, ServeMetrics, Settings,
};
use registry::Registry;

use crate::repo::{Repo, registry_options};

/// How requests are answered, by the repository's configuration.
fn settings(repo: &Repo, limits: Limits) -> Settings {
    let serve = repo.config.tidegate.serve;
    Settings {
        compat: if serve.compat_feast { Compat::Feast } else { Compat::Strict },
        expired: if serve.expired_null { Expired::Null } else { Expired::Keep },
        on_demand: if serve.on_demand_refused { OnDemand::Refuse } else { OnDemand::Null },
        reads_replicas: serve.read_from_replicas,
        limits,
    }
}

/// Builds a feature server on the repository. It has read nothing yet.
pub async fn server(
    repo: &Repo,
    environment: &BTreeMap<String, String>,
    limits: Limits,
) -> anyhow::Result<(Arc<FeatureServer>, Metrics)> {
    let options = registry_options(repo, environment);
    let registry = Registry::open(&repo.config.registry, &options).await?;
    let mut metrics = Metrics::new(env!("CARGO_PKG_VERSION"));
    let counters = ServeMetrics::register(&mut metrics);
    let settings = settings(repo, limits);
    let project = Project {
        name: repo.config.project.clone(),
        versioning: repo.config.registry.versioning,
        serialization_version: repo.config.entity_key_serialization_version,
        on_demand: settings.on_demand,
        features_max: limits.features_max,
        has_vectors: matches!(repo.config.online_store, OnlineStoreConfig::Redis(_)),
    };
    let catalog = Catalog::new(project, registry, counters.clone());
    let store = repo.config.online_store.clone();
    Ok((Arc::new(FeatureServer::new(settings, catalog, store, counters)), metrics))
}
