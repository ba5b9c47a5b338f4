//! A process that has Feast imported, and runs commands and scripts on request.
//!
//! Importing Feast costs three seconds of processor time; see `tests/python/session.py`.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};
use harness::Feast;
use serde_json::{Value, json};

/// The process. It ends when its input does, so with the test at the latest.
#[derive(Debug)]
pub struct Session {
    scripts: PathBuf,
    child: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

/// What a command came to.
#[derive(Debug)]
pub struct Ran {
    /// The exit code.
    pub code: i64,
    /// What it printed.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

impl Session {
    /// Starts the process, for the scripts of a directory; makes Feast's environment first when
    /// there is none yet.
    ///
    /// # Errors
    /// When the environment cannot be made, or its Python not be started.
    pub fn start(scripts: impl Into<PathBuf>) -> Result<Self> {
        let feast = Feast::require()?;
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/session.py");
        let mut child = Command::new(feast.python())
            // Without the scripts' own directory in the path: Feast imports a repository's
            // definitions by name, and would find ours first.
            .arg("-P")
            .arg(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Feast's SQLite store shifts event times by the process's zone.
            .env("TZ", "UTC")
            // Nothing may reach out for anybody's statistics.
            .env("FEAST_USAGE", "False")
            .spawn()
            .context("failed to start Feast's Python")?;
        let requests = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().context("its output is piped")?);
        Ok(Self { scripts: scripts.into(), child, requests, answers })
    }

    /// Runs a program, `feast` or a script, in a directory and gives what it came to.
    ///
    /// # Errors
    /// When the process has ended; a program that fails is an exit code.
    pub fn run(
        &mut self,
        program: &str,
        arguments: &[&str],
        directory: &Path,
        environment: &[(&str, &str)],
    ) -> Result<Ran> {
        let environment: serde_json::Map<String, Value> =
            environment.iter().map(|&(name, value)| (name.to_owned(), json!(value))).collect();
        let request = json!({
            "program": program,
            "arguments": arguments,
            "directory": directory,
            "environment": environment,
        });
        let requests = self.requests.as_mut().context("its input is open until it is dropped")?;
        writeln!(requests, "{request}").context("Feast's Python has ended")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let answer: Value =
            serde_json::from_str(&line).context("Feast's Python has ended without an answer")?;
        let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
        let code = answer["code"].as_i64().context("the answer has an exit code")?;
        Ok(Ran { code, stdout: text("stdout"), stderr: text("stderr") })
    }

    /// Runs one of the scripts and gives the JSON it prints.
    ///
    /// # Errors
    /// When it fails, or prints no JSON.
    pub fn script(&mut self, name: &str, arguments: &[&str]) -> Result<Value> {
        let path = self.scripts.join(name).display().to_string();
        let ran = self.run(&path, arguments, Path::new("/"), &[])?;
        ensure!(ran.code == 0, "`{name}` failed: {}", end_of(&ran.stderr));
        if ran.stdout.is_empty() {
            return Ok(Value::Null);
        }
        // Feast prints what it wants; the JSON is the last line.
        let last = ran.stdout.trim_end().lines().last().unwrap_or_default();
        serde_json::from_str(last).with_context(|| format!("`{name}` printed no JSON: {last}"))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        drop(self.requests.take());
        // It has read the end of its input, or is gone already.
        self.child.wait().ok();
    }
}

/// The last lines of a text: a Python traceback has its reason at the end.
#[must_use]
pub fn end_of(text: &str) -> String {
    const LINES_MAX: usize = 12;
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES_MAX)..].join("\n")
}
