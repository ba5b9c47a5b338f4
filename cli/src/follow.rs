//! Following a run: its events and its progress, from a server's stream or from the ledger.
//!
//! Both give the same, so that whoever shows them need not know where the run is.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use api::{Client, RunDetail, StreamEvent, ViewProgress};
use futures::StreamExt;
use model::RunId;
use scheduler::Scheduler;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::progress::Notices;
use crate::server::{self, AWAY_MEANWHILE};
use crate::service::Service;

/// How often the ledger is asked: its file is another process's to write.
const LOOK: Duration = Duration::from_millis(500);

/// Events that are read at once.
const PAGE: u32 = 256;

/// What is heard while whoever shows it is busy; more is waited with.
const HEARD: usize = 64;

/// What is heard of a run; an error, and an end, come last.
pub type Heard = Receiver<anyhow::Result<StreamEvent>>;

/// Follows a run from its first event until it has ended.
pub fn follow(service: &Service, run: RunId, notices: Option<&Notices>) -> Heard {
    let (sender, heard) = channel(HEARD);
    let (service, notices) = (service.clone(), notices.cloned());
    // Ends with the run, or with whoever hears it.
    tokio::spawn(async move {
        let followed = match &service {
            Service::Embedded(scheduler) => look(scheduler, run, &sender).await,
            Service::Server(client) => listen(client, run, notices.as_ref(), &sender).await,
        };
        if let Err(error) = followed {
            // Nobody may be there to hear it any more.
            sender.send(Err(error)).await.ok();
        }
    });
    heard
}

/// Listens to a server, and goes on after the last event that was heard when it was away.
async fn listen(
    client: &Client,
    run: RunId,
    notices: Option<&Notices>,
    sender: &Sender<anyhow::Result<StreamEvent>>,
) -> anyhow::Result<()> {
    let say = |text: String| match notices {
        Some(notices) => notices.say(&text),
        None => tracing::warn!("{text}"),
    };
    let (mut last, mut away_since) = (None, None::<Instant>);
    loop {
        let mut events = pin!(client.events(run, last));
        let error = loop {
            let event = match events.next().await {
                Some(Ok(event)) => event,
                Some(Err(error)) => break error,
                None => return Ok(()),
            };
            if away_since.take().is_some() {
                say(server::back(client));
            }
            if let StreamEvent::Event(event) = &event {
                last = Some(event.id);
            }
            if sender.send(Ok(event)).await.is_err() {
                return Ok(());
            }
        };
        if !error.is_retryable() || away_since.is_some_and(|at| at.elapsed() > AWAY_MEANWHILE) {
            return Err(error.into());
        }
        if away_since.is_none() {
            say(server::away(client, &error));
            away_since = Some(Instant::now());
        }
        tokio::time::sleep(server::pause(&error)).await;
    }
}

/// Looks into the ledger again and again.
async fn look(
    scheduler: &Arc<Scheduler>,
    run: RunId,
    sender: &Sender<anyhow::Result<StreamEvent>>,
) -> anyhow::Result<()> {
    let mut last = 0;
    loop {
        // Looked at before the events are, so that an end is told after all of them.
        let detail = scheduler.run_detail(run).await?;
        let detail = detail.ok_or_else(|| anyhow!("run `{run}` is not recorded any more"))?;
        loop {
            let events = scheduler.events(run, last, PAGE).await?;
            let is_last_page = events.len() < PAGE as usize;
            for event in events {
                last = event.id;
                if sender.send(Ok(StreamEvent::Event(event))).await.is_err() {
                    return Ok(());
                }
            }
            if is_last_page {
                break;
            }
        }
        let told = if detail.run.state.is_ended() {
            StreamEvent::End
        } else {
            StreamEvent::Progress(progress(&detail))
        };
        let has_ended = told == StreamEvent::End;
        if sender.send(Ok(told)).await.is_err() || has_ended {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn progress(detail: &RunDetail) -> Vec<ViewProgress> {
    let of_job = |job: &api::JobDetail| {
        let progress = job.progress.unwrap_or_default();
        ViewProgress {
            view: job.view.clone(),
            state: job.state,
            rows_read: progress.rows_read,
            rows_max: progress.rows_max,
            written: progress.written,
        }
    };
    detail.jobs.iter().map(of_job).collect()
}
