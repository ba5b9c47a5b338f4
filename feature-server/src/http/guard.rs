//! What every request goes through: who is calling, how much is at work, how long it takes, and
//! the last touch on what is answered.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use api::Code;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{ALLOW, AUTHORIZATION};
use axum::http::{HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use daemon::{Denied, Peer, Role, origin};
use futures::FutureExt;

use super::Door;
use super::problem::Refusal;
use crate::metric::Asked;

/// Paths that write.
const WRITES: [&str; 2] = ["/push", "/write-to-online-store"];

/// Lets a caller in: one who is known, whose role allows it, who was not sent by another site, and
/// for whom there is room.
pub(super) async fn admit(
    State(door): State<Arc<Door>>,
    request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    if door.auth.is_open() && !origin::is_local(&request) {
        return Err(foreign("without tokens this server answers to `localhost` only"));
    }
    if *request.method() != Method::GET && !origin::is_own_site(&request) {
        return Err(foreign("another site has sent this request"));
    }
    let role = if WRITES.contains(&request.uri().path()) { Role::Run } else { Role::Read };
    let authorization = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
    door.auth.require(authorization, role).map_err(denied)?;
    let _permit = door.requests.try_acquire().map_err(|_| {
        let detail = "as many requests are at work as this server takes; come again";
        Refusal::new(Code::Overloaded, detail)
    })?;
    let limit = door.server.settings.limits.request_timeout;
    // A read changes nothing, and rows that are pushed again do no harm.
    tokio::time::timeout(limit, next.run(request)).await.map_err(|_| {
        let detail = format!("it took longer than {} s", limit.as_secs());
        Refusal::new(Code::Timeout, detail)
    })
}

fn denied(denied: Denied) -> Refusal {
    let code = match denied {
        Denied::NoToken | Denied::UnknownToken => Code::Unauthenticated,
        Denied::Role { .. } => Code::Forbidden,
    };
    Refusal::new(code, denied.to_string())
}

fn foreign(why: &str) -> Refusal {
    Refusal::new(Code::Forbidden, why)
}

/// Writes the bodies of refusals, keeps a panic to its own request, counts and logs.
pub(super) async fn finish(
    State(door): State<Arc<Door>>,
    request: Request,
    next: Next,
) -> Response {
    let begun = Instant::now();
    let path = request.uri().path().to_owned();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let method = request.method().clone();
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0);
    let answered = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    let mut response = answered.unwrap_or_else(|_| {
        tracing::error!(path, "a handler panicked");
        Refusal::new(Code::Internal, "the server failed; its log says how").into_response()
    });
    if let Some(refusal) = response.extensions_mut().remove::<Refusal>() {
        let allow = response.headers_mut().remove(ALLOW);
        response = refusal.written(&path, door.server.settings.is_feast(), allow);
    }
    let (status, took) = (response.status().as_u16(), begun.elapsed());
    let asked = response.extensions_mut().remove::<Asked>().unwrap_or_default();
    if let Some(endpoint) = endpoint(route.as_ref().map_or("", MatchedPath::as_str)) {
        door.server.metrics.request(endpoint, status, asked, took);
    }
    if door.logs_access {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let (entities, features) = (asked.entities, asked.features);
        tracing::info!(
            target: "access", %method, path, status, micros, entities, features,
            peer = peer.map(tracing::field::display), "answered"
        );
    }
    response
}

/// Routes that are counted, each under its own name.
fn endpoint(route: &str) -> Option<&'static str> {
    ["/get-online-features", "/push", "/write-to-online-store"]
        .into_iter()
        .find(|endpoint| *endpoint == route)
}
