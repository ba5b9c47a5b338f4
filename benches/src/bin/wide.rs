//! How fast do rows of two hundred features of mixed types get from Parquet into Redis?
//!
//! As `materialize`, for the wide case: plain pipelined `HSET` of the same rows, Tidegate's first
//! load, a run whose rows are all stale, and a run that updates every row. What each leaves in
//! Redis is checked.

use std::io::{Write, stdout};
use std::path::{Path, PathBuf};

use anyhow::Result;
use benches::dataset::{Day, Repository};
use benches::hset::Commands;
use benches::measure::{Cost, median};
use benches::table::{Line, count, table};
use benches::tidegate::{Outcome, Tidegate, machine, say};
use benches::wide::{FEATURES, Wide, definitions};
use clap::Parser;
use harness::{Feast, Redis};

/// Measures materialization of 200 features into a fresh Redis, side by side with plain HSET.
#[derive(Debug, Parser)]
struct Options {
    /// Entities.
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(1..))]
    rows: u64,
    /// How often each case runs; the median is shown.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    runs: u64,
}

const CASES: [&str; 4] = [
    "raw pipelined HSET",
    "tidegate, first load",
    "tidegate, every row stale",
    "tidegate, every row updated",
];

fn main() -> Result<()> {
    let options = Options::parse();
    let directory = tempfile::tempdir()?;
    let bench = Bench::prepare(directory.path(), options.rows)?;
    let mut cases = CASES.map(|_| Vec::new());
    for run in 1..=options.runs {
        say(&format!("run {run} of {}", options.runs))?;
        for (case, cost) in cases.iter_mut().zip(bench.run(run)?) {
            case.push(cost);
        }
    }
    let line =
        |(name, costs): (&str, _)| median(costs).map(|cost| Line { case: name.to_owned(), cost });
    let lines: Vec<Line> = CASES.into_iter().zip(cases).filter_map(line).collect();
    let raw = lines.first().map_or(f64::NAN, |line| line.cost.rows_per_second());
    let bytes = bench.commands.bytes() as f64 / options.rows as f64;
    writeln!(
        stdout(),
        "{FEATURES} features of 11 types, {bytes:.0} bytes of HSET a row, {}; medians of {}\n\n{}",
        machine()?,
        options.runs,
        table(&lines, raw)
    )?;
    Ok(())
}

/// Everything that is made once.
struct Bench {
    directory: PathBuf,
    wide: Wide,
    commands: Commands,
    repository: Repository,
    tidegate: Tidegate,
}

impl Bench {
    fn prepare(directory: &Path, rows: u64) -> Result<Self> {
        let tidegate = Tidegate::find()?;
        let wide = Wide::new(usize::try_from(rows)?);
        let data = directory.join("data");
        say(&format!("writing {} rows for each of two days", count(rows)))?;
        wide.write(&data, &[Day::First, Day::Second])?;
        let mut commands = Commands::of_fields(FEATURES + 1);
        wide.for_each_hash(Day::First, |key, fields| commands.push(key, fields));
        let feast = Feast::require()?;
        let repository =
            Repository::define(&feast, &directory.join("applied"), definitions(&data))?;
        Ok(Self { directory: directory.to_owned(), wide, commands, repository, tidegate })
    }

    /// Each case once, in the order of the table.
    fn run(&self, run: u64) -> Result<[Cost; CASES.len()]> {
        let redis = Redis::start()?;
        let raw = self.commands.send(&redis)?;
        self.wide.check(Day::First, &redis)?;
        drop(redis);

        let redis = Redis::start()?;
        let place = self.directory.join(format!("run-{run}"));
        self.repository.fresh(&place, &redis)?;
        let materialize = |day: Day, outcome| {
            self.tidegate.materialize(&place, day.window(), self.wide.rows() as u64, outcome)
        };
        let first = materialize(Day::First, Outcome::Written)?;
        self.wide.check(Day::First, &redis)?;
        let stale = materialize(Day::First, Outcome::Stale)?;
        let updated = materialize(Day::Second, Outcome::Written)?;
        self.wide.check(Day::Second, &redis)?;
        Ok([raw, first, stale, updated])
    }
}
