//! What `tidegate scheduler` is told.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args as ClapArgs;

use super::Credentials;

/// `scheduler`.
#[derive(Debug, ClapArgs)]
pub struct Scheduler {
    /// Where to listen; any address but a loopback one needs tokens.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:6580", env = "TIDEGATE_LISTEN",
        value_parser = listen)]
    pub listen: SocketAddr,
    /// Whom it knows, and how it is known.
    #[command(flatten)]
    pub credentials: Credentials,
    /// How long what is at work may go on once the process has been told to stop.
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = duration)]
    pub drain_timeout: Duration,
    /// How long a lease lasts unless it is extended; `tidegate.lease_ttl` by default.
    #[arg(long, value_name = "DURATION", hide = true, value_parser = duration)]
    pub lease_ttl: Option<Duration>,
}

pub(super) fn listen(text: &str) -> Result<SocketAddr, String> {
    daemon::config::parse_listen(text).map_err(|error| error.to_string())
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    model::duration::parse(text).map_err(|error| error.to_string())
}
