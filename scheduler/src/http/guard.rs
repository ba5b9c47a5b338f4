//! What every request goes through: who is calling and from where, how much is at work, how long
//! it takes, and the last touch on what is answered.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use api::{Code, PROBLEM_JSON};
use axum::extract::{Request, State};
use axum::http::header::{
    ACCEPT, ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HOST, ORIGIN, RETRY_AFTER,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use daemon::{Denied, Role};
use futures::FutureExt;

use super::problem::Refusal;
use super::{Server, console};

/// Asks a browser for a name and a password; the password is the token, the name is anything.
const BROWSER_CHALLENGE: &str = "Basic realm=\"tidegate\", charset=\"UTF-8\"";

/// How a browser says where a request comes from.
///
/// # Source
/// W3C Fetch Metadata: <https://www.w3.org/TR/fetch-metadata/>.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Lets a caller in: one who is known, whose role allows it, who was not sent by another site, and
/// for whom there is room.
pub(super) async fn admit(
    State(server): State<Arc<Server>>,
    mut request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    let headers = request.headers();
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if server.auth.is_open() && !is_local(&request) {
        return Err(foreign("without tokens this server answers to `localhost` only"));
    }
    if changes && !is_own_site(&request) {
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

/// The name that a request was sent to: HTTP/2 has it in its target, HTTP/1.1 in a header.
fn host(request: &Request) -> Option<&str> {
    match request.uri().authority() {
        Some(authority) => Some(authority.as_str()),
        None => Some(request.headers().get(HOST)?.to_str().unwrap_or_default()),
    }
}

/// Tells whether a request may have been meant for us: a site of others can have its name stand
/// for this machine, and then a browser lets it read what we answer.
fn is_local(request: &Request) -> bool {
    // What has no name is older than browsers that could be led astray.
    let Some(host) = host(request) else { return true };
    let name = without_port(host).trim_matches(['[', ']']);
    let address = name.parse::<std::net::IpAddr>();
    name.eq_ignore_ascii_case("localhost")
        || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Tells whether a request that changes something comes from a page of ours, or from no page.
/// A browser adds a password by itself, whoever wrote the page that sends the form.
fn is_own_site(request: &Request) -> bool {
    let headers = request.headers();
    if let Some(site) = headers.get(FETCH_SITE) {
        return site == "same-origin" || site == "none";
    }
    let Some(origin) = headers.get(ORIGIN) else { return true };
    let origin = origin.to_str().unwrap_or_default();
    let name = origin.split_once("://").map(|(_, name)| name);
    name.is_some() && name == host(request)
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

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn request(uri: &str, pairs: &[(&'static str, &'static str)]) -> Request {
        let mut request = Request::builder().uri(uri);
        for (name, value) in pairs {
            request = request.header(*name, *value);
        }
        request.body(Body::empty()).expect("a request")
    }

    #[test]
    fn a_form_of_another_site_is_told_by_its_headers() {
        for (pairs, is_own) in [
            (&[][..], true),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "none")], true),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "same-site"), ("origin", "http://h:1"), ("host", "h:1")], false),
            (&[("origin", "http://h:1"), ("host", "h:1")], true),
            (&[("origin", "http://h:2"), ("host", "h:1")], false),
            (&[("origin", "null"), ("host", "h:1")], false),
            (&[("origin", "https://evil.example"), ("host", "h:1")], false),
        ] {
            assert_eq!(is_own_site(&request("/", pairs)), is_own, "{pairs:?}");
        }
        let second = request("https://h:1/", &[("origin", "https://h:1")]);
        assert!(is_own_site(&second), "HTTP/2 has the name in its target");
    }

    #[test]
    fn a_name_of_others_for_this_machine_is_not_ours() {
        for (host, is_ours) in [
            ("localhost:6580", true),
            ("LOCALHOST", true),
            ("127.0.0.1:6580", true),
            ("[::1]:6580", true),
            ("[::1]", true),
            ("evil.example:6580", false),
            ("127.0.0.1.evil.example", false),
            ("10.0.0.1", false),
            ("", false),
        ] {
            let request = request("/", &[("host", host)]);
            assert_eq!(is_local(&request), is_ours, "{host}");
        }
    }
}
