//! Python environments of pinned packages, each in a directory of its own.
//!
//! Made once beside the build output and shared by every test that needs one. A marker file says
//! what it was made from, so a half-made or outdated one is made anew.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, bail};

use crate::tool::Tool;

/// Written last: what the environment holds.
const MARKER: &str = "tidegate-requirements.txt";
/// How much of a failed program's output is shown: the reason is at the end.
const OUTPUT_LINES_MAX: usize = 15;

/// Finds the environment `name` with a program in it, and makes it when it is missing.
pub(crate) fn require(name: &str, requirements: &str, program: &str) -> Result<PathBuf> {
    let target = target_dir()?;
    fs::create_dir_all(&target)
        .with_context(|| format!("failed to make `{}`", target.display()))?;
    let dir = target.join(name);
    let lock = File::create(target.join(format!("{name}.lock")))?;
    // Whoever comes second waits here and then finds it complete.
    lock.lock().with_context(|| format!("failed to lock the environment `{name}`"))?;
    if !is_complete(&dir, requirements, program) {
        make(&dir, requirements)?;
    }
    Ok(dir)
}

fn is_complete(dir: &Path, requirements: &str, program: &str) -> bool {
    fs::read_to_string(dir.join(MARKER)).is_ok_and(|text| text == requirements)
        && dir.join("bin").join(program).is_file()
}

fn make(dir: &Path, requirements: &str) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    let python = Tool::require("python3")?;
    let made = Command::new(python).args(["-m", "venv"]).arg(dir).output()?;
    let hint = "Python 3.11 or later with its `venv` module is needed: `apt-get install \
                python3-venv`";
    succeeded(&made, "python3 -m venv", hint)?;
    let list = dir.join("requirements.txt");
    fs::write(&list, requirements)?;
    let installed = Command::new(dir.join("bin/python"))
        .args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"])
        .arg("-r")
        .arg(&list)
        .output()?;
    let hint = "what the tests compare with is installed once from PyPI; make PyPI reachable, or \
                name another index with `PIP_INDEX_URL`";
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
        let (dir, wanted) = (tempfile::tempdir()?, "feast==0.67.0\n");
        fs::create_dir(dir.path().join("bin"))?;
        fs::write(dir.path().join("bin/feast"), "")?;
        assert!(!is_complete(dir.path(), wanted, "feast"));
        fs::write(dir.path().join(MARKER), "feast==0.66.0\n")?;
        assert!(!is_complete(dir.path(), wanted, "feast"));
        fs::write(dir.path().join(MARKER), wanted)?;
        assert!(is_complete(dir.path(), wanted, "feast"));
        assert!(!is_complete(dir.path(), wanted, "other"));
        Ok(())
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
