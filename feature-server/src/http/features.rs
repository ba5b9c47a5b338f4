//! `/get-online-features`: by a body, and for a `GET` by a body or a query.

use std::sync::Arc;

use api::Problem;
use axum::extract::{RawQuery, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::Door;
use super::body::{GetOnlineFeatures, Received, from_query};
use super::problem::Refusal;
use crate::request::FeatureRequest;

const JSON: &str = "application/json";
/// What the query's `entities` are.
const ENTITIES: &str = "Join key to values, as JSON; any other name is a join key with its values, \
     parted by commas.";

/// Answers with the features of some entities.
#[utoipa::path(
    post, path = "/get-online-features", operation_id = "get_online_features", tag = "features",
    request_body = GetOnlineFeatures,
    responses(
        (status = 200, description = "A column of values for each entity column and feature.",
            content_type = "application/json"),
        (status = "default", description = "Why there is none.", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn post(
    State(door): State<Arc<Door>>,
    body: Received,
) -> Result<Response, Refusal> {
    answer(&door, &GetOnlineFeatures::read(&body?)?).await
}

/// The same by a query, or by a body as the tutorials have it.
#[utoipa::path(
    get, path = "/get-online-features", operation_id = "query_online_features", tag = "features",
    params(
        ("features" = Option<String>, Query, description = "References, parted by commas."),
        ("feature_service" = Option<String>, Query, description = "A feature service."),
        ("entities" = Option<String>, Query, description = ENTITIES),
        ("full_feature_names" = Option<bool>, Query, description = "Names them `view__feature`."),
    ),
    responses(
        (status = 200, description = "A column of values for each entity column and feature.",
            content_type = "application/json"),
        (status = "default", description = "Why there is none.", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn get(
    State(door): State<Arc<Door>>,
    RawQuery(query): RawQuery,
    body: Received,
) -> Result<Response, Refusal> {
    let body = body?;
    let request = if body.is_empty() {
        from_query(&query.unwrap_or_default())?
    } else {
        GetOnlineFeatures::read(&body)?
    };
    answer(&door, &request).await
}

async fn answer(door: &Door, request: &FeatureRequest) -> Result<Response, Refusal> {
    let answer = door.server.get(request).await?;
    let mut response = ([(CONTENT_TYPE, JSON)], answer.to_json()?).into_response();
    response.extensions_mut().insert(answer.asked());
    Ok(response)
}
