//! Numbers for Prometheus: what this process has done, and how far the project's views have got.
//!
//! What the ledger knows is asked when the numbers are, so that it is never older than them. A
//! ledger that does not answer leaves its numbers out, and says so in one of its own.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use axum::extract::State;
use daemon::Metrics;
use daemon::metrics::prometheus_client::collector::Collector;
use daemon::metrics::prometheus_client::encoding::{DescriptorEncoder, MetricEncoder};
use daemon::metrics::prometheus_client::metrics::MetricType;
use daemon::metrics::{Exposition, HttpMetrics};
use model::{JobState, RunState};

use super::Server;
use crate::Scheduler;
use crate::error::{Error, chain};

const NANOS_PER_SECOND: f64 = 1e9;

type Labels<'a> = [(&'static str, &'a str); 1];

/// The metrics of a scheduler's server.
#[derive(Debug)]
pub(super) struct SchedulerMetrics {
    metrics: Metrics,
    http: HttpMetrics,
    seen: Arc<Mutex<Option<Seen>>>,
}

impl SchedulerMetrics {
    pub(super) fn new(scheduler: &Arc<Scheduler>) -> Self {
        let mut metrics = Metrics::new(&scheduler.process.version);
        let http = HttpMetrics::register(&mut metrics);
        let seen = Arc::new(Mutex::new(None));
        let done = Done(Arc::downgrade(scheduler));
        metrics.registry().register_collector(Box::new(done));
        metrics.registry().register_collector(Box::new(Known(Arc::clone(&seen))));
        Self { metrics, http, seen }
    }

    /// Where requests are counted.
    pub(super) fn of_http(&self) -> HttpMetrics {
        self.http.clone()
    }
}

/// Tells the numbers as they are now.
#[utoipa::path(
    get, path = "/metrics", operation_id = "metrics", tag = "process",
    responses((status = 200, description = "Numbers in OpenMetrics text.", body = String,
        content_type = "application/openmetrics-text")),
)]
pub(super) async fn exposition(State(server): State<Arc<Server>>) -> Exposition {
    let seen = match look(&server.scheduler).await {
        Ok(seen) => Some(seen),
        Err(error) => {
            tracing::warn!(error = chain(&error), "metrics lack what the ledger knows");
            None
        }
    };
    let metrics = &server.metrics;
    *metrics.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
    metrics.metrics.exposition()
}

/// What ledger and registry said when they were asked last.
#[derive(Debug)]
struct Seen {
    runs: Vec<(RunState, u64)>,
    views: Vec<View>,
}

#[derive(Debug)]
struct View {
    name: String,
    /// Seconds since 1970, and how long ago that is.
    watermark: Option<(f64, i64)>,
    gaps: usize,
    is_lost: bool,
    is_leased: bool,
}

async fn look(scheduler: &Scheduler) -> Result<Seen, Error> {
    let runs = scheduler.ledger()?.count_runs(&scheduler.config.project).await?;
    let status = scheduler.status().await?;
    let view = |view: api::ViewReport| View {
        watermark: view
            .watermark
            .zip(view.freshness_seconds)
            .map(|(watermark, age)| (watermark.nanos() as f64 / NANOS_PER_SECOND, age)),
        name: view.view,
        gaps: view.gaps.len(),
        is_lost: view.lost.is_some(),
        is_leased: view.lease.is_some(),
    };
    Ok(Seen { runs, views: status.views.into_iter().map(view).collect() })
}

/// What this process has done.
struct Done(Weak<Scheduler>);

impl fmt::Debug for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Done")
    }
}

