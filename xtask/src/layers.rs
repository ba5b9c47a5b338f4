//! Allowed edges between crates, and the one door to each outside system (STYLE.md, section 1).
//!
//! Two kinds of rule: what a manifest may name, and what a crate's code may say. A crate that has
//! no row here fails, so a new crate is a decision and not an accident.

use crate::manifest::Manifest;
use crate::source::{File, Tree};

/// What each crate may use of ours.
const EDGES: [(&str, &[&str]); 14] = [
    (
        "cli",
        &[
            "api",
            "daemon",
            "executor",
            "feast",
            "feature-server",
            "jobs",
            "metastore",
            "model",
            "online-store",
            "registry",
            "scheduler",
        ],
    ),
    ("scheduler", &["api", "daemon", "feast", "jobs", "metastore", "model", "registry"]),
    ("executor", &["daemon", "feast", "jobs", "model", "online-store"]),
    ("feature-server", &["api", "daemon", "feast", "model", "online-store", "registry"]),
    ("jobs", &["feast", "model"]),
    ("metastore", &["model"]),
    ("registry", &["feast", "model"]),
    ("online-store", &["feast", "model"]),
    ("api", &["model"]),
    ("daemon", &[]),
    ("model", &["feast"]),
    ("feast", &[]),
    ("harness", &[]),
    ("xtask", &[]),
];

/// Suites: they may use any crate of ours and any outside system, and nothing uses them.
const SUITES: [&str; 2] = ["benches", "tests"];

/// Who may name a library that is the door to an outside system. A name ending in `*` stands for
/// every name that starts so.
const DOORS: [(&str, &[&str]); 9] = [
    ("sqlx*", &["metastore", "registry"]),
    ("fred", &["online-store"]),
    ("redis", &["online-store"]),
    ("rusqlite", &["online-store"]),
    ("prost*", &["feast"]),
    ("datafusion*", &["executor", "jobs", "scheduler"]),
    ("ballista*", &["executor", "jobs", "scheduler"]),
    ("anyhow", &["cli", "harness"]),
    ("clap", &["cli"]),
];

/// What a crate's own tests may name besides: another reader of the same file is a witness that
/// does not repeat our mistakes.
const WITNESSES: [(&str, &str); 1] = [("metastore", "rusqlite")];

/// Crates that do no I/O, are not async and read no clock.
const PURE: [&str; 2] = ["feast", "model"];

/// What a pure crate may not depend on.
const IMPURE: [&str; 9] = [
    "async*",
    "fred",
    "futures*",
    "hyper*",
    "object_store",
    "reqwest",
    "rusqlite",
    "sqlx*",
    "tokio*",
];

/// What a pure crate's code may not say, and why.
const IMPURE_WORDS: [(&str, &str); 9] = [
    ("async fn", "is async"),
    (".await", "is async"),
    ("std::fs", "does I/O"),
    ("std::net", "does I/O"),
    ("std::process", "does I/O"),
    ("File::open", "does I/O"),
    ("SystemTime::now", "reads the clock"),
    ("Instant::now", "reads the clock"),
    ("Utc::now", "reads the clock"),
];

/// Where the environment may be read: in `daemon`, the binary's `main.rs`, and automation, to which
/// a build script belongs that is told its directory in no other way.
const ENVIRONMENT: [&str; 6] =
    ["daemon/", "cli/src/main.rs", "xtask/", "tests/", "benches/", "feature-server/build.rs"];

/// Everything that breaks the layers, one line each.
pub(crate) fn check(tree: &Tree) -> Vec<String> {
    let mut violations = Vec::new();
    for file in tree.files.iter().filter(|file| file.path.ends_with("/Cargo.toml")) {
        let manifest = Manifest::parse(&file.text);
        violations.extend(manifest_violations(&manifest).into_iter().map(|v| at(file, &v)));
    }
    for file in tree.files.iter().filter(|file| file.is_rust()) {
        violations.extend(code_violations(file));
    }
    violations
}

