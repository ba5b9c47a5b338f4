//! The pages of runs: a list of them, and one with its jobs, windows, attempts and events.

use std::time::Duration;

use api::{AttemptDetail, Event, JobDetail, RunDetail, RunPage, RunSummary, WindowDetail};
use maud::{Markup, html};
use model::{Receipt, RunId, WindowState};

use super::layout::Page;
use super::{home, text};

/// A list is for looking at now and then.
const LIST_EVERY: Duration = Duration::from_secs(5);

/// A run at work is watched.
const RUN_EVERY: Duration = Duration::from_secs(1);

/// Windows of a job that are listed.
const WINDOWS_MAX: usize = 200;

/// The list of runs.
pub(super) fn list(project: &str, page: &RunPage) -> Page {
    let content = html! {
        section #runs data-live="" {
            (table(&page.runs))
            @if page.next.is_some() {
                p.quiet {
                    "Older ones: " code { "tidegate runs" } " or " code { "GET /v1/runs" } "."
                }
            }
        }
    };
    Page { title: format!("Runs of {project}"), every: Some(LIST_EVERY), content }
}

/// A table of runs.
pub(super) fn table(runs: &[RunSummary]) -> Markup {
    if runs.is_empty() {
        return html! { p { "There are no runs yet." } };
    }
    html! {
        div.scroll tabindex="0" role="region" aria-label="Runs" {
            table {
                caption { "Newest first." }
                thead {
                    tr {
                        th scope="col" { "Run" }
                        th scope="col" { "Kind" }
                        th scope="col" { "State" }
                        th.number scope="col" { "Views landed" }
                        th scope="col" { "Admitted" }
                        th scope="col" { "Ended" }
                    }
                }
                tbody {
                    @for run in runs {
                        tr {
                            th scope="row" { (link(run.run_id)) }
                            td { (kind(run)) }
                            td {
                                (text::run_state(run.state))
                                @if is_ending(run) { ", asked to stop" }
                            }
                            td.number { (run.jobs_landed) " of " (run.jobs_total) }
                            td { (text::time(run.admitted_at)) }
                            td { (text::time_or_none(run.finished_at)) }
                        }
                    }
                }
            }
        }
    }
}

/// A link to a run's page.
pub(super) fn link(run: RunId) -> Markup {
    html! { a.id href={ "/runs/" (run) } { (run) } }
}

fn kind(run: &RunSummary) -> Markup {
    html! {
        (run.kind)
        @if run.correct { ", corrects" }
        @if run.rebuild { ", rebuilds" }
    }
}

fn is_ending(run: &RunSummary) -> bool {
    run.cancel_requested && !run.state.is_ended()
}

/// One run.
pub(super) fn page(detail: &RunDetail, events: &[Event]) -> Page {
    let run = &detail.run;
    let content = html! {
        section #facts data-live="" { (facts(run)) }
        section #cancel data-live="" { (cancel(run)) }
        section #warnings data-live="" { (warnings(&detail.warnings)) }
        h2 { "Jobs" }
        section #jobs data-live="" {
            @for job in &detail.jobs { (job_section(job)) }
        }
        h2 { "Events" }
        section #events data-live="" { (events_table(events)) }
    };
    let every = (!run.state.is_ended()).then_some(RUN_EVERY);
    Page { title: format!("Run {}", run.run_id), every, content }
}

fn facts(run: &RunSummary) -> Markup {
    html! {
        dl {
            dt { "State" } dd { (text::run_state(run.state)) }
            dt { "Kind" } dd { (kind(run)) }
            dt { "Views landed" } dd { (run.jobs_landed) " of " (run.jobs_total) }
            dt { "Asked for" }
            dd {
                (text::time_or_none(run.requested_start)) " to "
                (text::time_or_none(run.requested_end))
            }
            dt { "Admitted" } dd { (text::time(run.admitted_at)) }
            dt { "Started" } dd { (text::time_or_none(run.started_at)) }
            dt { "Ended" } dd { (text::time_or_none(run.finished_at)) }
            @if let Some(key) = &run.idempotency_key { dt { "Key" } dd { code { (key) } } }
            @if let Some(host) = &run.host {
                dt { "Process" }
                dd {
                    (host) @if let Some(pid) = run.pid { ", pid " (pid) }
                    ", version " (run.program_version)
                }
            }
        }
    }
}

fn cancel(run: &RunSummary) -> Markup {
    html! {
        @if is_ending(run) {
            p.note { "The run has been asked to stop." }
        } @else if !run.state.is_ended() {
            form method="post" action={ "/runs/" (run.run_id) "/cancel" } {
                p { button { "Cancel the run" } " What has landed stays." }
            }
        }
    }
}

fn warnings(warnings: &[String]) -> Markup {
    html! { @for warning in warnings { p.note { (warning) } } }
}

