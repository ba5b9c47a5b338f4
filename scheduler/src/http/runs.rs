//! Runs: asking for one, listing them, looking at one, and stopping one.

use std::str::FromStr;
use std::sync::Arc;

use api::{Code, IdempotencyKey, Problem, RunDetail, RunPage, RunQuery, RunRequest, RunSummary};
use axum::Extension;
use axum::extract::State;
use axum::http::header::{ALLOW, LOCATION};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use daemon::Caller;
use metastore::RunFilter;

use super::Server;
use super::body::{Json, Query, RunPath, refuse};
use super::problem::Refusal;
use crate::detail::read_cursor;

/// Runs on a page where the caller does not say.
const PAGE: u32 = 50;

/// Runs on a page at most: each takes a look at its jobs.
const PAGE_MAX: u32 = 200;

/// Asks for a run.
///
/// With an idempotency key the same request gives the same run, however often it is sent.
#[utoipa::path(
    post, path = "/v1/runs", operation_id = "submit_run", tag = "runs",
    params(("Idempotency-Key" = Option<String>, Header,
        description = "A name for this request, printable ASCII of at most 255 characters.")),
    request_body = RunRequest,
    responses(
        (status = 202, description = "The run is recorded.", body = RunSummary,
            headers(("location" = String, description = "Where the run can be looked at."))),
        (status = "default", description = "Why it is not.", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn submit(
    State(server): State<Arc<Server>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Json(request): Json<RunRequest>,
) -> Result<Response, Refusal> {
    let key = headers.get(IdempotencyKey::HEADER).map(|key| {
        // What is no ASCII is refused with the rest.
        IdempotencyKey::from_str(&String::from_utf8_lossy(key.as_bytes()))
    });
    let summary = start(&server, &caller, &request, key.transpose()?.as_ref()).await?;
    Ok(accepted(summary))
}

/// Records a run that a caller asks for.
pub(super) async fn start(
    server: &Server,
    caller: &Caller,
    request: &RunRequest,
    key: Option<&IdempotencyKey>,
) -> Result<RunSummary, Refusal> {
    if server.is_stopping() {
        return Err(Refusal::stopping());
    }
    check_project(server, request.project.as_deref())?;
    let key = key.map(IdempotencyKey::as_str);
    let admission = server.scheduler.admit(request, key, true).await?;
    let run_id = admission.run_id;
    if admission.is_new {
        tracing::info!(run = %run_id, caller = caller.name, kind = %request.kind, "run admitted");
    }
    Ok(server.scheduler.run_summary(run_id).await?)
}

fn accepted(run: RunSummary) -> Response {
    let location = [(LOCATION, format!("/v1/runs/{}", run.run_id))];
    (StatusCode::ACCEPTED, location, axum::Json(run)).into_response()
}

/// Refuses a project that is not the server's.
pub(super) fn check_project(server: &Server, project: Option<&str>) -> Result<(), Refusal> {
    let ours = &server.scheduler.config.project;
    match project {
        Some(asked) if asked != ours => {
            let detail = format!("this server serves project `{ours}`, not `{asked}`");
            Err(Problem::new(Code::UnknownProject, detail).with_field("project").into())
        }
        _ => Ok(()),
    }
}

/// Lists runs, newest first.
#[utoipa::path(
    get, path = "/v1/runs", operation_id = "list_runs", tag = "runs",
    params(RunQuery),
    responses(
        (status = 200, description = "A page of runs.", body = RunPage),
        (status = "default", description = "Why there is none.", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(
    State(server): State<Arc<Server>>,
    Query(query): Query<RunQuery>,
) -> Result<axum::Json<RunPage>, Refusal> {
    check_project(&server, query.project.as_deref())?;
    let limit = query.limit.unwrap_or(PAGE);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(refuse("limit", format!("it must be from 1 to {PAGE_MAX}")));
    }
    let after = query.cursor.as_deref().map(|text| {
        read_cursor(text).ok_or_else(|| refuse("cursor", "it is not the `next` of a page"))
    });
    let filter = RunFilter {
        project: None,
        view: query.view,
        state: query.state,
        since: query.since,
        after: after.transpose()?,
    };
    Ok(axum::Json(server.scheduler.runs(&filter, limit).await?))
}

/// Tells all that is known of a run.
#[utoipa::path(
    get, path = "/v1/runs/{run_id}", operation_id = "get_run", tag = "runs",
    params(("run_id" = String, Path, description = "The run's id.")),
    responses(
        (status = 200, description = "The run with its jobs, windows and attempts.",
            body = RunDetail),
        (status = "default", description = "Why there is none.", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn show(
    State(server): State<Arc<Server>>,
    path: RunPath,
) -> Result<axum::Json<RunDetail>, Refusal> {
    if path.verb.is_some() {
        return Err(Refusal::new(Code::NotFound, "verbs are sent with POST"));
    }
    Ok(axum::Json(detail(&server, &path).await?))
}

/// One run, which must be there.
pub(super) async fn detail(server: &Server, path: &RunPath) -> Result<RunDetail, Refusal> {
    let found = server.scheduler.run_detail(path.run()?).await?;
    found.ok_or_else(|| Refusal::unknown_run(&path.id))
}

/// Asks a run to stop. What has landed by then stays.
#[utoipa::path(
    post, path = "/v1/runs/{run_id}:cancel", operation_id = "cancel_run", tag = "runs",
    params(("run_id" = String, Path, description = "The run's id.")),
    responses(
        (status = 202, description = "The run has been asked to stop.", body = RunSummary),
        (status = "default", description = "Why it has not.", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn act(
    State(server): State<Arc<Server>>,
    Extension(caller): Extension<Caller>,
    path: RunPath,
) -> Result<Response, Refusal> {
    match path.verb.as_deref() {
        Some("cancel") => Ok(accepted(cancel(&server, &caller, &path).await?)),
        Some(verb) => {
            let detail = format!("a run has no verb `{verb}`; there is `:cancel`");
            Err(Refusal::new(Code::NotFound, detail))
        }
        None => {
            let refusal = super::problem::other_method().await;
            Ok(([(ALLOW, "GET, HEAD")], refusal).into_response())
        }
    }
}

/// Asks a run to stop.
pub(super) async fn cancel(
    server: &Server,
    caller: &Caller,
    path: &RunPath,
) -> Result<RunSummary, Refusal> {
    let run = path.run()?;
    if let Some(state) = server.scheduler.cancel(run).await? {
        let detail = format!("run `{run}` has ended as `{state}`, so it cannot be cancelled");
        return Err(Refusal::new(Code::RunEnded, detail));
    }
    tracing::info!(%run, caller = caller.name, "run asked to stop");
    Ok(server.scheduler.run_summary(run).await?)
}
