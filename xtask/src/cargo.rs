//! Runs cargo and other programs from the root of the repository.

use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Outcome;

/// Variables that the outer cargo sets for this program. Left in place, they would make the inner
/// cargo build again whatever depends on them.
const OUTER: [&str; 3] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"];

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    let manifest = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    manifest.parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// Where everything is built.
pub(crate) fn target_dir() -> Result<PathBuf, Box<dyn Error>> {
    if let Some(dir) = env::var_os("CARGO_TARGET_DIR") {
        return Ok(root().join(dir));
    }
    let home = env::var_os("HOME").ok_or("neither `CARGO_TARGET_DIR` nor `HOME` is set")?;
    Ok(PathBuf::from(home).join(".cache/tidegate-target"))
}

/// Our binary, as built with a profile whose directory is `profile`.
pub(crate) fn tidegate_bin(profile: &str) -> Result<PathBuf, Box<dyn Error>> {
    Ok(target_dir()?.join(profile).join("tidegate"))
}

/// A cargo command.
pub(crate) fn cargo(arguments: &[&str]) -> Result<Command, Box<dyn Error>> {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root()).env("CARGO_TARGET_DIR", target_dir()?);
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(|name| OUTER.iter().any(|prefix| name.starts_with(prefix))) {
            command.env_remove(name);
        }
    }
    Ok(command)
}

/// Runs a command to its end and tells whether it succeeded.
pub(crate) fn succeeds(command: &mut Command) -> Outcome {
    let program = command.get_program().to_string_lossy().into_owned();
    match command.status() {
        Ok(status) => Ok(status.success()),
        Err(error) => Err(format!("failed to run `{program}`: {error}").into()),
    }
}

/// Tells whether a command can be run and succeeds, without showing what it says.
pub(crate) fn answers(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_holds_the_workspace() {
        assert!(root().join("xtask/Cargo.toml").is_file());
    }

    #[test]
    fn a_failing_program_does_not_succeed() {
        assert!(matches!(succeeds(&mut Command::new("true")), Ok(true)));
        assert!(matches!(succeeds(&mut Command::new("false")), Ok(false)));
        assert!(succeeds(&mut Command::new("no-such-program")).is_err());
        assert!(!answers(&mut Command::new("no-such-program")));
    }
}
