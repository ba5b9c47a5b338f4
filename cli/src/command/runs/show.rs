//! One run in words: what it was asked, what its jobs came to, and which windows they were cut
//! into.

use api::{JobDetail, RunDetail, RunSummary, WindowDetail};

use crate::output;

/// The run, its jobs, and a line a window.
pub fn text(detail: &RunDetail) -> String {
    let mut text = heading(&detail.run);
    let header =
        ["VIEW", "STATE", "FROM", "TO", "READ", "WRITTEN", "STALE", "TOMBSTONED", "REFUSED"];
    text.push_str(&output::table(header, detail.jobs.iter().map(job_row)));
    for job in &detail.jobs {
        if let Some(reason) = &job.reason {
            text.push_str(&format!("\n{}: {}: {reason}", job.view, job.state));
        }
        for window in &job.windows {
            text.push_str(&format!("\n{}: {}", job.view, of_window(window, job.windows.len())));
        }
    }
    text
}

fn heading(run: &RunSummary) -> String {
    let mut kind = run.kind.to_string();
    if run.rebuild {
        kind.push_str(", rebuilding");
    }
    if run.correct {
        kind.push_str(", correcting");
    }
    let mut state = run.state.to_string();
    if run.cancel_requested && !run.state.is_ended() {
        state.push_str(", asked to end");
    }
    let started = run.started_at.unwrap_or(run.admitted_at);
    let mut text = format!(
        "run      {}\nkind     {kind}\nstate    {state}\nasked    {}{}\nviews    {}\nstarted  {}{}\
         , tidegate {}\nended    {}\n",
        run.run_id,
        run.requested_start.map_or_else(String::new, |start| format!("{start} ")),
        run.requested_end.map_or_else(|| "-".to_owned(), |end| format!("to {end}")),
        run.views.join(", "),
        output::moment(started),
        place(run),
        run.program_version,
        run.finished_at.map_or_else(|| not_yet(run), output::moment),
    );
    if let Some(key) = &run.idempotency_key {
        text.push_str(&format!("key      {key}\n"));
    }
    text.push('\n');
    text
}

fn place(run: &RunSummary) -> String {
    let host = run.host.as_ref().map_or_else(String::new, |host| format!(" on {host}"));
    run.pid.map_or(host.clone(), |pid| format!("{host} (pid {pid})"))
}

fn not_yet(run: &RunSummary) -> String {
    let beat = run.heartbeat_at.map(output::moment);
    beat.map_or_else(|| "not yet".to_owned(), |beat| format!("not yet; last heartbeat {beat}"))
}

fn of_window(window: &WindowDetail, windows: usize) -> String {
    let (id, state) = (window.window_id, window.state);
    let mut text = format!("window {id} {state}");
    if windows > 1 {
        let (start, end) = (window.interval.start, output::last(window.interval));
        text.push_str(&format!(" ({start} to {end})"));
    }
    if window.attempts.is_empty() {
        text.push_str(": not begun");
        return text;
    }
    let (files, path) = (window.source_files, &window.source_path);
    text.push_str(&format!(": pinned to {files} files of {path}"));
    if window.attempts.len() > 1 {
        text.push_str(&format!(", {} attempts", window.attempts.len()));
    }
    if window.attempts.iter().any(|attempt| attempt.correcting) {
        text.push_str(", correcting");
    }
    if let Some(error) = window.error.as_ref().filter(|_| windows > 1) {
        text.push_str(&format!(": {error}"));
    }
    text
}

fn job_row(job: &JobDetail) -> [String; 9] {
    let dash = || "-".to_owned();
    let counted = |number: fn(&model::Receipt) -> u64| {
        job.receipt.as_ref().map_or_else(dash, |receipt| output::count(number(receipt)))
    };
    [
        job.view.clone(),
        job.state.to_string(),
        job.interval.map_or_else(dash, |interval| interval.start.to_string()),
        job.interval.map_or_else(dash, |interval| output::last(interval).to_string()),
        counted(|receipt| receipt.rows_read),
        counted(|receipt| receipt.counts.written),
        counted(|receipt| receipt.counts.stale),
        counted(|receipt| receipt.counts.tombstoned),
        counted(|receipt| receipt.refused),
    ]
}
