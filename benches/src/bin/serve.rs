//! How fast does `tidegate serve` answer, and what does it cost?
//!
//! Side by side in one run and from one Redis: our feature server, the real Feast's with as many
//! workers as a small machine has processors, and a bare `HMGET` of the same fields. The load is in
//! this program; what it takes of the processor is shown, because it takes it from the server.
//! Before and after each case some answers are checked in full. With `--soak`, a steady load then
//! shows whether the server keeps its memory.

use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use benches::dataset::{FEATURES, Repository};
use benches::hmget::{Bare, Hmget};
use benches::load::{Load, ask};
use benches::question::Question;
use benches::served::{BUNDLE_FEATURES, BUNDLE_VIEWS, Served, Service};
use benches::server::{FEAST_WORKERS, Server};
use benches::soak::soak;
use benches::table::{aligned, count};
use benches::tidegate::{machine, say};
use benches::usage::Usage;
use clap::Parser;
use harness::{Feast, Redis, tidegate_bin};

/// Measures the feature server side by side with Feast's and with a bare HMGET.
#[derive(Debug, Parser)]
struct Options {
    /// Seconds of each case.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Entities.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    entities: u64,
    /// Seconds of each case for Feast; 0 leaves it out.
    #[arg(long, default_value_t = 5)]
    feast_seconds: u64,
    /// Seconds of a steady load after the table, at 80 % of the highest rate; fails when memory
    /// grows by more than 10 % after the first minute or any answer is not 200.
    #[arg(long, value_parser = clap::value_parser!(u64).range(90..))]
    soak: Option<u64>,
}

/// The services, each with so many entities in a request.
const SERVICES: [(Service, usize); 3] =
    [(Service::Stats, 1), (Service::Stats, 100), (Service::Bundle, 50)];
/// One caller, some, and more than a small machine can work for at once.
const CONNECTIONS: [usize; 3] = [1, 16, 64];
/// Where the two halves are measured as well: a bare `HMGET` of one row, and HTTP without any.
const ALONE_CONNECTIONS: [usize; 2] = [1, 16];
/// The load of a soak, as a share of the highest rate.
const SOAK_SHARE: f64 = 0.8;
/// Caches fill and pools connect in this share of a case's time, before it is measured.
const WARM_UP: f64 = 0.2;
/// Requests are drawn for so many entities, and then asked over and over.
const DRAWN_ENTITIES: usize = 100_000;
/// Answers that are checked before and after each case.
const CHECKED: usize = 20;
/// Starts of our server; the median is shown.
const STARTS: usize = 5;

fn main() -> Result<()> {
    let options = Options::parse();
    let directory = tempfile::tempdir()?;
    let feast = Feast::require()?;
    let bench = Bench::prepare(directory.path(), &options, &feast)?;
    let (ready, ours, http) = bench.tidegate(options.seconds)?;
    let (feast_ready, theirs) = match options.feast_seconds {
        0 => (None, Vec::new()),
        seconds => bench.feast(&feast, seconds)?,
    };
    let alone = Alone { hmget: bench.hmget(options.seconds)?, http };
    let mut out = stdout();
    writeln!(out, "{}\n\n{}\n", heading(&options)?, table(&ours, &theirs, &alone))?;
    writeln!(out, "ready after {:.0} ms (median of {STARTS})", millis(ready))?;
    if let Some(ready) = feast_ready {
        writeln!(out, "Feast ready after {:.0} ms", millis(ready))?;
    }
    match options.soak {
        Some(seconds) => bench.soak(&ours, Duration::from_secs(seconds)),
        None => Ok(()),
    }
}

/// What is asked, and by how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Case {
    service: Service,
    entities: usize,
    connections: usize,
}

impl Case {
    fn all() -> impl Iterator<Item = Self> {
        SERVICES.into_iter().flat_map(|(service, entities)| {
            CONNECTIONS.map(|connections| Self { service, entities, connections })
        })
    }

    fn name(self) -> String {
        let of = |number: usize, one: &str, many: &str| {
            format!("{number} {}", if number == 1 { one } else { many })
        };
        let entities = of(self.entities, "entity", "entities");
        let connections = of(self.connections, "connection", "connections");
        match self.service.views() {
            1 => format!("{entities}, {connections}"),
            views => format!("{entities} × {views} views, {connections}"),
        }
    }
}

/// What one server did in one case.
#[derive(Clone, Copy, Debug)]
struct Line {
    case: Case,
    rate: f64,
    p50: Duration,
    p99: Duration,
    /// Of the server, a request.
    cpu: Duration,
    /// Of the load, a request.
    load_cpu: Duration,
    /// At the end.
    usage: Usage,
}

