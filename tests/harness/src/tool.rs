//! Finds the programs that tests run: servers from Debian, and our own binary.
//!
//! A missing program is an error that says how to get it; no test skips itself over one.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Finds programs that tests run.
#[derive(Debug)]
pub struct Tool;

impl Tool {
    /// Finds a program in `PATH`, or where Debian keeps PostgreSQL's.
    ///
    /// # Errors
    /// When it is not installed; the message says how to install it.
    pub fn require(name: &str) -> Result<PathBuf> {
        if let Some(path) = Self::find(name) {
            return Ok(path);
        }
        let package = match name {
            "redis-server" | "redis-cli" => "redis-server",
            "initdb" | "postgres" | "pg_ctl" | "psql" => "postgresql",
            "setpriv" => "util-linux",
            other => other,
        };
        bail!(
            "`{name}` is not installed: run `cargo xtask test`, which installs it, \
             or `apt-get install {package}`"
        )
    }

    /// Finds a program in `PATH`, or where Debian keeps PostgreSQL's; `None` when there is none.
    #[must_use]
    pub fn find(name: &str) -> Option<PathBuf> {
        let path = env::var_os("PATH").unwrap_or_default();
        Self::postgres_dirs()
            .into_iter()
            .chain(env::split_paths(&path))
            .map(|dir| dir.join(name))
            .find(|candidate| candidate.is_file())
    }

    /// Debian's directories of PostgreSQL programs, newest version first. They come before `PATH`,
    /// where Debian has wrappers for some of them only.
    fn postgres_dirs() -> Vec<PathBuf> {
        let Ok(entries) = Path::new("/usr/lib/postgresql").read_dir() else {
            return Vec::new();
        };
        let mut versions: Vec<u32> =
            entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
        versions.sort_unstable_by(|a, b| b.cmp(a));
        versions.iter().map(|v| PathBuf::from(format!("/usr/lib/postgresql/{v}/bin"))).collect()
    }
}

/// Finds our binary: `TIDEGATE_BIN`, or `tidegate` in the target directory this test was built in.
///
/// # Errors
/// When there is no such file; the message says how to build it.
pub fn tidegate_bin() -> Result<PathBuf> {
    if let Some(path) = env::var_os("TIDEGATE_BIN") {
        let path = PathBuf::from(path);
        if path.is_file() {
            return Ok(path);
        }
        bail!("`TIDEGATE_BIN` names `{}`, which is no file", path.display());
    }
    let test = env::current_exe().context("failed to find the test's own program")?;
    beside(&test)
}

/// The binary in `<target>/<profile>`, for a test program in `<target>/<profile>/deps`.
fn beside(test: &Path) -> Result<PathBuf> {
    let path = test
        .ancestors()
        .nth(2)
        .map(|profile| profile.join("tidegate"))
        .context("the test's own program has no directory above it")?;
    if path.is_file() {
        return Ok(path);
    }
    bail!(
        "`{}` does not exist: run `cargo build -p cli`, or set `TIDEGATE_BIN` to the binary",
        path.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_says_how_to_install_it() {
        let error = Tool::require("no-such-program").expect_err("nobody has it");
        let text = error.to_string();
        assert!(text.contains("cargo xtask test"), "{text}");
        assert!(text.contains("apt-get install no-such-program"), "{text}");
    }

    #[test]
    fn a_program_in_path_is_found() -> Result<()> {
        assert!(Tool::require("sh")?.is_absolute());
        Ok(())
    }

    #[test]
    fn the_binary_is_two_levels_above_the_test() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let test = dir.path().join("debug/deps/suite-0");
        std::fs::create_dir_all(dir.path().join("debug/deps"))?;
        let error = beside(&test).expect_err("not built yet").to_string();
        assert!(error.contains("cargo build -p cli"), "{error}");
        std::fs::write(dir.path().join("debug/tidegate"), "")?;
        assert_eq!(beside(&test)?, dir.path().join("debug/tidegate"));
        Ok(())
    }
}