fn manifest_violations(manifest: &Manifest) -> Vec<String> {
    let name = manifest.name.as_str();
    let mut violations = Vec::new();
    if !is_ours(name) {
        violations.push(format!("crate `{name}` has no row in `xtask/src/layers.rs`"));
    }
    if manifest.has_renames {
        violations.push("a dependency goes by another name, which hides what is used".to_owned());
    }
    if !manifest.has_workspace_lints {
        violations.push("it does not take the workspace's lints (`[lints] workspace`)".to_owned());
    }
    for used in &manifest.dependencies {
        violations.extend(edge_violation(name, used));
    }
    // A crate's own tests obey the same layers, but may start servers.
    for used in manifest.dev_dependencies.iter().filter(|used| *used != "harness" && *used != name)
    {
        if !WITNESSES.contains(&(name, used)) {
            violations.extend(edge_violation(name, used));
        }
    }
    violations
}

/// What is wrong with `name` using `used`, if anything.
fn edge_violation(name: &str, used: &str) -> Option<String> {
    if SUITES.contains(&name) {
        let suite = SUITES.contains(&used);
        return suite.then(|| format!("nothing may depend on the suite `{used}`"));
    }
    if is_ours(used) {
        let allowed = EDGES.iter().any(|(from, to)| *from == name && to.contains(&used));
        return (!allowed).then(|| format!("`{name}` must not depend on `{used}`"));
    }
    if PURE.contains(&name) && IMPURE.iter().any(|pattern| matches(pattern, used)) {
        return Some(format!("`{name}` is pure and must not depend on `{used}`"));
    }
    let (_, allowed) = DOORS.iter().find(|(pattern, _)| matches(pattern, used))?;
    (!allowed.contains(&name))
        .then(|| format!("only {} may name `{used}`, not `{name}`", allowed.join(", ")))
}

fn is_ours(name: &str) -> bool {
    SUITES.contains(&name) || EDGES.iter().any(|(known, _)| *known == name)
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == pattern,
    }
}

fn code_violations(file: &File) -> Vec<String> {
    let pure = PURE.iter().find(|name| file.path.starts_with(&format!("{name}/src/")));
    let reads_environment = ENVIRONMENT.iter().any(|allowed| file.path.starts_with(allowed));
    let mut violations = Vec::new();
    for (index, line) in file.code().enumerate() {
        let code = line.trim_start();
        if code.starts_with("//") {
            continue;
        }
        let place = format!("{}:{}", file.path, index + 1);
        if let Some(name) = pure {
            let found = IMPURE_WORDS.iter().filter(|(word, _)| code.contains(word));
            violations.extend(
                found.map(|(word, why)| format!("{place}: `{name}` is pure, but `{word}` {why}")),
            );
        }
        if !reads_environment && code.contains("env::var") {
            violations.push(format!(
                "{place}: only `daemon` and `main.rs` read the environment; take it as an argument"
            ));
        }
    }
    violations
}

