//! Whether a process can do its work: named checks, asked side by side, each with a deadline.
//!
//! Being alive is not checked here: a process that answers is alive, and one that is ended because
//! an outside system does not answer comes back to the same system.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures::future::{BoxFuture, FutureExt, join_all};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

type Ask = Box<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

struct Check {
    name: &'static str,
    deadline: Duration,
    ask: Ask,
}

/// What must answer for the process to do its work.
pub struct Health {
    checks: Vec<Check>,
    stop: CancellationToken,
}

/// How far the process can do its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It can.
    Ok,
    /// Something that it needs does not answer.
    Failing,
    /// It has been told to stop.
    Stopping,
}

/// What the checks said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// All in all.
    pub status: Status,
    /// One by one.
    pub checks: BTreeMap<&'static str, Outcome>,
}

/// What one check said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Whether it is well.
    pub ok: bool,
    /// What is wrong.
    pub error: Option<String>,
}

impl Health {
    /// A process without checks, which is well until the token is cancelled.
    pub fn new(stop: CancellationToken) -> Self {
        Self { checks: Vec::new(), stop }
    }

    /// Adds a check.
    ///
    /// # Cancel safety
    /// What `ask` returns is dropped at the deadline, so it must be safe to drop: a question that
    /// changes nothing.
    #[must_use]
    pub fn with_check<A, F, E>(mut self, name: &'static str, deadline: Duration, ask: A) -> Self
    where
        A: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display,
    {
        let ask: Ask = Box::new(move || {
            let answer = ask();
            async move { answer.await.map_err(|error| error.to_string()) }.boxed()
        });
        self.checks.push(Check { name, deadline, ask });
        self
    }

    /// Asks everything at once; takes as long as the slowest, and no longer than its deadline.
    pub async fn report(&self) -> Report {
        let outcomes = join_all(self.checks.iter().map(Check::run)).await;
        let checks: BTreeMap<_, _> =
            self.checks.iter().map(|check| check.name).zip(outcomes).collect();
        let status = if self.stop.is_cancelled() {
            Status::Stopping
        } else if checks.values().all(|outcome| outcome.ok) {
            Status::Ok
        } else {
            Status::Failing
        };
        Report { status, checks }
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.checks.iter().map(|check| check.name).collect();
        f.debug_struct("Health").field("checks", &names).finish_non_exhaustive()
    }
}

impl Check {
    async fn run(&self) -> Outcome {
        let error = match tokio::time::timeout(self.deadline, (self.ask)()).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error),
            Err(_) => Some(format!("no answer within {:?}", self.deadline)),
        };
        Outcome { ok: error.is_none(), error }
    }
}

impl Report {
    /// Tells whether work may be sent here.
    pub fn is_ready(&self) -> bool {
        self.status == Status::Ok
    }
}

/// Status 200 or 503, with the report for a body.
impl IntoResponse for Report {
    fn into_response(self) -> Response {
        let status = if self.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        (status, Json(self)).into_response()
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use serde_json::json;
    use tokio::time::Instant;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn well() -> impl Future<Output = Result<(), String>> {
        ready(Ok(()))
    }

    #[tokio::test(start_paused = true)]
    async fn checks_run_side_by_side_and_end_at_their_deadlines() {
        let slow = || pending::<Result<(), String>>();
        let health = Health::new(CancellationToken::new())
            .with_check("metastore", SECOND, well)
            .with_check("online_store", 3 * SECOND, slow)
            .with_check("registry", 2 * SECOND, slow);
        let begin = Instant::now();
        let report = health.report().await;
        assert_eq!(begin.elapsed(), 3 * SECOND);
        assert!(!report.is_ready());
        assert_eq!(
            serde_json::to_value(&report).expect("JSON"),
            json!({
                "status": "failing",
                "checks": {
                    "metastore": { "ok": true, "error": null },
                    "online_store": { "ok": false, "error": "no answer within 3s" },
                    "registry": { "ok": false, "error": "no answer within 2s" },
                },
            })
        );
    }

    #[tokio::test]
    async fn a_process_that_stops_is_not_ready_however_well_it_is() {
        let stop = CancellationToken::new();
        let health = Health::new(stop.clone()).with_check("metastore", SECOND, well);
        assert_eq!(health.report().await.into_response().status(), StatusCode::OK);
        stop.cancel();
        let report = health.report().await;
        assert_eq!(report.status, Status::Stopping);
        assert_eq!(report.into_response().status(), StatusCode::SERVICE_UNAVAILABLE);
    }

    #[tokio::test]
    async fn what_a_check_says_is_shown() {
        let refused = || ready(Err::<(), _>("connection refused"));
        let health = Health::new(CancellationToken::new()).with_check("redis", SECOND, refused);
        let report = health.report().await;
        assert_eq!(report.checks["redis"].error.as_deref(), Some("connection refused"));
    }
}
