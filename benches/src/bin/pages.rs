//! How long does a scheduler with a long history take to list its views and its runs?
//!
//! A registry and a ledger in PostgreSQL: feature views that Feast has applied, and finished runs
//! over them. Each page is asked for over HTTP, one connection at a time, and its length is
//! checked, because an empty page is quick.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write, stdout};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use benches::table::count;
use benches::tidegate::{processor, say};
use clap::Parser;
use harness::{Feast, Postgres, Redis, tidegate_bin};
use serde_json::Value;

/// What the process says once it can be asked.
const LISTENING: &str = "listening on http://";
/// Of every run; views take turns.
const JOBS_OF_A_RUN: u64 = 10;
/// What a page of `/v1/runs` holds unless told otherwise.
const PAGE: usize = 50;

/// Measures the pages of a scheduler with many views and many finished runs.
#[derive(Debug, Parser)]
struct Options {
    /// Feature views.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    views: u64,
    /// Finished runs, of ten jobs each.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    runs: u64,
    /// How often each page is asked for; the median is shown.
    #[arg(long, default_value_t = 101, value_parser = clap::value_parser!(u64).range(1..))]
    requests: u64,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let directory = tempfile::tempdir()?;
    let (postgres, redis) = (Postgres::start()?, Redis::start()?);
    let database = "pages";
    let url = postgres.create_database(database)?;
    say(&format!("applying {} views with Feast {}", count(options.views), Feast::VERSION))?;
    apply(directory.path(), &url, redis.port(), options.views)?;
    let scheduler = Scheduler::start(directory.path())?;
    say(&format!("recording {} runs", count(options.runs)))?;
    postgres.psql(database, &history(&options))?;

    let newest = format!("/v1/runs?view={}", view_name(0));
    let pages = [
        ("/v1/views", "views", usize::try_from(options.views)?),
        ("/v1/runs", "runs", PAGE.min(usize::try_from(options.runs)?)),
        ("/v1/runs?state=failed", "runs", PAGE.min(usize::try_from(options.runs / 100)?)),
        (newest.as_str(), "runs", 1),
    ];
    let mut out = stdout();
    writeln!(
        out,
        "{} views, {} finished runs of {JOBS_OF_A_RUN} jobs, {}; medians of {}",
        count(options.views),
        count(options.runs),
        processor()?,
        options.requests
    )?;
    for (path, list, length_min) in pages {
        let mut took = Vec::new();
        let mut bytes = 0;
        for _ in 0..options.requests {
            let started = Instant::now();
            let body = get(&scheduler.address, path)?;
            took.push(started.elapsed());
            bytes = body.len();
            let page: Value = serde_json::from_slice(&body)?;
            let length = page[list].as_array().map_or(0, Vec::len);
            ensure!(length >= length_min, "`{path}` lists {length}, not {length_min}");
        }
        took.sort_unstable();
        let millis = |took: Duration| took.as_secs_f64() * 1e3;
        let (middle, last) = (took[took.len() / 2], took[took.len() * 99 / 100]);
        let (middle, last) = (millis(middle), millis(last));
        writeln!(out, "GET {path:<24} {middle:>7.1} ms  p99 {last:>7.1} ms  {bytes:>9} bytes")?;
    }
    Ok(())
}

fn view_name(number: u64) -> String {
    format!("view_{number:05}")
}

/// A repository whose registry is in PostgreSQL and holds what `feast apply` has put there.
fn apply(directory: &Path, url: &str, redis_port: u16, views: u64) -> Result<()> {
    let registry = url.replace("postgresql://", "postgresql+psycopg://");
    let configuration = format!(
        "project: p\nprovider: local\n\
         registry: {{registry_type: sql, path: '{registry}'}}\n\
         online_store: {{type: redis, connection_string: '127.0.0.1:{redis_port}'}}\n\
         offline_store: {{type: file}}\nentity_key_serialization_version: 3\n"
    );
    let definitions = format!(
        "from datetime import timedelta\n\
         from feast import Entity, FeatureView, Field, FileSource, ValueType\n\
         from feast.types import Float32, Int64\n\
         driver = Entity(name='driver', join_keys=['driver_id'], value_type=ValueType.INT64)\n\
         fields = [Field(name=f'f{{n}}', dtype=Float32) for n in range(6)]\n\
         for n in range({views}):\n\
         \x20   source = FileSource(name=f's{{n}}', path='data', timestamp_field='ts')\n\
         \x20   name = f'view_{{n:05}}'\n\
         \x20   globals()[name] = FeatureView(name=name, entities=[driver], source=source,\n\
         \x20       ttl=timedelta(0), schema=[Field(name='driver_id', dtype=Int64), *fields])\n"
    );
    fs::write(directory.join("definitions.py"), definitions)?;
    fs::write(directory.join("feature_store.yaml"), configuration)?;
    let feast = Feast::require()?;
    let mut command = Command::new(feast.command());
    let output =
        command.args(["apply", "--skip-source-validation"]).current_dir(directory).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`feast apply` failed: {said}");
    Ok(())
}

