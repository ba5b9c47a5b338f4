//! `check`: everything CI checks without running the program.

use std::process::Command;

use crate::Outcome;
use crate::cargo::{answers, cargo, root, succeeds};
use crate::report::{self, Steps};
use crate::source::Tree;
use crate::{layers, tidy};

/// Checkers that are used where they are installed: the probe, and the command.
const OPTIONAL: [(&str, &[&str], &[&str]); 3] = [
    ("cargo-deny", &["--version"], &["--log-level", "error", "check"]),
    ("typos", &["--version"], &[]),
    ("cargo-machete", &["--version"], &[]),
];

/// Runs every check.
pub(crate) fn run() -> Outcome {
    let mut steps = Steps::new();
    self::steps(&mut steps);
    Ok(steps.close("check"))
}

/// Adds every check to the steps of a verb, the quick ones first.
pub(crate) fn steps(steps: &mut Steps) {
    steps.run("format", || succeeds(&mut cargo(&["fmt", "--all", "--check"])?));
    steps.run("layers", layers);
    steps.run("tidy", tidy);
    steps.run("clippy", || {
        let arguments =
            ["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"];
        succeeds(&mut cargo(&arguments)?)
    });
    for (program, probe, arguments) in OPTIONAL {
        optional(steps, program, probe, arguments);
    }
}

/// Checks the edges between crates.
pub(crate) fn layers() -> Outcome {
    Ok(report_all(&layers::check(&Tree::read(&root())?)))
}

/// Checks sizes, names and words.
pub(crate) fn tidy() -> Outcome {
    let found = tidy::check(&Tree::read(&root())?);
    for warning in &found.warnings {
        report::line(&format!("warning: {warning}"));
    }
    Ok(report_all(&found.violations))
}

/// Writes every violation and tells whether there are none.
fn report_all(violations: &[String]) -> bool {
    for violation in violations {
        report::line(&format!("error: {violation}"));
    }
    violations.is_empty()
}

fn optional(steps: &mut Steps, program: &str, probe: &[&str], arguments: &[&str]) {
    if answers(Command::new(program).args(probe)) {
        steps.run(program, || succeeds(Command::new(program).args(arguments).current_dir(root())));
    } else {
        report::line(&format!("\n== {program}\n-- skipped: not installed"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_violation_fails_the_step() {
        assert!(report_all(&[]));
        assert!(!report_all(&["`a` must not depend on `b`".to_owned()]));
    }

    #[test]
    fn an_installed_checker_counts_and_a_missing_one_does_not() {
        let mut steps = Steps::new();
        optional(&mut steps, "no-such-checker", &[], &[]);
        assert!(steps.close("check"));
        let mut steps = Steps::new();
        optional(&mut steps, "sh", &["-c", "true"], &["-c", "false"]);
        assert!(!steps.close("check"));
    }
}
