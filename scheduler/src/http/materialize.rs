//! The two endpoints by which Feast's own feature server materializes, for callers who have them.
//!
//! Bodies and answers are Feast's; what is behind them is a run like any other. Who waits holds
//! nothing but a connection: the run goes on when the caller has gone.

use std::sync::Arc;
use std::time::Duration;

use api::feast::{
    MaterializeAccepted, MaterializeConflict, MaterializeIncrementalRequest, MaterializeQuery,
    MaterializeRequest,
};
use api::{JobReport, Problem, RunReport, RunRequest};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use daemon::Caller;
use metastore::RunFilter;
use model::{EventTime, RunId, RunKind, RunState};
use serde_json::{Value, json};

use super::body::{self, Query, refuse};
use super::problem::Refusal;
use super::{Server, runs};

/// How often whoever waits looks.
const LOOK: Duration = Duration::from_millis(250);

/// Runs in line that are looked at for a view that is being materialized.
const WAITING_MAX: u32 = 200;

/// Materializes an interval, as Feast's feature server does.
#[utoipa::path(
    post, path = "/materialize", operation_id = "feast_materialize", tag = "feast",
    params(MaterializeQuery), request_body = MaterializeRequest,
    responses(
        (status = 200, description = "Every view has landed: `null`.", body = Value),
        (status = 202, description = "The run is recorded.", body = MaterializeAccepted),
        (status = 409, description = "A view is being materialized already.",
            body = MaterializeConflict),
        (status = 500, description = "A view has failed: text in Feast's form.", body = String),
        (status = "default", description = "Why nothing was begun.", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn interval(
    State(server): State<Arc<Server>>,
    Extension(caller): Extension<Caller>,
    Query(query): Query<MaterializeQuery>,
    body::Json(body): body::Json<MaterializeRequest>,
) -> Result<Response, Refusal> {
    let now = crate::now();
    let (start, end) = if body.disable_event_timestamp {
        (EventTime::EPOCH, now)
    } else {
        (instant("start_ts", body.start_ts, now)?, instant("end_ts", body.end_ts, now)?)
    };
    if start >= end && !body.disable_event_timestamp {
        return Err(refuse("start_ts", format!("{start} must be before {end}")));
    }
    let request = RunRequest {
        start: Some(start),
        end: Some(end),
        views: body.feature_views.unwrap_or_default(),
        version: body.version,
        ..RunRequest::new(RunKind::Interval)
    };
    materialize(&server, &caller, query, request).await
}

/// Materializes from where each view has got, as Feast's feature server does.
#[utoipa::path(
    post, path = "/materialize-incremental", operation_id = "feast_materialize_incremental",
    tag = "feast", params(MaterializeQuery), request_body = MaterializeIncrementalRequest,
    responses(
        (status = 200, description = "Every view has landed: `null`.", body = Value),
        (status = 202, description = "The run is recorded.", body = MaterializeAccepted),
        (status = 409, description = "A view is being materialized already.",
            body = MaterializeConflict),
        (status = 500, description = "A view has failed: text in Feast's form.", body = String),
        (status = "default", description = "Why nothing was begun.", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn incremental(
    State(server): State<Arc<Server>>,
    Extension(caller): Extension<Caller>,
    Query(query): Query<MaterializeQuery>,
    body::Json(body): body::Json<MaterializeIncrementalRequest>,
) -> Result<Response, Refusal> {
    let end = instant("end_ts", Some(body.end_ts), crate::now())?;
    let request = RunRequest {
        end: Some(end),
        views: body.feature_views.unwrap_or_default(),
        version: body.version,
        ..RunRequest::new(RunKind::Incremental)
    };
    materialize(&server, &caller, query, request).await
}

/// Reads a time in any form that Feast reads.
fn instant(field: &str, text: Option<String>, now: EventTime) -> Result<EventTime, Refusal> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Err(refuse(field, "it is needed unless `disable_event_timestamp` is set"));
    };
    let micros = feast::datetime::parse_lenient(&text, now.to_utc());
    micros.map(EventTime::from_micros).map_err(|error| refuse(field, error))
}

async fn materialize(
    server: &Server,
    caller: &Caller,
    query: MaterializeQuery,
    request: RunRequest,
) -> Result<Response, Refusal> {
    if !query.force {
        let at_work = at_work(server, &request.views).await?;
        if !at_work.is_empty() {
            return Ok(conflict(at_work));
        }
    }
    if query.is_async {
        let run = runs::start(server, caller, &request, None).await?;
        return Ok(
            (StatusCode::ACCEPTED, Json(MaterializeAccepted::new(run.views))).into_response()
        );
    }
    let waiting = server.waiting.try_acquire();
    let _permit = waiting.map_err(|_| Refusal::overloaded("callers who wait for a run"))?;
    let run = runs::start(server, caller, &request, None).await?;
    let report = wait(server, run.run_id).await?;
    Ok(match report.state {
        RunState::Succeeded => Json(Value::Null).into_response(),
        _ => failed(&report),
    })
}

/// The asked views that a process holds, or that a run waits for; all views where none is named.
async fn at_work(server: &Server, asked: &[String]) -> Result<Vec<String>, Refusal> {
    let status = server.scheduler.status().await?;
    let filter = RunFilter { state: Some(RunState::Pending), ..RunFilter::default() };
    let waiting = server.scheduler.runs(&filter, WAITING_MAX).await?;
    let is_waited_for =
        |view: &str| waiting.runs.iter().any(|run| run.views.iter().any(|v| v == view));
    let is_asked = |view: &str, is_selected: bool| {
        if asked.is_empty() { is_selected } else { asked.iter().any(|asked| asked == view) }
    };
    Ok(status
        .views
        .into_iter()
        .filter(|view| is_asked(&view.view, view.is_selected))
        .filter(|view| view.lease.is_some() || is_waited_for(&view.view))
        .map(|view| view.view)
        .collect())
}

fn conflict(views: Vec<String>) -> Response {
    let error = format!(
        "views are being materialized already: {}; use ?force=true to start all the same",
        views.join(", ")
    );
    let body = MaterializeConflict { error, feature_views: views };
    (StatusCode::CONFLICT, Json(body)).into_response()
}

/// Waits until a run has ended, whichever process works on it.
async fn wait(server: &Server, run: RunId) -> Result<RunReport, Refusal> {
    loop {
        if server.scheduler.run_summary(run).await?.state.is_ended() {
            return Ok(server.scheduler.report(run).await?);
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = server.ending.cancelled() => {
                let mut refusal = Refusal::stopping();
                refusal.problem.detail =
                    format!("the server is stopping; run `{run}` goes on in the next one");
                return Err(refusal);
            }
        }
    }
}

/// The text from which Feast's client makes its exception.
///
/// # Source
/// `FeastError.from_error_detail` of Feast 0.67, `sdk/python/feast/errors.py`.
fn failed(report: &RunReport) -> Response {
    let reason = |job: &JobReport| {
        let reason = job.reason.as_deref().unwrap_or("no reason was recorded");
        format!("feature view `{}` is {}: {reason}", job.view, job.state)
    };
    let jobs = report.jobs.iter().filter(|job| !job.is_landed());
    let reasons: Vec<String> = jobs.map(reason).collect();
    let message = format!("run `{}` is {}; {}", report.run_id, report.state, reasons.join("; "));
    let detail = json!({ "module": "feast.errors", "class": "FeastError", "message": message });
    (StatusCode::INTERNAL_SERVER_ERROR, Json(detail.to_string())).into_response()
}
