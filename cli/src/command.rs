//! One file per verb.

mod demo;
mod materialize;
mod migrate;
mod plan;
mod read;
mod runs;
mod status;

use std::collections::BTreeMap;

use crate::args::{Args, Verb};
use crate::repo::Repo;

/// What every verb needs.
pub struct Context {
    /// The command line.
    pub args: Args,
    /// The repository.
    pub repo: Repo,
    /// The environment as it was at the start.
    pub environment: BTreeMap<String, String>,
}

/// Runs the verb and returns the exit code.
pub async fn run(args: Args, environment: BTreeMap<String, String>) -> anyhow::Result<u8> {
    if let Verb::Demo { directory } = &args.verb {
        return demo::run(directory.clone(), &environment).await;
    }
    let repo = Repo::load(&args, &environment)?;
    let context = Context { args, repo, environment };
    match &context.args.verb {
        Verb::MaterializeIncremental(run) => {
            materialize::run(&context, materialize::incremental(&context, run)?).await
        }
        Verb::Materialize(run) => {
            materialize::run(&context, materialize::interval(&context, run)?).await
        }
        Verb::Plan { run } => plan::run(&context, run).await,
        Verb::Status => status::run(&context).await,
        Verb::Runs { limit, one } => runs::run(&context, *limit, one.as_ref()).await,
        Verb::GetOnlineFeatures(read) => read::run(&context, read).await,
        Verb::Migrate => migrate::run(&context).await,
        Verb::Demo { .. } => unreachable!("handled above, without a repository"),
    }
}

/// A mistake on the command line that clap cannot see.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// Tells whether the error lies in what was asked for.
pub fn is_usage(error: &anyhow::Error) -> bool {
    error.is::<UsageError>()
        || error.is::<feast::datetime::Error>()
        || error.downcast_ref::<scheduler::Error>().is_some_and(scheduler::Error::is_usage)
}
