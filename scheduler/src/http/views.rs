//! Views: how far each has got, what of one has landed, and what a run would do.

use std::sync::Arc;

use api::{IntervalsReport, PlanReport, Problem, RunRequest, StatusReport};
use axum::Json;
use axum::extract::State;

use super::body::PathTexts;
use super::problem::Refusal;
use super::{Server, body, runs};

/// Tells how far every view has got.
#[utoipa::path(
    get, path = "/v1/views", operation_id = "list_views", tag = "views",
    responses(
        (status = 200, description = "Every view of the project.", body = StatusReport),
        (status = "default", description = "Why there is none.", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn status(
    State(server): State<Arc<Server>>,
) -> Result<Json<StatusReport>, Refusal> {
    Ok(Json(server.scheduler.status().await?))
}

/// Tells what of a view has landed, is being written, failed, and is missing.
#[utoipa::path(
    get, path = "/v1/views/{project}/{view}/intervals", operation_id = "get_intervals",
    tag = "views",
    params(
        ("project" = String, Path, description = "The server's project."),
        ("view" = String, Path, description = "The view."),
    ),
    responses(
        (status = 200, description = "The view's intervals.", body = IntervalsReport),
        (status = "default", description = "Why there are none.", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn intervals(
    State(server): State<Arc<Server>>,
    PathTexts(project, view): PathTexts,
) -> Result<Json<IntervalsReport>, Refusal> {
    runs::check_project(&server, Some(&project))?;
    Ok(Json(server.scheduler.intervals(&view).await?))
}

/// Tells what a run would do. Nothing is written anywhere.
#[utoipa::path(
    post, path = "/v1/plan", operation_id = "plan_run", tag = "runs",
    request_body = RunRequest,
    responses(
        (status = 200, description = "What would be read, view by view.", body = PlanReport),
        (status = "default", description = "Why it cannot be told.", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn plan(
    State(server): State<Arc<Server>>,
    body::Json(request): body::Json<RunRequest>,
) -> Result<Json<PlanReport>, Refusal> {
    runs::check_project(&server, request.project.as_deref())?;
    Ok(Json(server.scheduler.plan(&request).await?))
}
