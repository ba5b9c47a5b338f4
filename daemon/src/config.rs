//! Settings that every process with an HTTP server has, and how their texts are read.
//!
//! Where a setting comes from, and in which order, is the process's own. Durations and sizes are
//! passed in as such: `model::duration` reads them.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::error::Error;

/// Reads an address to listen on: `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080`, or `:8080` for
/// every address of the machine.
///
/// # Errors
/// [`Error::Listen`] for anything else; names are not looked up, because what they stand for may
/// change under a process.
pub fn parse_listen(text: &str) -> Result<SocketAddr, Error> {
    let refused = || Error::Listen { text: text.to_owned() };
    let text = text.trim();
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let (host, port) = text.rsplit_once(':').ok_or_else(refused)?;
    // A sign would be taken for a part of the number.
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(refused());
    }
    let port = port.parse().map_err(|_| refused())?;
    match host {
        // Takes IPv4 as well, unless the machine is told otherwise.
        "" | "*" => Ok(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port)),
        "localhost" => Ok(SocketAddr::from(([127, 0, 0, 1], port))),
        _ => Err(refused()),
    }
}

/// The files that TLS is served with, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, followed by those between it and the authority.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl TlsFiles {
    /// Puts the two settings together; without both there is no TLS.
    ///
    /// # Errors
    /// [`Error::HalfOfTls`] when only one of them is given.
    pub fn pair(certificate: Option<PathBuf>, key: Option<PathBuf>) -> Result<Option<Self>, Error> {
        match (certificate, key) {
            (None, None) => Ok(None),
            (Some(certificate), Some(key)) => Ok(Some(Self { certificate, key })),
            (None, Some(_)) => Err(Error::HalfOfTls { missing: "certificate" }),
            (Some(_), None) => Err(Error::HalfOfTls { missing: "key" }),
        }
    }
}

/// What a server grants its callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once; more wait in the machine's queue until one is closed.
    pub connections_max: usize,
    /// Requests at once on one connection of HTTP/2.
    pub streams_max: u32,
    /// How long the handshake of TLS may take.
    pub handshake_timeout: Duration,
    /// How long the headers of a request may take, and how long a connection may lie idle.
    pub header_timeout: Duration,
    /// How large the headers of a request may be, in bytes.
    pub header_bytes_max: usize,
    /// How long requests at work are waited for, once the process has been told to stop.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Each takes a file descriptor, of which a process has 1024 unless told otherwise; half
            // of them are left to the ledger, the sources and the online store.
            connections_max: 512,
            streams_max: 64,
            // Four round trips to the other side of the world take two seconds.
            handshake_timeout: Duration::from_secs(10),
            // Longer than load balancers keep what they do not use, so that they close first.
            header_timeout: Duration::from_secs(75),
            // A token, a cookie and a handful of a proxy's own headers are far below.
            header_bytes_max: 32 << 10,
            // Kubernetes kills after 30 seconds unless told otherwise.
            drain_timeout: Duration::from_secs(20),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_without_looking_names_up() {
        for (text, address) in [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            (" 0.0.0.0:80 ", "0.0.0.0:80"),
            ("[::1]:8080", "[::1]:8080"),
            (":8080", "[::]:8080"),
            ("*:8080", "[::]:8080"),
            ("localhost:0", "127.0.0.1:0"),
        ] {
            assert_eq!(parse_listen(text).expect(text).to_string(), address);
        }
        for text in ["", "8080", "127.0.0.1", "example.com:80", ":65536", ":", "::1", ":+80"] {
            let error = parse_listen(text).expect_err(text);
            assert!(error.to_string().contains(&format!("`{text}`")), "{error}");
        }
    }

    #[test]
    fn tls_takes_both_files_or_none() {
        let path = || Some(PathBuf::from("a.pem"));
        assert_eq!(TlsFiles::pair(None, None).expect("no TLS"), None);
        assert!(TlsFiles::pair(path(), path()).expect("TLS").is_some());
        let error = TlsFiles::pair(path(), None).expect_err("half").to_string();
        assert!(error.ends_with("the key is not given"), "{error}");
        let error = TlsFiles::pair(None, path()).expect_err("half").to_string();
        assert!(error.ends_with("the certificate is not given"), "{error}");
    }
}
