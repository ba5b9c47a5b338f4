//! What a run was asked to do.

use model::{EventTime, Request};

use crate::error::Error;

/// One trigger: the views and the interval that are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trigger {
    /// The interval, the same for every view.
    pub request: Request,
    /// The views; empty for all that Feast would materialize.
    pub views: Vec<String>,
    /// The version of the one view that is asked for.
    pub version: Option<Version>,
    /// Keeps an end in the future.
    pub allow_future: bool,
    /// Takes it for success when there is no view.
    pub allow_empty: bool,
    /// Refuses to write anything where it may not fit into the online store's memory.
    pub refuse_over_memory: bool,
    /// Jobs side by side.
    pub parallel: usize,
    /// When the run was triggered.
    pub now: EventTime,
}

/// `--version`: which stored definition of a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// The active one.
    Latest,
    /// Number N of the history.
    Number(u32),
}

impl Version {
    /// Reads `latest`, `vN` or `versionN`, in any case.
    ///
    /// # Errors
    /// [`Error::Version`] for anything else.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let lower = text.to_ascii_lowercase();
        if lower == "latest" {
            return Ok(Self::Latest);
        }
        let number = lower.strip_prefix("version").or_else(|| lower.strip_prefix('v'));
        number
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|digits| digits.parse().ok())
            .map(Self::Number)
            .ok_or_else(|| Error::Version {
                what: format!("`{text}` is no version; write `latest`, `v2` or `version2`"),
            })
    }
}

impl Trigger {
    /// Checks what can be checked before anything is read.
    ///
    /// # Errors
    /// A reversed interval, one in the future, a version without exactly one view.
    pub fn check(&self) -> Result<(), Error> {
        if let Request::Interval { start, end } = self.request {
            if start > end {
                return Err(Error::Reversed { start, end });
            }
            if start > self.now && !self.allow_future {
                return Err(Error::StartInFuture { start });
            }
        }
        if self.version.is_some() && self.views.len() != 1 {
            return Err(Error::Version {
                what: format!("needs exactly one --views, got {}", self.views.len()),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_read_in_any_case() {
        for (text, version) in [
            ("latest", Version::Latest),
            ("Latest", Version::Latest),
            ("v0", Version::Number(0)),
            ("V12", Version::Number(12)),
            ("version3", Version::Number(3)),
        ] {
            assert_eq!(Version::parse(text).ok(), Some(version), "{text}");
        }
        for text in ["", "3", "v", "v-1", "v+1", "version", "v1.0"] {
            assert!(Version::parse(text).is_err(), "{text}");
        }
    }
}
