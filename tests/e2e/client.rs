//! Every verb at a server: the same words and exit codes as in one process, and a caller that is
//! told to stop, or whose server goes away.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::repo::{Ended, configuration, redis_store};

use crate::redis::{until_writing, wait};
use crate::sample::{PROJECT, Row, Shop, at, fill, iso, landed, many, only_job, view};

/// Written at the speed below, these take long enough for something to happen meanwhile.
const MANY: i64 = 200_000;
const ROWS_PER_SECOND: u64 = 20_000;
const ROWS: [Row; 2] = [(1, 1_704_085_200_000_000, 10), (2, 1_704_085_200_000_000, 20)];
const UNKNOWN: &str = "01900000-0000-7000-8000-000000000000";

/// A scheduler that serves a shop.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    /// Starts one and waits until it listens.
    fn start(shop: &Shop, more: &[&str]) -> Result<Self> {
        let all = ["scheduler", "--drain-timeout", "1s", "--lease-ttl", "2s"];
        let listen: &[&str] =
            if more.contains(&"--listen") { &[] } else { &["--listen", "127.0.0.1:0"] };
        let mut child = shop.repo.spawn(&[&all[..], listen, more].concat())?;
        let mut lines = BufReader::new(child.stderr.take().context("it has a stderr")?).lines();
        let mut said = String::new();
        let url = loop {
            let line = lines.next().with_context(|| format!("it does not listen: {said}"))??;
            if let Some((_, url)) = line.split_once("listening on ") {
                break url.to_owned();
            }
            said.push_str(&line);
        };
        // Read on, so that it is never kept from saying something.
        thread::spawn(move || lines.for_each(drop));
        Ok(Self { child, url })
    }

    fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// Stops it in good order.
    fn stop(mut self) -> Result<()> {
        signal(&self.child, "TERM")?;
        self.child.wait()?;
        Ok(())
    }

    /// A caller in a directory of its own, where no repository is.
    fn caller(&self) -> Result<Caller> {
        Ok(Caller { url: self.url.clone(), directory: tempfile::tempdir()?, token: None })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn signal(child: &Child, name: &str) -> Result<()> {
    let told = Command::new("kill").args(["-s", name, &child.id().to_string()]).status()?;
    ensure!(told.success(), "the process could not be told");
    Ok(())
}

struct Caller {
    url: String,
    directory: TempDir,
    token: Option<&'static str>,
}

impl Caller {
    fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(harness::tidegate_bin()?);
        command.env_clear().env("TIDEGATE_SERVER", &self.url).current_dir(self.directory.path());
        command.args(arguments).stdin(Stdio::null());
        if let Some(token) = self.token {
            command.env("TIDEGATE_TOKEN", token);
        }
        Ok(command)
    }

    fn run(&self, arguments: &[&str]) -> Result<Ended> {
        Ok(self.command(arguments)?.output()?.into())
    }

    fn spawn(&self, arguments: &[&str]) -> Result<Child> {
        let mut command = self.command(arguments)?;
        Ok(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?)
    }

    fn json(&self, arguments: &[&str]) -> Result<Value> {
        self.run(&[&["--output", "json"], arguments].concat())?.with_code(0)?.json()
    }
}

/// A shop that writes slowly.
fn slow_shop() -> Result<Shop> {
    let shop = Shop::new([view("v")])?;
    let mut settings = configuration(PROJECT, redis_store(shop.redis.port()));
    settings["tidegate"] = json!({ "max_rows_per_second": ROWS_PER_SECOND });
    shop.repo.configure(&settings)?;
    fill(&shop.repo, "v", &many(MANY, at(5)))?;
    Ok(shop)
}

fn shop() -> Result<Shop> {
    let shop = Shop::new([view("v"), view("missing")])?;
    fill(&shop.repo, "v", &ROWS)?;
    Ok(shop)
}

