//! A run that a server does: asked for, shown while it goes on, and reported as if it had been
//! done here.

mod signal;

use std::future::{Future, pending};
use std::pin::pin;
use std::sync::Arc;

use anyhow::Context;
use api::{Client, Code, IdempotencyKey, RunReport, RunRequest, StreamEvent};
use model::{RunId, RunState};

use crate::args::{OnStop, Output, Submission};
use crate::attend::signal::{Signal, Signals, Stage, Step};
use crate::progress::{Notices, Watcher};
use crate::server::{AWAY_BEFORE, AWAY_MEANWHILE, patiently};
use crate::service::Service;
use crate::shown::{Shown, is_end_of_job};
use crate::{EXIT_FAILED, EXIT_LANDED, follow, output, request};

/// How waiting for a run came to its end.
enum Outcome {
    /// The run has ended.
    Ended(RunId),
    /// It goes on without us.
    Detached(RunId),
    /// We were told to stop before the server had answered.
    Unanswered,
}

/// Has a server do a run, and prints what came of it.
pub async fn run(
    output: Output,
    client: &Client,
    request: &RunRequest,
    submission: &Submission,
) -> anyhow::Result<u8> {
    let key = match &submission.idempotency_key {
        Some(key) => request::key(key)?,
        None => IdempotencyKey::draw(),
    };
    let shown = Arc::new(Shown::default());
    let lines = Arc::clone(&shown);
    let watcher = Watcher::start(move || lines.lines());
    let attended = Attendant {
        client,
        notices: watcher.notices(),
        shown: &shown,
        signals: Signals::watch()?,
        on_stop: submission.on_stop,
    };
    let outcome = attended.attend(request, &key).await;
    let notices = watcher.notices().clone();
    watcher.finish().await;
    match outcome? {
        Outcome::Ended(run) => report(output, client, &notices, run).await,
        Outcome::Detached(run) => {
            notices.say(&format!("run {run} goes on; watch it with `tidegate runs watch {run}`"));
            Ok(EXIT_FAILED)
        }
        Outcome::Unanswered => {
            notices.say(&format!(
                "the server has not answered yet; what it makes of the run is in `tidegate runs`, \
                 and the same command with --idempotency-key {key} does not make it twice"
            ));
            Ok(EXIT_FAILED)
        }
    }
}

/// Prints what a run that has ended came to.
async fn report(
    output: Output,
    client: &Client,
    notices: &Notices,
    run: RunId,
) -> anyhow::Result<u8> {
    let read = patiently(client, notices, AWAY_MEANWHILE, async || client.run(run).await);
    let report = RunReport::from(&read.await?);
    let store = format!("the online store of {}", client.url().trim_end_matches('/'));
    output::run(output, &report, &store)?;
    Ok(if report.state == RunState::Succeeded { EXIT_LANDED } else { EXIT_FAILED })
}

struct Attendant<'a> {
    client: &'a Client,
    notices: &'a Notices,
    shown: &'a Shown,
    signals: Signals,
    on_stop: OnStop,
}

impl Attendant<'_> {
    async fn attend(
        mut self,
        request: &RunRequest,
        key: &IdempotencyKey,
    ) -> anyhow::Result<Outcome> {
        let (run, signal) = match self.submit(request, key).await? {
            (Some(run), signal) => (run, signal),
            (None, _) => return Ok(Outcome::Unanswered),
        };
        self.until_ended(run, signal).await.with_context(|| {
            format!("lost sight of run {run}, which may go on; see `tidegate runs watch {run}`")
        })
    }

    /// Asks for the run. A signal meanwhile waits for the answer, a second one does not.
    async fn submit(
        &mut self,
        request: &RunRequest,
        key: &IdempotencyKey,
    ) -> anyhow::Result<(Option<RunId>, Option<Signal>)> {
        let client = self.client;
        let ask = async || client.submit(request, Some(key.clone())).await;
        let mut answer = pin!(patiently(client, self.notices, AWAY_BEFORE, ask));
        let mut kept = None;
        loop {
            tokio::select! {
                answer = &mut answer => return Ok((Some(answer?.run_id), kept)),
                signal = self.signals.next() => {
                    if kept.replace(signal).is_some() {
                        return Ok((None, kept));
                    }
                }
            }
        }
    }

    async fn until_ended(
        &mut self,
        run: RunId,
        mut kept: Option<Signal>,
    ) -> anyhow::Result<Outcome> {
        let (client, notices, on_stop) = (self.client, self.notices, self.on_stop);
        let mut heard = pin!(hear(client, notices, self.shown, run));
        let (mut stage, mut asking, mut cancelling) = (Stage::Watching, None, None);
        loop {
            let step = match kept.take() {
                Some(signal) => signal::decide(signal, stage, on_stop, signal::has_person()),
                // What is given up here is taken up again: all are polled where they stand.
                None => tokio::select! {
                    ended = &mut heard => {
                        ended?;
                        return Ok(Outcome::Ended(run));
                    }
                    signal = self.signals.next() => {
                        signal::decide(signal, stage, on_stop, signal::has_person())
                    }
                    answer = of(&mut asking) => {
                        asking = None;
                        answer.unwrap_or(Step::Detach)
                    }
                    () = of(&mut cancelling) => {
                        cancelling = None;
                        continue;
                    }
                },
            };
            match step {
                Step::Ask => {
                    stage = Stage::Asking;
                    notices.hold();
                    asking = Some(tokio::task::spawn_blocking(move || signal::ask(run)));
                }
                Step::Cancel => {
                    (stage, asking) = (Stage::Cancelling, None);
                    notices.resume();
                    cancelling = Some(Box::pin(cancel(client, notices, run)));
                }
                Step::Detach => {
                    notices.resume();
                    return Ok(Outcome::Detached(run));
                }
                Step::GoOn => {
                    stage = Stage::Watching;
                    notices.resume();
                }
            }
        }
    }
}

/// Waits for what is held, if anything is.
async fn of<F: Future + Unpin>(held: &mut Option<F>) -> F::Output {
    match held {
        Some(future) => future.await,
        None => pending().await,
    }
}

/// Shows what is heard of a run until it has ended.
async fn hear(client: &Client, notices: &Notices, shown: &Shown, run: RunId) -> anyhow::Result<()> {
    let mut heard = follow::follow(&Service::Server(client.clone()), run, Some(notices));
    show(client, shown, run).await;
    while let Some(event) = heard.recv().await {
        match event? {
            StreamEvent::Event(event) if is_end_of_job(&event) => show(client, shown, run).await,
            StreamEvent::Event(_) => {}
            StreamEvent::Progress(progress) => shown.hear(&progress),
            StreamEvent::End => break,
        }
    }
    Ok(())
}

/// Shows all that is known of a run.
async fn show(client: &Client, shown: &Shown, run: RunId) {
    match client.run(run).await {
        Ok(detail) => shown.set(&detail),
        // The next event shows it, or the report.
        Err(error) => tracing::debug!(%error, "the run could not be shown"),
    }
}

/// Asks a run to end; its end is heard like any other.
async fn cancel(client: &Client, notices: &Notices, run: RunId) {
    notices.say(&format!("asking run {run} to end"));
    let ask = async || client.cancel(run).await;
    match patiently(client, notices, AWAY_MEANWHILE, ask).await {
        Ok(_) => {}
        // It has ended already.
        Err(error) if error.code() == Some(Code::RunEnded) => {}
        Err(error) => {
            let error = scheduler::chain(&error);
            notices.say(&format!("run {run} could not be cancelled: {error}"));
        }
    }
}
