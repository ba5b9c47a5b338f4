//! Tables and JSON. Results go to stdout, everything else to stderr.

use std::io::Write;

use anyhow::Context;
use api::{JobReport, PlanReport, RunReport, ViewPlan};
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use model::{ByteSize, EventTime, Interval, RunState};
use serde::Serialize;

use crate::args::Output;

/// Prints an error and its causes on stderr.
#[expect(clippy::print_stderr, reason = "errors are for people, on stderr")]
pub fn error(error: &anyhow::Error) {
    eprintln!("error: {}", scheduler::chain(error.as_ref()));
}

/// Prints a value as JSON, or as text.
pub fn value<T: Serialize>(
    output: Output,
    value: &T,
    text: impl FnOnce() -> String,
) -> anyhow::Result<()> {
    let text = match output {
        Output::Json => {
            serde_json::to_string_pretty(value).context("failed to print the result as JSON")?
        }
        Output::Text => text(),
    };
    line(&text)
}

/// Prints text and a line break on stdout.
pub fn line(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match writeln!(stdout, "{text}") {
        // Whoever reads us has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("failed to write to stdout"),
    }
}

/// A table without lines, which reads well in a log too.
pub fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(header);
    for row in rows {
        table.add_row(row);
    }
    // Every cell has a blank before it; the first one's would indent the whole table.
    let lines = table.lines().map(|line| line.get(1..).unwrap_or_default().trim_end().to_owned());
    lines.collect::<Vec<_>>().join("\n")
}

/// A count with its thousands apart.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A moment of our own clock: nobody needs its nanoseconds.
pub fn moment(time: EventTime) -> String {
    time.to_utc().to_rfc3339_opts(chrono::SecondsFormat::Secs, false)
}

/// The last instant inside an interval: what Feast calls its end.
pub fn last(interval: Interval) -> EventTime {
    interval.end.plus_nanos(-1)
}

/// Prints what a run came to.
pub fn run(output: Output, report: &RunReport, store: &str) -> anyhow::Result<()> {
    value(output, report, || run_text(report, store))
}

fn run_text(report: &RunReport, store: &str) -> String {
    let mut text = table(
        [
            "VIEW",
            "STATE",
            "FROM",
            "TO",
            "READ",
            "WRITTEN",
            "STALE",
            "TOMBSTONED",
            "REFUSED",
            "SECONDS",
        ],
        report.jobs.iter().map(job_row),
    );
    for job in &report.jobs {
        let view = &job.view;
        for warning in &job.warnings {
            text.push_str(&format!("\nwarning: {view}: {warning}"));
        }
        if let Some(reason) = &job.reason {
            text.push_str(&format!("\n{view}: {}: {reason}", job.state));
        }
        for bad in &job.bad_rows {
            let row = bad.row.map_or("?".to_owned(), |row| row.to_string());
            let (file, column, reason) = (&bad.file, &bad.column, &bad.reason);
            text.push_str(&format!(
                "\nskipped: {view}: column `{column}` of row {row} of `{file}`: {reason}"
            ));
        }
    }
    for warning in &report.warnings {
        text.push_str(&format!("\nwarning: {warning}"));
    }
    let landed = report.jobs.iter().filter(|job| job.is_landed()).count();
    let summary = match report.state {
        RunState::Interrupted => {
            "interrupted: views that had not ended are not committed; run it again".to_owned()
        }
        RunState::Cancelled => format!(
            "{landed} of {} views landed before it was cancelled; `tidegate rerun --run` does the \
             rest",
            report.jobs.len()
        ),
        _ => format!("{landed} of {} views landed in {store}", report.jobs.len()),
    };
    format!("{text}\n\nrun {} {}: {summary}", report.run_id, report.state)
}

fn job_row(job: &JobReport) -> [String; 10] {
    let dash = || "-".to_owned();
    let counted = |number: fn(&model::Receipt) -> u64| {
        job.receipt.as_ref().map_or_else(dash, |receipt| count(number(receipt)))
    };
    [
        job.view.clone(),
        job.state.to_string(),
        job.interval.map_or_else(dash, |interval| interval.start.to_string()),
        job.interval.map_or_else(dash, |interval| last(interval).to_string()),
        counted(|receipt| receipt.rows_read),
        counted(|receipt| receipt.counts.written),
        counted(|receipt| receipt.counts.stale),
        counted(|receipt| receipt.counts.tombstoned),
        counted(|receipt| receipt.refused),
        format!("{:.1}", job.seconds),
    ]
}

/// Prints what a run would do.
pub fn plan(output: Output, report: &PlanReport) -> anyhow::Result<()> {
    value(output, report, || plan_text(report))
}

fn plan_text(report: &PlanReport) -> String {
    let mut text = table(
        ["VIEW", "FROM", "TO", "FILES", "ROW GROUPS", "BYTES", "ROWS AT MOST"],
        report.views.iter().map(plan_row),
    );
    for view in &report.views {
        let name = &view.view;
        if let Some(source) = &view.source {
            text.push_str(&format!("\n{name}: reads {source}"));
        }
        if view.windows.len() > 1 {
            let count = view.windows.len();
            text.push_str(&format!("\n{name}: in {count} windows, each committed by itself"));
        }
        if view.correct {
            text.push_str(&format!("\n{name}: corrects what is stored of the interval"));
        }
        for warning in &view.warnings {
            text.push_str(&format!("\nwarning: {name}: {warning}"));
        }
        if let Some(reason) = &view.reason {
            let kind = if view.is_failure { "would fail" } else { "nothing to do" };
            text.push_str(&format!("\n{name}: {kind}: {reason}"));
        }
    }
    text
}

fn plan_row(view: &ViewPlan) -> [String; 7] {
    let Some(interval) = view.interval else {
        let dash = || "-".to_owned();
        return [view.view.clone(), dash(), dash(), dash(), dash(), dash(), dash()];
    };
    [
        view.view.clone(),
        interval.start.to_string(),
        last(interval).to_string(),
        format!("{} of {}", view.files_read, view.files),
        format!("{} of {}", view.row_groups_read, view.row_groups),
        ByteSize(view.bytes).to_string(),
        count(view.rows),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_kept_apart() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(number), text);
        }
    }
}
