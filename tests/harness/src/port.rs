//! A loopback port that nobody listens on. Apart from the servers because both need it.

use std::net::TcpListener;

use anyhow::{Context, Result};

/// Finds a loopback port that nobody listens on.
///
/// Another process may take it before the caller does; whoever starts a server on it tries
/// another one when that happens.
///
/// # Errors
/// When the system has no port left.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("failed to find a free port")?;
    Ok(listener.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_port_can_be_listened_on() -> Result<()> {
        let port = free_port()?;
        assert_ne!(port, 0);
        TcpListener::bind(("127.0.0.1", port))?;
        Ok(())
    }
}