/// The two halves of an answer for one entity, each by itself, by number of connections.
struct Alone {
    /// None without `redis-benchmark`.
    hmget: Connections<Bare>,
    http: Connections<Bare>,
}

/// Of so many connections each.
type Connections<T> = Vec<(usize, T)>;

/// Everything that is made once.
struct Bench {
    directory: PathBuf,
    served: Served,
    repository: Repository,
    redis: Redis,
}

impl Bench {
    fn prepare(directory: &Path, options: &Options, feast: &Feast) -> Result<Self> {
        let served = Served::new(usize::try_from(options.entities)?);
        let redis = Redis::start()?;
        say(&format!("loading {} entities", count(options.entities)))?;
        served.load(&redis)?;
        let repository = served.repository(feast, &directory.join("applied"))?;
        Ok(Self { directory: directory.to_owned(), served, repository, redis })
    }

    /// A directory with the repository, for one start of a server.
    fn place(&self, name: &str) -> Result<PathBuf> {
        let place = self.directory.join(name);
        self.repository.fresh(&place, &self.redis)?;
        Ok(place)
    }

    /// Until our server is ready, each case with it, and HTTP alone.
    fn tidegate(&self, seconds: u64) -> Result<(Duration, Vec<Line>, Connections<Bare>)> {
        say("tidegate serve")?;
        let start = || Server::tidegate(&self.place("tidegate")?);
        let mut ready = Vec::new();
        for _ in 1..STARTS {
            ready.push(start()?.ready_after());
        }
        let server = start()?;
        ready.push(server.ready_after());
        ready.sort();
        let (lines, http) = (self.cases(&server, seconds)?, self.http(&server, seconds)?);
        Ok((ready[ready.len() / 2], lines, http))
    }

    /// Answers that need nothing but HTTP.
    fn http(&self, server: &Server, seconds: u64) -> Result<Connections<Bare>> {
        say("HTTP alone")?;
        let alone = |connections| {
            let questions = Arc::from([Question::nothing()]);
            let load = Load { address: server.address(), questions, connections, rate: None };
            let measured = load.run(Duration::from_secs(seconds))?;
            let quantile = |quantile| measured.latencies.quantile(quantile);
            let (p50, p99) = (quantile(0.5), quantile(0.99));
            Ok((connections, Bare { rate: measured.rate(), p50, p99 }))
        };
        ALONE_CONNECTIONS.into_iter().map(alone).collect()
    }

    fn feast(&self, feast: &Feast, seconds: u64) -> Result<(Option<Duration>, Vec<Line>)> {
        say(&format!("Feast {}", Feast::VERSION))?;
        let server = Server::feast(feast, &self.place("feast")?)?;
        Ok((Some(server.ready_after()), self.cases(&server, seconds)?))
    }

    fn cases(&self, server: &Server, seconds: u64) -> Result<Vec<Line>> {
        let length = Duration::from_secs(seconds);
        let line = |case: Case| self.case(server, case, length).with_context(|| case.name());
        Case::all().map(line).collect()
    }

    fn case(&self, server: &Server, case: Case, length: Duration) -> Result<Line> {
        say(&case.name())?;
        let load = self.load(server, case, None);
        self.check(&load, case)?;
        load.run(length.mul_f64(WARM_UP))?;
        let before = server.usage()?.cpu;
        let measured = load.run(length)?;
        let usage = server.usage()?;
        self.check(&load, case)?;
        let requests = measured.latencies.total() as f64;
        let each = |cpu: Duration| Duration::from_secs_f64(cpu.as_secs_f64() / requests);
        Ok(Line {
            case,
            rate: measured.rate(),
            p50: measured.latencies.quantile(0.5),
            p99: measured.latencies.quantile(0.99),
            cpu: each(usage.cpu.saturating_sub(before)),
            load_cpu: each(measured.cpu),
            usage,
        })
    }

    fn load(&self, server: &Server, case: Case, rate: Option<f64>) -> Load {
        let count = (DRAWN_ENTITIES / case.entities).max(CHECKED);
        let questions = Question::draw(&self.served, case.service, case.entities, count);
        let (address, questions) = (server.address(), Arc::from(questions));
        Load { address, questions, connections: case.connections, rate }
    }

    /// Asks the first questions and looks at every value.
    fn check(&self, load: &Load, case: Case) -> Result<()> {
        ask(load.address, &load.questions[..CHECKED], |question, answer| {
            question.check(&self.served, case.service, answer).context("a wrong answer")
        })
    }

    /// A bare `HMGET` by number of connections; none without `redis-benchmark`.
    fn hmget(&self, seconds: u64) -> Result<Connections<Bare>> {
        say("redis-benchmark")?;
        let hmget = Hmget::prepare(&self.redis, self.served.dataset())?;
        let mut all = Vec::new();
        for connections in ALONE_CONNECTIONS {
            let bare = hmget.run(connections, Duration::from_secs(seconds))?;
            all.extend(bare.map(|bare| (connections, bare)));
        }
        Ok(all)
    }

