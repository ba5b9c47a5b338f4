//! `bench instructions`: builds the counting program so that its counts mean something, runs it.
//!
//! A profile of its own, `instructions`, says what is optimized; see `Cargo.toml`. The suites' own
//! build is of no use here, and a release of everything would take CI twenty minutes.

use std::process::Command;

use crate::Outcome;
use crate::cargo::{cargo, succeeds, target_dir};

/// The profile and the program.
const NAME: &str = "instructions";

/// Counts instructions and compares them with the recorded ones, or records them.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    if !succeeds(&mut cargo(&["build", "--profile", NAME, "-p", "benches", "--bin", NAME])?)? {
        return Ok(false);
    }
    let mut command = Command::new(target_dir()?.join(NAME).join(NAME));
    succeeds(command.args(arguments))
}
