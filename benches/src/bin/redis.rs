//! What does a row cost Redis, by each way to write it?
//!
//! Processor time of the server itself, so that neither client nor socket counts. The ways take
//! turns in every round, on one server. `RESTORE` payloads and the script are those of our online
//! store: it writes a first load through a tap. After each way the rows are checked. The costs in
//! `online-store`'s `route` come from here.

use std::collections::HashMap;
use std::io::{Write, stdout};
use std::thread;

use anyhow::{Context, Result, ensure};
use benches::dataset::{Dataset, Day};
use benches::hash::Pair;
use benches::replay::Connection;
use benches::store::{Store, narrow};
use benches::table::count;
use benches::tap::{self, Command};
use benches::tidegate::{machine, say};
use benches::ways::{Does, Exchange, FUNCTION, Row, Scripts, Way, recheck_script, ways};
use clap::Parser;
use harness::Redis;

/// Measures what a row costs Redis by each way to write it.
#[derive(Debug, Parser)]
struct Options {
    /// Rows, in hundreds.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    hundreds: u64,
    /// How often each way has its turn; the median is shown.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
}

/// Connections that transactions are spread over: each waits for answers in the middle.
const CONNECTIONS: usize = 4;
/// Updates come in another order than the rows were written in: this prime apart.
const STRIDE: usize = 7_919;

