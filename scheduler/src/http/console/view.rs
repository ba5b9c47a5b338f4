//! The page of a view: what has landed of it, and a form to run a part of it again.

use std::time::Duration;

use api::{IntervalsReport, RunSummary, ViewReport};
use maud::{Markup, html};
use model::Interval;

use super::layout::Page;
use super::{home, rerun, run, strip, text};

const EVERY: Duration = Duration::from_secs(5);

/// Intervals of a kind that are listed; the strip shows all.
const LISTED_MAX: usize = 50;

/// The page.
pub(super) fn page(view: &ViewReport, intervals: &IntervalsReport, recent: &[RunSummary]) -> Page {
    let content = html! {
        section #facts data-live="" { (facts(view)) }
        h2 { "Coverage" }
        (strip::legend())
        section #coverage data-live="" {
            (strip::strip(intervals, true))
            (lists(intervals))
        }
        h2 { "Run a part again" }
        (rerun::form(&rerun::Asked::of(view, intervals)))
        h2 { "Newest runs of the view" }
        section #recent data-live="" { (run::table(recent)) }
    };
    Page { title: format!("Feature view {}", view.view), every: Some(EVERY), content }
}

fn facts(view: &ViewReport) -> Markup {
    html! {
        dl {
            dt { "State" } dd { (home::state(view)) }
            dt { "Watermark" } dd { (text::time_or_none(view.watermark)) }
            dt { "Behind" }
            dd { (view.freshness_seconds.map_or_else(|| "–".to_owned(), text::span)) }
            dt { "Kind" } dd { (view.kind) }
            dt { "Stored as" } dd { code { (view.storage_name) } }
            dt { "Corrected before" } dd { (if view.fenced { "yes" } else { "no" }) }
            @if let Some(job) = &view.last_job {
                dt { "Last job" }
                dd { (text::job_state(job.state)) " in " (run::link(job.run_id)) }
            }
        }
        (home::notes(view))
    }
}

fn lists(intervals: &IntervalsReport) -> Markup {
    html! {
        (list("Being written", "running", &intervals.running))
        (list("Failed, and not landed since", "failed", &intervals.failed))
        (list("Missing in between", "missing", &intervals.gaps))
        (list("Landed", "landed", &intervals.landed))
    }
}

fn list(title: &str, id: &str, intervals: &[Interval]) -> Markup {
    html! {
        @if !intervals.is_empty() {
            details id={ "list-" (id) } {
                summary { (title) ": " (intervals.len()) }
                ul {
                    @for &interval in intervals.iter().rev().take(LISTED_MAX) {
                        li { (text::interval(interval)) }
                    }
                    @if intervals.len() > LISTED_MAX {
                        li.quiet { (intervals.len() - LISTED_MAX) " older ones" }
                    }
                }
            }
        }
    }
}
