//! What every server of ours is told of its callers and its certificate.

use std::path::PathBuf;

use clap::Args as ClapArgs;

/// Whom a server knows, and how it is known.
#[derive(Debug, ClapArgs)]
pub struct Credentials {
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
}
