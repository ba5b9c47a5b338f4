//! The golden cases: input and output of the real Feast 0.67, recorded once.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

/// The directory of the cases.
#[must_use]
pub fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

/// The names of all cases, in order.
///
/// # Errors
/// When the directory cannot be read.
pub fn names() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(vectors())? {
        let path = entry?.path();
        if path.join("case.json").is_file() {
            let name = path.file_name().and_then(|name| name.to_str());
            names.push(name.context("a case has a plain name")?.to_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// One case.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// Its directory.
    pub directory: PathBuf,
    /// `case.json`.
    pub json: Value,
}

impl Case {
    /// Loads a case.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn load(name: &str) -> Result<Self> {
        let directory = vectors().join(name);
        let text = fs::read_to_string(directory.join("case.json"))
            .with_context(|| format!("there is no case `{name}`"))?;
        Ok(Self { name: name.to_owned(), directory, json: serde_json::from_str(&text)? })
    }

    /// The project's name.
    ///
    /// # Errors
    /// When the case has none.
    pub fn project(&self) -> Result<&str> {
        self.json["project"].as_str().context("a case has a project")
    }

    /// The command lines of its steps, and whether Feast failed at each.
    ///
    /// # Errors
    /// When a step has no command line.
    pub fn steps(&self) -> Result<Vec<Step>> {
        let steps = self.json["steps"].as_array().context("a case has steps")?;
        steps.iter().map(Step::read).collect()
    }

    /// The registry before or after, of whatever kind.
    ///
    /// # Errors
    /// When the case has none.
    pub fn registry(&self, when: &str) -> Result<PathBuf> {
        ["db", "sqlite", "sql"]
            .into_iter()
            .map(|kind| self.directory.join(format!("registry_{when}.{kind}")))
            .find(|path| path.is_file())
            .with_context(|| format!("case `{}` has no registry {when}", self.name))
    }

    /// The view and feature of a hash field, from the case's own list.
    #[must_use]
    pub fn field_name(&self, field: &str) -> Option<&str> {
        self.json["fields"].get(field)?.as_str()
    }

    /// The hash field of a view and feature, from the case's own list.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        let fields = self.json["fields"].as_object()?;
        fields.iter().find(|(_, value)| value.as_str() == Some(name)).map(|(field, _)| &**field)
    }

    /// Tells whether Feast writes a feature's value in an order of its own.
    #[must_use]
    pub fn is_unordered(&self, feature: &str) -> bool {
        self.lists("unordered", feature)
    }

    /// Tells whether a feature's value depends on the clock.
    #[must_use]
    pub fn is_volatile(&self, feature: &str) -> bool {
        self.lists("volatile", feature)
    }

    fn lists(&self, key: &str, feature: &str) -> bool {
        let list = self.json[key].as_array();
        list.is_some_and(|list| list.iter().any(|name| name.as_str() == Some(feature)))
    }

    /// Copies the input that a step begins with into a repository.
    ///
    /// # Errors
    /// When it cannot be copied.
    pub fn copy_input(&self, step: usize, repo: &Path) -> Result<()> {
        let input = self.directory.join("input").join(step.to_string());
        if input.is_dir() { copy(&input, repo) } else { Ok(()) }
    }
}

/// One step of a case.
#[derive(Clone, Debug)]
pub struct Step {
    /// The command line.
    pub argv: Vec<String>,
    /// Why Feast failed, if it did.
    pub error: Option<String>,
}

impl Step {
    fn read(step: &Value) -> Result<Self> {
        let argv = step["argv"].as_array().context("a step has a command line")?;
        Ok(Self {
            argv: argv.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            error: step["error"].as_str().map(str::to_owned),
        })
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let target = to.join(path.file_name().context("an entry has a name")?);
        if path.is_dir() {
            copy(&path, &target)?;
        } else {
            fs::copy(&path, &target)?;
        }
    }
    Ok(())
}
