//! The real Feast, pinned, in a Python environment of its own.
//!
//! Made once beside the build output and shared by everything that compares with Feast. A marker
//! file says what it was made from, so a half-made or outdated one is made anew.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, bail};

use crate::tool::Tool;

/// Feast and everything it needs, each at one version.
const REQUIREMENTS: &str = include_str!("../feast-requirements.txt");
/// Written last: what the environment holds.
const MARKER: &str = "tidegate-requirements.txt";
/// How much of a failed program's output is shown: the reason is at the end.
const OUTPUT_LINES_MAX: usize = 15;

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
        let target = target_dir()?;
        fs::create_dir_all(&target)
            .with_context(|| format!("failed to make `{}`", target.display()))?;
        let dir = target.join(format!("feast-{}", Self::VERSION));
        let lock = File::create(target.join(format!("feast-{}.lock", Self::VERSION)))?;
        // Whoever comes second waits here and then finds it complete.
        lock.lock().context("failed to lock the environment of Feast")?;
        if !is_complete(&dir) {
            make(&dir)?;
        }
        Ok(Self { dir })
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

fn is_complete(dir: &Path) -> bool {
    fs::read_to_string(dir.join(MARKER)).is_ok_and(|text| text == REQUIREMENTS)
        && dir.join("bin/feast").is_file()
}

fn make(dir: &Path) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    let python = Tool::require("python3")?;
    let made = Command::new(python).args(["-m", "venv"]).arg(dir).output()?;
    let hint = "Python 3.11 or later with its `venv` module is needed: `apt-get install \
                python3-venv`";
    succeeded(&made, "python3 -m venv", hint)?;
    let list = dir.join("requirements.txt");
    fs::write(&list, REQUIREMENTS)?;
    let installed = Command::new(dir.join("bin/python"))
        .args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"])
        .arg("-r")
        .arg(&list)
        .output()?;
    let hint = "the comparison with Feast installs it once from PyPI; make PyPI reachable, or name \
                another index with `PIP_INDEX_URL`";
    succeeded(&installed, "pip install", hint)?;
    Ok(fs::rename(&list, dir.join(MARKER))?)
}

/// Makes an error of a program that failed: the hint, and the end of what it said.
pub(crate) fn succeeded(output: &Output, program: &str, hint: &str) -> Result<()> {
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = text.lines().collect();
    let last = lines[lines.len().saturating_sub(OUTPUT_LINES_MAX)..].join("\n");
    bail!("`{program}` failed with {}: {hint}\n{last}", output.status)
}

/// Where everything is built, by the rule of `cargo xtask`.
pub(crate) fn target_dir() -> Result<PathBuf> {
    if let Some(dir) = env::var_os("CARGO_TARGET_DIR").filter(|dir| !dir.is_empty()) {
        return std::path::absolute(dir).context("`CARGO_TARGET_DIR` is no path");
    }
    let home = env::var_os("HOME").context("neither `CARGO_TARGET_DIR` nor `HOME` is set")?;
    Ok(PathBuf::from(home).join(".cache/tidegate-target"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_of_other_versions_is_not_complete() -> Result<()> {
        let dir = tempfile::tempdir()?;
        fs::create_dir(dir.path().join("bin"))?;
        fs::write(dir.path().join("bin/feast"), "")?;
        assert!(!is_complete(dir.path()));
        fs::write(dir.path().join(MARKER), "feast==0.66.0\n")?;
        assert!(!is_complete(dir.path()));
        fs::write(dir.path().join(MARKER), REQUIREMENTS)?;
        assert!(is_complete(dir.path()));
        Ok(())
    }

    #[test]
    fn the_pinned_feast_is_the_one_that_is_named() {
        let pin = format!("feast=={}", Feast::VERSION);
        assert!(REQUIREMENTS.lines().any(|line| line == pin));
    }

    #[test]
    fn a_failure_shows_the_hint_and_the_end_of_the_output() -> Result<()> {
        let script = "for i in $(seq 100); do echo line $i >&2; done; exit 3";
        let output = Command::new("sh").args(["-c", script]).output()?;
        let error = succeeded(&output, "pip install", "make PyPI reachable").expect_err("it is 3");
        let text = error.to_string();
        assert!(text.contains("make PyPI reachable") && text.ends_with("line 100"), "{text}");
        assert!(!text.contains("line 50"), "{text}");
        Ok(())
    }
}
