//! A run's events as they happen, as server-sent events.
//!
//! The ledger is asked again and again: the run may be at work in any process, so there is nobody
//! here who could tell. What was recorded has a number, by which a reader goes on after its
//! connection broke.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use api::event::{END, END_DATA, KEEP_ALIVE, PROGRESS};
use api::{Problem, ViewProgress};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response, Sse};
use futures::StreamExt;
use model::RunId;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::Server;
use super::body::{RunPath, refuse};
use super::problem::Refusal;
use crate::error::{Error, chain};

/// How often the ledger is asked: soon enough for whoever watches.
const LOOK: Duration = Duration::from_millis(500);

/// How often progress is told; holders record it every few seconds.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// Events of one look; a run of many windows has thousands.
const EVENTS_MAX: u32 = 500;

/// Has a proxy pass events on as they come.
///
/// # Source
/// nginx, `proxy_buffering`:
/// <https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_buffering>.
const UNBUFFERED: [(&str, &str); 1] = [("x-accel-buffering", "no")];

/// How a reader says what it has seen.
const LAST_EVENT: &str = "last-event-id";

/// Follows a run until it has ended.
#[utoipa::path(
    get, path = "/v1/runs/{run_id}/events", operation_id = "follow_run", tag = "runs",
    params(
        ("run_id" = String, Path, description = "The run's id."),
        ("Last-Event-ID" = Option<u64>, Header,
            description = "The last event that was seen; the stream goes on after it."),
    ),
    responses(
        (status = 200, description = "Events of the run; `progress` in between, `end` at last.",
            body = String, content_type = "text/event-stream"),
        (status = "default", description = "Why there is no stream.", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn stream(
    State(server): State<Arc<Server>>,
    path: RunPath,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let run = path.run()?;
    let seen = last_event(&headers)?;
    server.scheduler.run_summary(run).await?;
    let streams = Arc::clone(&server.streams);
    let permit = streams.try_acquire_owned().map_err(|_| Refusal::overloaded("streams"))?;
    let follower = Follower {
        server,
        run,
        seen,
        ready: VecDeque::new(),
        progress: Vec::new(),
        progress_at: None,
        spoke_at: Instant::now(),
        is_over: false,
        _permit: permit,
    };
    let events = futures::stream::unfold(follower, |mut follower| async move {
        follower.next().await.map(|event| (event, follower))
    });
    Ok((UNBUFFERED, Sse::new(events.map(Ok::<_, Infallible>))).into_response())
}

fn last_event(headers: &HeaderMap) -> Result<u64, Refusal> {
    let Some(value) = headers.get(LAST_EVENT) else { return Ok(0) };
    let text = value.to_str().unwrap_or_default();
    // A browser that has seen nothing sends nothing in it.
    if text.is_empty() {
        return Ok(0);
    }
    text.parse().map_err(|_| refuse("Last-Event-ID", "it is not the number of an event"))
}

/// Whoever follows a run.
struct Follower {
    server: Arc<Server>,
    run: RunId,
    /// The last event that was sent.
    seen: u64,
    ready: VecDeque<Event>,
    /// The progress that was sent last.
    progress: Vec<ViewProgress>,
    progress_at: Option<Instant>,
    spoke_at: Instant,
    is_over: bool,
    _permit: OwnedSemaphorePermit,
}

impl Follower {
    /// The next event; none after the last, when the server ends, or when the ledger does not
    /// answer: the reader then comes back by itself.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.spoke_at = Instant::now();
                return Some(event);
            }
            if self.is_over || self.server.ending.is_cancelled() {
                return None;
            }
            if let Err(error) = self.look().await {
                let error = chain(&error);
                tracing::warn!(run = %self.run, error, "a stream of events was broken off");
                return None;
            }
            if self.ready.is_empty() && self.spoke_at.elapsed() >= KEEP_ALIVE {
                self.ready.push_back(Event::default().comment("alive"));
            }
            if self.ready.is_empty() {
                let ending = self.server.ending.clone();
                tokio::select! {
                    () = tokio::time::sleep(LOOK) => {}
                    () = ending.cancelled() => return None,
                }
            }
        }
    }

    async fn look(&mut self) -> Result<(), Error> {
        let scheduler = &self.server.scheduler;
        // The state first: a run's last event is recorded with its last state.
        let state = scheduler.run_summary(self.run).await?.state;
        let events = scheduler.events(self.run, self.seen, EVENTS_MAX).await?;
        let has_more = events.len() >= EVENTS_MAX as usize;
        for event in events {
            self.seen = event.id;
            self.ready.push_back(
                Event::default()
                    .id(event.id.to_string())
                    .event(event.kind.as_str())
                    .data(json(&event)),
            );
        }
        if state.is_ended() {
            if !has_more {
                self.ready.push_back(Event::default().event(END).data(END_DATA));
                self.is_over = true;
            }
        } else if self.progress_at.is_none_or(|at| at.elapsed() >= PROGRESS_EVERY) {
            self.progress_at = Some(Instant::now());
            let progress = scheduler.progress(self.run).await?;
            if progress != self.progress {
                self.ready.push_back(Event::default().event(PROGRESS).data(json(&progress)));
                self.progress = progress;
            }
        }
        Ok(())
    }
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("our bodies have text for keys, so they are JSON")
}
