//! Feast's own remote online store, unmodified, with our server behind it.
//!
//! What it reads must be what Feast reads from the Redis itself: rows that Feast wrote, and rows
//! that Feast's client sent through us. Only values are compared; statuses are the replays'.

use ::tests::repo::{Repo, configuration, redis_store};
use ::tests::session::{Session, end_of};
use anyhow::{Context, Result, ensure};
use harness::Redis;
use serde_json::{Value, json};

use crate::grpc::python_directory;
use crate::server::Server;
use crate::site::Mode;

const PROJECT: &str = "remote";
/// Rows in the order in which the script asks: two of Feast's, two of ours, nobody, Feast's first.
const OURS: [usize; 2] = [2, 3];
const NOBODY: usize = 4;

/// A repository that Feast has applied, and a Feast to use it with.
struct Workshop {
    repo: Repo,
    redis: Redis,
    session: Session,
}

impl Workshop {
    fn new(mode: Mode) -> Result<Self> {
        let redis = Redis::start()?;
        let mut settings = configuration(PROJECT, redis_store(redis.port()));
        settings["tidegate"] = json!({ "serve": mode.settings() });
        let repo = Repo::new(&settings)?;
        repo.write("direct.yaml", settings.to_string())?;
        repo.write("definitions.py", std::fs::read(python_directory().join("definitions.py"))?)?;
        let mut session = Session::start(python_directory())?;
        let directory = repo.path("");
        let place = directory.display().to_string();
        let applied = session.run("feast", &["-c", &place, "apply"], &directory, &[])?;
        ensure!(applied.code == 0, "{}\n{}", end_of(&applied.stdout), end_of(&applied.stderr));
        Ok(Self { repo, redis, session })
    }

    /// Points Feast's remote store to a server.
    fn connect(&self, server: &Server) -> Result<()> {
        let url = format!("http://127.0.0.1:{}", server.http());
        let settings = configuration(PROJECT, json!({ "type": "remote", "path": url }));
        self.repo.write("remote.yaml", settings.to_string())
    }

    fn run(&mut self, verb: &str) -> Result<Value> {
        let place = self.repo.path("").display().to_string();
        self.session.script("remote.py", &[&place, verb])
    }
}

#[test]
fn feasts_remote_store_reads_from_us_what_feast_reads_from_redis() -> Result<()> {
    reads_the_same(Mode::Strict)
}

#[test]
fn feasts_remote_store_reads_the_same_when_we_answer_as_feast() -> Result<()> {
    reads_the_same(Mode::Compat)
}

fn reads_the_same(mode: Mode) -> Result<()> {
    let mut workshop = Workshop::new(mode)?;
    let server = Server::start(&workshop.repo)?;
    workshop.connect(&server)?;
    workshop.run("fill").context("Feast writes")?;
    workshop.run("send").with_context(|| format!("Feast sends:\n{}", server.log()))?;
    let read = workshop.run("read").with_context(|| format!("Feast reads:\n{}", server.log()))?;
    let columns = |side: &str| read[side].as_object().context("an object of columns");
    let (direct, remote) = (columns("direct")?, columns("remote")?);
    ensure!(direct.len() > 40, "only {} columns are read", direct.len());
    let mut wrong = Vec::new();
    for (name, wanted) in direct {
        if remote.get(name) != Some(wanted) {
            wrong.push(format!("{name}: {:?} instead of {wanted}", remote.get(name)));
        }
    }
    ensure!(wrong.is_empty(), "{mode:?}:\n{}", wrong.join("\n"));
    assert_eq!(remote.len(), direct.len(), "nothing else is read");
    something_is_there(direct)?;
    let stored = ::tests::online::hashes(&workshop.redis, 0)?;
    assert_eq!(stored.len(), 4, "two things of Feast's and two of ours");
    Ok(())
}

/// Guards against two stores that agree on nothing: rows of both sides are whole, and the view
/// that was sent has the same values in both.
fn something_is_there(columns: &serde_json::Map<String, Value>) -> Result<()> {
    for (name, values) in columns.iter().filter(|(name, _)| *name != "thing_id") {
        let values = values.as_array().context("a column is a list")?;
        ensure!(!values[0].is_null() && !values[1].is_null(), "`{name}` was not written");
        ensure!(values[NOBODY].is_null(), "`{name}` is of nobody");
        let is_sent = name.starts_with("sent_");
        for (feasts, ours) in OURS.into_iter().enumerate() {
            let wanted = if is_sent { &values[feasts] } else { &Value::Null };
            ensure!(values[ours] == *wanted, "`{name}` was sent as {}", values[ours]);
        }
    }
    Ok(())
}
