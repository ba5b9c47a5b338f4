//! `materialize` and `materialize-incremental`.

use model::{EventTime, Request, RunState};
use scheduler::{Board, Trigger, Version};
use tokio_util::sync::CancellationToken;

use super::Context;
use crate::args::{Incremental, Interval, Selection};
use crate::embedded::{self, Access};
use crate::progress::Watcher;
use crate::{EXIT_FAILED, EXIT_LANDED, output, repo};

/// Views side by side when nothing says otherwise: one reads while the other writes.
const PARALLEL: usize = 2;

/// The trigger of `materialize-incremental END`.
pub fn incremental(context: &Context, run: &Incremental) -> anyhow::Result<Trigger> {
    let end = EventTime::from_micros(feast::datetime::parse_iso(&run.end)?);
    trigger(context, Request::Incremental { end }, &run.selection)
}

/// The trigger of `materialize START END`.
pub fn interval(context: &Context, run: &Interval) -> anyhow::Result<Trigger> {
    let now = scheduler::now();
    let request = match (&run.start, &run.end) {
        (Some(start), Some(end)) => {
            let at = |text: &str| {
                feast::datetime::parse_lenient(text, now.to_utc()).map(EventTime::from_micros)
            };
            Request::Interval { start: at(start)?, end: at(end)? }
        }
        _ => Request::Interval {
            start: EventTime::EPOCH,
            end: EventTime::from_micros(now.micros_floor()),
        },
    };
    trigger(context, request, &run.selection)
}

fn trigger(context: &Context, request: Request, selection: &Selection) -> anyhow::Result<Trigger> {
    let settings = &context.repo.config.tidegate;
    Ok(Trigger {
        request,
        views: selection.views.clone(),
        version: selection.version.as_deref().map(Version::parse).transpose()?,
        allow_future: selection.allow_future,
        allow_empty: selection.allow_empty,
        refuse_over_memory: selection.refuse_over_memory || settings.refuse_over_memory,
        parallel: selection.parallel.map(usize::from).or(settings.parallel).unwrap_or(PARALLEL),
        now: scheduler::now(),
    })
}

/// Runs a trigger and prints what came of it.
pub async fn run(context: &Context, trigger: Trigger) -> anyhow::Result<u8> {
    trigger.check()?;
    let scheduler = embedded::scheduler(&context.repo, &context.environment, Access::Write).await?;
    let sinks = embedded::sinks(&context.repo).await?;
    let board = std::sync::Arc::new(Board::default());
    let watcher = Watcher::start(std::sync::Arc::clone(&board));
    let stop = stop_on_signal();
    let report = scheduler.run(&trigger, &sinks, &board, &stop).await;
    watcher.finish().await;
    let report = report?;
    let store = repo::online_store_name(&context.repo.config.online_store);
    output::run(context.args.output, &report, &store)?;
    Ok(if report.state == RunState::Succeeded { EXIT_LANDED } else { EXIT_FAILED })
}

/// A token that SIGINT and SIGTERM cancel.
fn stop_on_signal() -> CancellationToken {
    let stop = CancellationToken::new();
    let cancelled = stop.clone();
    tokio::spawn(async move {
        let mut terminate = match tokio::signal::unix::signal(
            tokio::signal::unix::SignalKind::terminate(),
        ) {
            Ok(terminate) => terminate,
            Err(error) => {
                tracing::warn!(%error, "SIGTERM cannot be watched; it ends the process at once");
                return;
            }
        };
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        cancelled.cancel();
    });
    stop
}
