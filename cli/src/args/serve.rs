//! What `tidegate scheduler` is told.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args as ClapArgs;

/// `scheduler`.
#[derive(Debug, ClapArgs)]
pub struct Serve {
    /// Where to listen; any address but a loopback one needs tokens.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:6580", env = "TIDEGATE_LISTEN",
        value_parser = listen)]
    pub listen: SocketAddr,
    /// A file of callers, a line each: `name role sha256`; the roles are `read`, `run` and `admin`.
    /// `tidegate.auth.tokens` by default.
    #[arg(long, value_name = "FILE", env = "TIDEGATE_TOKENS")]
    pub tokens: Option<PathBuf>,
    /// The certificate to serve HTTPS with, in PEM; `tidegate.tls` by default.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_certificate: Option<PathBuf>,
    /// Its key, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    pub tls_key: Option<PathBuf>,
    /// How long what is at work may go on once the process has been told to stop.
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = duration)]
    pub drain_timeout: Duration,
    /// How long a lease lasts unless it is extended; `tidegate.lease_ttl` by default.
    #[arg(long, value_name = "DURATION", hide = true, value_parser = duration)]
    pub lease_ttl: Option<Duration>,
}

fn listen(text: &str) -> Result<SocketAddr, String> {
    daemon::config::parse_listen(text).map_err(|error| error.to_string())
}

fn duration(text: &str) -> Result<Duration, String> {
    model::duration::parse(text).map_err(|error| error.to_string())
}
