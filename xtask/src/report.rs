//! What the verbs say: headings, timings, and one closing line that tells the truth.

use std::io::{Write, stderr};
use std::time::Instant;

use crate::Outcome;

/// Writes one line to stderr.
pub(crate) fn line(text: &str) {
    // There is nowhere else to complain when stderr is closed.
    writeln!(stderr(), "{text}").ok();
}

/// Steps of a verb; a failed one does not stop the next.
#[derive(Debug)]
pub(crate) struct Steps {
    begun: Instant,
    passed: usize,
    failed: Vec<String>,
}

impl Steps {
    /// No step yet.
    pub(crate) fn new() -> Self {
        Self { begun: Instant::now(), passed: 0, failed: Vec::new() }
    }

    /// Runs one step under its heading and tells whether it passed.
    pub(crate) fn run(&mut self, name: &str, step: impl FnOnce() -> Outcome) -> bool {
        line(&format!("\n== {name}"));
        let begun = Instant::now();
        let passed = step().unwrap_or_else(|error| {
            line(&format!("error: {error}"));
            false
        });
        let verdict = if passed { "passed" } else { "FAILED" };
        line(&format!("-- {name}: {verdict} in {:.1} s", begun.elapsed().as_secs_f64()));
        if passed {
            self.passed += 1;
        } else {
            self.failed.push(name.to_owned());
        }
        passed
    }

    /// Writes the closing line and tells whether every step passed.
    pub(crate) fn close(self, verb: &str) -> bool {
        line(&format!("\n{}", self.summary(verb)));
        self.failed.is_empty()
    }

    fn summary(&self, verb: &str) -> String {
        let seconds = self.begun.elapsed().as_secs_f64();
        let total = self.passed + self.failed.len();
        if self.failed.is_empty() {
            return format!("{verb}: all {total} steps passed in {seconds:.1} s");
        }
        let failed = self.failed.join(", ");
        format!("{verb}: FAILED {} of {total} steps in {seconds:.1} s: {failed}", self.failed.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failed_step_fails_the_whole() {
        let mut steps = Steps::new();
        assert!(steps.run("one", || Ok(true)));
        assert!(!steps.run("two", || Ok(false)));
        assert!(!steps.run("three", || Err("no such program".into())));
        assert!(steps.summary("check").starts_with("check: FAILED 2 of 3 steps"));
        assert!(steps.summary("check").ends_with(": two, three"));
        assert!(!steps.close("check"));
    }

    #[test]
    fn steps_that_pass_pass() {
        let mut steps = Steps::new();
        steps.run("one", || Ok(true));
        assert!(steps.summary("check").starts_with("check: all 1 steps passed"));
        assert!(steps.close("check"));
    }
}
