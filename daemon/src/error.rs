//! What can keep a process from starting as it was told to.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a process cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address to listen on cannot be read.
    #[error("`{text}` is no address to listen on; write for example `127.0.0.1:8080` or `:8080`")]
    Listen {
        /// What was given.
        text: String,
    },
    /// Somebody else listens there, or this machine has no such address.
    #[error("failed to listen on `{address}`")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The cause.
        source: std::io::Error,
    },
    /// One of the two files of TLS is given without the other.
    #[error("TLS needs a certificate and its key; the {missing} is not given")]
    HalfOfTls {
        /// What is missing.
        missing: &'static str,
    },
    /// A file cannot be read.
    #[error("failed to read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A file is no PEM of what it should hold.
    #[error("`{}` holds no {what} in PEM", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// The cause.
        source: rustls::pki_types::pem::Error,
    },
    /// The key is of a kind that rustls does not know, or not the certificate's.
    #[error("the certificate in `{}` cannot be served with its key", path.display())]
    Certificate {
        /// The certificate.
        path: PathBuf,
        /// The cause.
        source: rustls::Error,
    },
    /// Without tokens everybody who reaches the address may do everything.
    #[error(
        "`{address}` can be reached from other machines, so callers must be known: give a token \
         file, or listen on `127.0.0.1:{}`", address.port()
    )]
    Open {
        /// The address.
        address: SocketAddr,
    },
    /// A line of the token file cannot be used. Its hash is not shown.
    #[error("line {line} of the token file {why}")]
    TokenLine {
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
    /// The token file has no token.
    #[error("the token file names no token; write lines of the form `name role sha256`")]
    NoTokens,
}
