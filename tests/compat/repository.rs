//! A feature repository with two configurations, and what can be done with each.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use harness::{Postgres, Redis, tidegate_bin};
use serde_json::Value;
use tempfile::TempDir;

use crate::session::{self, Ran, Session, end_of, python_file};

/// Which of the two configurations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Tidegate's, and Feast's beside it.
    Ours,
    /// Feast's alone.
    Reference,
}

impl Side {
    pub(crate) const BOTH: [Self; 2] = [Self::Ours, Self::Reference];

    fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Reference => "reference",
        }
    }

    /// The Redis database.
    fn database(self) -> usize {
        match self {
            Self::Ours => 0,
            Self::Reference => 1,
        }
    }
}

/// The servers behind a repository.
pub(crate) enum Backend {
    /// Registry in PostgreSQL, features in Redis.
    Servers { postgres: Postgres, redis: Redis },
    /// Registry in a file, features in Redis.
    FileAndRedis { redis: Redis },
    /// Registry in a file, features in Feast's SQLite store.
    Files,
}

impl Backend {
    pub(crate) fn servers() -> Result<Self> {
        Ok(Self::Servers { postgres: Postgres::start()?, redis: Redis::start()? })
    }

    fn registry(&self, side: Side) -> Result<String> {
        let name = side.name();
        Ok(match self {
            Self::Servers { postgres, .. } => {
                let url = postgres.create_database(name)?;
                format!("{{registry_type: sql, path: '{url}', cache_ttl_seconds: 0}}")
            }
            Self::FileAndRedis { .. } | Self::Files => {
                format!("{{path: registry/{name}.db, cache_ttl_seconds: 0}}")
            }
        })
    }

    fn online_store(&self, side: Side) -> String {
        match self {
            Self::Servers { redis, .. } | Self::FileAndRedis { redis } => format!(
                "{{type: redis, connection_string: 'localhost:{},db={}'}}",
                redis.port(),
                side.database()
            ),
            Self::Files => format!("{{type: sqlite, path: online/{}.db}}", side.name()),
        }
    }
}

/// A repository: definitions, data, two configurations, and a Feast to use it with.
pub(crate) struct Repository {
    dir: TempDir,
    backend: Backend,
    pub(crate) session: Session,
}

impl Repository {
    /// Makes a repository from two of this suite's Python files: the definitions, and the script
    /// that makes the data from a seed. They may be the same file.
    pub(crate) fn make(backend: Backend, definitions: &str, data: &str, seed: u32) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        fs::copy(python_file(definitions), dir.path().join("definitions.py"))?;
        for side in Side::BOTH {
            let text = format!(
                "project: attrition\nprovider: local\nregistry: {}\nonline_store: {}\n\
                 offline_store: {{type: file}}\nentity_key_serialization_version: 3\n",
                backend.registry(side)?,
                backend.online_store(side),
            );
            fs::write(dir.path().join(format!("{}.yaml", side.name())), text)?;
        }
        let mut session = session::start()?;
        let target = dir.path().join("data").display().to_string();
        session.script(data, &[&target, &seed.to_string()])?;
        Ok(Self { dir, backend, session })
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The configuration file of a side.
    pub(crate) fn config(&self, side: Side) -> String {
        self.path().join(format!("{}.yaml", side.name())).display().to_string()
    }

    /// Runs a `feast` command, which must succeed, and gives what it printed, without colours.
    pub(crate) fn feast(&mut self, side: Side, arguments: &[&str]) -> Result<String> {
        self.feast_with(side, arguments, &[])
    }

