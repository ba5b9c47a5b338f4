//! One file per verb.

mod demo;
mod materialize;
mod migrate;
mod plan;
mod read;
mod runs;
mod scheduler;
mod serve;
mod status;

use std::collections::BTreeMap;

use api::{Client, Code};

use crate::args::{Args, Verb};
use crate::repo::Repo;
use crate::{request, server};

/// What every verb needs.
pub struct Context {
    /// The command line.
    pub args: Args,
    /// Where the verb is carried out.
    pub place: Place,
    /// The environment as it was at the start.
    pub environment: BTreeMap<String, String>,
}

/// Where a verb is carried out.
pub enum Place {
    /// In this process, on a repository.
    Repo(Box<Repo>),
    /// At a server; no repository is read.
    Server(Client),
}

impl Context {
    fn new(args: Args, environment: BTreeMap<String, String>) -> anyhow::Result<Self> {
        let place = match server::client(&args, &environment)? {
            Some(client) => Place::Server(client),
            None => Place::Repo(Box::new(Repo::load(&args, &environment)?)),
        };
        Ok(Self { args, place, environment })
    }

    /// The repository, for a verb that no server can carry out.
    fn repo(&self, verb: &str) -> Result<&Repo, UsageError> {
        match &self.place {
            Place::Repo(repo) => Ok(repo),
            Place::Server(_) => Err(not_at_a_server(verb)),
        }
    }
}

fn not_at_a_server(verb: &str) -> UsageError {
    UsageError(format!(
        "`{verb}` is not done by a server; run it without --server and TIDEGATE_SERVER, where the \
         repository is"
    ))
}

/// Runs the verb and returns the exit code.
pub async fn run(args: Args, environment: BTreeMap<String, String>) -> anyhow::Result<u8> {
    if let Verb::Demo { directory } = &args.verb {
        if server::url(&args).is_some() {
            return Err(not_at_a_server("demo").into());
        }
        return demo::run(directory.clone(), &environment).await;
    }
    let context = Context::new(args, environment)?;
    match &context.args.verb {
        Verb::MaterializeIncremental { run, submission } => {
            materialize::run(&context, request::incremental(run)?, submission).await
        }
        Verb::Materialize { run, submission } => {
            let request = request::interval(run, ::scheduler::now())?;
            materialize::run(&context, request, submission).await
        }
        Verb::Rerun { run, submission } => {
            let request = request::rerun(run, ::scheduler::now())?;
            materialize::run(&context, request, submission).await
        }
        Verb::Plan { run } => {
            plan::run(&context, &request::planned(run, ::scheduler::now())?).await
        }
        Verb::Status => status::run(&context).await,
        Verb::Runs { list, one } => runs::run(&context, list, one.as_ref()).await,
        Verb::GetOnlineFeatures(read) => read::run(&context, read).await,
        Verb::Migrate => migrate::run(&context).await,
        Verb::Scheduler(scheduler) => scheduler::run(&context, scheduler).await,
        Verb::Serve(serve) => serve::run(&context, serve).await,
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
        || error.downcast_ref::<::scheduler::Error>().is_some_and(::scheduler::Error::is_usage)
        || error.downcast_ref::<feature_server::Error>().is_some_and(is_refused_features)
        || error.downcast_ref::<api::client::Error>().is_some_and(is_refused_request)
}

/// Tells whether features were asked for that there are not.
fn is_refused_features(error: &feature_server::Error) -> bool {
    (400..500).contains(&error.code().status())
}

/// Tells whether the server refused what this process would have taken for a mistake on the
/// command line.
fn is_refused_request(error: &api::client::Error) -> bool {
    use api::client::Error;
    if matches!(
        error,
        Error::Address { .. } | Error::Token | Error::Authority(_) | Error::NoAuthority
    ) {
        return true;
    }
    error.code().is_some_and(|code| match code {
        Code::InvalidBody
        | Code::InvalidRequest
        | Code::UnknownProject
        | Code::UnknownView
        | Code::UnknownRun
        | Code::NotMaterializable
        | Code::IdempotencyMismatch
        | Code::InvalidIdempotencyKey
        | Code::InvalidShape
        | Code::InvalidReference
        | Code::NoFeatures
        | Code::UnknownFeatureService
        | Code::UnknownFeature
        | Code::UnknownPushSource
        | Code::FeatureNameCollision
        | Code::NotServable
        | Code::MissingJoinKey
        | Code::InvalidEntity
        | Code::InvalidRows
        | Code::TooMuchAskedFor => true,
        Code::NotFound
        | Code::MethodNotAllowed
        | Code::NoViews
        | Code::RunEnded
        | Code::Unauthenticated
        | Code::Forbidden
        | Code::BodyTooLarge
        | Code::Timeout
        | Code::Overloaded
        | Code::Stopping
        | Code::MetastoreUnavailable
        | Code::RegistryUnavailable
        | Code::OnlineStoreUnavailable
        | Code::UnsupportedMediaType
        | Code::Internal => false,
    })
}
