//! The HTTP server: which paths there are, what each one takes, and what guards them.
//!
//! Handlers turn a request of crate `api` into a call of [`Scheduler`], and nothing more.
//! Deliberately absent: sockets, TLS and tokens (see `daemon`), and every decision about runs.

mod body;
mod console;
mod document;
mod events;
mod guard;
mod health;
mod materialize;
mod metric;
mod problem;
mod runs;
mod serve;
mod views;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use daemon::Auth;
use jobs::FeatureSinks;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::Scheduler;
use crate::work::Stop;

pub use document::document;
pub use problem::code;
pub use serve::{Serving, Stopped};

/// How much the server takes at once, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests at once, apart from those that are waited for; more are turned away.
    pub requests_max: usize,
    /// Streams of events at once.
    pub streams_max: usize,
    /// Callers at once who wait for the end of a run.
    pub waiting_max: usize,
    /// Bytes of a body.
    pub body_bytes_max: usize,
    /// How long an answer out of the ledger and the registry may take.
    pub answer_timeout: Duration,
    /// How long a plan may take, which reads the footers of every file of its interval.
    pub plan_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // The ledger's pool has fewer connections; what is above only waits there.
            requests_max: 64,
            // Each asks the ledger twice a second.
            streams_max: 64,
            waiting_max: 32,
            // A request with ten thousand views takes half of it.
            body_bytes_max: 1 << 20,
            answer_timeout: Duration::from_secs(30),
            plan_timeout: Duration::from_secs(300),
        }
    }
}

/// What the handlers share.
#[derive(Debug)]
pub struct Server {
    pub(crate) scheduler: Arc<Scheduler>,
    auth: Auth,
    limits: Limits,
    /// No run is taken in once its leases are cancelled.
    stop: Stop,
    /// What goes on by itself, such as a stream of events, ends with it.
    ending: CancellationToken,
    metrics: metric::SchedulerMetrics,
    health: health::Readiness,
    requests: Semaphore,
    streams: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Server {
    /// Puts the server of a scheduler together.
    pub fn new(
        scheduler: Arc<Scheduler>,
        sinks: Arc<dyn FeatureSinks>,
        auth: Auth,
        limits: Limits,
        stop: Stop,
    ) -> Self {
        Self {
            metrics: metric::SchedulerMetrics::new(&scheduler),
            health: health::Readiness::new(&scheduler, sinks, stop.leases.clone()),
            scheduler,
            auth,
            limits,
            stop,
            ending: CancellationToken::new(),
            requests: Semaphore::new(limits.requests_max),
            streams: Arc::new(Semaphore::new(limits.streams_max)),
            waiting: Arc::new(Semaphore::new(limits.waiting_max)),
        }
    }

    fn is_stopping(&self) -> bool {
        self.stop.leases.is_cancelled()
    }
}

/// Every path of the server.
pub fn router(server: Arc<Server>) -> Router {
    let limits = server.limits;
    let within = |limit: Duration| from_fn_with_state(limit, guard::time);
    let answered = Router::new()
        .route("/v1/runs", get(runs::list).post(runs::submit))
        .route("/v1/runs/{run}", get(runs::show).post(runs::act))
        .route("/v1/views", get(views::status))
        .route("/v1/views/{project}/{view}/intervals", get(views::intervals))
        .route("/metrics", get(metric::exposition))
        .route("/openapi.json", get(document::show))
        .merge(console::pages())
        .route_layer(within(limits.answer_timeout));
    let planned = Router::new()
        .route("/v1/plan", post(views::plan))
        .merge(console::plans())
        .route_layer(within(limits.plan_timeout));
    // As long as somebody listens, or waits.
    let unending = Router::new()
        .route("/v1/runs/{run}/events", get(events::stream))
        .route("/materialize", post(materialize::interval))
        .route("/materialize-incremental", post(materialize::incremental));
    let guarded = answered
        .merge(planned)
        .merge(unending)
        .route_layer(from_fn_with_state(Arc::clone(&server), guard::admit));
    let open = Router::new()
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route_layer(within(limits.answer_timeout));
    guarded
        .merge(open)
        .fallback(problem::nothing_here)
        .method_not_allowed_fallback(problem::other_method)
        .layer(DefaultBodyLimit::max(limits.body_bytes_max))
        .layer(from_fn(guard::finish))
        .layer(from_fn_with_state(server.metrics.of_http(), daemon::metrics::count))
        .with_state(server)
}

#[cfg(test)]
mod tests;
