//! What is counted: requests, what was found of each view, the store and the registry.
//!
//! Under Feast's own names too, for what Feast's server counts, so that dashboards made for it go
//! on. Feast counts a field of its own as a miss and its misses as hits; here `present` and
//! `not_found` are what they say.

use std::time::Duration;

use daemon::Metrics;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ViewLabels {
    feature_view: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabels {
    feature_view: String,
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    endpoint: &'static str,
    code: u16,
    feature_count: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FeastRequestLabels {
    endpoint: &'static str,
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FeastLatencyLabels {
    endpoint: &'static str,
    feature_count: &'static str,
    feature_view_count: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PushLabels {
    push_source: String,
    mode: &'static str,
}

/// What was found of a view.
#[derive(Clone, Debug, Default)]
pub struct ViewCounters {
    /// Values.
    pub hits: Counter,
    /// Values that are not stored.
    pub misses: Counter,
    /// Nulls.
    pub nulls: Counter,
    /// Values older than the ttl.
    pub stale: Counter,
    present: Counter,
    not_found: Counter,
}

/// Values of a view in one answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Values.
    pub hits: u64,
    /// Values that are not stored.
    pub misses: u64,
    /// Nulls.
    pub nulls: u64,
    /// Values older than the ttl.
    pub stale: u64,
}

impl ViewCounters {
    /// Adds an answer.
    pub fn add(&self, found: Found) {
        self.hits.inc_by(found.hits);
        self.misses.inc_by(found.misses);
        self.nulls.inc_by(found.nulls);
        self.stale.inc_by(found.stale);
        self.present.inc_by(found.hits + found.nulls + found.stale);
        self.not_found.inc_by(found.misses);
    }
}

/// What a request was, for its counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Rows.
    pub entities: usize,
    /// Features.
    pub features: usize,
    /// Views.
    pub views: usize,
}

/// The counters of a feature server.
#[derive(Clone, Debug)]
pub struct ServeMetrics {
    requests: Family<RequestLabels, Counter>,
    seconds: Family<RequestLabels, Histogram>,
    values: Family<StatusLabels, Counter>,
    store_seconds: Histogram,
    /// Reads of the store that failed.
    pub store_failures: Counter,
    /// Times that the registry was read.
    pub registry_refreshes: Counter,
    /// Times that it could not be.
    pub registry_failures: Counter,
    registry_age: Gauge,
    rows_written: Family<ViewLabels, Counter>,
    rows_stale: Family<ViewLabels, Counter>,
    vectors_used: Counter,
    vectors_assembled: Counter,
    feast: FeastMetrics,
}

/// Counters under the names that Feast's server has.
///
/// # Source
/// Feast 0.67, metrics of `feast serve --metrics`.
#[derive(Clone, Debug)]
struct FeastMetrics {
    requests: Family<FeastRequestLabels, Counter>,
    seconds: Family<FeastLatencyLabels, Histogram>,
    online: Counter,
    entities: Histogram,
    status: Family<StatusLabels, Counter>,
    read_seconds: Histogram,
    pushes: Family<PushLabels, Counter>,
}

/// From a tenth of a millisecond to three seconds.
fn quick_seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.0001, 2.0, 16))
}

/// Feast's own buckets begin at five milliseconds and end at ten seconds.
fn feast_seconds() -> Histogram {
    Histogram::new([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0])
}

fn feast_entities() -> Histogram {
    Histogram::new([1.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0])
}

impl ServeMetrics {
    /// Adds the counters to those of the process.
    pub fn register(metrics: &mut Metrics) -> Self {
        let made = Self {
            requests: Family::default(),
            seconds: Family::new_with_constructor(quick_seconds),
            values: Family::default(),
            store_seconds: quick_seconds(),
            store_failures: Counter::default(),
            registry_refreshes: Counter::default(),
            registry_failures: Counter::default(),
            registry_age: Gauge::default(),
            rows_written: Family::default(),
            rows_stale: Family::default(),
            vectors_used: Counter::default(),
            vectors_assembled: Counter::default(),
            feast: FeastMetrics::register(metrics),
        };
        let own = metrics.registry();
        own.register("serve_requests", "Requests by their answers", made.requests.clone());
        own.register("serve_request_seconds", "Seconds to the answer", made.seconds.clone());
        own.register("serve_values", "Values by view and status", made.values.clone());
        own.register(
            "serve_store_seconds",
            "Seconds that the online store took",
            made.store_seconds.clone(),
        );
        own.register(
            "serve_store_failures",
            "Reads of the online store that failed",
            made.store_failures.clone(),
        );
        own.register(
            "serve_registry_refreshes",
            "Times that the registry was read",
            made.registry_refreshes.clone(),
        );
        own.register(
            "serve_registry_failures",
            "Times that the registry could not be read",
            made.registry_failures.clone(),
        );
        own.register(
            "serve_registry_age_seconds",
            "Seconds since the registry was read; -1 if it never was",
            made.registry_age.clone(),
        );
        own.register("serve_rows_written", "Rows written by pushes", made.rows_written.clone());
        own.register("serve_rows_stale", "Rows pushed too late", made.rows_stale.clone());
        own.register(
            "serve_vector_rows_used",
            "Rows that a precomputed vector told",
            made.vectors_used.clone(),
        );
        own.register(
            "serve_vector_rows_assembled",
            "Rows whose precomputed vector is missing, stale or has a null, read from the views",
            made.vectors_assembled.clone(),
        );
        made
    }

