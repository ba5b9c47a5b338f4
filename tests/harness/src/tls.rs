//! Certificates for servers that speak TLS, made by openssl for one test.
//!
//! Apart from the servers because whoever connects needs the files as well.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::scratch::Scratch;
use crate::tool::Tool;

/// An elliptic key takes openssl no time, unlike one of RSA.
const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30";
const AUTHORITY: &str =
    "-addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign";
/// What the one certificate is good for.
const EXTENSIONS: &str = "subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n\
                          extendedKeyUsage=serverAuth,clientAuth\n";

/// An authority with a certificate for `localhost` and `127.0.0.1`, good for servers and clients,
/// and an authority that signed nothing.
#[derive(Debug)]
pub struct Certificates {
    scratch: Scratch,
}

impl Certificates {
    /// Makes the files.
    ///
    /// # Errors
    /// When `openssl` is not installed or fails; the message ends with what it says.
    pub fn make() -> Result<Self> {
        let scratch = Scratch::new()?;
        let made = Self { scratch };
        let directory = made.scratch.path();
        openssl(
            directory,
            &format!("req -x509 {KEY} {AUTHORITY} -subj /CN=Test -keyout ca.key -out ca.pem"),
        )?;
        openssl(
            directory,
            &format!("req -x509 {KEY} {AUTHORITY} -subj /CN=Other -keyout o.key -out other-ca.pem"),
        )?;
        openssl(
            directory,
            &format!("req {KEY} -subj /CN=localhost -keyout server.key -out server.csr"),
        )?;
        fs::write(directory.join("extensions"), EXTENSIONS)?;
        openssl(
            directory,
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 \
             -extfile extensions -out server.pem",
        )?;
        Ok(made)
    }

    /// The authority.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.file("ca.pem")
    }

    /// The authority that signed nothing.
    #[must_use]
    pub fn other_authority(&self) -> PathBuf {
        self.file("other-ca.pem")
    }

    /// The certificate.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.file("server.pem")
    }

    /// The certificate's key.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.file("server.key")
    }

    /// The options with which a Redis server uses them.
    pub(crate) fn redis_arguments(&self, asks_clients: bool) -> Vec<String> {
        let path = |path: PathBuf| path.display().to_string();
        let asks = if asks_clients { "yes" } else { "no" };
        [
            ("--tls-cert-file", path(self.certificate())),
            ("--tls-key-file", path(self.key())),
            ("--tls-ca-cert-file", path(self.authority())),
            ("--tls-auth-clients", asks.to_owned()),
        ]
        .into_iter()
        .flat_map(|(name, value)| [name.to_owned(), value])
        .collect()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }
}

fn openssl(directory: &Path, arguments: &str) -> Result<()> {
    let output = Command::new(Tool::require("openssl")?)
        .current_dir(directory)
        .args(arguments.split_whitespace())
        .output()
        .context("failed to start `openssl`")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`openssl {arguments}` failed: {said}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_certificate_is_of_the_one_authority() -> Result<()> {
        let made = Certificates::make()?;
        let directory = made.scratch.path();
        openssl(directory, "verify -CAfile ca.pem server.pem")?;
        let error = openssl(directory, "verify -CAfile other-ca.pem server.pem");
        assert!(error.expect_err("another authority").to_string().contains("verify"));
        Ok(())
    }
}