/// Finished runs a minute apart, the last of them now, and what their jobs have landed.
fn history(options: &Options) -> String {
    let Options { views, runs, .. } = options;
    let jobs = runs * JOBS_OF_A_RUN;
    let minute = "60000000000";
    let at =
        format!("(extract(epoch FROM now())::bigint * 1000000000 - ({runs} - run) * {minute})");
    let run_id = "'00000000-0000-7000-8000-' || lpad(to_hex(run), 12, '0')";
    let of_jobs = format!(
        "(SELECT n, n / {JOBS_OF_A_RUN} AS run, 'view_' || lpad((n % {views})::text, 5, '0') AS v
          FROM generate_series(0, {jobs} - 1) AS n) AS all_jobs"
    );

    format!(
        "SET search_path TO tidegate;
        INSERT INTO runs (run_id, project, kind, state, request, is_served, parallel, views,
            warnings, cancel_requested, events, host, pid, program_version, admitted_at,
            started_at, heartbeat_at, finished_at)
        SELECT {run_id}, 'p', 'interval',
            CASE WHEN run % 100 = 0 THEN 'failed' ELSE 'succeeded' END, '{{}}', 1, 1, '[]', '[]', 0,
            0, 'here', 1, '0', {at}, {at}, {at}, {at}
        FROM generate_series(0, {runs} - 1) AS run;
        INSERT INTO views (project, storage_name, features, updated_at)
        SELECT 'p', 'view_' || lpad(n::text, 5, '0'), '[]', 1
        FROM generate_series(0, {views} - 1) AS n ON CONFLICT DO NOTHING;
        INSERT INTO jobs (job_id, run_id, position, project, storage_name, view_name, state,
            interval_start, interval_end, warnings, bad_rows, receipt, admitted_at, finished_at)
        SELECT '00000000-0000-7000-9000-' || lpad(to_hex(n), 12, '0'), {run_id},
            n % {JOBS_OF_A_RUN}, 'p', v, v, 'succeeded', {at} - {minute}, {at}, '[]', '[]',
            NULL, {at}, {at}
        FROM {of_jobs};
        INSERT INTO intervals (project, storage_name, interval_start, interval_end)
        SELECT 'p', v, min({at}) - {minute}, max({at}) FROM {of_jobs} GROUP BY v;
        ANALYZE"
    )
}

/// A running scheduler. It is killed when the value is dropped.
struct Scheduler {
    child: Child,
    address: String,
}

impl Scheduler {
    fn start(directory: &Path) -> Result<Self> {
        let mut child = Command::new(tidegate_bin()?)
            .args(["scheduler", "--listen", "127.0.0.1:0"])
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let stderr = child.stderr.take().context("it is piped")?;
        let mut scheduler = Self { child, address: String::new() };
        let mut lines = BufReader::new(stderr);
        let mut said = String::new();
        while scheduler.address.is_empty() {
            let mut line = String::new();
            ensure!(lines.read_line(&mut line)? > 0, "the scheduler ended: {said}");
            if let Some((_, rest)) = line.split_once(LISTENING) {
                let is_address = |c: char| c.is_ascii_digit() || c == '.' || c == ':';
                let end = rest.find(|c| !is_address(c)).unwrap_or(rest.len());
                scheduler.address = rest[..end].to_owned();
            }
            said.push_str(&line);
        }
        // Nobody reads on; a full pipe would stop it.
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        Ok(scheduler)
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        // Both fail only when it is gone already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// One request on a connection of its own; the body of its answer.
fn get(address: &str, path: &str) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let head = answer.windows(4).position(|end| end == b"\r\n\r\n").context("no answer of HTTP")?;
    let body = answer.split_off(head + 4);
    let said = String::from_utf8_lossy(&body);
    ensure!(answer.starts_with(b"HTTP/1.0 200"), "`{path}` was answered: {said}");
    Ok(body)
}
