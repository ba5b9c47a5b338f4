//! What the servers of this binary have in common: callers, a certificate, and a first word.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use daemon::{Auth, Tls, TlsFiles};

use crate::args::Credentials;
use crate::repo::Repo;

/// Whom the server knows: the callers of the token file, or everybody on this machine.
pub fn auth(repo: &Repo, given: &Credentials, listen: SocketAddr) -> anyhow::Result<Auth> {
    let configured = repo.config.tidegate.auth.as_ref();
    let file = given.tokens.clone().or_else(|| configured.map(|file| of_repo(repo, file)));
    let Some(file) = file else { return Ok(Auth::none(listen)?) };
    let text = std::fs::read_to_string(&file)
        .with_context(|| format!("failed to read the tokens in `{}`", file.display()))?;
    Auth::from_text(&text).with_context(|| format!("failed to use `{}`", file.display()))
}

/// The certificate that a server is known by, if it has one.
pub async fn tls(repo: &Repo, given: &Credentials) -> anyhow::Result<Option<Tls>> {
    let given = TlsFiles::pair(given.tls_certificate.clone(), given.tls_key.clone())?;
    let configured = || {
        let paths = repo.config.tidegate.tls.as_ref()?;
        let certificate = of_repo(repo, &paths.certificate);
        Some(TlsFiles { certificate, key: of_repo(repo, &paths.key) })
    };
    match given.or_else(configured) {
        Some(files) => Ok(Some(Tls::load(files).await?)),
        None => Ok(None),
    }
}

/// A path of the configuration, which is relative to the repository.
fn of_repo(repo: &Repo, path: &Path) -> PathBuf {
    repo.dir.join(path)
}

/// Says a line on stderr.
#[expect(clippy::print_stderr, reason = "whoever started it waits for this line")]
pub fn say(line: &str) {
    eprintln!("{line}");
}
