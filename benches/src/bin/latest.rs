//! How fast are rows reduced to the newest of each entity?
//!
//! Side by side in one run: a bare scan of the columns, the newest rows of it, and the same within
//! little memory. Each case is a process of its own, so that its memory and its processor time are
//! its own. A run beforehand checks every case's rows against those that the data is known to have.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use benches::measure::{self, Cost, median};
use benches::newest::{Key, Newest, Sum};
use benches::table::count;
use benches::tidegate::{processor, say};
use clap::{Parser, ValueEnum};
use datafusion::physical_plan::{ExecutionPlan, execute_stream_partitioned};
use datafusion::prelude::ParquetReadOptions;
use futures::StreamExt;
use jobs::latest::{LatestColumns, newest_rows};
use jobs::{Session, SessionOptions};

/// Measures the reduction to the newest rows, side by side with a bare scan.
#[derive(Debug, Parser)]
struct Options {
    /// Rows.
    #[arg(long, default_value_t = 10_000_000)]
    rows: u32,
    /// Rows of each entity, one case each.
    #[arg(long, default_values_t = [10, 1], value_parser = clap::value_parser!(u32).range(1..))]
    rows_of_entity: Vec<u32>,
    /// What an entity is known by.
    #[arg(long, default_value = "integer")]
    key: Key,
    /// The small memory limit.
    #[arg(long, default_value_t = 256)]
    memory_mib: u64,
    /// How often each case runs; the median is shown.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    runs: u64,
    /// Runs one case in this process: what the benchmark starts itself with.
    #[arg(long, hide = true, requires = "data")]
    case: Option<Case>,
    /// The file that the one case reads.
    #[arg(long, hide = true)]
    data: Option<PathBuf>,
    /// Adds the one case's rows up instead of dropping them.
    #[arg(long, hide = true)]
    check: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Case {
    Scan,
    Latest,
    LatestWithinMemory,
}

const CASES: [Case; 3] = [Case::Scan, Case::Latest, Case::LatestWithinMemory];

fn main() -> Result<()> {
    let options = Options::parse();
    match (options.case, &options.data) {
        (Some(case), Some(data)) => run_case(&options, case, data),
        _ => run_all(&options),
    }
}

fn run_all(options: &Options) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut out = stdout();
    writeln!(out, "{}\n\n{}", heading(options)?, aligned(&Cells::HEADER))?;
    for &days in &options.rows_of_entity {
        let newest = Newest { key: options.key, entities: options.rows / days, days };
        say(&format!("writing {} rows of {} entities", options.rows, newest.entities))?;
        let bench = Bench { options, newest, data: directory.path().join("rows.parquet") };
        newest.write(&bench.data)?;
        bench.check()?;
        for line in bench.measure()? {
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
}

/// One data set and what is asked of it.
struct Bench<'a> {
    options: &'a Options,
    newest: Newest,
    data: PathBuf,
}

impl Bench<'_> {
    /// Checks what each case leaves, within and without little memory.
    fn check(&self) -> Result<()> {
        for case in [Case::Latest, Case::LatestWithinMemory] {
            say(&format!("checking {case:?}"))?;
            let sum = self.start(case, &["--check"])?.1;
            let expected = self.newest.expected();
            ensure!(sum == expected, "{case:?} gave {sum:?}, not {expected:?}");
        }
        Ok(())
    }

    fn measure(&self) -> Result<Vec<Cells>> {
        let mut costs = CASES.map(|_| Vec::new());
        for run in 1..=self.options.runs {
            say(&format!("run {run} of {}", self.options.runs))?;
            for (case, costs) in CASES.into_iter().zip(&mut costs) {
                let (cost, sum) = self.start(case, &[])?;
                let rows = if case == Case::Scan { self.newest.rows() } else { sum.rows };
                ensure!(sum.rows == rows, "{case:?} gave {} rows, not {rows}", sum.rows);
                costs.push(cost);
            }
        }
        let costs: Vec<Cost> = costs.into_iter().filter_map(median).collect();
        let line = |(&case, &cost)| Cells { case: self.name(case), cost, scan: costs[0] };
        Ok(CASES.iter().zip(&costs).map(line).collect())
    }

    fn name(&self, case: Case) -> String {
        let entities = count(u64::from(self.newest.entities));
        match case {
            Case::Scan => format!("{entities} keys, bare scan"),
            Case::Latest => format!("{entities} keys, newest rows"),
            Case::LatestWithinMemory => {
                format!("{entities} keys, newest rows in {} MiB", self.options.memory_mib)
            }
        }
    }

