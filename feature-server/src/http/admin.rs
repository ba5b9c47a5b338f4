//! Health and metrics.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::Door;

/// The process answers.
#[utoipa::path(
    get, path = "/livez", operation_id = "is_live", tag = "health",
    responses((status = 200, description = "It does."), (status = "4XX", description = "Never.")),
)]
pub(super) async fn live() -> StatusCode {
    StatusCode::OK
}

/// The store answers, and the registry has been read.
#[utoipa::path(
    get, path = "/readyz", operation_id = "is_ready", tag = "health",
    responses(
        (status = 200, description = "Both.", content_type = "application/json"),
        (status = 503, description = "What does not.", content_type = "application/json"),
    ),
)]
pub(super) async fn ready(State(door): State<Arc<Door>>) -> Response {
    door.health.report().await.into_response()
}

/// The same for probes made for Feast's server, which look at the status alone.
#[utoipa::path(
    get, path = "/health", operation_id = "health", tag = "health",
    responses(
        (status = 200, description = "As `/readyz`."),
        (status = 503, description = "As `/readyz`."),
    ),
)]
pub(super) async fn health(State(door): State<Arc<Door>>) -> StatusCode {
    door.health.report().await.into_response().status()
}

pub(super) async fn metrics(State(door): State<Arc<Door>>) -> Response {
    door.server.metrics.registry_age(door.server.catalog.age());
    door.metrics.exposition().into_response()
}
