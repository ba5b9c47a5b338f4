//! `demo`: makes a sample repository, materializes it and reads an entity back.
//!
//! Each step is the command that a person would type, run by the code that would run it, and its
//! output is that command's own. Nothing of the environment gets in: what is set there belongs to
//! another repository.

mod repository;
mod rows;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use clap::Parser;

use super::UsageError;
use crate::args::Args;
use crate::{EXIT_LANDED, output};

/// The employee who is read back.
const EMPLOYEE: i64 = 101;

/// The one variable that the commands may see: the ledger names the host.
const HOST: &str = "HOSTNAME";

/// Makes the repository, below the temporary directory when none is named, and shows it at work.
pub async fn run(
    directory: Option<PathBuf>,
    environment: &BTreeMap<String, String>,
) -> anyhow::Result<u8> {
    let now = Utc::now().trunc_subsecs(0);
    let directory = fresh(directory, now)?;
    let made = repository::make(&directory, now).await?;
    output::line(&format!("A sample Feast repository is in {}\n{made}", directory.display()))?;

    let mut environment = environment.clone();
    environment.retain(|name, _| name == HOST);
    for (title, verb) in steps(now) {
        output::line(&format!("\n# {title}\n$ {}\n", shown(&directory, &verb)))?;
        let args = args(&directory, &verb)?;
        // Boxed, because this is itself a command.
        let code = Box::pin(super::run(args, environment.clone())).await?;
        if code != EXIT_LANDED {
            return Ok(code);
        }
    }
    output::line(&closing(&directory, now))?;
    Ok(EXIT_LANDED)
}

/// An empty directory of an absolute path.
fn fresh(directory: Option<PathBuf>, now: DateTime<Utc>) -> anyhow::Result<PathBuf> {
    let directory = match directory {
        Some(directory) => {
            std::fs::create_dir_all(&directory)
                .with_context(|| format!("failed to create `{}`", directory.display()))?;
            directory
        }
        None => {
            let name = format!("tidegate-demo-{}", now.format("%Y%m%dT%H%M%S"));
            let directory = std::env::temp_dir().join(name);
            // Not with its parents, so that a directory of someone else is never taken over.
            std::fs::create_dir(&directory)
                .with_context(|| format!("failed to create `{}`", directory.display()))?;
            directory
        }
    };
    let shown = directory.display();
    let mut entries = directory.read_dir().with_context(|| format!("failed to read `{shown}`"))?;
    if entries.next().is_some() {
        let what = format!("`{shown}` is not empty; name a new directory, or none");
        return Err(UsageError(what).into());
    }
    directory.canonicalize().with_context(|| format!("failed to find `{shown}`"))
}

/// What is shown, in order: a title, and the verb with its arguments.
fn steps(now: DateTime<Utc>) -> [(&'static str, Vec<String>); 4] {
    let incremental = vec!["materialize-incremental".to_owned(), instant(now)];
    let service = repository::SERVICE;
    let entity = format!("{}={EMPLOYEE}", rows::JOIN_KEY);
    let read = ["get-online-features", "--feature-service", service, "--entity", &entity];
    [
        ("Load each employee's newest features into the online store.", incremental.clone()),
        ("Started a second time by mistake, it has nothing to do.", incremental),
        (
            "Read an employee back, in the order of the feature service.",
            read.map(str::to_owned).to_vec(),
        ),
        ("See how far each view has got.", vec!["status".to_owned()]),
    ]
}

/// The command line of a step.
fn args(directory: &Path, verb: &[String]) -> anyhow::Result<Args> {
    let chdir = ["tidegate".into(), "-c".into(), directory.as_os_str().to_owned()];
    let line = chdir.into_iter().chain(verb.iter().map(Into::into));
    let args = Args::try_parse_from(line).context("a command of the demo is wrong")?;
    // These may come from the environment, where they belong to another repository.
    Ok(Args {
        feature_store_yaml: None,
        metastore: None,
        server: None,
        token_file: None,
        ca: None,
        ..args
    })
}

/// A command as it would be typed.
fn shown(directory: &Path, verb: &[String]) -> String {
    format!("tidegate -c {} {}", quoted(&directory.display().to_string()), verb.join(" "))
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:=,@%".contains(c);
    if word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// An instant as Feast's users write it.
fn instant(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%dT%H:%M:%S").to_string()
}

/// What to try next.
fn closing(directory: &Path, now: DateTime<Utc>) -> String {
    let ago = |days| instant(now - TimeDelta::days(days));
    let activity = repository::ACTIVITY;
    let plan = ["plan", "materialize", &ago(14), &ago(7), "-v", activity];
    let again = ["materialize", &ago(14), &ago(7), "-v", activity];
    let feature = format!("{activity}:overtime_ratio");
    let entities = format!("{}=7,8", rows::JOIN_KEY);
    let read = ["get-online-features", "--features", &feature, "--entity", &entities];
    let mut text = "\nWhat to try next:\n".to_owned();
    for (title, verb) in [
        ("what a run would read, of which files; it writes nothing", &plan[..]),
        ("an old week again: every row is stale, and nothing moves backwards", &again[..]),
        ("single features, of two employees", &read[..]),
        ("what has been run", &["runs"][..]),
    ] {
        let verb: Vec<String> = verb.iter().map(|word| (*word).to_owned()).collect();
        text.push_str(&format!("\n# {title}\n{}\n", shown(directory, &verb)));
    }
    let features = directory.join(repository::FEATURES_PY);
    text.push_str(&format!("\n{} holds the definitions in Feast's Python.", features.display()));
    if let Ok(program) = std::env::current_exe() {
        text.push_str(&format!("\nThe program `tidegate` is {}", program.display()));
    }
    text
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]
    use super::*;
    use crate::args::Verb;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_790_000_000, 0).unwrap()
    }

    #[test]
    fn every_step_is_a_command_on_the_directory() {
        let directory = Path::new("/tmp/a repo");
        let verbs: Vec<Verb> = steps(now())
            .into_iter()
            .map(|(_, verb)| {
                let args = args(directory, &verb).unwrap();
                assert_eq!(args.chdir.as_deref(), Some(directory));
                args.verb
            })
            .collect();
        assert!(matches!(
            verbs.as_slice(),
            [
                Verb::MaterializeIncremental { .. },
                Verb::MaterializeIncremental { .. },
                Verb::GetOnlineFeatures(_),
                Verb::Status
            ]
        ));
    }

    #[test]
    fn what_to_try_next_can_be_typed() {
        let closing = closing(Path::new("/tmp/repo"), now());
        let lines: Vec<&str> =
            closing.lines().filter(|line| line.starts_with("tidegate ")).collect();
        assert_eq!(lines.len(), 4);
        for line in lines {
            Args::try_parse_from(line.split(' ')).unwrap();
        }
    }

    #[test]
    fn a_word_is_quoted_where_a_shell_would_split_it() {
        assert_eq!(quoted("/tmp/a-b_c.1"), "/tmp/a-b_c.1");
        assert_eq!(quoted("/tmp/it's here"), r"'/tmp/it'\''s here'");
    }

    #[test]
    fn a_directory_with_something_in_it_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_owned();
        assert_eq!(fresh(Some(path.clone()), now()).unwrap(), path.canonicalize().unwrap());
        std::fs::write(path.join("feature_store.yaml"), "project: theirs").unwrap();
        let refused = fresh(Some(path), now()).unwrap_err();
        assert!(crate::command::is_usage(&refused), "{refused}");
        assert!(refused.to_string().contains("is not empty"), "{refused}");
    }
}