    /// Runs a case in a process of its own.
    fn start(&self, case: Case, arguments: &[&str]) -> Result<(Cost, Sum)> {
        let log = self.data.with_extension("log");
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--case", &option(&case), "--key", &option(&self.newest.key), "--data"]);
        command.arg(&self.data).args(["--memory-mib", &self.options.memory_mib.to_string()]);
        let cost = measure::run(command.args(arguments), self.newest.rows(), &log)?;
        let said = fs::read_to_string(&log)?;
        let (rows, hashes) = said.trim().split_once(' ').context("it says two numbers")?;
        Ok((cost, Sum { rows: rows.parse()?, hashes: hashes.parse()? }))
    }
}

/// A value of an option by the name it has on the command line.
fn option(value: &impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// Runs one case in this process and says how many rows it left and what they add up to.
fn run_case(options: &Options, case: Case, data: &Path) -> Result<()> {
    let memory_limit_bytes = match case {
        Case::LatestWithinMemory => options.memory_mib << 20,
        _ => jobs::session::MEMORY_LIMIT_BYTES,
    };
    let session = Session::new(SessionOptions {
        partitions: std::thread::available_parallelism()?.get(),
        memory_limit_bytes,
        object_store: BTreeMap::new(),
    })?;
    let sum = tokio::runtime::Runtime::new()?.block_on(async {
        let mut plan = scan(&session, data).await?;
        if case != Case::Scan {
            let schema = plan.schema();
            let index = |name: &&str| Ok(schema.index_of(name)?);
            let columns = LatestColumns {
                keys: options.key.columns().iter().map(index).collect::<Result<_>>()?,
                event_time: schema.index_of("event_timestamp")?,
                created_time: None,
            };
            plan = newest_rows(
                plan,
                columns,
                session.partitions(),
                &BTreeSet::new(),
                &Arc::default(),
            )?;
        }
        drain(&session, plan, options.check).await
    })?;
    writeln!(stdout(), "{} {}", sum.rows, sum.hashes)?;
    Ok(())
}

async fn scan(session: &Session, data: &Path) -> Result<Arc<dyn ExecutionPlan>> {
    let path = data.to_str().context("the temporary directory has a plain name")?;
    let frame = session.context().read_parquet(path, ParquetReadOptions::default()).await?;
    Ok(frame.create_physical_plan().await?)
}

/// Reads a plan to its end, each partition in a task of its own.
async fn drain(session: &Session, plan: Arc<dyn ExecutionPlan>, check: bool) -> Result<Sum> {
    let streams = execute_stream_partitioned(plan, session.context().task_ctx())?;
    let tasks = streams.into_iter().map(|mut stream| {
        tokio::spawn(async move {
            let mut sum = Sum::default();
            while let Some(batch) = stream.next().await {
                let batch = batch?;
                match check {
                    true => sum.add(&batch)?,
                    false => sum.rows += batch.num_rows() as u64,
                }
            }
            anyhow::Ok(sum)
        })
    });
    let mut sum = Sum::default();
    for task in tasks.collect::<Vec<_>>() {
        let part = task.await??;
        sum.rows += part.rows;
        sum.hashes = sum.hashes.wrapping_add(part.hashes);
    }
    Ok(sum)
}

/// A line of the result.
struct Cells {
    case: String,
    cost: Cost,
    scan: Cost,
}

impl Cells {
    const HEADER: [&str; 6] = ["case", "rows/s", "× scan", "CPU × scan", "CPU µs/row", "peak MiB"];
}

impl fmt::Display for Cells {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MIB: f64 = 1_048_576.0;
        let Self { case, cost, scan } = self;
        let micros = |cost: &Cost| cost.cpu_micros_per_row().unwrap_or(f64::NAN);
        let memory = cost.memory_bytes_max.unwrap_or_default() as f64 / MIB;
        let cells = [
            case.clone(),
            count(cost.rows_per_second().round() as u64),
            format!("{:.2}", cost.wall.as_secs_f64() / scan.wall.as_secs_f64()),
            format!("{:.2}", micros(cost) / micros(scan)),
            format!("{:.3}", micros(cost)),
            format!("{memory:.0}"),
        ];
        f.write_str(&aligned(&cells))
    }
}

/// Cells in columns whose width is the same for every line: each is written when it is known.
fn aligned(cells: &[impl AsRef<str>; 6]) -> String {
    let [case, rest @ ..] = cells.each_ref().map(AsRef::as_ref);
    rest.iter().fold(format!("{case:<40}"), |line, cell| line + &format!("  {cell:>10}"))
}

/// What the numbers depend on.
fn heading(options: &Options) -> Result<String> {
    let processor = processor()?;
    Ok(format!(
        "{} rows, {} key, 6 features (float32, int64), {processor}; medians of {}",
        count(u64::from(options.rows)),
        option(&options.key),
        options.runs
    ))
}
