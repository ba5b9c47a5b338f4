//! How much is read for a window, and how long does a year take?
//!
//! A day out of a year of rows, and the whole year, in one file of 365 row groups and in 365
//! files: planned, read, reduced to the newest rows, encoded, and dropped where the online store
//! would be. Each case is a process of its own, so that its memory and its processor time are its
//! own. Bytes are counted at the object store, footers and page indexes included.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use async_trait::async_trait;
use benches::measure::{self, Cost, median};
use benches::table::count;
use benches::tidegate::{processor, say};
use benches::year::{COLUMNS, Counting, DAY_MICROS, DAYS, FIRST_MICROS, Layout, Year};
use clap::{Parser, ValueEnum};
use feast::config::OnBadRow;
use feast::{DataSource, FeatureView, Field, JoinKey, ValueType};
use futures::StreamExt;
use futures::stream::BoxStream;
use jobs::{
    Attempt, FeatureSink, KnownKeys, Session, SessionOptions, SinkError, WindowPlan, WindowSpec,
};
use model::{EncodedBatch, EventTime, Interval, Marker, WriteCounts};
use object_store::ObjectStore;

/// A day in the middle of the year.
const DAY: i64 = 200;
const MIB: f64 = 1_048_576.0;

/// Measures what a window reads, and how long a day and a year of rows take.
#[derive(Debug, Parser)]
struct Options {
    /// Rows of a year, one data set each; the first is what the others are compared with.
    #[arg(long, default_values_t = [10_000_000, 100_000_000])]
    rows: Vec<u64>,
    /// How often each case runs; the median is shown.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    runs: u64,
    /// Runs one case in this process: what the benchmark starts itself with.
    #[arg(long, hide = true, requires = "data")]
    case: Option<Case>,
    /// The directory that the one case reads.
    #[arg(long, hide = true)]
    data: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Case {
    Day,
    Year,
}

impl Case {
    fn interval(self) -> Interval {
        let days = match self {
            Self::Day => DAY..DAY + 1,
            Self::Year => 0..DAYS as i64,
        };
        let at = |day| EventTime::from_micros(FIRST_MICROS + day * DAY_MICROS);
        Interval::new(at(days.start), at(days.end))
    }
}

/// What one run says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counts {
    rows: u64,
    entities: u64,
    /// Compressed bytes of the rows' columns.
    wanted: u64,
    read: u64,
    requests: u64,
}

fn main() -> Result<()> {
    let options = Options::parse();
    match (options.case, &options.data) {
        (Some(case), Some(data)) => run_case(case, data),
        _ => run_all(&options),
    }
}

fn run_all(options: &Options) -> Result<()> {
    let mut out = stdout();
    writeln!(out, "{}\n\n{HEADER}", heading(options)?)?;
    for layout in [Layout::OneFile, Layout::FileADay] {
        let mut first = None;
        for &rows in &options.rows {
            // Removed before the next is written: a year is gigabytes.
            let directory = tempfile::tempdir()?;
            let year = Year::new(rows, layout);
            say(&format!("writing {} rows, {layout:?}", count(year.rows())))?;
            year.write(directory.path())?;
            for case in [Case::Day, Case::Year] {
                let (cost, counts) = measure_case(case, directory.path(), options.runs)?;
                let expected = if case == Case::Day { year.entities } else { year.rows() };
                let is_right = (counts.rows, counts.entities) == (expected, year.entities);
                ensure!(is_right, "{case:?} came to {counts:?}");
                if case == Case::Year {
                    first.get_or_insert(cost);
                }
                let base = first.filter(|_| case == Case::Year);
                writeln!(out, "{}", line(year, case, cost, counts, base))?;
            }
        }
    }
    Ok(())
}

/// Runs a case so many times, each in a process of its own.
fn measure_case(case: Case, data: &Path, runs: u64) -> Result<(Cost, Counts)> {
    let mut costs = Vec::new();
    let mut counts = None;
    for run in 1..=runs {
        say(&format!("{case:?}, run {run} of {runs}"))?;
        let log = data.with_extension("log");
        let mut command = Command::new(std::env::current_exe()?);
        let name = case.to_possible_value().context("every case has a name")?;
        command.args(["--case", name.get_name(), "--data"]).arg(data);
        let cost = measure::run(&mut command, 0, &log)?;
        let said = parse(&fs::read_to_string(&log)?)?;
        fs::remove_file(&log)?;
        fs::remove_file(log.with_extension("err"))?;
        costs.push(Cost { rows: said.rows, ..cost });
        counts = Some(said);
    }
    Ok((median(costs).context("at least one run")?, counts.context("at least one run")?))
}

fn parse(said: &str) -> Result<Counts> {
    let numbers: Vec<u64> = said.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let [rows, entities, wanted, read, requests] = numbers[..] else {
        bail!("it said `{said}`, not five numbers");
    };
    Ok(Counts { rows, entities, wanted, read, requests })
}

