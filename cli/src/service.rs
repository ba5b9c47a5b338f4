//! What is asked of a scheduler besides runs, the same of the one in this process and of a server.

use std::sync::Arc;

use api::{Client, Code, PlanReport, RunDetail, RunQuery, RunRequest, RunSummary, StatusReport};
use metastore::RunFilter;
use model::{RunId, RunState};
use scheduler::Scheduler;

use crate::command::{Context, Place};
use crate::embedded::{self, Access};

/// A scheduler, wherever it is.
#[derive(Clone)]
pub enum Service {
    /// In this process.
    Embedded(Arc<Scheduler>),
    /// At a server.
    Server(Client),
}

/// What became of the wish to end a run.
pub enum Cancelled {
    /// Whoever works on it hears of it.
    Requested(Box<RunSummary>),
    /// It had ended before.
    Ended(RunState),
    /// There is no such run.
    Unknown,
}

impl Service {
    /// Opens the repository, or takes the server.
    pub async fn open(context: &Context, access: Access) -> anyhow::Result<Self> {
        Ok(match &context.place {
            Place::Server(client) => Self::Server(client.clone()),
            Place::Repo(repo) => {
                let settings = embedded::settings(repo, &context.args)?;
                let opened = embedded::scheduler(repo, &context.environment, settings, access);
                Self::Embedded(Arc::new(opened.await?))
            }
        })
    }

    /// Tells what a run would do.
    pub async fn plan(&self, request: &RunRequest) -> anyhow::Result<PlanReport> {
        Ok(match self {
            Self::Embedded(scheduler) => scheduler.plan(request).await?,
            Self::Server(client) => client.plan(request).await?,
        })
    }

    /// Tells how far every view has got.
    pub async fn status(&self) -> anyhow::Result<StatusReport> {
        Ok(match self {
            Self::Embedded(scheduler) => scheduler.status().await?,
            Self::Server(client) => client.views().await?,
        })
    }

    /// Lists runs, newest first, at most so many.
    pub async fn runs(&self, query: &RunQuery, limit: u32) -> anyhow::Result<Vec<RunSummary>> {
        let client = match self {
            Self::Embedded(scheduler) => {
                let filter = RunFilter {
                    project: None,
                    view: query.view.clone(),
                    state: query.state,
                    since: query.since,
                    after: None,
                };
                return Ok(scheduler.runs(&filter, limit).await?.runs);
            }
            Self::Server(client) => client,
        };
        // A page may have fewer than are asked for.
        let mut runs: Vec<RunSummary> = Vec::new();
        let mut query = query.clone();
        while runs.len() < limit as usize {
            query.limit = Some(limit - u32::try_from(runs.len()).unwrap_or(limit));
            let page = client.runs(&query).await?;
            runs.extend(page.runs);
            query.cursor = page.next;
            if query.cursor.is_none() {
                break;
            }
        }
        runs.truncate(limit as usize);
        Ok(runs)
    }

    /// Tells all that is known of a run; `None` if it is not recorded, or no longer.
    pub async fn run(&self, id: RunId) -> anyhow::Result<Option<RunDetail>> {
        match self {
            Self::Embedded(scheduler) => Ok(scheduler.run_detail(id).await?),
            Self::Server(client) => match client.run(id).await {
                Err(error) if error.code() == Some(Code::UnknownRun) => Ok(None),
                answer => Ok(Some(answer?)),
            },
        }
    }

    /// Asks a run to end.
    pub async fn cancel(&self, id: RunId) -> anyhow::Result<Cancelled> {
        let Some(found) = self.run(id).await? else { return Ok(Cancelled::Unknown) };
        if found.run.state.is_ended() {
            return Ok(Cancelled::Ended(found.run.state));
        }
        match self {
            Self::Embedded(scheduler) => match scheduler.cancel(id).await? {
                Some(state) => Ok(Cancelled::Ended(state)),
                None => Ok(Cancelled::Requested(Box::new(scheduler.run_summary(id).await?))),
            },
            Self::Server(client) => match client.cancel(id).await {
                // It has ended since it was looked at.
                Err(error) if error.code() == Some(Code::RunEnded) => {
                    Ok(Cancelled::Ended(client.run(id).await?.run.state))
                }
                answer => Ok(Cancelled::Requested(Box::new(answer?))),
            },
        }
    }
}
