//! What is answered when something is in the way.
//!
//! RFC 9457 problem details; with `compat: feast` the errors that Feast's own client knows are
//! written as Feast writes them, a JSON text inside a JSON string, which that client turns back
//! into the exception.

use api::{Code, PROBLEM_JSON, Problem};
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::words::chain;
use crate::error::Error;

/// Seconds after which an outside system may be there again.
const LATER: u32 = 1;

/// What Feast's client makes an exception of.
#[derive(Clone, Debug)]
struct Exception {
    /// The status that Feast answers it with.
    status: u16,
    class: &'static str,
    message: String,
}

/// An answer that is no success; `guard::finish` writes its body.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    problem: Problem,
    retry_after: Option<u32>,
    /// Feast's exception, where its client knows one.
    feast: Option<Exception>,
}

impl Refusal {
    pub(super) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self::from(Problem::new(code, detail))
    }

    /// An error of a write, for which Feast knows one class more.
    pub(super) fn of_write(error: Error) -> Self {
        let is_view = matches!(error, Error::UnknownView { .. });
        let mut refusal = Self::from(error);
        if let Some(exception) = refusal.feast.as_mut().filter(|_| is_view) {
            exception.class = "FeastObjectNotFoundException";
        }
        refusal
    }

    /// Writes the body.
    pub(super) fn written(
        self,
        path: &str,
        is_feast: bool,
        allow: Option<HeaderValue>,
    ) -> Response {
        let exception = self.feast.filter(|_| is_feast);
        let status = exception.as_ref().map_or(self.problem.status, |exception| exception.status);
        let status = StatusCode::from_u16(status).expect("the tables have HTTP statuses");
        let mut headers = HeaderMap::new();
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if let Some(allow) = allow {
            headers.insert(ALLOW, allow);
        }
        if self.problem.code == Code::Unauthenticated {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(daemon::auth::CHALLENGE));
        }
        let (kind, body) = match exception {
            Some(Exception { class, message, .. }) => {
                let inner = json!({"module": "feast.errors", "class": class, "message": message});
                ("application/json", serde_json::to_string(&inner.to_string()))
            }
            None => (PROBLEM_JSON, serde_json::to_string(&self.problem.with_instance(path))),
        };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        (status, headers, body.expect("a problem is JSON")).into_response()
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        let retry_after = problem.code.is_retryable().then_some(LATER);
        Self { problem, retry_after, feast: None }
    }
}

impl From<Error> for Refusal {
    /// Logs what the caller is not told.
    fn from(error: Error) -> Self {
        let code = error.code();
        let refusal = match code.own_words() {
            Some(words) => {
                let cause = &error as &dyn std::error::Error;
                if code == Code::Internal {
                    tracing::error!(error = cause, "a request failed");
                } else {
                    tracing::warn!(error = cause, "a request failed");
                }
                Self::new(code, words)
            }
            None => Self::new(code, chain(&error)),
        };
        Self { feast: of_feast(&error), ..refusal }
    }
}

impl From<BytesRejection> for Refusal {
    fn from(rejection: BytesRejection) -> Self {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            return Self::new(Code::BodyTooLarge, "the body is larger than this server reads");
        }
        Self::new(Code::InvalidShape, "the body broke off")
    }
}

/// Carries the refusal to where its body is written.
impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.problem.status);
        let mut response = status.expect("the table has HTTP statuses").into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// No path fits.
pub(super) async fn nothing_here() -> Refusal {
    Problem::nothing_here().into()
}

/// The path fits, and the method does not.
pub(super) async fn other_method() -> Refusal {
    Problem::other_method().into()
}

/// The exception that Feast's client makes of it.
///
/// # Source
/// Feast 0.67, `feast.errors`.
fn of_feast(error: &Error) -> Option<Exception> {
    let (status, class) = match error {
        Error::UnknownView { .. } => (404, "FeatureViewNotFoundException"),
        Error::UnknownService { .. } => (404, "FeatureServiceNotFoundException"),
        Error::UnknownPushSource { .. } => (422, "PushSourceNotFoundException"),
        Error::Collision { .. } => (500, "FeatureNameCollisionError"),
        _ => return None,
    };
    Some(Exception { status, class, message: chain(error) })
}