fn main() -> Result<()> {
    let options = Options::parse();
    let bench = Bench::prepare(Dataset::new(usize::try_from(options.hundreds)? * 100))?;
    let ways = ways();
    let mut costs = vec![Vec::new(); ways.len()];
    for round in 1..=options.rounds {
        say(&format!("round {round} of {}", options.rounds))?;
        for (way, costs) in ways.iter().zip(&mut costs) {
            costs.push(bench.run(way).with_context(|| format!("`{}`", way.name))?);
        }
    }
    let mut out = stdout();
    writeln!(
        out,
        "{} rows of 7 fields, {:.0} bytes of HSET a row, {}; medians of {} rounds\n",
        count(options.hundreds * 100),
        bench.hset_bytes()?,
        machine()?,
        options.rounds
    )?;
    writeln!(
        out,
        "{:<36}  {:>10}  {:>13}  {:>8}  in `route`",
        "way", "CPU µs/row", "all", "of HSET"
    )?;
    let mut unit = f64::NAN;
    for (way, mut costs) in ways.iter().zip(costs) {
        costs.sort_by(f64::total_cmp);
        let (least, middle, most) = (costs[0], costs[costs.len() / 2], costs[costs.len() - 1]);
        if matches!(way.does, Does::Hset) && way.stored.is_none() {
            unit = middle;
        }
        let all = format!("{least:.2} – {most:.2}");
        let (of_hset, constant) = (middle / unit, way.constant.unwrap_or_default());
        let line =
            format!("{:<36}  {middle:>10.2}  {all:>13}  {of_hset:>8.2}  {constant}", way.name);
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// A row's key and fields, the event time first.
type Hash = (Vec<u8>, Vec<Pair>);

struct Bench {
    redis: Redis,
    dataset: Dataset,
    first: Vec<Hash>,
    second: Vec<Hash>,
    /// `RESTORE` commands of the first day by key.
    restores: HashMap<Vec<u8>, Command>,
    scripts: Scripts,
}

impl Bench {
    fn prepare(dataset: Dataset) -> Result<Self> {
        ensure!(!dataset.rows().is_multiple_of(STRIDE), "some rows would come twice, some never");
        let redis = Redis::start()?;
        let commands = tap::record(&redis, |port| first_load(dataset, port))?;
        dataset.check(Day::First, &redis)?;
        let (mut restores, mut script) = (HashMap::new(), None);
        for command in commands {
            match command[0].as_slice() {
                b"RESTORE" => drop(restores.insert(command[1].clone(), command)),
                b"SCRIPT" if command[1] == b"LOAD" => script = command.into_iter().nth(2),
                _ => {}
            }
        }
        ensure!(restores.len() == dataset.rows(), "{} rows came by `RESTORE`", restores.len());
        let script = String::from_utf8(script.context("the online store loaded no script")?)?;
        let hashes = |day| {
            let mut hashes = Vec::new();
            dataset
                .for_each_hash(day, |_, key, fields| hashes.push((key.to_vec(), fields.to_vec())));
            hashes
        };
        let (first, second) = (hashes(Day::First), hashes(Day::Second));
        let mut connection = Connection::open(&redis)?;
        let mut load = |script: &str| -> Result<Vec<u8>> {
            let sha = connection.ask(&[b"SCRIPT", b"LOAD", script.as_bytes()])?;
            Ok(sha.bytes().context("a script has a SHA-1")?.to_vec())
        };
        let scripts =
            Scripts { newer_wins: load(&script)?, recheck: load(&recheck_script(&first[0].1))? };
        let name = String::from_utf8_lossy(FUNCTION);
        let function = format!(
            "#!lua name=bench\nredis.register_function('{name}', function(KEYS, ARGV)\n{script}\n\
             end)"
        );
        connection.ask(&[b"FUNCTION", b"LOAD", function.as_bytes()])?;
        Ok(Self { redis, dataset, first, second, restores, scripts })
    }

    /// Microseconds of the server a row.
    fn run(&self, way: &Way) -> Result<f64> {
        let mut connection = Connection::open(&self.redis)?;
        connection.ask(&[b"FLUSHALL", b"SYNC"])?;
        if let Some(day) = way.stored {
            let load = Way { name: "", does: Does::Hset, stored: None, sent: day, constant: None };
            self.send(&load, &self.rows(&load), &mut connection)?;
        }
        let rows = self.rows(way);
        let before = connection.server_cpu()?;
        match way.does {
            Does::Watch(rows_of_transaction) => self.transact(&rows, rows_of_transaction)?,
            _ => self.send(way, &rows, &mut connection)?,
        }
        let spent = connection.server_cpu()?.saturating_sub(before);
        self.dataset.check(way.left(), &self.redis)?;
        Ok(spent.as_secs_f64() * 1e6 / rows.len() as f64)
    }

    /// The rows that a way sends; existing ones in another order than they were written in.
    fn rows(&self, way: &Way) -> Vec<Row<'_>> {
        let of = |day| if day == Day::First { &self.first } else { &self.second };
        let count = self.dataset.rows();
        let row = |index: usize| {
            let at = if way.stored.is_some() { index * STRIDE % count } else { index };
            let (key, sent) = &of(way.sent)[at];
            Row {
                key,
                sent,
                stored: way.stored.map(|day| of(day)[at].1.as_slice()),
                restore: &self.restores[key],
            }
        };
        (0..count).map(row).collect()
    }

    fn send(&self, way: &Way, rows: &[Row<'_>], connection: &mut Connection) -> Result<()> {
        let rows_of_call = match way.does {
            Does::Script(rows) | Does::Function(rows) => rows,
            Does::LookAndRecheck(rows) | Does::LookAndScript(rows) => rows,
            _ => 1,
        };
        let mut exchange = Exchange::default();
        rows.chunks(rows_of_call).for_each(|rows| exchange.push(way, rows, &self.scripts));
        exchange.run(connection)
    }

    /// Transactions over several connections, each of which waits for its answers.
    fn transact(&self, rows: &[Row<'_>], rows_of_transaction: usize) -> Result<()> {
        let part = |rows: &[Row<'_>]| -> Result<()> {
            let mut connection = Connection::open(&self.redis)?;
            for rows in rows.chunks(rows_of_transaction) {
                let mut exchange = Exchange::default();
                exchange.watch(rows);
                exchange.run(&mut connection)?;
                let mut exchange = Exchange::default();
                exchange.transact(rows);
                exchange.run(&mut connection)?;
            }
            Ok(())
        };
        thread::scope(|scope| {
            let parts = rows.chunks(rows.len().div_ceil(CONNECTIONS));
            let parts: Vec<_> = parts.map(|rows| scope.spawn(move || part(rows))).collect();
            parts.into_iter().try_for_each(|part| part.join().expect("sending does not panic"))
        })
    }

    fn hset_bytes(&self) -> Result<f64> {
        let mut exchange = Exchange::default();
        let way = ways().into_iter().next().context("there is a way")?;
        let rows = self.rows(&way);
        rows.iter().for_each(|row| exchange.push(&way, &[*row], &self.scripts));
        Ok(exchange.stream.bytes() as f64 / rows.len() as f64)
    }
}

/// Writes the first day's rows through the online store.
fn first_load(dataset: Dataset, port: u16) -> Result<()> {
    let (encoder, batches) = narrow(dataset, Day::First)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let store = Store::open(port).await?;
        for batch in &batches {
            store.write(encoder.encode(batch)?.batch).await?;
        }
        Ok(())
    })
}
