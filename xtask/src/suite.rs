//! `test`: everything CI runs, in order.

use std::process::Command;

use crate::Outcome;
use crate::cargo::{answers, cargo, succeeds, tidegate_bin};
use crate::report::{self, Steps};
use crate::{check, faults, install, instructions};

/// Runs everything CI runs; what follows `--` goes to the test runner.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    let arguments = match arguments.split_first() {
        None => arguments,
        Some((first, rest)) if first == "--" => rest,
        Some((first, _)) => {
            return Err(format!("arguments for the test runner go after `--`: `{first}`").into());
        }
    };
    let mut steps = Steps::new();
    steps.run("install", install::run);
    check::steps(&mut steps);
    if steps.run("build", build) {
        let nextest = answers(&mut cargo(&["nextest", "--version"])?);
        steps.run("tests", || tests(nextest, arguments));
        // `cargo test` runs them itself, and a runner's arguments mean nothing to them.
        if nextest && arguments.is_empty() {
            steps.run("doc tests", doc_tests);
        }
        if arguments.is_empty() {
            steps.run("faults", faults::short);
        }
    }
    if arguments.is_empty() {
        steps.run("instructions", || instructions::run(&[]));
    }
    Ok(steps.close("test"))
}

/// The binary and the tests together: apart, they would ask for other features of the same crates,
/// and those would be built twice.
fn build() -> Outcome {
    succeeds(&mut cargo(&["build", "--workspace", "--all-targets"])?)
}

fn tests(nextest: bool, arguments: &[String]) -> Outcome {
    let mut command = runner(nextest)?;
    command.env("TIDEGATE_BIN", tidegate_bin("debug")?);
    succeeds(command.args(arguments))
}

fn runner(nextest: bool) -> Result<Command, Box<dyn std::error::Error>> {
    if nextest {
        return cargo(&["nextest", "run", "--workspace"]);
    }
    report::line("cargo-nextest is not installed; using cargo test");
    cargo(&["test", "--workspace", "--no-fail-fast"])
}

fn doc_tests() -> Outcome {
    succeeds(&mut cargo(&["test", "--quiet", "--doc", "--workspace"])?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_without_the_separator_are_refused() {
        let error = run(&["-E".to_owned()]).expect_err("no separator").to_string();
        assert!(error.contains("after `--`"), "{error}");
    }

    #[test]
    fn both_runners_run_the_whole_workspace() {
        for nextest in [true, false] {
            let command = runner(nextest).expect("a home or a target directory is set");
            assert!(command.get_args().any(|argument| argument == "--workspace"));
        }
    }
}