const HEADER: &str = "rows of the year  layout      window        rows/s  time a row, × first  \
                      CPU µs/row  peak MiB  requests  read MiB  × window's bytes";

fn line(year: Year, case: Case, cost: Cost, counts: Counts, base: Option<Cost>) -> String {
    let base = base.map(|base| base.rows_per_second() / cost.rows_per_second());
    let base = base.map_or("–".to_owned(), |ratio| format!("{ratio:.2}"));
    format!(
        "{:>16}  {:<10}  {:<6}  {:>12}  {base:>19}  {:>10.3}  {:>8.0}  {:>8}  {:>8.2}  {:>16.3}",
        count(year.rows()),
        format!("{:?}", year.layout),
        format!("{case:?}"),
        count(cost.rows_per_second().round() as u64),
        cost.cpu_micros_per_row().unwrap_or(f64::NAN),
        cost.memory_bytes_max.unwrap_or_default() as f64 / MIB,
        count(counts.requests),
        counts.read as f64 / MIB,
        counts.read as f64 / counts.wanted as f64,
    )
}

/// Takes every row and forgets it.
#[derive(Debug)]
struct Forgetting;

#[async_trait]
impl FeatureSink for Forgetting {
    async fn write(&self, batch: EncodedBatch) -> Result<WriteCounts, SinkError> {
        Ok(WriteCounts { written: batch.len() as u64, ..WriteCounts::default() })
    }

    async fn confirm(&self) -> Result<(), SinkError> {
        Ok(())
    }

    fn identity(&self) -> String {
        "nothing".to_owned()
    }

    async fn mark(&self, _: &Marker, _: u32) -> Result<(), SinkError> {
        Ok(())
    }

    fn stored_inside<'a>(
        &'a self,
        _: Interval,
        _: KnownKeys<'a>,
    ) -> BoxStream<'a, Result<Vec<Vec<u8>>, SinkError>> {
        futures::stream::empty().boxed()
    }

    async fn remove(&self, _: &[Vec<u8>]) -> Result<u64, SinkError> {
        Ok(0)
    }
}

/// Runs one case in this process and says what it read.
fn run_case(case: Case, data: &Path) -> Result<()> {
    let session = Session::new(SessionOptions {
        partitions: std::thread::available_parallelism()?.get(),
        memory_limit_bytes: jobs::session::MEMORY_LIMIT_BYTES,
        object_store: BTreeMap::new(),
    })?;
    let store = Arc::new(Counting::default());
    let door: Arc<dyn ObjectStore> = Arc::<Counting>::clone(&store);
    session.put_store("file:///".parse()?, door);
    let counts = tokio::runtime::Runtime::new()?.block_on(async {
        let plan = WindowPlan::new(&session, spec(case, data)?).await?;
        let wanted = plan.files().iter().map(|file| file.bytes).sum();
        let attempt = Attempt::new(plan.partitions(&session));
        let sink = Arc::new(Forgetting);
        let outcome = jobs::run(&session, &plan, sink, &attempt, &Arc::default()).await?;
        let (requests, read) = store.counts();
        let (rows, entities) = (outcome.receipt.rows_read, outcome.receipt.counts.written);
        anyhow::Ok(Counts { rows, entities, wanted, read, requests })
    })?;
    let Counts { rows, entities, wanted, read, requests } = counts;
    writeln!(stdout(), "{rows} {entities} {wanted} {read} {requests}")?;
    Ok(())
}

fn spec(case: Case, data: &Path) -> Result<WindowSpec> {
    let [key, event_time, float, integer] = COLUMNS;
    let field = |name: &str, value_type| Field {
        name: name.to_owned(),
        value_type,
        vector_length: 0,
        vector_index: false,
    };
    let view = FeatureView {
        name: "driver_stats".to_owned(),
        features: vec![field(float, ValueType::Float), field(integer, ValueType::Int64)],
        join_keys: vec![JoinKey { name: key.to_owned(), value_type: ValueType::Int64 }],
        source: DataSource {
            path: data.to_str().context("the temporary directory has a plain name")?.to_owned(),
            timestamp_field: event_time.to_owned(),
            ..DataSource::default()
        },
        online: true,
        ..FeatureView::default()
    };
    Ok(WindowSpec {
        view,
        repo_dir: PathBuf::from("/"),
        interval: case.interval(),
        entity_key_serialization_version: 3,
        key_suffix: b"bench".to_vec(),
        on_bad_row: OnBadRow::Fail,
        batch_rows_max: None,
    })
}

/// What the numbers depend on.
fn heading(options: &Options) -> Result<String> {
    Ok(format!(
        "a row group a day, every entity on every day, 2 features (float32, int64), {}; medians of \
         {}",
        processor()?,
        options.runs
    ))
}
