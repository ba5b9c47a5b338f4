//! The binary as it is measured: one run, whose own counts must say what was meant to be measured.

use std::fs;
use std::io::{Write, stderr};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use harness::{Tool, tidegate_bin};

use crate::measure::{self, Cost};

/// What Redis made of every row of a run.
#[derive(Clone, Copy, Debug)]
pub enum Outcome {
    /// It took them.
    Written,
    /// It had them, or newer ones.
    Stale,
}

/// The binary.
#[derive(Debug)]
pub struct Tidegate {
    binary: PathBuf,
}

impl Tidegate {
    /// Finds the binary.
    ///
    /// # Errors
    /// When it has not been built.
    pub fn find() -> Result<Self> {
        Ok(Self { binary: tidegate_bin()? })
    }

    /// Materializes a window of the repository in `place`.
    ///
    /// # Errors
    /// When it fails, or another number of rows than `rows` met with `outcome`.
    pub fn materialize(
        &self,
        place: &Path,
        window: [&str; 2],
        rows: u64,
        outcome: Outcome,
    ) -> Result<Cost> {
        let log = place.join("report.json");
        let mut command = Command::new(&self.binary);
        command.args(["--output", "json", "materialize"]).args(window).current_dir(place);
        let cost = measure::run(&mut command, rows, &log)?;
        check_report(&fs::read(&log)?, rows, outcome)?;
        Ok(cost)
    }
}

/// Checks that the run's own counts say what was meant to be measured.
fn check_report(report: &[u8], rows: u64, outcome: Outcome) -> Result<()> {
    let report: serde_json::Value =
        serde_json::from_slice(report).context("the report is no JSON")?;
    let receipt = &report["jobs"][0]["receipt"];
    let name = match outcome {
        Outcome::Written => "written",
        Outcome::Stale => "stale",
    };
    ensure!(
        receipt[name] == rows && receipt["rows_read"] == rows,
        "not all rows {name}: {receipt}"
    );
    Ok(())
}

/// Cores and their make.
///
/// # Errors
/// When the number of cores is not known.
pub fn processor() -> Result<String> {
    let cores = std::thread::available_parallelism()?;
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processor", |(_, model)| model);
    Ok(format!("{cores} × {model}"))
}

/// The machine and the Redis that numbers depend on.
///
/// # Errors
/// When there is no `redis-server`.
pub fn machine() -> Result<String> {
    let redis = Command::new(Tool::require("redis-server")?).arg("--version").output()?;
    let redis = String::from_utf8(redis.stdout)?;
    let Some(version) = redis.split_whitespace().find(|word| word.starts_with("v=")) else {
        bail!("`redis-server --version` said `{redis}`");
    };
    Ok(format!("{}, Redis {}", processor()?, &version[2..]))
}

/// Says on stderr what is going on; stdout is for the result.
///
/// # Errors
/// When stderr is closed.
pub fn say(text: &str) -> Result<()> {
    Ok(writeln!(stderr(), "{text}")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_other_counts_is_refused() {
        let report = br#"{"jobs": [{"receipt": {"rows_read": 9, "written": 9, "stale": 0}}]}"#;
        assert!(check_report(report, 9, Outcome::Written).is_ok());
        assert!(check_report(report, 9, Outcome::Stale).is_err());
        assert!(check_report(report, 10, Outcome::Written).is_err());
        assert!(check_report(b"no report", 9, Outcome::Written).is_err());
    }
}
