//! `runs` and `runs show`: what has been run, and what came of it.

use metastore::{JobDetail, RunDetail, RunRow};
use model::RunId;

use super::{Context, UsageError};
use crate::args::RunsVerb;
use crate::embedded;
use crate::{EXIT_FAILED, EXIT_LANDED, output};

/// Lists runs, or shows one.
pub async fn run(context: &Context, limit: u32, one: Option<&RunsVerb>) -> anyhow::Result<u8> {
    let ledger = embedded::ledger(&context.repo, embedded::Access::Read).await?;
    match one {
        None => {
            let project = &context.repo.config.project;
            let runs = match &ledger {
                Some(ledger) => ledger.runs(Some(project), limit).await?,
                None => Vec::new(),
            };
            output::value(context.args.output, &runs, || list(&runs))?;
            Ok(EXIT_LANDED)
        }
        Some(RunsVerb::Show { run_id }) => {
            let id: RunId = run_id
                .parse()
                .map_err(|_| UsageError(format!("`{run_id}` is no run id; see `tidegate runs`")))?;
            let detail = match &ledger {
                Some(ledger) => ledger.run(id).await?,
                None => None,
            };
            let Some(detail) = detail else {
                output::error(&anyhow::anyhow!("there is no run `{run_id}`; see `tidegate runs`"));
                return Ok(EXIT_FAILED);
            };
            output::value(context.args.output, &detail, || show(&detail))?;
            Ok(EXIT_LANDED)
        }
    }
}

fn list(runs: &[RunRow]) -> String {
    if runs.is_empty() {
        return "no runs yet".to_owned();
    }
    let row = |run: &RunRow| {
        [
            run.run_id.to_string(),
            run.kind.to_string(),
            run.state.to_string(),
            output::moment(run.started_at),
            run.finished_at.map_or_else(|| "-".to_owned(), output::moment),
            run.requested_end.to_string(),
            format!("{} of {}", run.jobs_landed, run.views.len()),
        ]
    };
    let header = ["RUN", "KIND", "STATE", "STARTED", "ENDED", "END ASKED FOR", "LANDED"];
    output::table(header, runs.iter().map(row))
}

fn show(detail: &RunDetail) -> String {
    let run = &detail.run;
    let mut text = format!(
        "run      {}\nkind     {}\nstate    {}\nasked    {}to {}\nviews    {}\nstarted  {} on {} \
         (pid {}), tidegate {}\nended    {}\n\n",
        run.run_id,
        run.kind,
        run.state,
        run.requested_start.map_or_else(String::new, |start| format!("{start} ")),
        run.requested_end,
        run.views.join(", "),
        output::moment(run.started_at),
        run.host,
        run.pid,
        run.program_version,
        run.finished_at.map_or_else(
            || format!("not yet; last heartbeat {}", output::moment(run.heartbeat_at)),
            output::moment,
        ),
    );
    let header =
        ["VIEW", "STATE", "FROM", "TO", "READ", "WRITTEN", "STALE", "TOMBSTONED", "REFUSED"];
    text.push_str(&output::table(header, detail.jobs.iter().map(job_row)));
    for job in &detail.jobs {
        if let Some(reason) = &job.job.reason {
            text.push_str(&format!("\n{}: {}: {reason}", job.job.view_name, job.job.state));
        }
        for window in &job.windows {
            let files = window.source["files"].as_array().map_or(0, Vec::len);
            let path = window.source["path"].as_str().unwrap_or("?");
            let (view, state) = (&job.job.view_name, window.state);
            text.push_str(&format!(
                "\n{view}: window {} {state}: pinned to {files} files of {path}",
                window.window_id
            ));
        }
    }
    text
}

fn job_row(detail: &JobDetail) -> [String; 9] {
    let job = &detail.job;
    let dash = || "-".to_owned();
    let counted = |number: fn(&model::Receipt) -> u64| {
        job.receipt.as_ref().map_or_else(dash, |receipt| output::count(number(receipt)))
    };
    [
        job.view_name.clone(),
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
