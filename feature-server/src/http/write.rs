//! `/push` and `/write-to-online-store`: rows that clients write.

use std::sync::Arc;

use api::Problem;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::Door;
use super::body::{Push, Received, WriteToOnlineStore, parse};
use super::problem::Refusal;
use crate::error::Error;

/// Writes rows to every view that a push source feeds. An older row is ignored.
#[utoipa::path(
    post, path = "/push", operation_id = "push", tag = "rows",
    request_body = Push,
    responses(
        (status = 200, description = "They are written."),
        (status = "default", description = "Why they are not.", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn push(
    State(door): State<Arc<Door>>,
    body: Received,
) -> Result<Response, Refusal> {
    let body = body?;
    let Push { push_source_name, df, to } = parse(&body)?;
    if to != "online" {
        let what = format!("`to` is `{to}`, and this server writes to the online store alone");
        return Err(Refusal::from(Error::Body { what }));
    }
    door.server.push(&push_source_name, &df.into_rows()).await?;
    Ok(StatusCode::OK.into_response())
}

/// Writes rows to one feature view. An older row is ignored.
#[utoipa::path(
    post, path = "/write-to-online-store", operation_id = "write_to_online_store", tag = "rows",
    request_body = WriteToOnlineStore,
    responses(
        (status = 200, description = "They are written.", content_type = "application/json"),
        (status = "default", description = "Why they are not.", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn write_to_online_store(
    State(door): State<Arc<Door>>,
    body: Received,
) -> Result<Response, Refusal> {
    let body = body?;
    let WriteToOnlineStore { feature_view_name, df } = parse(&body)?;
    let written = door.server.write_to_view(&feature_view_name, &df.into_rows()).await;
    written.map_err(Refusal::of_write)?;
    Ok(([(CONTENT_TYPE, "application/json")], "null").into_response())
}