fn at(file: &File, violation: &str) -> String {
    format!("{}: {violation}", file.path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(name: &str, dependencies: &[&str], dev: &[&str]) -> Manifest {
        Manifest {
            name: name.to_owned(),
            dependencies: dependencies.iter().map(|&d| d.to_owned()).collect(),
            dev_dependencies: dev.iter().map(|&d| d.to_owned()).collect(),
            has_workspace_lints: true,
            has_renames: false,
        }
    }

    fn code(path: &str, text: &str) -> Vec<String> {
        code_violations(&File { path: path.to_owned(), text: text.to_owned() })
    }

    #[test]
    fn edges_of_the_table_are_allowed() {
        for (name, used) in EDGES {
            assert_eq!(manifest_violations(&manifest(name, used, &["harness"])), [""; 0]);
        }
        let everything = manifest("tests", &["cli", "harness", "sqlx", "fred"], &["rusqlite"]);
        assert_eq!(manifest_violations(&everything), [""; 0]);
    }

    #[test]
    fn an_edge_upwards_or_sideways_is_a_violation() {
        for (name, used) in [
            ("feast", "model"),
            ("model", "jobs"),
            ("jobs", "online-store"),
            ("metastore", "feast"),
            ("executor", "scheduler"),
            ("executor", "metastore"),
            ("scheduler", "online-store"),
            ("harness", "model"),
            ("xtask", "feast"),
            ("cli", "tests"),
            ("cli", "harness"),
            ("tests", "benches"),
        ] {
            assert_eq!(
                manifest_violations(&manifest(name, &[used], &[])).len(),
                1,
                "{name} {used}"
            );
        }
        assert_eq!(manifest_violations(&manifest("jobs", &[], &["online-store"])).len(), 1);
    }

    #[test]
    fn a_witness_is_for_tests_alone() {
        assert_eq!(manifest_violations(&manifest("metastore", &[], &["rusqlite"])), [""; 0]);
        assert_eq!(manifest_violations(&manifest("metastore", &["rusqlite"], &[])).len(), 1);
        assert_eq!(manifest_violations(&manifest("registry", &[], &["rusqlite"])).len(), 1);
    }

    #[test]
    fn only_the_door_names_an_outside_system() {
        for (name, used) in [
            ("scheduler", "sqlx"),
            ("registry", "rusqlite"),
            ("executor", "fred"),
            ("registry", "prost"),
            ("registry", "prost-types"),
            ("registry", "datafusion"),
            ("cli", "datafusion-expr"),
            ("cli", "ballista-core"),
            ("model", "anyhow"),
        ] {
            let found = manifest_violations(&manifest(name, &[used], &[]));
            assert_eq!(found.len(), 1, "{name} {used}: {found:?}");
            assert!(found[0].contains(used), "{found:?}");
        }
    }

    #[test]
    fn pure_crates_stay_pure() {
        for (name, used) in
            [("feast", "tokio"), ("model", "async-trait"), ("feast", "futures-util")]
        {
            assert_eq!(
                manifest_violations(&manifest(name, &[used], &[])).len(),
                1,
                "{name} {used}"
            );
        }
        let text = "async fn a() { b.await }\nfn c() { std::fs::read(d); SystemTime::now(); }\n";
        assert_eq!(code("feast/src/value.rs", text).len(), 4);
        assert_eq!(code("registry/src/file.rs", text), [""; 0]);
        let tests = "/// Not async fn.\n#[cfg(test)]\nmod tests {\n    std::fs::read(d);\n}\n";
        assert_eq!(code("feast/src/value.rs", tests), [""; 0]);
    }

    #[test]
    fn the_environment_is_read_in_few_places() {
        let text = "fn a() { std::env::var(\"X\") }\n";
        assert_eq!(code("scheduler/src/admit.rs", text).len(), 1);
        assert_eq!(code("cli/src/args.rs", text).len(), 1);
        assert_eq!(code("cli/src/main.rs", text), [""; 0]);
        assert_eq!(code("tests/harness/src/tool.rs", text), [""; 0]);
    }

    #[test]
    fn an_unknown_crate_and_missing_lints_are_violations() {
        assert_eq!(manifest_violations(&manifest("util", &[], &[])).len(), 1);
        let careless = Manifest { has_workspace_lints: false, ..manifest("jobs", &[], &[]) };
        assert_eq!(manifest_violations(&careless).len(), 1);
        let renamed = Manifest { has_renames: true, ..manifest("jobs", &[], &[]) };
        assert_eq!(manifest_violations(&renamed).len(), 1);
    }

    #[test]
    fn a_violation_in_a_tree_names_the_file() {
        let text =
            "[package]\nname = \"jobs\"\n[lints]\nworkspace = true\n[dependencies]\nsqlx = \"1\"\n";
        let file = File { path: "jobs/Cargo.toml".to_owned(), text: text.to_owned() };
        let found = check(&Tree { files: vec![file] });
        assert_eq!(
            found,
            ["jobs/Cargo.toml: only metastore, registry may name `sqlx`, not `jobs`"]
        );
    }
}
