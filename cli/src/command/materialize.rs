//! `materialize`, `materialize-incremental` and `rerun`.

use std::sync::Arc;

use api::RunRequest;
use model::RunState;
use scheduler::{Board, Trigger};
use tokio_util::sync::CancellationToken;

use super::{Context, Place, UsageError, plan};
use crate::args::Submission;
use crate::embedded::{self, Access};
use crate::progress::{ViewLine, Watcher};
use crate::repo::{Repo, online_store_name};
use crate::{EXIT_FAILED, EXIT_LANDED, attend, output};

/// Has a run done, here or at the server, and prints what came of it.
pub async fn run(
    context: &Context,
    request: RunRequest,
    submission: &Submission,
) -> anyhow::Result<u8> {
    if submission.dry_run {
        return plan::run(context, &request).await;
    }
    match &context.place {
        Place::Server(client) => {
            attend::run(context.args.output, client, &request, submission).await
        }
        Place::Repo(_) if submission.idempotency_key.is_some() => {
            let what = "--idempotency-key is for a server; name one with --server";
            Err(UsageError(what.to_owned()).into())
        }
        Place::Repo(repo) => here(context, repo, &request).await,
    }
}

/// Runs the request in this process.
async fn here(context: &Context, repo: &Repo, request: &RunRequest) -> anyhow::Result<u8> {
    let settings = embedded::settings(repo, &context.args)?;
    // What makes no sense is refused before a ledger is created for it.
    Trigger::of(request, settings.defaults, scheduler::now())?;
    let environment = &context.environment;
    let scheduler = embedded::scheduler(repo, environment, settings, Access::Write).await?;
    let sinks = embedded::sinks(repo).await?;
    let board = Arc::new(Board::default());
    let shown = Arc::clone(&board);
    let watcher = Watcher::start(move || shown.jobs().iter().map(ViewLine::of_job).collect());
    let stop = stop_on_signal();
    let report = scheduler.run(request, &sinks, &board, &stop).await;
    watcher.finish().await;
    let report = report?;
    output::run(context.args.output, &report, &online_store_name(&repo.config.online_store))?;
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
