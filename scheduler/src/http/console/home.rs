//! The first page: every view, the worst first, and the newest runs.

use std::cmp::Reverse;
use std::time::Duration;

use api::{IntervalsReport, RunSummary, ViewReport};
use maud::{Markup, html};

use super::layout::Page;
use super::{run, strip, text};

/// Soon enough for whoever leaves it open on a wall.
const EVERY: Duration = Duration::from_secs(5);

/// Puts views that need somebody before those that do not: what runs take by themselves first, of
/// those what has never landed, and then by how old it is.
pub(super) fn worst_first(mut views: Vec<ViewReport>) -> Vec<ViewReport> {
    views.sort_by_key(|view| {
        let is_idle = !view.is_selected || view.refusal.is_some();
        let is_whole = view.lost.is_none();
        let age = view.freshness_seconds.map_or(i64::MAX, |age| age);
        (is_idle, is_whole, Reverse(age), view.view.clone())
    });
    views
}

/// The page; coverage is drawn for the first views only.
pub(super) fn page(
    project: &str,
    views: &[ViewReport],
    strips: &[IntervalsReport],
    recent: &[RunSummary],
) -> Page {
    let content = html! {
        (strip::legend())
        section #views data-live="" {
            @if views.is_empty() {
                p { "The project has no feature views; run " code { "feast apply" } "." }
            } @else {
                (table(views, strips))
            }
        }
        h2 { "Newest runs" }
        section #recent data-live="" { (run::table(recent)) }
        p { a href="/runs" { "All runs" } }
    };
    Page { title: format!("Feature views of {project}"), every: Some(EVERY), content }
}

fn table(views: &[ViewReport], strips: &[IntervalsReport]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Feature views" {
            table {
                caption {
                    "Least fresh first. The watermark is the event time up to which everything has \
                     landed."
                }
                thead {
                    tr {
                        th scope="col" { "View" }
                        th scope="col" { "State" }
                        th.number scope="col" { "Behind" }
                        th scope="col" { "Watermark" }
                        th scope="col" { "Coverage" }
                        th scope="col" { "Notes" }
                    }
                }
                tbody {
                    @for (at, view) in views.iter().enumerate() {
                        (row(view, strips.get(at)))
                    }
                }
            }
        }
    }
}

fn row(view: &ViewReport, coverage: Option<&IntervalsReport>) -> Markup {
    html! {
        tr {
            th scope="row" { (link(&view.view)) }
            td { (state(view)) }
            td.number { @match view.freshness_seconds {
                Some(seconds) => (text::span(seconds)),
                None => span.quiet { "never landed" },
            } }
            td { (text::time_or_none(view.watermark)) }
            td { @if let Some(report) = coverage { (strip::strip(report, false)) } }
            td { (notes(view)) }
        }
    }
}

/// A link to a view's page.
pub(super) fn link(view: &str) -> Markup {
    html! { a href={ "/views/" (escaped(view)) } { (view) } }
}

/// A name as one part of a path. Feast's names are letters, digits and underscores; others may
/// come from hands.
pub(super) fn escaped(name: &str) -> String {
    let escape = |byte: u8| {
        if byte.is_ascii_alphanumeric() || b"-_".contains(&byte) {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    };
    name.bytes().map(escape).collect()
}

/// What is to be said of a view first.
pub(super) fn state(view: &ViewReport) -> Markup {
    if view.refusal.is_some() {
        return text::view_state("refused", true);
    }
    if view.lease.is_some() {
        return text::writing();
    }
    if view.lost.is_some() {
        return text::view_state("lost", true);
    }
    match &view.last_job {
        Some(job) => text::job_state(job.state),
        None => text::view_state("no job yet", false),
    }
}

/// What else there is to be said.
pub(super) fn notes(view: &ViewReport) -> Markup {
    html! {
        @if let Some(refusal) = &view.refusal { p { (refusal) } }
        @if let Some(lost) = &view.lost { p.warn { "Lost: " (lost) } }
        @if let Some(lease) = &view.lease { p { "Written by " (lease.holder) } }
        @if !view.is_selected { p.quiet { "Not taken by runs that name no views" } }
        @if let Some(reason) = view.last_job.as_ref().and_then(|job| job.reason.as_ref()) {
            p { (reason) }
        }
        @if !view.gaps.is_empty() { p.warn { (view.gaps.len()) " missing in between" } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(name: &str, age: Option<i64>) -> ViewReport {
        ViewReport {
            view: name.to_owned(),
            storage_name: name.to_owned(),
            kind: "feature_view".to_owned(),
            is_selected: true,
            refusal: None,
            watermark: None,
            freshness_seconds: age,
            gaps: Vec::new(),
            last_job: None,
            lost: None,
            fenced: false,
            lease: None,
        }
    }

    #[test]
    fn what_needs_somebody_comes_first() {
        let mut lost = view("lost", Some(1));
        lost.lost = Some("flushed".to_owned());
        let mut refused = view("refused", None);
        refused.refusal = Some("no".to_owned());
        let views =
            vec![refused, view("fresh", Some(1)), view("never", None), lost, view("old", Some(9))];
        let sorted = worst_first(views);
        let names: Vec<&str> = sorted.iter().map(|view| view.view.as_str()).collect();
        assert_eq!(names, ["lost", "never", "old", "fresh", "refused"]);
    }

    #[test]
    fn names_cannot_leave_their_place_in_a_path() {
        assert_eq!(escaped("driver_stats-2"), "driver_stats-2");
        assert_eq!(escaped("../a?b é"), "%2E%2E%2Fa%3Fb%20%C3%A9");
        let link = link("<script>").into_string();
        assert_eq!(link, "<a href=\"/views/%3Cscript%3E\">&lt;script&gt;</a>");
    }
}