fn job_section(job: &JobDetail) -> Markup {
    html! {
        h3 { (home::link(&job.view)) " " (text::job_state(job.state)) }
        @if let Some(reason) = &job.reason { p { (reason) } }
        (warnings(&job.warnings))
        @if let Some(progress) = &job.progress {
            p {
                progress max=(progress.rows_max.max(1)) value=(progress.rows_read)
                    aria-label={ "Rows read of " (job.view) } {}
                " " (text::count(progress.rows_read))
                " of at most " (text::count(progress.rows_max))
                " rows read, " (text::count(progress.written)) " written"
            }
        }
        @if let Some(interval) = job.interval { p { (text::interval(interval)) } }
        @if let Some(receipt) = &job.receipt { (receipt_line(receipt)) }
        @if !job.bad_rows.is_empty() { (bad_rows(job)) }
        @if !job.windows.is_empty() { (windows(job)) }
    }
}

fn receipt_line(receipt: &Receipt) -> Markup {
    let counts = &receipt.counts;
    html! {
        p {
            (text::count(receipt.rows_read)) " rows read, " (text::count(receipt.entities))
            " entities: " (text::count(counts.written)) " written, " (text::count(counts.stale))
            " stale, " (text::count(counts.tombstoned)) " tombstoned, "
            (text::count(receipt.refused)) " refused; " (text::size(receipt.bytes_written))
        }
    }
}

fn bad_rows(job: &JobDetail) -> Markup {
    html! {
        details id={ "bad-" (job.job_id) } {
            summary { "Rows that were refused: the first " (job.bad_rows.len()) }
            ul {
                @for row in &job.bad_rows {
                    li {
                        code { (row.file) } " row "
                        (row.row.map_or_else(|| "?".to_owned(), |row| row.to_string()))
                        ", column " code { (row.column) } ": " (row.reason)
                    }
                }
            }
        }
    }
}

fn windows(job: &JobDetail) -> Markup {
    html! {
        details id={ "windows-" (job.job_id) } open[job.windows.len() == 1] {
            summary { "Windows: " (job.windows.len()) }
            div.scroll tabindex="0" role="region" aria-label={ "Windows of " (job.view) } {
                table {
                    thead {
                        tr {
                            th scope="col" { "Interval" }
                            th scope="col" { "State" }
                            th.number scope="col" { "Partitions" }
                            th.number scope="col" { "Rows at most" }
                            th scope="col" { "Source" }
                            th scope="col" { "Watermark" }
                            th scope="col" { "Attempts" }
                        }
                    }
                    tbody {
                        @for window in job.windows.iter().take(WINDOWS_MAX) { (window_row(window)) }
                    }
                }
            }
            @if job.windows.len() > WINDOWS_MAX {
                p.quiet { (job.windows.len() - WINDOWS_MAX) " more: ask " code { "/v1/runs" } }
            }
        }
    }
}

fn window_row(window: &WindowDetail) -> Markup {
    html! {
        tr {
            th scope="row" { (text::interval(window.interval)) }
            td {
                (text::window_state(window.state))
                @if let Some(error) = &window.error { p { (error) } }
            }
            td.number { (partitions(window)) }
            td.number { (text::count(window.rows_max)) }
            td.source {
                code { (window.source_path) } br;
                (text::count(window.source_files))
                (if window.source_files == 1 { " file" } else { " files" })
            }
            td {
                (text::time_or_none(window.watermark_before)) " → "
                (text::time_or_none(window.watermark_after))
            }
            td {
                ol { @for attempt in &window.attempts { (attempt_item(attempt)) } }
                @if let Some(receipt) = &window.receipt { (receipt_line(receipt)) }
            }
        }
    }
}

/// What is done is known by its commit; notes of single partitions are for those that are not.
fn partitions(window: &WindowDetail) -> String {
    let all = window.partitions;
    if window.state == WindowState::Committed {
        return all.to_string();
    }
    format!("{} of {all}", window.partitions_done)
}

fn attempt_item(attempt: &AttemptDetail) -> Markup {
    html! {
        li value=(attempt.number) {
            (attempt.state) ", token " (attempt.token)
            @if attempt.correcting { ", corrects" }
            ", " (text::time(attempt.started_at))
            @if let Some(error) = &attempt.error { p.bad { (error) } }
        }
    }
}

fn events_table(events: &[Event]) -> Markup {
    if events.is_empty() {
        return html! { p { "Nothing has happened yet." } };
    }
    html! {
        div.scroll tabindex="0" role="region" aria-label="Events" {
            table {
                caption { "Newest first." }
                thead {
                    tr {
                        th.number scope="col" { "Number" }
                        th scope="col" { "At" }
                        th scope="col" { "What" }
                        th scope="col" { "View" }
                        th scope="col" { "State" }
                        th scope="col" { "Remark" }
                    }
                }
                tbody {
                    @for event in events.iter().rev() {
                        tr {
                            th.number scope="row" { (event.id) }
                            td { (text::time(event.at)) }
                            td { (event.kind.as_str()) }
                            td { (event.view.as_deref().unwrap_or("–")) }
                            td { (event.state.as_deref().unwrap_or("–")) }
                            td { (event.text.as_deref().unwrap_or_default()) }
                        }
                    }
                }
            }
        }
    }
}
