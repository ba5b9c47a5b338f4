//! What is counted of every request, whatever the route does.
//!
//! A route is counted under its pattern (`/v1/runs/{id}`), never under the path that was asked
//! for, so that no caller can make new series.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use super::{Metrics, request_seconds};

/// Where no route fits.
const UNMATCHED: &str = "unmatched";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AnswerLabels {
    method: &'static str,
    route: String,
    status: u16,
}

/// Counts the requests of a server.
#[derive(Clone, Debug)]
pub struct HttpMetrics {
    answers: Family<AnswerLabels, Counter>,
    seconds: Family<AnswerLabels, Histogram>,
    at_work: Gauge,
}

impl HttpMetrics {
    /// Adds `http_requests_total`, `http_request_seconds` and `http_requests_at_work`.
    pub fn register(metrics: &mut Metrics) -> Self {
        let made = Self {
            answers: Family::default(),
            seconds: Family::new_with_constructor(request_seconds),
            at_work: Gauge::default(),
        };
        let registry = metrics.registry();
        registry.register("http_requests", "Requests by their answers", made.answers.clone());
        registry.register(
            "http_request_seconds",
            "Seconds until the head of the answer",
            made.seconds.clone(),
        );
        registry.register(
            "http_requests_at_work",
            "Requests without an answer yet",
            made.at_work.clone(),
        );
        made
    }
}

/// Counts a request; a middleware for `axum::middleware::from_fn_with_state`, put on with
/// `Router::route_layer` or `Router::layer`.
pub async fn count(State(metrics): State<HttpMetrics>, request: Request, next: Next) -> Response {
    let method = method(request.method());
    let matched = request.extensions().get::<MatchedPath>();
    let route = matched.map_or(UNMATCHED, MatchedPath::as_str).to_owned();
    let begin = Instant::now();
    let at_work = AtWork::begin(&metrics.at_work);
    let response = next.run(request).await;
    drop(at_work);
    let labels = AnswerLabels { method, route, status: response.status().as_u16() };
    metrics.seconds.get_or_create(&labels).observe(begin.elapsed().as_secs_f64());
    metrics.answers.get_or_create(&labels).inc();
    response
}

/// Counts down even when the caller hangs up and the request is dropped half way.
struct AtWork<'a>(&'a Gauge);

impl<'a> AtWork<'a> {
    fn begin(gauge: &'a Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A method has any name that a caller gives it; a label has not.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        _ => "other",
    }
}
