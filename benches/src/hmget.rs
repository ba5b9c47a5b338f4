//! The yardstick of reading: a bare `HMGET` of the same fields, by Redis's own benchmark.
//!
//! Its arguments cannot hold the bytes of Feast's keys, so it reads copies of the rows under keys
//! and fields of the same length: the keys are drawn at random, as those of the servers are.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Redis, Reply, Tool};

use crate::dataset::{Dataset, Day};
use crate::hash::Pair;
use crate::hset::Commands;

/// Stands for twelve random digits in an argument of `redis-benchmark`.
const RANDOM: &str = "__rand_int__";
/// Requests by which the rate is guessed.
const TRIAL: u64 = 10_000;

/// Copies of the rows, in a Redis.
#[derive(Debug)]
pub struct Hmget<'a> {
    redis: &'a Redis,
    rows: usize,
    tail: String,
    fields: Vec<String>,
}

/// What `redis-benchmark` measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bare {
    /// Requests a second.
    pub rate: f64,
    /// What half of them took at most.
    pub p50: Duration,
    /// What 99 of 100 of them took at most.
    pub p99: Duration,
}

impl<'a> Hmget<'a> {
    /// Writes the copies.
    ///
    /// # Errors
    /// When Redis refuses them or reads something else.
    pub fn prepare(redis: &'a Redis, dataset: &Dataset) -> Result<Self> {
        let mut hmget = Self { redis, rows: dataset.rows(), tail: String::new(), fields: vec![] };
        let mut commands = None;
        let mut first = Vec::new();
        dataset.for_each_hash(Day::First, |index, key, pairs| {
            if index == 0 {
                hmget.tail = "k".repeat(key.len().saturating_sub(RANDOM.len()));
                let name = |at: usize| format!("{at:0>width$}", width = pairs[at].0.len());
                hmget.fields = (0..pairs.len()).map(name).collect();
                first = pairs.iter().map(|(_, value)| Reply::Bulk(value.clone())).collect();
            }
            let fields = hmget.fields.iter().map(|field| field.clone().into_bytes());
            let values = pairs.iter().map(|(_, value)| value.clone());
            let copy: Vec<Pair> = fields.zip(values).collect();
            let commands = commands.get_or_insert_with(|| Commands::of_fields(copy.len()));
            commands.push(hmget.key(&format!("{index:012}")).as_bytes(), &copy);
        });
        commands.context("there is no row")?.send(redis)?;
        let mut command = vec!["HMGET".to_owned(), hmget.key(&format!("{:012}", 0))];
        command.extend(hmget.fields.iter().cloned());
        let found = redis.command(&command)?;
        ensure!(found == Reply::Array(first), "`HMGET` gave {found:?}");
        Ok(hmget)
    }

    /// Reads for about so long, one request at a time on each connection; `None` when
    /// `redis-benchmark` is not installed.
    ///
    /// # Errors
    /// When it fails.
    pub fn run(&self, connections: usize, length: Duration) -> Result<Option<Bare>> {
        let Some(trial) = self.requests(connections, TRIAL)? else { return Ok(None) };
        self.requests(connections, (trial.rate * length.as_secs_f64()) as u64 + 1)
    }

    fn requests(&self, connections: usize, count: u64) -> Result<Option<Bare>> {
        let Some(program) = Tool::find("redis-benchmark") else { return Ok(None) };
        let mut command = Command::new(program);
        command.args(["-p", &self.redis.port().to_string(), "-r", &self.rows.to_string()]);
        command.args(["-n", &count.to_string(), "-c", &connections.to_string(), "-P", "1"]);
        command.args(["--csv", "HMGET", &self.key(RANDOM)]).args(&self.fields);
        let output = command.output().context("failed to run `redis-benchmark`")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8_lossy(&output.stdout);
        parse(&text).map(Some).with_context(|| format!("`redis-benchmark` said {text}"))
    }

    fn key(&self, number: &str) -> String {
        format!("{number}{}", self.tail)
    }
}

/// Reads the last line of `--csv`: the command, then the rate, and in milliseconds the mean, least,
/// p50, p95, p99 and greatest latency.
fn parse(csv: &str) -> Option<Bare> {
    let line = csv.lines().rfind(|line| line.starts_with('"'))?;
    let mut numbers = line.rsplit(',').map(|cell| cell.trim_matches('"').parse::<f64>().ok());
    let (_, p99, _, p50) = (numbers.next()?, numbers.next()??, numbers.next()?, numbers.next()??);
    let rate = numbers.nth(2)??;
    let millis = |millis: f64| Duration::try_from_secs_f64(millis / 1e3).ok();
    Some(Bare { rate, p50: millis(p50)?, p99: millis(p99)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_numbers_is_read() {
        let csv = "\"test\",\"rps\",\"avg_latency_ms\",\"min_latency_ms\",\"p50_latency_ms\",\
                   \"p95_latency_ms\",\"p99_latency_ms\",\"max_latency_ms\"\n\
                   \"HMGET a,b\",\"12345.67\",\"0.4\",\"0.1\",\"0.250\",\"0.6\",\"0.750\",\"9\"\n";
        let micros = Duration::from_micros;
        let bare = Bare { rate: 12_345.67, p50: micros(250), p99: micros(750) };
        assert_eq!(parse(csv), Some(bare));
        assert_eq!(parse("WARNING: none\n"), None);
        assert_eq!(parse("\"test\",\"rps\"\n"), None);
    }

    #[test]
    fn copies_are_read_at_some_rate() -> Result<()> {
        let redis = Redis::start()?;
        let hmget = Hmget::prepare(&redis, &Dataset::new(100))?;
        let bare = hmget.run(2, Duration::from_millis(50))?.context("it is installed")?;
        assert!(bare.rate > 0.0 && bare.p50 <= bare.p99, "{bare:?}");
        let stats = redis.command(&["INFO", "stats"])?;
        let stats = String::from_utf8_lossy(stats.bytes().unwrap_or_default()).into_owned();
        assert!(stats.contains("keyspace_misses:0"), "{stats}");
        Ok(())
    }
}