    /// The counters of a view, to be kept: looking them up costs more than counting.
    pub fn of_view(&self, view: &str) -> ViewCounters {
        let of = |family: &Family<StatusLabels, Counter>, status| {
            let labels = StatusLabels { feature_view: view.to_owned(), status };
            family.get_or_create(&labels).clone()
        };
        ViewCounters {
            hits: of(&self.values, "present"),
            misses: of(&self.values, "not_found"),
            nulls: of(&self.values, "null_value"),
            stale: of(&self.values, "outside_max_age"),
            present: of(&self.feast.status, "present"),
            not_found: of(&self.feast.status, "not_found"),
        }
    }

    /// Counts a request.
    pub fn request(&self, endpoint: &'static str, code: u16, asked: Asked, took: Duration) {
        let feature_count = bin(asked.features);
        let labels = RequestLabels { endpoint, code, feature_count };
        self.requests.get_or_create(&labels).inc();
        self.seconds.get_or_create(&labels).observe(took.as_secs_f64());
        let status = if code < 400 { "success" } else { "error" };
        self.feast.requests.get_or_create(&FeastRequestLabels { endpoint, status }).inc();
        let feature_view_count = bin(asked.views);
        let labels = FeastLatencyLabels { endpoint, feature_count, feature_view_count };
        self.feast.seconds.get_or_create(&labels).observe(took.as_secs_f64());
        if asked.features > 0 {
            self.feast.online.inc();
            self.feast.entities.observe(asked.entities as f64);
        }
    }

    /// Counts a read of the store.
    pub fn read(&self, took: Duration, is_failed: bool) {
        self.store_seconds.observe(took.as_secs_f64());
        self.feast.read_seconds.observe(took.as_secs_f64());
        if is_failed {
            self.store_failures.inc();
        }
    }

    /// Counts rows of services with precomputed vectors.
    pub fn vectors(&self, used: usize, assembled: usize) {
        self.vectors_used.inc_by(used as u64);
        self.vectors_assembled.inc_by(assembled as u64);
    }

    /// Counts rows of a push.
    pub fn written(&self, view: &str, written: u64, stale: u64) {
        let labels = ViewLabels { feature_view: view.to_owned() };
        self.rows_written.get_or_create(&labels).inc_by(written);
        self.rows_stale.get_or_create(&labels).inc_by(stale);
    }

    /// Counts a push.
    pub fn pushed(&self, push_source: &str) {
        let labels = PushLabels { push_source: push_source.to_owned(), mode: "online" };
        self.feast.pushes.get_or_create(&labels).inc();
    }

    /// Notes how old the snapshot of the registry is.
    pub fn registry_age(&self, age: Option<Duration>) {
        let seconds = age.map_or(-1, |age| i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
        self.registry_age.set(seconds);
    }
}

impl FeastMetrics {
    fn register(metrics: &mut Metrics) -> Self {
        let made = Self {
            requests: Family::default(),
            seconds: Family::new_with_constructor(feast_seconds),
            online: Counter::default(),
            entities: feast_entities(),
            status: Family::default(),
            read_seconds: feast_seconds(),
            pushes: Family::default(),
        };
        let foreign = metrics.foreign();
        let name = "feast_feature_server_request";
        foreign.register(name, "Requests", made.requests.clone());
        let name = "feast_feature_server_request_latency_seconds";
        foreign.register(name, "Seconds to the answer", made.seconds.clone());
        let name = "feast_online_features_request";
        foreign.register(name, "Requests for features", made.online.clone());
        let name = "feast_online_features_entity_count";
        foreign.register(name, "Rows of a request", made.entities.clone());
        let name = "feast_online_features_status";
        foreign.register(name, "Values by view and status", made.status.clone());
        let name = "feast_feature_server_online_store_read_duration_seconds";
        foreign.register(name, "Seconds that the store took", made.read_seconds.clone());
        foreign.register("feast_push_request", "Pushes", made.pushes.clone());
        made
    }
}

/// Feast's bins of a count.
fn bin(count: usize) -> &'static str {
    match count {
        0 => "0",
        1..=10 => "1-10",
        11..=50 => "11-50",
        51..=200 => "51-200",
        _ => "201+",
    }
}
