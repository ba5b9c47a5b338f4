//! Numbers for Prometheus: one registry a process, and the text that it is read as.
//!
//! Metrics are registered while a process starts, and only counted afterwards. What is counted is
//! named where it is counted; HTTP is counted in `metrics/http.rs`, the same for every process.

mod http;

use std::fmt;

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

pub use http::{HttpMetrics, count};
pub use prometheus_client;

/// What every name begins with.
const PREFIX: &str = "tidegate";
/// The form of the text, as Prometheus is told.
///
/// # Source
/// OpenMetrics 1.0: <https://prometheus.io/docs/specs/om/open_metrics_spec/>.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The metrics of a process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
}

impl Metrics {
    /// Makes a registry that tells the program's version, and nothing else yet.
    pub fn new(version: &str) -> Self {
        let mut metrics = Self { registry: Registry::default() };
        let build = Info::new(vec![("version".to_owned(), version.to_owned())]);
        metrics.registry().register("build", "The program", build);
        metrics
    }

    /// Where metrics are registered, under names without our prefix and without units.
    pub fn registry(&mut self) -> &mut Registry {
        self.registry.sub_registry_with_prefix(PREFIX)
    }

    /// Where metrics are registered that have names of others, for dashboards that know those.
    pub fn foreign(&mut self) -> &mut Registry {
        &mut self.registry
    }

    /// The numbers as they are now.
    pub fn exposition(&self) -> Exposition {
        let mut text = String::new();
        // Only a formatter of our own could fail, and a string takes everything.
        let encoded: Result<(), fmt::Error> = encode(&mut text, &self.registry);
        encoded.expect("a string takes every text");
        Exposition { text }
    }
}

/// The numbers as they were when they were asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposition {
    /// The text.
    pub text: String,
}

impl IntoResponse for Exposition {
    fn into_response(self) -> Response {
        ([(CONTENT_TYPE, OPEN_METRICS)], self.text).into_response()
    }
}

/// A histogram of how long requests take.
///
/// # Units
/// Seconds, from a millisecond to half a minute: an answer out of the ledger takes a few
/// milliseconds, a plan of many files some seconds.
pub fn request_seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 16))
}

/// A histogram of how long work takes that is measured in minutes.
///
/// # Units
/// Seconds, from a tenth of one to about an hour.
pub fn work_seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.1, 2.0, 16))
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;

    use super::*;

    #[test]
    fn numbers_are_told_in_prometheus_text() {
        let mut metrics = Metrics::new("1.2.3");
        let runs = Counter::<u64>::default();
        metrics.registry().register("runs", "Runs that were admitted", runs.clone());
        let seconds = work_seconds();
        metrics.registry().register("run_seconds", "How long runs took", seconds.clone());
        runs.inc_by(3);
        seconds.observe(0.3);
        let text = metrics.exposition().text;
        for line in [
            "# TYPE tidegate_runs counter",
            "tidegate_runs_total 3",
            "tidegate_build_info{version=\"1.2.3\"} 1",
            "tidegate_run_seconds_bucket{le=\"0.2\"} 0",
            "tidegate_run_seconds_bucket{le=\"0.4\"} 1",
            "tidegate_run_seconds_count 1",
            "# EOF",
        ] {
            assert!(text.lines().any(|have| have == line), "`{line}` is not in:\n{text}");
        }
    }
}
