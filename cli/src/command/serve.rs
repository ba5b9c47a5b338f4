//! `scheduler`: the process that admits runs over HTTP and works on them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use daemon::{Auth, Limits, Tls, TlsFiles};
use scheduler::http::{self, Serving};

use super::Context;
use crate::args::Serve;
use crate::embedded::{self, Access};
use crate::repo::Repo;
use crate::{EXIT_FAILED, EXIT_LANDED};

/// Serves until a signal asks for the end, and stops in good order.
pub async fn run(context: &Context, serve: &Serve) -> anyhow::Result<u8> {
    let repo = context.repo("scheduler")?;
    // What is wrong with the settings is said before anything is connected.
    let auth = auth(repo, serve)?;
    let tls = match tls_files(repo, serve)? {
        Some(files) => Some(Tls::load(files).await?),
        None => None,
    };
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

/// Whom the server knows: the callers of the token file, or everybody on this machine.
fn auth(repo: &Repo, serve: &Serve) -> anyhow::Result<Auth> {
    let configured = repo.config.tidegate.auth.as_ref();
    let file = serve.tokens.clone().or_else(|| configured.map(|file| of_repo(repo, file)));
    let Some(file) = file else { return Ok(Auth::none(serve.listen)?) };
    let text = std::fs::read_to_string(&file)
        .with_context(|| format!("failed to read the tokens in `{}`", file.display()))?;
    Auth::from_text(&text).with_context(|| format!("failed to use `{}`", file.display()))
}

fn tls_files(repo: &Repo, serve: &Serve) -> anyhow::Result<Option<TlsFiles>> {
    let given = TlsFiles::pair(serve.tls_certificate.clone(), serve.tls_key.clone())?;
    let configured = || {
        let paths = repo.config.tidegate.tls.as_ref()?;
        let certificate = of_repo(repo, &paths.certificate);
        Some(TlsFiles { certificate, key: of_repo(repo, &paths.key) })
    };
    Ok(given.or_else(configured))
}

/// A path of the configuration, which is relative to the repository.
fn of_repo(repo: &Repo, path: &Path) -> PathBuf {
    repo.dir.join(path)
}

#[expect(clippy::print_stderr, reason = "whoever started it waits for this line")]
fn say(line: &str) {
    eprintln!("{line}");
}
