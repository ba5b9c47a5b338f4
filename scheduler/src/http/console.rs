//! Pages for people: what is fresh and what is not, what runs did, and how to run something again.
//!
//! Made on the server and whole without a script; a small one of our own keeps what is shown up to
//! date. Whatever comes from outside goes through `maud`, which escapes it. Deliberately absent:
//! anything from another machine, and anything that a page could do and the API cannot.

mod home;
mod layout;
mod rerun;
mod run;
mod strip;
mod text;
mod view;

use std::sync::Arc;

use api::{Event, Problem, RunDetail, ViewReport};
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use daemon::Caller;
use futures::{StreamExt, TryStreamExt};
use metastore::RunFilter;

use super::body::{PathText, RunPath};
use super::problem::Refusal;
use super::{Server, runs};
use crate::error::Error;
use layout::Page;

/// Runs on the first page.
const RECENT_RUNS: u32 = 10;

/// Runs on the page of runs.
const LISTED_RUNS: u32 = 50;

/// Views whose coverage is drawn on the first page; each is a question to the ledger.
const STRIPS_MAX: usize = 50;

/// Questions for coverage at a time.
const STRIPS_AT_ONCE: usize = 4;

/// Events of one question; a run of many windows has thousands.
const EVENTS_READ: u32 = 1_000;

/// Events that a page shows, the newest.
const EVENTS_SHOWN: usize = 100;

/// Pages that are answered out of the ledger and the registry.
pub(super) fn pages() -> Router<Arc<Server>> {
    Router::new()
        .route("/", get(home_page))
        .route("/runs", get(runs_page))
        .route("/runs/{run}", get(run_page))
        .route("/runs/{run}/cancel", post(cancel))
        .route("/views/{view}", get(view_page))
}

/// Pages that take a plan.
pub(super) fn plans() -> Router<Arc<Server>> {
    Router::new().route("/rerun", post(rerun::page))
}

/// The page of what went wrong.
pub(super) fn failure(problem: &Problem) -> Page {
    layout::failure(problem)
}

async fn home_page(State(server): State<Arc<Server>>) -> Result<Page, Refusal> {
    let scheduler = &server.scheduler;
    let status = scheduler.status().await?;
    let views = home::worst_first(status.views);
    let named = |view: &ViewReport| (view.view.clone(), view.storage_name.clone());
    let drawn: Vec<_> = views.iter().take(STRIPS_MAX).map(named).collect();
    let coverage = |(name, stored): (String, String)| async move {
        scheduler.stored_intervals(&name, stored).await
    };
    let strips: Vec<_> =
        futures::stream::iter(drawn).map(coverage).buffered(STRIPS_AT_ONCE).try_collect().await?;
    let recent = scheduler.runs(&RunFilter::default(), RECENT_RUNS).await?;
    Ok(home::page(&status.project, &views, &strips, &recent.runs))
}

async fn runs_page(State(server): State<Arc<Server>>) -> Result<Page, Refusal> {
    let page = server.scheduler.runs(&RunFilter::default(), LISTED_RUNS).await?;
    Ok(run::list(&server.scheduler.config.project, &page))
}

async fn run_page(State(server): State<Arc<Server>>, path: RunPath) -> Result<Page, Refusal> {
    let detail = runs::detail(&server, &path).await?;
    let events = newest_events(&server, &detail).await?;
    Ok(run::page(&detail, &events))
}

async fn newest_events(server: &Server, detail: &RunDetail) -> Result<Vec<Event>, Error> {
    let (mut events, mut seen) = (Vec::new(), 0);
    loop {
        let read = server.scheduler.events(detail.run.run_id, seen, EVENTS_READ).await?;
        let is_last = read.len() < EVENTS_READ as usize;
        seen = read.last().map_or(seen, |event| event.id);
        events.extend(read);
        let older = events.len().saturating_sub(EVENTS_SHOWN);
        events.drain(..older);
        if is_last {
            return Ok(events);
        }
    }
}

async fn cancel(
    State(server): State<Arc<Server>>,
    Extension(caller): Extension<Caller>,
    path: RunPath,
) -> Result<Response, Refusal> {
    let run = runs::cancel(&server, &caller, &path).await?;
    Ok(Redirect::to(&format!("/runs/{}", run.run_id)).into_response())
}

async fn view_page(
    State(server): State<Arc<Server>>,
    PathText(name): PathText,
) -> Result<Page, Refusal> {
    let intervals = server.scheduler.intervals(&name).await?;
    let status = server.scheduler.status().await?;
    let view = status.views.into_iter().find(|view| view.view == name);
    let filter = RunFilter { view: Some(name.clone()), ..RunFilter::default() };
    let recent = server.scheduler.runs(&filter, RECENT_RUNS).await?;
    match view {
        Some(view) => Ok(view::page(&view, &intervals, &recent.runs)),
        // It was removed between the two looks.
        None => Err(Refusal::new(api::Code::UnknownView, format!("there is no view `{name}`"))),
    }
}
