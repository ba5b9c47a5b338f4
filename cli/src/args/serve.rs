//! What `tidegate serve` is told.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args as ClapArgs;

use super::Credentials;
use super::scheduler::{duration, listen};

/// `serve`.
#[derive(Debug, ClapArgs)]
pub struct Serve {
    /// Where to listen for HTTP; any address but a loopback one needs tokens.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:6566",
        env = "TIDEGATE_SERVE_LISTEN", value_parser = listen)]
    pub listen: SocketAddr,
    /// Where to listen for gRPC; nowhere by default.
    #[arg(long, value_name = "ADDRESS", value_parser = listen)]
    pub grpc_listen: Option<SocketAddr>,
    /// Where to listen for `/metrics` and health; nowhere by default. Nobody is asked for a token
    /// there.
    #[arg(long, value_name = "ADDRESS", value_parser = listen)]
    pub admin_listen: Option<SocketAddr>,
    /// Whom it knows, and how it is known.
    #[command(flatten)]
    pub credentials: Credentials,
    /// How often the registry is read again; `registry.cache_ttl_seconds` by default, or 60s.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub registry_ttl: Option<Duration>,
    /// Not ready when the registry was last read longer ago than this.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub registry_age_max: Option<Duration>,
    /// How long the online store may take to answer.
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration)]
    pub read_timeout: Duration,
    /// Requests at once; more are turned away with 503.
    #[arg(long, value_name = "COUNT", default_value_t = 1024)]
    pub requests_max: usize,
    /// Rows that one request may ask for.
    #[arg(long, value_name = "COUNT", default_value_t = 10_000)]
    pub entities_max: usize,
    /// Features that one request may ask for.
    #[arg(long, value_name = "COUNT", default_value_t = 2_000)]
    pub features_max: usize,
    /// Connections at once; more wait.
    #[arg(long, value_name = "COUNT", default_value_t = 16_384)]
    pub connections_max: usize,
    /// How long requests at work may go on once the process has been told to stop.
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = duration)]
    pub drain_timeout: Duration,
    /// Log each request.
    #[arg(long)]
    pub access_log: bool,
    /// Read the registry and work out every feature service before listening.
    #[arg(long)]
    pub warm: bool,
}
