//! How fast do rows get from Parquet into Redis?
//!
//! Side by side in one run, each time into a fresh Redis: plain pipelined `HSET` of the same rows,
//! Tidegate's first load, a run whose rows are all stale, a run that updates every row, and Feast.
//! What each leaves in Redis is checked, because a fast wrong answer is no answer.

use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use benches::dataset::{Dataset, Day, Repository};
use benches::hset::{self, Commands};
use benches::measure::{self, Cost, extrapolate, median};
use benches::table::{Line, count, table};
use benches::tidegate::{Outcome, Tidegate, machine, say};
use clap::Parser;
use harness::{Feast, Redis};

/// Measures materialization into a fresh Redis, side by side with plain HSET and with Feast.
#[derive(Debug, Parser)]
struct Options {
    /// Entities.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    rows: u64,
    /// Entities for Feast, whose time grows with their number; 0 leaves it out.
    #[arg(long, default_value_t = 100_000)]
    feast_rows: u64,
    /// How often each case but Feast runs; the median is shown.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    runs: u64,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let directory = tempfile::tempdir()?;
    let feast = Feast::require()?;
    let bench = Bench::prepare(directory.path(), options.rows, &feast)?;
    let mut cases = [const { Vec::new() }; 5];
    for run in 1..=options.runs {
        say(&format!("run {run} of {}", options.runs))?;
        for (case, cost) in cases.iter_mut().zip(bench.run(run)?) {
            case.extend(cost);
        }
    }
    let names = [
        "raw pipelined HSET",
        "redis-benchmark HSET",
        "tidegate, first load",
        "tidegate, every row stale",
        "tidegate, every row updated",
    ];
    let mut lines: Vec<Line> = Vec::new();
    for (name, costs) in names.into_iter().zip(cases) {
        let line = |cost| Line { case: name.to_owned(), cost };
        lines.extend(median(costs).map(line));
    }
    let raw = lines.iter().filter(|line| line.case.contains("HSET"));
    let raw = raw.map(|line| line.cost.rows_per_second()).fold(0.0, f64::max);
    if options.feast_rows > 0 {
        say(&format!("Feast {} on {} rows", Feast::VERSION, count(options.feast_rows)))?;
        lines.extend(feast_lines(directory.path(), options.feast_rows, options.rows, &feast)?);
    }
    let mut out = stdout();
    writeln!(out, "{}\n\n{}", heading(&options)?, table(&lines, raw))?;
    Ok(())
}

/// Everything that is made once.
struct Bench {
    directory: PathBuf,
    dataset: Dataset,
    commands: Commands,
    repository: Repository,
    tidegate: Tidegate,
}

impl Bench {
    fn prepare(directory: &Path, rows: u64, feast: &Feast) -> Result<Self> {
        let dataset = Dataset::new(usize::try_from(rows)?);
        let data = directory.join("data");
        say(&format!("writing {} rows for each of two days", count(rows)))?;
        dataset.write(&data, &[Day::First, Day::Second])?;
        Ok(Self {
            directory: directory.to_owned(),
            dataset,
            commands: Commands::encode(&dataset),
            repository: Repository::apply(feast, &directory.join("applied"), &data)?,
            tidegate: Tidegate::find()?,
        })
    }

    /// Each case once, in the order of the table.
    fn run(&self, run: u64) -> Result<[Option<Cost>; 5]> {
        let redis = Redis::start()?;
        let raw = self.commands.send(&redis)?;
        self.dataset.check(Day::First, &redis)?;
        let benchmark = hset::redis_benchmark(&Redis::start()?, &self.dataset)?;
        drop(redis);

        let redis = Redis::start()?;
        let place = self.directory.join(format!("run-{run}"));
        self.repository.fresh(&place, &redis)?;
        let materialize = |day: Day, outcome| {
            self.tidegate.materialize(&place, day.window(), self.dataset.rows() as u64, outcome)
        };
        let first = materialize(Day::First, Outcome::Written)?;
        self.dataset.check(Day::First, &redis)?;
        let stale = materialize(Day::First, Outcome::Stale)?;
        let updated = materialize(Day::Second, Outcome::Written)?;
        self.dataset.check(Day::Second, &redis)?;
        Ok([Some(raw), benchmark, Some(first), Some(stale), Some(updated)])
    }
}

/// Feast's line, and what it would be for `rows` by a straight line through that and a tenth.
fn feast_lines(directory: &Path, feast_rows: u64, rows: u64, feast: &Feast) -> Result<Vec<Line>> {
    let small = run_feast(&directory.join("feast-small"), (feast_rows / 10).max(1), feast)?;
    let large = run_feast(&directory.join("feast"), feast_rows, feast)?;
    let name = format!("feast {}, first load", Feast::VERSION);
    let mut lines = vec![Line { case: name.clone(), cost: large }];
    if rows > feast_rows && feast_rows > small.rows {
        let cost = extrapolate(small, large, rows);
        lines.push(Line { case: format!("{name}, scaled"), cost });
    }
    Ok(lines)
}

fn run_feast(directory: &Path, rows: u64, feast: &Feast) -> Result<Cost> {
    let dataset = Dataset::new(usize::try_from(rows)?);
    let data = directory.join("data");
    dataset.write(&data, &[Day::First])?;
    let repository = Repository::apply(feast, &directory.join("applied"), &data)?;
    let redis = Redis::start()?;
    let place = directory.join("run");
    repository.fresh(&place, &redis)?;
    let mut command = Command::new(feast.command());
    command.arg("materialize").args(Day::First.window()).current_dir(&place);
    let cost = measure::run(&mut command, rows, &place.join("log"))?;
    dataset.check(Day::First, &redis)?;
    Ok(cost)
}

/// What the numbers depend on.
fn heading(options: &Options) -> Result<String> {
    Ok(format!(
        "6 features (float32, int64), one row an entity, {}; medians of {}, Feast once",
        machine()?,
        options.runs
    ))
}
