//! `runs`, `runs show`, `runs watch` and `runs cancel`: what is and has been run, and what came of
//! it.

mod show;

use std::io::IsTerminal;
use std::sync::Arc;

use api::{Event, EventKind, RunQuery, RunSummary, StreamEvent};
use model::{RunId, RunState};

use super::Context;
use crate::args::{Output, RunsList, RunsVerb};
use crate::embedded::Access;
use crate::progress::{Notices, Watcher};
use crate::service::{Cancelled, Service};
use crate::shown::{Shown, is_end_of_job};
use crate::{EXIT_FAILED, EXIT_LANDED, follow, output, request};

/// Lists runs, or sees to one.
pub async fn run(context: &Context, list: &RunsList, one: Option<&RunsVerb>) -> anyhow::Result<u8> {
    match one {
        None => list_runs(context, list).await,
        Some(RunsVerb::Show { run_id }) => {
            let service = Service::open(context, Access::Read).await?;
            match service.run(id(run_id)?).await? {
                Some(detail) => {
                    output::value(context.args.output, &detail, || show::text(&detail))?;
                    Ok(EXIT_LANDED)
                }
                None => unknown(run_id),
            }
        }
        Some(RunsVerb::Watch { run_id }) => watch(context, id(run_id)?).await,
        Some(RunsVerb::Cancel { run_id }) => cancel(context, id(run_id)?).await,
    }
}

fn id(text: &str) -> anyhow::Result<RunId> {
    Ok(text.parse().map_err(|_| request::no_id("run", text, "tidegate runs"))?)
}

fn unknown(run: impl std::fmt::Display) -> anyhow::Result<u8> {
    output::error(&anyhow::anyhow!("there is no run `{run}`; see `tidegate runs`"));
    Ok(EXIT_FAILED)
}

async fn list_runs(context: &Context, list: &RunsList) -> anyhow::Result<u8> {
    let since = list.since.as_deref().map(|text| request::since(text, scheduler::now()));
    let query = RunQuery {
        view: list.view.clone(),
        state: list.state,
        since: since.transpose()?,
        ..RunQuery::default()
    };
    let runs = Service::open(context, Access::Read).await?.runs(&query, list.limit).await?;
    let is_narrowed = query != RunQuery::default();
    output::value(context.args.output, &runs, || list_text(&runs, is_narrowed))?;
    Ok(EXIT_LANDED)
}

fn list_text(runs: &[RunSummary], is_narrowed: bool) -> String {
    if runs.is_empty() {
        return if is_narrowed { "no such runs" } else { "no runs yet" }.to_owned();
    }
    let row = |run: &RunSummary| {
        let dash = || "-".to_owned();
        [
            run.run_id.to_string(),
            run.kind.to_string(),
            run.state.to_string(),
            output::moment(run.started_at.unwrap_or(run.admitted_at)),
            run.finished_at.map_or_else(dash, output::moment),
            run.requested_end.map_or_else(dash, |end| end.to_string()),
            format!("{} of {}", run.jobs_landed, run.views.len()),
        ]
    };
    let header = ["RUN", "KIND", "STATE", "STARTED", "ENDED", "END ASKED FOR", "LANDED"];
    output::table(header, runs.iter().map(row))
}

/// Shows what happens to a run, each change of state in a line, and exits as it ends.
async fn watch(context: &Context, run: RunId) -> anyhow::Result<u8> {
    let service = Service::open(context, Access::Read).await?;
    let Some(detail) = service.run(run).await? else { return unknown(run) };
    let shown = Arc::new(Shown::default());
    shown.set(&detail);
    // Without a terminal the lines of the events say all there is to say.
    let watcher = std::io::stderr().is_terminal().then(|| {
        let lines = Arc::clone(&shown);
        Watcher::start(move || lines.lines())
    });
    let notices = watcher.as_ref().map_or_else(Notices::default, |held| held.notices().clone());
    let told = tell(&service, run, &shown, &notices, context.args.output).await;
    if let Some(watcher) = watcher {
        watcher.finish().await;
    }
    told?;
    let Some(detail) = service.run(run).await? else { return unknown(run) };
    Ok(if detail.run.state == RunState::Succeeded { EXIT_LANDED } else { EXIT_FAILED })
}

async fn tell(
    service: &Service,
    run: RunId,
    shown: &Shown,
    notices: &Notices,
    output: Output,
) -> anyhow::Result<()> {
    let mut heard = follow::follow(service, run, Some(notices));
    while let Some(event) = heard.recv().await {
        match event? {
            StreamEvent::Event(event) => {
                let text = match output {
                    Output::Json => serde_json::to_string(&event)?,
                    Output::Text => event_text(&event),
                };
                notices.beside(|| output::line(&text))?;
                if is_end_of_job(&event)
                    && let Some(detail) = service.run(run).await?
                {
                    shown.set(&detail);
                }
            }
            StreamEvent::Progress(progress) => shown.hear(&progress),
            StreamEvent::End => break,
        }
    }
    Ok(())
}

fn event_text(event: &Event) -> String {
    let mut text = output::moment(event.at);
    if let Some(view) = &event.view {
        text.push_str(&format!(" {view}:"));
    }
    text.push_str(&format!(" {}", event.kind.as_str()));
    if matches!(event.kind, EventKind::Run | EventKind::Window | EventKind::Attempt) {
        text.push_str(&format!(" {}", event.subject));
    }
    if let Some(state) = &event.state {
        text.push_str(&format!(" {state}"));
    }
    if let Some(said) = &event.text {
        text.push_str(&format!(": {said}"));
    }
    text
}

async fn cancel(context: &Context, run: RunId) -> anyhow::Result<u8> {
    // Looked for first, so that no ledger is created for a run that cannot be in it.
    let service = Service::open(context, Access::Read).await?;
    if service.run(run).await?.is_none() {
        return unknown(run);
    }
    match Service::open(context, Access::Write).await?.cancel(run).await? {
        Cancelled::Requested(summary) => {
            output::value(context.args.output, &*summary, || {
                format!("run {run} was asked to end; `tidegate runs watch {run}` tells when it has")
            })?;
            Ok(EXIT_LANDED)
        }
        Cancelled::Ended(state) => {
            output::error(&anyhow::anyhow!("run `{run}` has ended: {state}"));
            Ok(EXIT_FAILED)
        }
        Cancelled::Unknown => unknown(run),
    }
}

#[cfg(test)]
mod tests {
    use model::EventTime;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn an_event_is_one_line() {
        let event = Event {
            id: 3,
            run_id: RunId::from_uuid(Uuid::from_u128(1)),
            at: EventTime::EPOCH,
            kind: EventKind::Job,
            subject: "j".to_owned(),
            view: Some("orders".to_owned()),
            state: Some("failed".to_owned()),
            text: Some("no Parquet file".to_owned()),
        };
        let line = "1970-01-01T00:00:00+00:00 orders: job failed: no Parquet file";
        assert_eq!(event_text(&event), line);
        let window = Event { kind: EventKind::Window, text: None, ..event };
        assert_eq!(event_text(&window), "1970-01-01T00:00:00+00:00 orders: window j failed");
    }
}