impl Collector for Done {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(scheduler) = self.0.upgrade() else { return Ok(()) };
        let tally = &scheduler.tally;
        let jobs: Vec<_> = JobState::ALL
            .iter()
            .filter(|state| state.is_ended())
            .map(|&state| ([("state", state.as_str())], tally.jobs_ended(state)))
            .collect();
        let help = "Jobs that this process has brought to an end, by that end";
        counters(&mut encoder, "jobs_ended", help, &jobs)?;
        let attempts = [
            ([("end", "committed")], read(&tally.attempts_committed)),
            ([("end", "failed")], read(&tally.attempts_failed)),
        ];
        let help = "Attempts at windows of this process, by whether they were committed";
        counters(&mut encoder, "attempts_ended", help, &attempts)?;
        let rows = [
            ([("outcome", "written")], read(&tally.rows_written)),
            ([("outcome", "stale")], read(&tally.rows_stale)),
            ([("outcome", "tombstoned")], read(&tally.rows_tombstoned)),
            ([("outcome", "refused")], read(&tally.rows_refused)),
        ];
        let help = "Newest rows of entities in windows that this process committed, by what became \
                    of them: stored, older than what is stored, deactivated, or not fit for \
                    Feast's types";
        counters(&mut encoder, "rows", help, &rows)?;
        let help = "Rows read from sources for windows that this process committed";
        counter(&mut encoder, "rows_read", help, read(&tally.rows_read))?;
        let help = "Bytes of keys and values handed to the online store for those windows";
        counter(&mut encoder, "written_bytes", help, read(&tally.bytes_written))
    }
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// What ledger and registry know.
#[derive(Debug)]
struct Known(Arc<Mutex<Option<Seen>>>);

impl Collector for Known {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let help = "1 when the ledger and the registry answered this scrape; 0 when their numbers \
                    are left out";
        gauge(&mut encoder, "ledger_up", help, f64::from(u8::from(seen.is_some())))?;
        let Some(Seen { runs, views }) = seen.as_ref() else { return Ok(()) };
        let runs: Vec<_> = runs
            .iter()
            .map(|(state, count)| ([("state", state.as_str())], *count as f64))
            .collect();
        gauges(&mut encoder, "runs", "Runs that the ledger keeps, by state", &runs)?;
        let held = views.iter().filter(|view| view.is_leased).count();
        let help = "Views that some process holds to write them";
        gauge(&mut encoder, "leases_held", help, held as f64)?;
        let of_views = |number: fn(&View) -> Option<f64>| -> Vec<_> {
            let known = |view| number(view).map(|number| ([("view", view.name.as_str())], number));
            views.iter().filter_map(known).collect()
        };
        let help = "Event time up to which everything of a view has landed, in seconds since 1970";
        let numbers = of_views(|view| view.watermark.map(|(at, _)| at));
        gauges(&mut encoder, "view_watermark_timestamp_seconds", help, &numbers)?;
        let help = "Seconds since the watermark of a view: how old its newest features may be";
        let numbers = of_views(|view| view.watermark.map(|(_, age)| age as f64));
        gauges(&mut encoder, "view_freshness_seconds", help, &numbers)?;
        let help = "Intervals between those of a view that have landed";
        gauges(&mut encoder, "view_gaps", help, &of_views(|view| Some(view.gaps as f64)))?;
        let help = "1 when the online store may have lost what has landed of a view";
        let numbers = of_views(|view| Some(f64::from(u8::from(view.is_lost))));
        gauges(&mut encoder, "view_lost", help, &numbers)
    }
}

fn counters(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    series: &[(Labels<'_>, u64)],
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, number) in series {
        one(&mut family, labels)?.encode_counter::<Labels<'_>, _, u64>(number, None)?;
    }
    Ok(())
}

fn counter(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    number: u64,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    metric.encode_counter::<Labels<'_>, _, u64>(&number, None)
}

fn gauges(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    series: &[(Labels<'_>, f64)],
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, number) in series {
        one(&mut family, labels)?.encode_gauge(number)?;
    }
    Ok(())
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, number: f64) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    metric.encode_gauge(&number)
}

/// One series of a family.
fn one<'s>(
    family: &'s mut MetricEncoder<'_>,
    labels: &'s Labels<'_>,
) -> Result<MetricEncoder<'s>, fmt::Error> {
    family.encode_family(labels)
}