/// A text without what differs from run to run: ids, moments, durations, and whose it is.
fn shape(text: &str, repository: &Path) -> Vec<String> {
    let text = text.replace(&repository.display().to_string(), "REPOSITORY");
    let mask = |word: &str| {
        let is_id = word.len() == 36 && word.matches('-').count() == 4;
        let is_moment = word.len() >= 25 && word.starts_with("20") && word.contains('T');
        let is_number = word.contains('.') && word.parse::<f64>().is_ok();
        let begins_with_digit = word.starts_with(|c: char| c.is_ascii_digit());
        let is_age = begins_with_digit && word.ends_with(['s', 'm', 'h']);
        let is_pid = word.ends_with("),");
        let masked = is_id || is_moment || is_number || is_age || is_pid;
        if masked { "…".to_owned() } else { word.to_owned() }
    };
    let line = |line: &str| {
        let line = line.split(" landed in ").next().unwrap_or_default();
        line.split_whitespace().map(mask).collect::<Vec<_>>().join(" ")
    };
    let lines = text.lines().map(line).filter(|line| !line.starts_with("key "));
    lines.collect()
}

#[test]
fn every_verb_says_the_same_here_and_at_a_server() -> Result<()> {
    let (here, there) = (shop()?, shop()?);
    let server = Server::start(&there, &[])?;
    let caller = server.caller()?;
    let (start, end, later) = (iso(at(0)), iso(at(9)), iso(at(12)));
    for line in [
        vec!["plan", "materialize", &start, &end],
        vec!["materialize", &start, &end, "-v", "v", "--dry-run"],
        vec!["materialize", &start, &end],
        vec!["materialize-incremental", &later, "-v", "v"],
        vec!["materialize-incremental", &end, "-v", "v"],
        vec!["rerun", "-v", "v", "--from", &start, "--to", &end],
        vec!["rerun", "-v", "v", "--state", "missing", "--from", &start, "--to", &end],
        vec!["plan", "rerun", "-v", "v", "--from", &start, "--to", &end],
        vec!["status"],
        vec!["runs"],
        vec!["runs", "--state", "failed", "--view", "missing"],
    ] {
        let (wanted, found) = (here.repo.run(&line)?, caller.run(&line)?);
        assert_eq!(found.code, wanted.code, "{line:?}: {}{}", wanted.all(), found.all());
        assert_eq!(
            shape(&found.stdout, &there.repo.path("")),
            shape(&wanted.stdout, &here.repo.path("")),
            "{line:?}"
        );
    }
    let newest = |runs: &Value| runs[0]["run_id"].as_str().expect("an id").to_owned();
    let (ours, theirs) = (newest(&here.repo.json(&["runs"])?), newest(&caller.json(&["runs"])?));
    let wanted = here.repo.succeed(&["runs", "show", &ours])?;
    let found = caller.run(&["runs", "show", &theirs])?.with_code(0)?;
    assert_eq!(
        shape(&found.stdout, &there.repo.path("")),
        shape(&wanted.stdout, &here.repo.path(""))
    );
    assert_eq!(there.stored()?, landed("v", &ROWS));
    assert_eq!(there.intervals("v")?, here.intervals("v")?);
    Ok(())
}

#[test]
fn what_a_server_refuses_exits_as_it_would_here() -> Result<()> {
    let shop = shop()?;
    let server = Server::start(&shop, &[])?;
    let caller = server.caller()?;
    let (start, end) = (iso(at(0)), iso(at(9)));
    for (line, code, says) in [
        (vec!["materialize", &start, &end, "-v", "nobody"], 2, "(unknown_view)"),
        (vec!["materialize", &end, &start], 2, "is after end"),
        (vec!["rerun", "--run", UNKNOWN], 2, "(unknown_run)"),
        (vec!["runs", "show", UNKNOWN], 1, "there is no run"),
        (vec!["runs", "watch", UNKNOWN], 1, "there is no run"),
        (vec!["runs", "cancel", UNKNOWN], 1, "there is no run"),
        (vec!["materialize", &start, &end], 1, "missing: failed: no Parquet file at"),
        (vec!["migrate"], 2, "`migrate` is not done by a server"),
        (vec!["demo"], 2, "`demo` is not done by a server"),
        (vec!["get-online-features", "--features", "v:f"], 2, "is no feature server"),
    ] {
        caller.run(&line)?.with_code(code)?.says(says)?;
    }
    Ok(())
}

#[test]
fn a_key_makes_one_run_of_two_commands() -> Result<()> {
    let shop = shop()?;
    let server = Server::start(&shop, &[])?;
    let caller = server.caller()?;
    let line = ["materialize", &iso(at(0)), &iso(at(9)), "-v", "v", "--idempotency-key", "nightly"];
    let (first, second) = (caller.json(&line)?, caller.json(&line)?);
    assert_eq!(first["run_id"], second["run_id"]);
    assert_eq!(only_job(&second)["state"], "succeeded");
    let other = [&line[..3], &["--idempotency-key", "nightly"]].concat();
    caller.run(&other)?.with_code(2)?.says("(idempotency_mismatch)")?;
    // A key means nothing where nobody keeps it.
    shop.repo.run(&line)?.with_code(2)?.says("--idempotency-key is for a server")?;
    Ok(())
}

