//! Running a part of a view again: the form, what it would do, and the start.
//!
//! The first press shows the plan, the second one starts. The second carries a key that was drawn
//! with the plan, so that pressing it twice makes one run.

use std::str::FromStr;
use std::sync::Arc;

use api::{
    IdempotencyKey, IntervalsReport, PlanReport, Rerun, RerunState, RunRequest, ViewPlan,
    ViewReport,
};
use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use daemon::Caller;
use maud::{Markup, html};
use model::{EventTime, RunKind};
use serde::Deserialize;

use super::layout::Page;
use super::{home, text};
use crate::http::body::{Form, refuse};
use crate::http::problem::Refusal;
use crate::http::{Server, runs};

/// Windows of a plan that are listed.
const WINDOWS_MAX: usize = 50;

/// What the form sends.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    view: String,
    start: String,
    end: String,
    state: RerunState,
    correct: Option<String>,
    newest_first: Option<String>,
    /// Only the second press has one.
    key: Option<String>,
}

impl Asked {
    /// What the form begins with: the newest gap, or all that has landed.
    pub(super) fn of(view: &ViewReport, intervals: &IntervalsReport) -> Self {
        let hole = intervals.failed.last().or(intervals.gaps.last());
        let whole = intervals.landed.first().zip(intervals.landed.last());
        let (start, end) = match (hole, whole) {
            (Some(hole), _) => (field(hole.start), field(hole.end)),
            (None, Some((first, last))) => (field(first.start), field(last.end)),
            (None, None) => (String::new(), String::new()),
        };
        let state = if hole.is_some() { RerunState::Missing } else { RerunState::All };
        let view = view.view.clone();
        Self { view, start, end, state, correct: None, newest_first: None, key: None }
    }

    fn request(&self) -> Result<RunRequest, Refusal> {
        let now = crate::now().to_utc();
        let at = |field: &str, text: &str| {
            let micros = feast::datetime::parse_lenient(text, now);
            micros.map(EventTime::from_micros).map_err(|error| refuse(field, error))
        };
        Ok(RunRequest {
            start: Some(at("start", &self.start)?),
            end: Some(at("end", &self.end)?),
            views: vec![self.view.clone()],
            rerun: Some(Rerun::State(self.state)),
            correct: self.correct.is_some(),
            newest_first: self.newest_first.is_some(),
            ..RunRequest::new(RunKind::Rerun)
        })
    }
}

/// A moment as a browser's field for it takes it.
fn field(at: EventTime) -> String {
    at.to_utc().format("%Y-%m-%dT%H:%M:%S").to_string()
}

/// The form.
pub(super) fn form(asked: &Asked) -> Markup {
    html! {
        form.fields method="post" action="/rerun" {
            input type="hidden" name="view" value=(asked.view);
            @let ends = [("From", "start", &asked.start), ("To", "end", &asked.end)];
            @for (words, name, value) in ends {
                label {
                    (words) " (UTC)" br;
                    input type="datetime-local" step="1" name=(name) required value=(value);
                }
            }
            label {
                "What of it" br;
                select name="state" {
                    @for (value, state, words) in [
                        ("missing", RerunState::Missing, "what has never landed"),
                        ("failed", RerunState::Failed, "what was tried last and failed"),
                        ("all", RerunState::All, "everything"),
                    ] {
                        option value=(value) selected[state == asked.state] { (words) }
                    }
                }
            }
            @for (name, words) in [
                ("correct", "Correct rows that have landed"),
                ("newest_first", "Newest first"),
            ] {
                label.inline { input type="checkbox" name=(name) value="yes"; (words) }
            }
            button { "Show what it would do" }
        }
    }
}

/// Shows the plan, or starts what was planned.
pub(super) async fn page(
    State(server): State<Arc<Server>>,
    Extension(caller): Extension<Caller>,
    Form(asked): Form<Asked>,
) -> Result<Response, Refusal> {
    let request = asked.request()?;
    let Some(key) = &asked.key else {
        request.check()?;
        let plan = server.scheduler.plan(&request).await?;
        return Ok(planned(&asked, &plan).into_response());
    };
    let key = IdempotencyKey::from_str(key)?;
    let run = runs::start(&server, &caller, &request, Some(&key)).await?;
    Ok(Redirect::to(&format!("/runs/{}", run.run_id)).into_response())
}

fn planned(asked: &Asked, plan: &PlanReport) -> Page {
    let reads = plan.views.iter().any(|view| view.interval.is_some() && !view.is_failure);
    let content = html! {
        p { "Nothing has been written. This is what the run would do:" }
        @for view in &plan.views { (view_plan(view)) }
        @if reads { (start(asked)) } @else { p.note { "There is nothing to start." } }
        h2 { "Change it" }
        (form(asked))
        p { "Back to " (home::link(&asked.view)) }
    };
    Page { title: format!("Plan for {}", asked.view), every: None, content }
}

fn start(asked: &Asked) -> Markup {
    let state = serde_json::to_value(asked.state).unwrap_or_default();
    html! {
        form method="post" action="/rerun" {
            input type="hidden" name="view" value=(asked.view);
            input type="hidden" name="start" value=(asked.start);
            input type="hidden" name="end" value=(asked.end);
            input type="hidden" name="state" value=(state.as_str().unwrap_or_default());
            @if asked.correct.is_some() { input type="hidden" name="correct" value="yes"; }
            @if asked.newest_first.is_some() {
                input type="hidden" name="newest_first" value="yes";
            }
            input type="hidden" name="key" value=(IdempotencyKey::draw());
            p { button.main { "Start the run" } }
        }
    }
}

fn view_plan(view: &ViewPlan) -> Markup {
    html! {
        h2 { (view.view) }
        @if let Some(reason) = &view.reason { p.note { (reason) } }
        @for warning in &view.warnings { p.note { (warning) } }
        @if let Some(interval) = view.interval {
            dl {
                dt { "Interval" } dd { (text::interval(interval)) }
                dt { "Rows at most" } dd { (text::count(view.rows)) }
                dt { "Bytes to read" } dd { (text::size(view.bytes)) }
                dt { "Files" } dd { (view.files_read) " of " (view.files) }
                @if let Some(source) = &view.source { dt { "Source" } dd { code { (source) } } }
                dt { "Corrects" } dd { (corrects(view)) }
            }
            h3 { "Windows: " (view.windows.len()) }
            ol {
                @for &window in view.windows.iter().take(WINDOWS_MAX) {
                    li { (text::interval(window)) }
                }
            }
            @if view.windows.len() > WINDOWS_MAX {
                p.quiet { "and " (view.windows.len() - WINDOWS_MAX) " more" }
            }
        }
    }
}

fn corrects(view: &ViewPlan) -> &'static str {
    if view.correct { "yes: stored rows of the interval may be replaced or removed" } else { "no" }
}