    /// The same with variables.
    pub(crate) fn feast_with(
        &mut self,
        side: Side,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Result<String> {
        let ran = self.feast_ran(side, arguments, environment)?;
        let shown = || format!("{}\n{}", end_of(&ran.stdout), end_of(&ran.stderr));
        ensure!(ran.code == 0, "`feast {}` failed: {}", arguments.join(" "), shown());
        Ok(without_colours(&ran.stdout))
    }

    fn feast_ran(
        &mut self,
        side: Side,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Result<Ran> {
        let config = self.config(side);
        let dir = self.dir.path().to_owned();
        let place = dir.display().to_string();
        let all = [&["-c", place.as_str(), "-f", config.as_str()], arguments].concat();
        self.session.run("feast", &all, &dir, environment)
    }

    /// Runs `feast apply` with a revision of the definitions.
    pub(crate) fn apply(&mut self, side: Side, revision: u32) -> Result<()> {
        let revision = revision.to_string();
        self.feast_with(side, &["apply"], &[("REVISION", &revision)]).map(drop)
    }

    /// Runs our binary on our side, which must succeed, and gives its report.
    pub(crate) fn tidegate(&self, arguments: &[&str]) -> Result<Value> {
        tidegate(self.path(), arguments)
    }

    /// What Feast reads in the registry of a side.
    pub(crate) fn registry(&mut self, side: Side) -> Result<Value> {
        let config = self.config(side);
        let place = self.path().display().to_string();
        self.session.script("registry.py", &[&place, &config])
    }

    /// Everything in the online store of a side.
    pub(crate) fn stored(&mut self, side: Side) -> Result<Value> {
        match &self.backend {
            Backend::Servers { redis, .. } | Backend::FileAndRedis { redis } => {
                let (port, database) = (redis.port().to_string(), side.database().to_string());
                self.session.script("dump.py", &["redis", &port, &database])
            }
            Backend::Files => {
                let file = self.path().join(format!("online/{}.db", side.name()));
                self.session.script("dump.py", &["sqlite", &file.display().to_string()])
            }
        }
    }

    /// Checks that both sides' online stores hold the same bytes, and something at all.
    pub(crate) fn assert_same_bytes(&mut self, when: &str) -> Result<()> {
        let (ours, reference) = (self.stored(Side::Ours)?, self.stored(Side::Reference)?);
        let found = differences(&ours, &reference)?;
        ensure!(
            found.is_empty(),
            "{when}: {} differences from Feast, such as\n{}",
            found.len(),
            found[..found.len().min(20)].join("\n")
        );
        Ok(())
    }
}

/// Runs our binary in a repository, which must succeed, and gives its report.
pub(crate) fn tidegate(dir: &Path, arguments: &[&str]) -> Result<Value> {
    let output = Command::new(tidegate_bin()?)
        .args(["--output", "json", "-f", "ours.yaml"])
        .args(arguments)
        .current_dir(dir)
        .env("TZ", "UTC")
        .output()?;
    let (stdout, stderr) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let shown = || format!("`tidegate {}`: {stdout}\n{stderr}", arguments.join(" "));
    ensure!(output.status.success(), "{}", shown());
    serde_json::from_str(&stdout).with_context(shown)
}

/// Where the jobs of a report start: view and instant.
pub(crate) fn starts(report: &Value) -> Result<Vec<(&str, &str)>> {
    let jobs = report["jobs"].as_array().context("the report has jobs")?;
    let start = |job| start_of(job).with_context(|| format!("a job read nothing: {job}"));
    jobs.iter().map(start).collect()
}

fn start_of(job: &Value) -> Option<(&str, &str)> {
    job["view"].as_str().zip(job["interval"]["start"].as_str())
}

/// What differs between two stores, one line each: key, field, ours, Feast's.
fn differences(ours: &Value, reference: &Value) -> Result<Vec<String>> {
    let ours = ours.as_object().context("a dump is an object")?;
    let reference = reference.as_object().context("a dump is an object")?;
    ensure!(!reference.is_empty(), "Feast has stored nothing");
    let mut found = Vec::new();
    for key in ours.keys().filter(|key| !reference.contains_key(*key)) {
        found.push(format!("key {key} is ours alone"));
    }
    for (key, theirs) in reference {
        let Some(fields) = ours.get(key) else {
            found.push(format!("key {key} is missing"));
            continue;
        };
        let (fields, theirs) = (fields.as_object(), theirs.as_object());
        let (fields, theirs) = fields.zip(theirs).context("a key has fields")?;
        let all = fields.keys().chain(theirs.keys().filter(|field| !fields.contains_key(*field)));
        for field in all.filter(|field| fields.get(*field) != theirs.get(*field)) {
            let (our, their) = (fields.get(field), theirs.get(field));
            found.push(format!("key {key}, field {field}: ours {our:?}, Feast's {their:?}"));
        }
    }
    Ok(found)
}

/// Removes terminal colours: `ESC [ … m`.
fn without_colours(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str(part.split_once('m').map_or(part, |(_, rest)| rest));
    }
    plain
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_kind_of_difference_is_found() -> Result<()> {
        let reference = json!({"a": {"x": "1", "y": "2"}, "b": {"x": "1"}});
        assert!(differences(&reference, &reference)?.is_empty());
        for ours in [
            json!({"a": {"x": "1", "y": "2"}}),
            json!({"a": {"x": "1", "y": "2"}, "b": {"x": "1"}, "c": {}}),
            json!({"a": {"x": "1", "y": "2"}, "b": {"x": "2"}}),
            json!({"a": {"x": "1", "y": "2"}, "b": {"x": "1", "z": "1"}}),
            json!({"a": {"x": "1"}, "b": {"x": "1"}}),
        ] {
            assert_eq!(differences(&ours, &reference)?.len(), 1, "{ours}");
        }
        assert!(differences(&json!({}), &json!({})).is_err());
        Ok(())
    }

    #[test]
    fn colours_are_removed() {
        assert_eq!(without_colours("\u{1b}[1m\u{1b}[32mview\u{1b}[0m from"), "view from");
    }
}
