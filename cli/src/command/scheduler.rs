//! `scheduler`: the process that admits runs over HTTP and works on them.

use std::sync::Arc;

use ::scheduler::http::{self, Serving};
use anyhow::Context as _;
use daemon::Limits;

use super::Context;
use crate::args::Scheduler;
use crate::credentials::{auth, say, tls};
use crate::embedded::{self, Access};
use crate::{EXIT_FAILED, EXIT_LANDED};

/// Serves until a signal asks for the end, and stops in good order.
pub async fn run(context: &Context, serve: &Scheduler) -> anyhow::Result<u8> {
    let repo = context.repo("scheduler")?;
    // What is wrong with the settings is said before anything is connected.
    let auth = auth(repo, &serve.credentials, serve.listen)?;
    let tls = tls(repo, &serve.credentials).await?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let mut settings = embedded::settings(repo, &context.args)?;
    settings.retries_all = true;
    if let Some(lease) = serve.lease_ttl {
        settings.lease = lease;
        settings.beat = embedded::beat(lease);
    }
    let stop = daemon::stop_on_signal().context("failed to watch for signals")?;
    let scheduler =
        embedded::scheduler(repo, &context.environment, settings, Access::Write).await?;
    let sinks = embedded::sinks(repo).await?;
    let limits = Limits::default();
    let socket = daemon::Server::bind(serve.listen, tls, limits).await?;
    say(&format!("listening on {scheme}://{}", socket.address()?));
    let serving = Serving {
        scheduler: Arc::new(scheduler),
        sinks: Arc::new(sinks),
        socket,
        auth,
        limits: http::Limits::default(),
        drain_timeout: serve.drain_timeout,
    };
    let stopped = serving.run(&stop).await;
    Ok(if stopped.is_handed_back { EXIT_LANDED } else { EXIT_FAILED })
}
