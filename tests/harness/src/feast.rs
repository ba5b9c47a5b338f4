//! The real Feast, pinned, in a Python environment of its own.

use std::path::PathBuf;

use anyhow::Result;

use crate::python;

/// Feast and everything it needs, each at one version.
const REQUIREMENTS: &str = include_str!("../feast-requirements.txt");

/// A Python environment that holds Feast.
#[derive(Clone, Debug)]
pub struct Feast {
    dir: PathBuf,
}

impl Feast {
    /// The version of Feast.
    pub const VERSION: &'static str = "0.67.0";

    /// Finds the environment, and makes it when it is missing: half a minute, once.
    ///
    /// # Errors
    /// When it cannot be made: no Python 3.11 or later, or no package index to install from.
    pub fn require() -> Result<Self> {
        let name = format!("feast-{}", Self::VERSION);
        Ok(Self { dir: python::require(&name, REQUIREMENTS, "feast")? })
    }

    /// Its Python.
    #[must_use]
    pub fn python(&self) -> PathBuf {
        self.dir.join("bin/python")
    }

    /// Its command `feast`.
    #[must_use]
    pub fn command(&self) -> PathBuf {
        self.dir.join("bin/feast")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pinned_feast_is_the_one_that_is_named() {
        let pin = format!("feast=={}", Feast::VERSION);
        assert!(REQUIREMENTS.lines().any(|line| line == pin));
    }
}
