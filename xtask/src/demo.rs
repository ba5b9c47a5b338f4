//! The verbs that show something instead of checking it: `demo`, `bench`, `up`.

use std::process::Command;

use crate::Outcome;
use crate::cargo::{cargo, root, succeeds, target_dir, tidegate_bin};
use crate::instructions;

/// Makes a sample repository, materializes it and reads a row back.
pub(crate) fn demo(arguments: &[String]) -> Outcome {
    // As the tests build it: of `-p cli` alone, the query engine would be built a second time, with
    // fewer features.
    if !succeeds(&mut cargo(&["build", "--quiet", "--workspace", "--bin", "tidegate"])?)? {
        return Ok(false);
    }
    let mut command = Command::new(tidegate_bin("debug")?);
    succeeds(command.arg("demo").args(arguments).current_dir(root()))
}

/// Runs one program of `benches` against the release build of our binary.
pub(crate) fn bench(arguments: &[String]) -> Outcome {
    let Some((name, rest)) = arguments.split_first() else {
        return Err("`bench` needs the name of a benchmark, such as `materialize`".into());
    };
    if name == "instructions" {
        return instructions::run(rest);
    }
    // Together, so that nothing below them is built twice with other features.
    if !succeeds(&mut cargo(&["build", "--release", "-p", "cli", "-p", "benches"])?)? {
        return Ok(false);
    }
    let mut command = Command::new(target_dir()?.join("release").join(name));
    command.env("TIDEGATE_BIN", tidegate_bin("release")?);
    succeeds(command.args(rest))
}

/// Starts a local Redis and PostgreSQL until Ctrl-C.
pub(crate) fn up() -> Outcome {
    succeeds(&mut cargo(&["run", "--quiet", "-p", "harness", "--bin", "up"])?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_benchmark_without_a_name_is_an_error() {
        assert!(bench(&[]).is_err());
    }
}
