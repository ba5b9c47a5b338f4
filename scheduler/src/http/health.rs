//! Whether the process lives, and whether it can do its work.
//!
//! Both are open to everybody, so that whoever restarts processes needs no token. That is why they
//! tell what does not answer and not why, and why the outside systems are asked once a second at
//! most.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use daemon::Health;
use daemon::health::Report;
use jobs::FeatureSinks;
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Server;
use crate::Scheduler;
use crate::error::{Error, chain};

/// How long an outside system has for its answer: shorter than a probe waits.
const DEADLINE: Duration = Duration::from_secs(3);

/// How long an answer is good for.
const FRESH: Duration = Duration::from_secs(1);

/// Whether the ledger, the online store and the registry answer.
pub(super) struct Readiness {
    health: Health,
    last: Mutex<Option<(Instant, Report)>>,
}

impl Readiness {
    pub(super) fn new(
        scheduler: &Arc<Scheduler>,
        sinks: Arc<dyn FeatureSinks>,
        stop: CancellationToken,
    ) -> Self {
        let (metastore, registry) = (Arc::clone(scheduler), Arc::clone(scheduler));
        let health = Health::new(stop)
            .with_check("metastore", DEADLINE, move || {
                let scheduler = Arc::clone(&metastore);
                async move { told("metastore", scheduler.ask_ledger().await) }
            })
            .with_check("registry", DEADLINE, move || {
                let scheduler = Arc::clone(&registry);
                async move { told("registry", scheduler.ask_registry().await) }
            })
            .with_check("online_store", DEADLINE, move || {
                let sinks = Arc::clone(&sinks);
                async move { told("online_store", sinks.memory().await.map(drop)) }
            });
        Self { health, last: Mutex::new(None) }
    }

    /// What the systems said, not longer than a second ago. Whoever comes meanwhile waits for the
    /// same answer.
    async fn report(&self) -> Report {
        let mut last = self.last.lock().await;
        if let Some((at, report)) = last.as_ref()
            && at.elapsed() < FRESH
        {
            return report.clone();
        }
        let report = self.health.report().await;
        *last = Some((Instant::now(), report.clone()));
        report
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.health.fmt(f)
    }
}

fn told<E: std::error::Error>(system: &str, answer: Result<(), E>) -> Result<(), &'static str> {
    answer.map_err(|error| {
        tracing::warn!(system, error = chain(&error), "not ready");
        "does not answer as it should; the log says how"
    })
}

impl Scheduler {
    /// Asks the ledger whether it is there.
    async fn ask_ledger(&self) -> Result<(), Error> {
        self.ledger()?.waiting_run(&self.config.project).await?;
        Ok(())
    }

    /// Asks Feast's registry whether it is there.
    async fn ask_registry(&self) -> Result<(), Error> {
        self.registry.snapshot(&self.config.project).await?;
        Ok(())
    }
}

/// Tells that the process lives.
#[utoipa::path(
    get, path = "/livez", operation_id = "livez", tag = "process", security(()),
    responses((status = 200, description = "The process lives.", body = serde_json::Value)),
)]
pub(super) async fn live() -> Response {
    axum::Json(json!({ "status": "ok" })).into_response()
}

/// Tells whether the process can do its work.
#[utoipa::path(
    get, path = "/readyz", operation_id = "readyz", tag = "process", security(()),
    responses(
        (status = 200, description = "Everything it needs answers.", body = serde_json::Value),
        (status = 503, description = "Something does not, or it is stopping.",
            body = serde_json::Value),
    ),
)]
pub(super) async fn ready(State(server): State<Arc<Server>>) -> Response {
    server.health.report().await.into_response()
}
