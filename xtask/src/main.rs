//! Repository automation: `cargo xtask VERB`. CI runs these verbs and nothing else.
//!
//! The standard library only, so that it is built in a second. Everything it says goes to stderr;
//! stdout belongs to the programs it runs.

mod cargo;
mod check;
mod demo;
mod faults;
mod generate;
mod install;
mod instructions;
mod layers;
mod manifest;
mod report;
mod source;
mod suite;
mod tidy;

use std::env;
use std::error::Error;
use std::io::{Write, stderr};
use std::process::ExitCode;

/// What a verb returns: whether everything passed, or why it could not be tried.
type Outcome = Result<bool, Box<dyn Error>>;

const HELP: &str = "\
usage: cargo xtask VERB [ARGUMENTS]

  check               format, clippy, layers, tidy; deny, typos and machete where installed
  layers, tidy        one of those alone
  gen                 writes what is made from the code: the two `openapi.json`
  test [-- ARGS]      everything CI runs; installs redis-server, postgresql, chromium and valgrind
                      when missing and allowed; ARGS go to the test runner: -E 'test(late_row)'
  demo [ARGS]         makes a sample repository, materializes it and reads a row back
  bench NAME [ARGS]   runs a benchmark against the release build: materialize, wide, redis, latest,
                      scan, pages, serve; `bench instructions [--update]` compares or records
                      instruction counts
  faults [ARGS]       runs schedulers through drawn histories full of faults; ARGS: --seed N,
                      --histories N, --only N
  up                  starts a local Redis and PostgreSQL until Ctrl-C and prints their URLs
  help                this text

CARGO_TARGET_DIR decides where everything is built; without it, ~/.cache/tidegate-target.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            report::line(&format!("error: {error}"));
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &[String]) -> Outcome {
    let (verb, rest) = match arguments.split_first() {
        Some((verb, rest)) => (verb.as_str(), rest),
        None => ("help", arguments),
    };
    match verb {
        "check" => check::run(),
        "layers" => check::layers(),
        "tidy" => check::tidy(),
        "test" => suite::run(rest),
        "gen" => generate::run(),
        "demo" => demo::demo(rest),
        "bench" => demo::bench(rest),
        "faults" => faults::run(rest),
        "up" => demo::up(),
        "help" | "--help" | "-h" => help(),
        other => Err(format!("there is no verb `{other}`; see `cargo xtask help`").into()),
    }
}

fn help() -> Outcome {
    stderr().write_all(HELP.as_bytes())?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_verb_is_an_error_that_names_it() {
        let error = run(&["tset".to_owned()]).expect_err("no such verb").to_string();
        assert!(error.contains("`tset`") && error.contains("cargo xtask help"), "{error}");
    }

    #[test]
    fn every_verb_is_in_the_help() {
        for verb in
            ["check", "layers,", "tidy", "gen", "test", "demo", "bench", "faults", "up", "help"]
        {
            assert!(HELP.contains(&format!(" {verb} ")), "{verb}");
        }
    }
}
