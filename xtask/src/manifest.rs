//! What a `Cargo.toml` says about dependencies, read without a TOML parser.
//!
//! Our manifests are plain: one dependency a line, or one table a dependency. A renamed dependency
//! would hide what a crate uses, so it is a violation instead of something to understand.

/// Dependencies of one crate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Manifest {
    /// `[package] name`; empty in the workspace's own manifest.
    pub(crate) name: String,
    /// Names in `[dependencies]` and `[build-dependencies]`, for any target.
    pub(crate) dependencies: Vec<String>,
    /// Names in `[dev-dependencies]`, for any target.
    pub(crate) dev_dependencies: Vec<String>,
    /// Tells whether the crate takes the workspace's lints.
    pub(crate) has_workspace_lints: bool,
    /// Tells whether a dependency goes by another name than its own.
    pub(crate) has_renames: bool,
}

/// The tables this module understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Section {
    Package,
    Lints,
    Dependencies,
    DevDependencies,
    Other,
}

impl Manifest {
    /// Reads a manifest.
    pub(crate) fn parse(text: &str) -> Self {
        let mut manifest = Self::default();
        let mut section = Section::Other;
        let mut depth = 0;
        for line in text.lines().map(str::trim) {
            if depth == 0 && line.starts_with('[') {
                let (found, dependency) = header(line);
                section = found;
                manifest.add(section, dependency);
                if dependency.is_some() {
                    // The keys below belong to that one dependency.
                    section = Section::Other;
                }
                continue;
            }
            if depth == 0 && !line.starts_with('#') {
                manifest.entry(section, line);
            }
            manifest.has_renames |= renames(line);
            depth += brackets(line);
        }
        manifest
    }

    fn entry(&mut self, section: Section, line: &str) {
        let Some((key, value)) = line.split_once('=') else { return };
        let (key, value) = (key.trim(), value.trim());
        match section {
            Section::Package if key == "name" => self.name = value.trim_matches('"').to_owned(),
            Section::Lints => self.has_workspace_lints |= key == "workspace" && value == "true",
            _ => self.add(section, key.split('.').next()),
        }
    }

    fn add(&mut self, section: Section, dependency: Option<&str>) {
        let Some(name) = dependency.map(|name| name.trim_matches('"').to_owned()) else { return };
        match section {
            Section::Dependencies => self.dependencies.push(name),
            Section::DevDependencies => self.dev_dependencies.push(name),
            Section::Package | Section::Lints | Section::Other => {}
        }
    }
}

/// The kind of a table, and the dependency it is about when it is about one.
fn header(line: &str) -> (Section, Option<&str>) {
    let path = line.trim_matches(['[', ']']);
    let (path, dependency) = match path.rsplit_once("dependencies.") {
        Some((kind, name)) => (&path[..kind.len() + "dependencies".len()], Some(name)),
        None => (path, None),
    };
    let section = match path {
        "package" => Section::Package,
        "lints" => Section::Lints,
        // The workspace's table offers; it does not use.
        path if path.starts_with("workspace") => Section::Other,
        path if path.ends_with("dev-dependencies") => Section::DevDependencies,
        path if path.ends_with("dependencies") => Section::Dependencies,
        _ => Section::Other,
    };
    (section, dependency)
}

fn renames(line: &str) -> bool {
    line.split(['{', ',']).any(|part| {
        let key = part.split('=').next().unwrap_or_default().trim();
        part.contains('=') && (key == "package" || key.ends_with(".package"))
    })
}

/// How much deeper into brackets a line leads.
fn brackets(line: &str) -> i32 {
    line.chars()
        .map(|c| i32::from(matches!(c, '[' | '{')) - i32::from(matches!(c, ']' | '}')))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = r#"
[package]
name = "jobs"
version.workspace = true

[lints]
workspace = true

[dependencies]
model.workspace = true
# sqlx.workspace = true
serde = { version = "1", features = [
    "derive",
] }
"quoted" = "1"

[target.'cfg(unix)'.dependencies]
unixy = "1"

[build-dependencies]
maker = "1"

[dependencies.tabled]
version = "1"

[dev-dependencies]
harness.workspace = true

[[bin]]
name = "other"
"#;

    #[test]
    fn every_way_to_write_a_dependency_is_seen() {
        let manifest = Manifest::parse(SAMPLE);
        assert_eq!(manifest.name, "jobs");
        let expected = ["model", "serde", "quoted", "unixy", "maker", "tabled"];
        assert_eq!(manifest.dependencies, expected);
        assert_eq!(manifest.dev_dependencies, ["harness"]);
        assert!(manifest.has_workspace_lints && !manifest.has_renames);
    }

    #[test]
    fn the_workspace_table_uses_nothing() {
        let manifest = Manifest::parse("[workspace.dependencies]\nsqlx = \"1\"\n");
        assert_eq!(manifest, Manifest::default());
    }

    #[test]
    fn a_rename_is_seen() {
        for text in [
            "[dependencies]\ndb = { version = \"1\", package = \"sqlx\" }\n",
            "[dependencies.db]\npackage = \"sqlx\"\n",
            "[dependencies]\ndb.package = \"sqlx\"\n",
        ] {
            assert!(Manifest::parse(text).has_renames, "{text}");
        }
    }
}
