//! The HTTP door: Feast's routes, health, and the contract of both.
//!
//! Handlers turn a body into a [`crate::FeatureRequest`] or rows, and an answer into bytes. The
//! routes and bodies are those of Feast 0.67's `feast serve`; errors are ours (see `problem`).

mod admin;
mod body;
mod document;
mod features;
mod guard;
mod problem;
pub(crate) mod words;
mod write;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use daemon::{Auth, Health};
use tokio::sync::Semaphore;

use crate::server::FeatureServer;

pub use document::document;

/// What the handlers share.
#[derive(Debug)]
pub struct Door {
    pub(crate) server: Arc<FeatureServer>,
    pub(crate) auth: Auth,
    pub(crate) health: Health,
    pub(crate) requests: Semaphore,
    /// Whether each request is logged.
    pub(crate) logs_access: bool,
    pub(crate) metrics: daemon::Metrics,
}

impl Door {
    /// Puts the door together.
    pub fn new(
        server: Arc<FeatureServer>,
        auth: Auth,
        health: Health,
        metrics: daemon::Metrics,
        logs_access: bool,
    ) -> Self {
        let requests = Semaphore::new(server.settings.limits.requests_max);
        Self { server, auth, health, requests, logs_access, metrics }
    }
}

/// The routes for clients.
pub fn router(door: Arc<Door>) -> Router {
    let bytes_max = door.server.settings.limits.body_bytes_max;
    let guarded = Router::new()
        .route("/get-online-features", post(features::post).get(features::get))
        .route("/push", post(write::push))
        .route("/write-to-online-store", post(write::write_to_online_store))
        .route_layer(from_fn_with_state(Arc::clone(&door), guard::admit));
    let open = health_routes().route("/openapi.json", get(document::show));
    guarded
        .merge(open)
        .fallback(problem::nothing_here)
        .method_not_allowed_fallback(problem::other_method)
        .layer(DefaultBodyLimit::max(bytes_max))
        .layer(from_fn_with_state(Arc::clone(&door), guard::finish))
        .with_state(door)
}

/// The routes for whoever operates the server.
pub fn admin_router(door: Arc<Door>) -> Router {
    health_routes()
        .route("/metrics", get(admin::metrics))
        .fallback(problem::nothing_here)
        .method_not_allowed_fallback(problem::other_method)
        .layer(from_fn_with_state(Arc::clone(&door), guard::finish))
        .with_state(door)
}

fn health_routes() -> Router<Arc<Door>> {
    Router::new()
        .route("/livez", get(admin::live))
        .route("/readyz", get(admin::ready))
        .route("/health", get(admin::health))
}
