//! Schemathesis, pinned: asks a server whatever its own OpenAPI document allows, and more.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::Result;

use crate::python;

/// Schemathesis and everything it needs, each at one version.
const REQUIREMENTS: &str = include_str!("../schemathesis-requirements.txt");

/// What each answer is held to: the server does not fail, and answers as its document says.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_schema_conformance,response_headers_conformance";

/// A Python environment that holds Schemathesis.
#[derive(Clone, Debug)]
pub struct Schemathesis {
    dir: PathBuf,
}

impl Schemathesis {
    /// The version of Schemathesis.
    pub const VERSION: &'static str = "4.32.5";

    /// Finds the environment, and makes it when it is missing: half a minute, once.
    ///
    /// # Errors
    /// When it cannot be made: no Python 3.11 or later, or no package index to install from.
    pub fn require() -> Result<Self> {
        let name = format!("schemathesis-{}", Self::VERSION);
        Ok(Self { dir: python::require(&name, REQUIREMENTS, "schemathesis")? })
    }

    /// Asks the server at `url` for so long, the same questions each time, and tells what came of
    /// it. The exit code is 0 when every answer was as the document says, and none a failure.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run(&self, url: &str, limit: Duration, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(self.dir.join("bin/schemathesis"));
        command.args(["run", &format!("{url}/openapi.json"), "--url", url]);
        command.args(["--checks", CHECKS, "--continue-on-failure", "--seed", "1", "--no-color"]);
        command.args(["--max-time", &limit.as_secs().to_string()]);
        // Nothing of the machine's may come between, nor be written where the tests are started.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().to_ascii_lowercase().ends_with("_proxy") {
                command.env_remove(name);
            }
        }
        let scratch = tempfile::tempdir()?;
        command.current_dir(scratch.path()).args(arguments);
        Ok(command.output()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pinned_schemathesis_is_the_one_that_is_named() {
        let pin = format!("schemathesis=={}", Schemathesis::VERSION);
        assert!(REQUIREMENTS.lines().any(|line| line == pin));
    }
}
