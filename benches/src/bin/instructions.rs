//! How many instructions does a row take in the code that every row goes through?
//!
//! Counted by valgrind, so that the answer is the same on a busy machine and CI can compare it with
//! a recorded one. Each case runs in a process of its own, once with few passes over its data and
//! once with more; the difference is free of start-up and preparation. Deliberately absent: time,
//! which the other benchmarks measure.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::hint::black_box;
use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use benches::baseline::{Baseline, TOLERANCE_PERCENT};
use benches::tidegate::say;
use benches::work::{self, Case};
use clap::{Parser, ValueEnum};
use harness::Tool;

/// Counts instructions and compares them with the recorded ones.
#[derive(Debug, Parser)]
struct Options {
    /// Records the counts instead of comparing them.
    #[arg(long)]
    update: bool,
    /// Keeps valgrind's profiles there, for `callgrind_annotate`.
    #[arg(long)]
    profiles: Option<PathBuf>,
    /// Only these cases, without comparing; all of them otherwise.
    #[arg(long, conflicts_with = "update")]
    only: Vec<Case>,
    /// Runs one case in this process: what the benchmark starts itself with.
    #[arg(long, hide = true)]
    case: Option<Case>,
    /// How often the one case goes through its data.
    #[arg(long, hide = true, default_value_t = 1)]
    passes: u64,
}

/// Passes of the two runs. The first pass of a run also fills caches and grows buffers, so that the
/// shorter run has one as well.
const PASSES: [u64; 2] = [1, 3];

/// The C library copies and fills memory by what the processor has. Without these, it does so on
/// every x86-64 in as many instructions.
const PLAIN_PROCESSOR: &str = "glibc.cpu.hwcaps=-AVX2,-AVX512F,-AVX512VL,-AVX_Fast_Unaligned_Load,\
                               -ERMS,-FSRM,-SSSE3";

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    if let Some(case) = options.case {
        black_box(work::run(case, options.passes)?);
        return Ok(ExitCode::SUCCESS);
    }
    let scratch = tempfile::tempdir()?;
    let profiles = options.profiles.as_deref().unwrap_or(scratch.path());
    fs::create_dir_all(profiles)?;
    let cases = if options.only.is_empty() { Case::value_variants() } else { &options.only };
    let mut counts = BTreeMap::new();
    for &case in cases {
        let count = count(case, profiles)?;
        say(&format!("{}: {count:.0}", case.name()))?;
        counts.insert(case.name(), count);
    }
    if !options.only.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let now = Baseline { counts };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("baseline/instructions.txt");
    if options.update {
        fs::write(&path, now.to_text()).with_context(|| path.display().to_string())?;
        return Ok(ExitCode::SUCCESS);
    }
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let (table, grown) = Baseline::parse(&text)?.compare(&now);
    writeln!(stdout(), "{table}")?;
    if grown.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    say(&format!(
        "\nmore than {TOLERANCE_PERCENT} % above what is recorded, or recorded for one side only: \
         {}.\nIf that is meant, record it with `cargo xtask bench instructions --update`, and say \
         why in the commit.",
        grown.join(", ")
    ))?;
    Ok(ExitCode::FAILURE)
}

/// Instructions a row.
fn count(case: Case, profiles: &Path) -> Result<f64> {
    let [few, many] = PASSES.map(|passes| {
        let profile = profiles.join(format!("{}-{passes}.callgrind", case.name()));
        instructions(case, passes, &profile)
    });
    let (few, many) = (few?, many?);
    ensure!(many > few, "{} passes took {many} instructions, one {few}", PASSES[1]);
    Ok((many - few) as f64 / ((PASSES[1] - PASSES[0]) * case.rows()) as f64)
}

/// What valgrind counts in one run.
fn instructions(case: Case, passes: u64, profile: &Path) -> Result<u64> {
    let mut out = OsStr::new("--callgrind-out-file=").to_owned();
    out.push(profile);
    let output = Command::new(Tool::require("valgrind")?)
        .arg("--tool=callgrind")
        .arg(out)
        .arg(env::current_exe()?)
        .env("GLIBC_TUNABLES", PLAIN_PROCESSOR)
        .args(["--case", &case.name(), "--passes", &passes.to_string()])
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`{}` failed under valgrind: {said}", case.name());
    collected(&said).with_context(|| format!("valgrind gave no count: {said}"))
}

/// The count in callgrind's last words: `==123== Collected : 456`.
fn collected(said: &str) -> Option<u64> {
    said.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found_among_what_valgrind_says() {
        let said = "==7== Events    : Ir\n==7== Collected : 12345\n==7==\n==7== I refs: 12,345\n";
        assert_eq!(collected(said), Some(12_345));
        assert_eq!(collected("valgrind: no such program"), None);
    }
}
