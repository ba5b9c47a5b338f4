//! What every request goes through: who is calling and from where, how much is at work, how long
//! it takes, and the last touch on what is answered.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use api::{Code, PROBLEM_JSON};
use axum::extract::{Request, State};
use axum::http::header::{
    ACCEPT, ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use daemon::{Denied, Role, origin};
use futures::FutureExt;

use super::problem::Refusal;
use super::{Server, console};

/// Asks a browser for a name and a password; the password is the token, the name is anything.
const BROWSER_CHALLENGE: &str = "Basic realm=\"tidegate\", charset=\"UTF-8\"";

/// Lets a caller in: one who is known, whose role allows it, who was not sent by another site, and
/// for whom there is room.
pub(super) async fn admit(
    State(server): State<Arc<Server>>,
    mut request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    let headers = request.headers();
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if server.auth.is_open() && !origin::is_local(&request) {
        return Err(foreign("without tokens this server answers to `localhost` only"));
    }
    if changes && !origin::is_own_site(&request) {
        return Err(foreign("another site has sent this request"));
    }
    let role = if changes { Role::Run } else { Role::Read };
    let authorization = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
    let caller = server.auth.require(authorization, role).map_err(denied)?;
    request.extensions_mut().insert(caller);
    let _permit = server.requests.try_acquire().map_err(|_| Refusal::overloaded("requests"))?;
    Ok(next.run(request).await)
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

/// Gives a request up when it has taken too long. What it has begun in the ledger is a transaction,
/// which either was committed or never happened.
pub(super) async fn time(
    State(limit): State<Duration>,
    request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    let answered = tokio::time::timeout(limit, next.run(request)).await;
    answered.map_err(|_| {
        let detail = format!(
            "it took longer than {} s, which is as long as this server waits",
            limit.as_secs()
        );
        Refusal::new(Code::Timeout, detail)
    })
}

/// Writes the bodies of refusals, keeps a panic to its own request, and has nothing cached.
pub(super) async fn finish(request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let is_browser = is_browser(request.headers()) && !path.starts_with("/v1/");
    let answered = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    let mut response = answered.unwrap_or_else(|_| {
        tracing::error!(path, "a handler panicked");
        Refusal::new(Code::Internal, "the server failed; its log says how").into_response()
    });
    if let Some(refusal) = response.extensions_mut().remove::<Refusal>() {
        let allow = response.headers_mut().remove(ALLOW);
        response = written(refusal, path, is_browser);
        if let Some(allow) = allow {
            response.headers_mut().insert(ALLOW, allow);
        }
    }
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn is_browser(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

fn written(refusal: Refusal, path: String, is_browser: bool) -> Response {
    let Refusal { problem, retry_after } = refusal;
    let problem = problem.with_instance(path);
    let status = axum::http::StatusCode::from_u16(problem.status);
    let status = status.expect("the table has HTTP statuses");
    let mut response = if is_browser {
        (status, console::failure(&problem)).into_response()
    } else {
        let body = serde_json::to_string(&problem).expect("a problem is JSON");
        (status, [(CONTENT_TYPE, PROBLEM_JSON)], body).into_response()
    };
    let headers = response.headers_mut();
    if problem.code == Code::Unauthenticated {
        let challenge = if is_browser { BROWSER_CHALLENGE } else { daemon::auth::CHALLENGE };
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    if let Some(seconds) = retry_after {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    response
}