#[test]
fn a_caller_that_is_told_to_stop_cancels_its_run() -> Result<()> {
    let shop = slow_shop()?;
    let server = Server::start(&shop, &[])?;
    let caller = server.caller()?;
    let mut run = caller.spawn(&["materialize", &iso(at(0)), &iso(at(9))])?;
    until_writing(&shop.redis, &mut run)?;
    signal(&run, "TERM")?;
    let ended = wait(run)?.with_code(1)?;
    ended.says("0 of 1 views landed before it was cancelled")?;
    assert_eq!(caller.json(&["runs"])?[0]["state"], "cancelled");
    assert!(shop.intervals("v")?.is_empty());
    Ok(())
}

#[test]
fn a_caller_may_leave_its_run_and_watch_it_again() -> Result<()> {
    let shop = slow_shop()?;
    let server = Server::start(&shop, &[])?;
    let caller = server.caller()?;
    let mut run =
        caller.spawn(&["materialize", &iso(at(0)), &iso(at(9)), "--on-stop", "detach"])?;
    until_writing(&shop.redis, &mut run)?;
    signal(&run, "TERM")?;
    let ended = wait(run)?.with_code(1)?;
    let id = caller.json(&["runs"])?[0]["run_id"].as_str().expect("an id").to_owned();
    ended.says(&format!("run {id} goes on; watch it with `tidegate runs watch {id}`"))?;
    caller.run(&["runs", "watch", &id])?.with_code(0)?.says("v: job succeeded")?;
    assert!(shop.stored()? == landed("v", &many(MANY, at(5))), "every row, and nothing else");
    Ok(())
}

#[test]
fn a_caller_waits_for_a_server_that_restarts() -> Result<()> {
    let shop = slow_shop()?;
    let server = Server::start(&shop, &[])?;
    let caller = server.caller()?;
    let mut run = caller.spawn(&["materialize", &iso(at(0)), &iso(at(9))])?;
    until_writing(&shop.redis, &mut run)?;
    let address = server.address().to_owned();
    server.stop()?;
    let _server = Server::start(&shop, &["--listen", &address])?;
    let ended = wait(run)?.with_code(0)?;
    ended.says("1 of 1 views landed")?;
    assert!(shop.stored()? == landed("v", &many(MANY, at(5))), "every row, and nothing else");
    assert_eq!(shop.intervals("v")?, [(at(0), at(9))]);
    Ok(())
}

#[test]
fn a_server_that_knows_its_callers_wants_a_token() -> Result<()> {
    let shop = shop()?;
    // The digest of `secret`.
    shop.repo.write(
        "tokens",
        "nightly run 2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b\n",
    )?;
    let tokens = shop.repo.path("tokens");
    let server = Server::start(&shop, &["--tokens", &tokens.display().to_string()])?;
    let mut caller = server.caller()?;
    let line = ["materialize", &iso(at(0)), &iso(at(9)), "-v", "v"];
    caller.run(&line)?.with_code(1)?.says("(unauthenticated)")?;
    caller.token = Some("wrong");
    let ended = caller.run(&line)?.with_code(1)?;
    assert!(!ended.all().contains("wrong"), "{}", ended.all());
    caller.token = Some("secret");
    caller.run(&line)?.with_code(0)?;
    caller.token = None;
    let file = caller.directory.path().join("token");
    std::fs::write(&file, "secret\n")?;
    caller.run(&["--token-file", &file.display().to_string(), "status"])?.with_code(0)?;
    Ok(())
}

#[test]
fn an_address_that_is_none_is_a_usage_error() -> Result<()> {
    let shop = shop()?;
    for (url, says) in [("ftp://here", "must begin with"), ("nonsense", "the server's URL")] {
        shop.repo.run(&["--server", url, "status"])?.with_code(2)?.says(says)?;
    }
    // An empty one is none, so that a template may leave it out.
    shop.repo.succeed(&["--server", "", "status"])?;
    Ok(())
}
