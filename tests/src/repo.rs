//! A feature repository in a directory of its own, and the real binary run in it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::definition::Project;
use crate::online::create_table;
use crate::registry::{Place, file_bytes};

/// A feature repository.
#[derive(Debug)]
pub struct Repo {
    directory: TempDir,
}

/// How a run of the binary ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it logged and complained of.
    pub stderr: String,
}

impl Repo {
    /// A repository with this configuration.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn new(configuration: &Value) -> Result<Self> {
        let repo = Self { directory: tempfile::Builder::new().prefix("tidegate-repo-").tempdir()? };
        std::fs::create_dir(repo.path("data"))?;
        repo.configure(configuration)?;
        Ok(repo)
    }

    /// A repository of a project in a file registry, with an online store as configured.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn with_project(project: &Project, online_store: Value) -> Result<Self> {
        let repo = Self::new(&configuration(&project.name, online_store))?;
        repo.write("data/registry.db", file_bytes(project))?;
        Ok(repo)
    }

    /// A repository in a file registry with Feast's SQLite online store, its tables made.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn with_sqlite_store(project: &Project) -> Result<Self> {
        let repo =
            Self::with_project(project, json!({ "type": "sqlite", "path": "data/online.db" }))?;
        for view in &project.views {
            create_table(&repo.path("data/online.db"), &format!("{}_{}", project.name, view.name))?;
        }
        Ok(repo)
    }

    /// Writes `feature_store.yaml`. JSON is YAML.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn configure(&self, configuration: &Value) -> Result<()> {
        self.write("feature_store.yaml", serde_json::to_string_pretty(configuration)?)
    }

    /// Writes a file of the repository; directories are made.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) -> Result<()> {
        let path = self.path(path);
        let directory = path.parent().context("a file has a directory")?;
        std::fs::create_dir_all(directory)?;
        std::fs::write(&path, content)
            .with_context(|| format!("failed to write `{}`", path.display()))
    }

    /// A path in the repository.
    #[must_use]
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.directory.path().join(path)
    }

    /// The registry file.
    #[must_use]
    pub fn registry(&self) -> Place<'static> {
        Place::File(self.path("data/registry.db"))
    }

    /// The ledger beside the registry file.
    #[must_use]
    pub fn ledger(&self) -> PathBuf {
        self.path("data/tidegate.sqlite")
    }

    /// The binary with these arguments, in this repository, with nothing of our environment that
    /// it would listen to.
    ///
    /// # Errors
    /// When the binary has not been built.
    pub fn command<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Result<Command> {
        let mut command = Command::new(harness::tidegate_bin()?);
        for (name, _) in std::env::vars_os() {
            let shown = name.to_string_lossy();
            let ours = ["TIDEGATE_", "FEAST_", "FEATURE_", "AWS_", "PG", "RUST_LOG"];
            if ours.iter().any(|prefix| shown.starts_with(prefix)) {
                command.env_remove(name);
            }
        }
        command.arg("--chdir").arg(self.directory.path()).args(arguments);
        // Somewhere else than the repository, so that nothing leans on the working directory.
        command.current_dir(std::env::temp_dir()).stdin(Stdio::null());
        Ok(command)
    }

    /// Runs the binary to its end.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Result<Ended> {
        Ok(self.command(arguments)?.output()?.into())
    }

    /// Runs the binary, which must succeed.
    ///
    /// # Errors
    /// When it does not.
    pub fn succeed<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Result<Ended> {
        self.run(arguments)?.with_code(0)
    }

    /// Runs the binary for its JSON.
    ///
    /// # Errors
    /// When it does not succeed, or prints anything else on stdout.
    pub fn json<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Result<Value> {
        let mut all: Vec<&OsStr> = vec![OsStr::new("--output"), OsStr::new("json")];
        all.extend(arguments.iter().map(AsRef::as_ref));
        self.succeed(&all)?.json()
    }

    /// Starts the binary and leaves it running.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Result<Child> {
        let mut command = self.command(arguments)?;
        Ok(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?)
    }
}

impl Ended {
    /// Checks the exit code.
    ///
    /// # Errors
    /// When it is another one; the message has all output.
    pub fn with_code(self, code: i32) -> Result<Self> {
        ensure!(
            self.code == Some(code),
            "exit code {:?} instead of {code}\nstdout:\n{}\nstderr:\n{}",
            self.code,
            self.stdout,
            self.stderr
        );
        Ok(self)
    }

    /// Checks that something was said, on either stream, whatever the line breaks.
    ///
    /// # Errors
    /// When it was not; the message has all output.
    pub fn says(&self, words: &str) -> Result<()> {
        let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let said = flat(&self.all());
        ensure!(said.contains(&flat(words)), "nowhere is `{words}`:\n{}", self.all());
        Ok(())
    }

    /// Stdout as JSON.
    ///
    /// # Errors
    /// When it is none.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.stdout).with_context(|| format!("no JSON:\n{}", self.all()))
    }

    /// Both streams.
    #[must_use]
    pub fn all(&self) -> String {
        format!("{}\n{}", self.stdout, self.stderr)
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

/// A configuration with a file registry.
#[must_use]
pub fn configuration(project: &str, online_store: Value) -> Value {
    json!({
        "project": project,
        "provider": "local",
        "registry": "data/registry.db",
        "entity_key_serialization_version": 3,
        "offline_store": { "type": "file" },
        "online_store": online_store,
    })
}

/// A Redis online store on a loopback port.
#[must_use]
pub fn redis_store(port: u16) -> Value {
    json!({ "type": "redis", "connection_string": format!("127.0.0.1:{port}") })
}
