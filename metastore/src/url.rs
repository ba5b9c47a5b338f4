//! Where the ledger lives: an address in any of the forms people write.
//!
//! A file of its own because an address holds a password, and nothing here prints it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sqlx::any::AnyConnectOptions;
use url::Url;

use crate::Error;

/// The address of a ledger.
#[derive(Clone, PartialEq, Eq)]
pub struct LedgerUrl(Place);

#[derive(Clone, PartialEq, Eq)]
enum Place {
    Postgres(Url),
    Sqlite(PathBuf),
}

/// Which database holds a ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// PostgreSQL, schema `tidegate`.
    Postgres,
    /// A SQLite file of its own.
    Sqlite,
}

impl LedgerUrl {
    /// Reads an address: `postgresql://…`, `postgres://…` and SQLAlchemy's `postgresql+driver://…`
    /// for PostgreSQL; `sqlite:///absolute/path`, `sqlite://relative/path` or a plain path for a
    /// SQLite file. The path of a SQLite file is taken as written, without percent-decoding.
    ///
    /// # Errors
    /// [`Error::Address`]. The message does not repeat the address.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return match text.strip_prefix("sqlite:") {
                Some(_) => Err(address("write `sqlite://` before the path".to_owned())),
                None => Self::sqlite(text),
            };
        };
        match scheme.split_once('+').map_or(scheme, |(dialect, _driver)| dialect) {
            "postgresql" | "postgres" => Self::postgres(rest),
            "sqlite" => Self::sqlite(rest),
            other => Err(address(format!(
                "`{other}://` is not supported; use `postgresql://` or the path of a SQLite file"
            ))),
        }
    }

    /// Which database it names.
    pub fn backend(&self) -> Backend {
        match self.0 {
            Place::Postgres(_) => Backend::Postgres,
            Place::Sqlite(_) => Backend::Sqlite,
        }
    }

    /// The file, when it is SQLite.
    pub fn path(&self) -> Option<&Path> {
        match &self.0 {
            Place::Postgres(_) => None,
            Place::Sqlite(path) => Some(path),
        }
    }

    fn postgres(rest: &str) -> Result<Self, Error> {
        let url = Url::parse(&format!("postgresql://{rest}")).map_err(|error| {
            address(format!("{error}; percent-encode special characters in user and password"))
        })?;
        Ok(Self(Place::Postgres(url)))
    }

    fn sqlite(path: &str) -> Result<Self, Error> {
        if path.is_empty() {
            return Err(address("the path is empty".to_owned()));
        }
        if path == ":memory:" || path == "/:memory:" {
            return Err(address("a ledger in memory would be lost with the process".to_owned()));
        }
        Ok(Self(Place::Sqlite(PathBuf::from(path))))
    }

    /// What sqlx connects with. `create` makes a SQLite file that is not there.
    pub(crate) fn connect_options(&self, create: bool) -> Result<AnyConnectOptions, Error> {
        let text = match &self.0 {
            Place::Postgres(url) => url.to_string(),
            Place::Sqlite(path) => {
                let mode = if create { "rwc" } else { "rw" };
                format!("sqlite://{}?mode={mode}", encode(&absolute(path)?))
            }
        };
        AnyConnectOptions::from_str(&text)
            .map_err(|_| address("the path cannot be written as a URL".to_owned()))
    }
}

fn absolute(path: &Path) -> Result<String, Error> {
    let path = std::path::absolute(path)
        .map_err(|error| address(format!("`{}`: {error}", path.display())))?;
    path.into_os_string()
        .into_string()
        .map_err(|path| address(format!("`{}` is not UTF-8", path.to_string_lossy())))
}

/// Percent-encodes everything but unreserved characters and slashes; sqlx decodes it again.
fn encode(path: &str) -> String {
    path.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

fn address(reason: String) -> Error {
    Error::Address { reason }
}

/// The address with its password blotted out.
impl fmt::Display for LedgerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Postgres(url) => write!(f, "{}", redacted(url)),
            Place::Sqlite(path) => write!(f, "{}", path.display()),
        }
    }
}

impl fmt::Debug for LedgerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LedgerUrl({self})")
    }
}

impl FromStr for LedgerUrl {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

fn redacted(url: &Url) -> Url {
    let mut shown = url.clone();
    if url.password().is_some() {
        // Fails only for addresses without a host, and those cannot carry a password.
        let _ = shown.set_password(Some("***"));
    }
    if url.query_pairs().any(|(key, _)| key == "password") {
        let pairs: Vec<_> = url.query_pairs().into_owned().collect();
        shown.query_pairs_mut().clear().extend_pairs(pairs.iter().map(|(key, value)| {
            (key.as_str(), if key == "password" { "***" } else { value.as_str() })
        }));
    }
    shown
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use super::*;

    #[test]
    fn every_spelling_of_postgresql_means_postgresql() {
        for text in ["postgres://h/d", "postgresql://h/d", "postgresql+psycopg://h/d"] {
            let url = LedgerUrl::parse(text).unwrap();
            assert_eq!(url.backend(), Backend::Postgres);
            assert_eq!(url.to_string(), "postgresql://h/d");
        }
    }

    #[test]
    fn paths_are_sqlite_files() {
        let path = |text: &str| LedgerUrl::parse(text).unwrap().path().unwrap().to_path_buf();
        assert_eq!(path("sqlite:///var/l.db"), Path::new("/var/l.db"));
        assert_eq!(path("sqlite://data/l.db"), Path::new("data/l.db"));
        assert_eq!(path("data/100% mine?#.db"), Path::new("data/100% mine?#.db"));
    }

    #[test]
    fn no_password_is_shown() {
        for text in [
            "postgresql://u:hunter2@h/d",
            "postgresql://h/d?user=u&password=hunter2",
            "postgresql+psycopg://u:hunter2@h:5432/d?sslmode=require",
        ] {
            let url = LedgerUrl::parse(text).unwrap();
            assert!(!format!("{url} {url:?}").contains("hunter2"), "{url}");
            assert!(url.to_string().contains("***"), "{url}");
        }
    }

    #[test]
    fn what_cannot_be_a_ledger_is_refused_without_repeating_it() {
        for text in [
            "",
            "sqlite://",
            "sqlite::memory:",
            "sqlite:///:memory:",
            ":memory:",
            "mysql://u:hunter2@h/d",
            "postgresql://u:hunter2@h:port/d",
        ] {
            let error = LedgerUrl::parse(text).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
