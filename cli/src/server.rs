//! The server that `--server` names: how it is reached, and how it is waited for.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context;
use api::Client;
use api::client::Error;

use crate::args::Args;
use crate::progress::Notices;

/// The token, which must not stand on a command line that everybody on the machine can read.
const TOKEN: &str = "TIDEGATE_TOKEN";

/// Pause between two tries to reach a server that is away.
const PAUSE: Duration = Duration::from_secs(1);

/// The longest pause that a server may ask for.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// How long a server may be away before anything was asked of it: the time in which one that is
/// being replaced comes back, without leaving whoever misspelt its name in the dark for long.
pub const AWAY_BEFORE: Duration = Duration::from_secs(30);

/// How long a server may be away that works on our run: what it does goes on all the same.
pub const AWAY_MEANWHILE: Duration = Duration::from_secs(600);

/// The server's URL. An empty one is none, so that a template may leave it out.
pub fn url(args: &Args) -> Option<&str> {
    args.server.as_deref().map(str::trim).filter(|url| !url.is_empty())
}

/// The client of the server, if one is named.
pub fn client(
    args: &Args,
    environment: &BTreeMap<String, String>,
) -> anyhow::Result<Option<Client>> {
    let Some(url) = url(args) else { return Ok(None) };
    let token = match &args.token_file {
        Some(file) => Some(
            std::fs::read_to_string(file)
                .with_context(|| format!("failed to read the token in `{}`", file.display()))?,
        ),
        None => environment.get(TOKEN).filter(|token| !token.trim().is_empty()).cloned(),
    };
    let authority = match &args.ca {
        Some(file) => {
            let read = || format!("failed to read the certificates in `{}`", file.display());
            Some(std::fs::read(file).with_context(read)?)
        }
        None => None,
    };
    Ok(Some(Client::new(url, token.as_deref(), authority.as_deref())?))
}

/// Asks the server until it has answered, for as long as it may be away.
///
/// What is asked must be harmless when it arrives twice.
pub async fn patiently<T>(
    client: &Client,
    notices: &Notices,
    limit: Duration,
    ask: impl AsyncFn() -> Result<T, Error>,
) -> Result<T, Error> {
    let begun = Instant::now();
    let mut is_told = false;
    loop {
        match ask().await {
            Err(error) if error.is_retryable() && begun.elapsed() < limit => {
                if !is_told {
                    notices.say(&away(client, &error));
                    is_told = true;
                }
                tokio::time::sleep(pause(&error)).await;
            }
            Ok(answer) => {
                if is_told {
                    notices.say(&back(client));
                }
                return Ok(answer);
            }
            Err(error) => return Err(error),
        }
    }
}

/// How long to leave a server alone after an error.
pub fn pause(error: &Error) -> Duration {
    match error {
        Error::Problem { retry_after: Some(after), .. } => (*after).clamp(PAUSE, PAUSE_MAX),
        _ => PAUSE,
    }
}

/// Says that a server is away.
pub fn away(client: &Client, error: &Error) -> String {
    format!("{} is away, trying again: {}", client.url(), scheduler::chain(error))
}

/// Says that it is back.
pub fn back(client: &Client) -> String {
    format!("{} is back", client.url())
}