    /// A steady load on a new server, of the case that had the highest rate.
    fn soak(&self, lines: &[Line], length: Duration) -> Result<()> {
        let peak = lines.iter().max_by(|one, other| one.rate.total_cmp(&other.rate));
        let peak = peak.context("there is a case")?;
        let rate = peak.rate * SOAK_SHARE;
        let name = peak.case.name();
        writeln!(stdout(), "\nsoak: {name}, {} requests/s\n", count(rate.round() as u64))?;
        let server = Server::tidegate(&self.place("soak")?)?;
        let load = self.load(&server, peak.case, Some(rate));
        soak(&server, &load, length)?;
        self.check(&load, peak.case)
    }
}

const HEADER: [&str; 10] = [
    "case",
    "requests/s",
    "of Feast",
    "p50 ms",
    "of HMGET",
    "p99 ms",
    "CPU ms/request",
    "of the load",
    "RSS MiB",
    "peak MiB",
];

/// Of each case, our line, Feast's and those of the halves alone, as far as there are such.
fn table(ours: &[Line], theirs: &[Line], alone: &Alone) -> String {
    let mut rows = vec![HEADER.map(str::to_owned)];
    for line in ours {
        let of_one = line.case.service == Service::Stats && line.case.entities == 1;
        let of_case = |all: &'_ [(usize, Bare)]| {
            let held = all.iter().find(|(connections, _)| *connections == line.case.connections);
            held.map(|(_, bare)| *bare).filter(|_| of_one)
        };
        let (hmget, http) = (of_case(&alone.hmget), of_case(&alone.http));
        let feast = theirs.iter().find(|theirs| theirs.case == line.case);
        rows.push(cells("tidegate", line, feast, hmget));
        rows.extend(feast.map(|feast| cells("Feast", feast, None, hmget)));
        rows.extend(http.map(|http| bare_cells("HTTP alone", line.case, http, hmget)));
        rows.extend(hmget.map(|bare| bare_cells("HMGET alone", line.case, bare, None)));
    }
    aligned(&rows)
}

fn cells(
    server: &str,
    line: &Line,
    feast: Option<&Line>,
    hmget: Option<Bare>,
) -> [String; HEADER.len()] {
    const MIB: f64 = 1_048_576.0;
    let mib = |bytes: u64| format!("{:.1}", bytes as f64 / MIB);
    [
        format!("{}, {server}", line.case.name()),
        count(line.rate.round() as u64),
        times(feast.map(|feast| line.rate / feast.rate)),
        format!("{:.3}", millis(line.p50)),
        times(hmget.map(|hmget| ratio(line.p50, hmget.p50))),
        format!("{:.3}", millis(line.p99)),
        format!("{:.4}", millis(line.cpu)),
        format!("{:.4}", millis(line.load_cpu)),
        mib(line.usage.resident_bytes),
        mib(line.usage.resident_bytes_max),
    ]
}

fn bare_cells(what: &str, case: Case, bare: Bare, hmget: Option<Bare>) -> [String; HEADER.len()] {
    let mut cells = HEADER.map(|_| dash());
    cells[0] = format!("{}, {what}", case.name());
    cells[1] = count(bare.rate.round() as u64);
    cells[3] = format!("{:.3}", millis(bare.p50));
    cells[4] = times(hmget.map(|hmget| ratio(bare.p50, hmget.p50)));
    cells[5] = format!("{:.3}", millis(bare.p99));
    cells
}

fn times(ratio: Option<f64>) -> String {
    ratio.map_or_else(dash, |ratio| format!("{ratio:.1} ×"))
}

fn ratio(time: Duration, of: Duration) -> f64 {
    time.as_secs_f64() / of.as_secs_f64()
}

fn dash() -> String {
    "–".to_owned()
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// What the numbers depend on.
fn heading(options: &Options) -> Result<String> {
    let version = Command::new(tidegate_bin()?).arg("--version").output()?;
    let feast = match options.feast_seconds {
        0 => "without Feast".to_owned(),
        seconds => {
            format!("Feast {} with {FEAST_WORKERS} workers, {seconds} s", Feast::VERSION)
        }
    };
    Ok(format!(
        "{} entities of {} features, and {BUNDLE_VIEWS} views of {BUNDLE_FEATURES}; {}, {}; \
         {} s a case; {feast}",
        count(options.entities),
        FEATURES.len(),
        String::from_utf8_lossy(&version.stdout).trim(),
        machine()?,
        options.seconds
    ))
}
