//! `faults`: real schedulers, real servers, and everything that can go wrong with them.
//!
//! Only builds and runs: the histories are in `tests/faults`.

use std::process::Command;

use crate::Outcome;
use crate::cargo::{cargo, succeeds, target_dir, tidegate_bin};

/// What `cargo xtask test` runs: the same every time, and about a minute of it.
const SHORT: [&str; 4] = ["--seed", "1", "--histories", "3"];

/// Builds the program under test and the one that drives it, and runs histories.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    // Together, so that nothing below them is built twice with other features.
    if !succeeds(&mut cargo(&["build", "-p", "cli", "-p", "tests", "--bins"])?)? {
        return Ok(false);
    }
    succeeds(driver()?.args(arguments))
}

/// A few histories of a fixed seed, with what has been built already.
pub(crate) fn short() -> Outcome {
    succeeds(driver()?.args(SHORT))
}

fn driver() -> Result<Command, Box<dyn std::error::Error>> {
    let mut command = Command::new(target_dir()?.join("debug/faults"));
    command.env("TIDEGATE_BIN", tidegate_bin("debug")?);
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_driver_is_told_which_binary_to_drive() {
        let command = driver().expect("a home or a target directory is set");
        let told =
            command.get_envs().any(|(name, value)| name == "TIDEGATE_BIN" && value.is_some());
        assert!(told, "{command:?}");
    }
}
