//! One pass through a case's steps: a repository, a registry of the case's kind, a store.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use harness::Postgres;
use serde_json::{Value as Json, json};
use tests::golden::{Case, Step};
use tests::registry::{Place, State, file_state};
use tests::repo::{Ended, Repo};
use tests::wire::{Message, Value, fields};

/// A case in progress.
pub(crate) struct Session<'a> {
    pub(crate) case: &'a Case,
    pub(crate) repo: Repo,
    pub(crate) place: Place<'a>,
    /// The registry as it was after the last definition.
    defined: State,
    /// The server of the registry, and the state of the golden registry after the case.
    golden: State,
}

/// The state in which Feast's readers serve a view.
const AVAILABLE_ONLINE: i64 = 4;
/// The interval of the cases at which Feast fails and we do not, the years 2023 and 2024.
const ASKED: (i64, i64) = (1_672_531_200_000_000, 1_735_689_600_000_000);
/// How far our clock and that of a run just made may be apart.
const JUST_NOW_MICROS: i64 = 120_000_000;

impl<'a> Session<'a> {
    /// Puts down the repository and the registry. `after` is the case whose registry is expected
    /// in the end: the case itself, but for one that Feast tears down.
    pub(crate) fn new(
        case: &'a Case,
        after: &Case,
        store: Json,
        server: Option<&'a Postgres>,
    ) -> Result<Self> {
        let repo = Repo::new(&json!({}))?;
        let before = case.registry("before")?;
        let (place, path) = match before.extension().and_then(|extension| extension.to_str()) {
            Some("db") => {
                fs::copy(&before, repo.path("data/registry.db"))?;
                (repo.registry(), json!("data/registry.db"))
            }
            Some("sqlite") => {
                let path = repo.path("data/registry.sqlite");
                fs::copy(&before, &path)?;
                let url = format!("sqlite:///{}", path.display());
                (Place::Sqlite(path), json!(url))
            }
            _ => {
                let server = server.context("the case needs PostgreSQL")?;
                server.create_database("registry")?;
                server.psql_file("registry", &before)?;
                let url = server.url("registry").replace("postgresql:", "postgresql+psycopg:");
                (Place::Postgres(server, "registry".to_owned()), json!(url))
            }
        };
        repo.configure(&configuration(case, path, store))?;
        let defined = place.state()?;
        Ok(Self { case, repo, place, defined, golden: golden_state(after, server)? })
    }

    /// Does one step. `None`: a step of Feast's that is not ours.
    pub(crate) fn step(&mut self, index: usize, step: &Step) -> Result<Option<Ended>> {
        self.case.copy_input(index, &self.repo.path(""))?;
        match step.argv[0].as_str() {
            "materialize" | "materialize-incremental" => {
                let before = self.place.state()?;
                let ended = self.repo.run(&step.argv)?;
                if ended.code != Some(0) {
                    ensure!(self.place.state()? == before, "a failed run changed the registry");
                }
                Ok(Some(ended))
            }
            "apply" => {
                self.apply()?;
                Ok(None)
            }
            "teardown" => Ok(None),
            other => bail!("no case has had a step `{other}`"),
        }
    }

    /// Does what Feast's `apply` did at this point: the registry of afterwards, without what later
    /// runs recorded.
    fn apply(&mut self) -> Result<()> {
        let Place::File(path) = &self.place else { bail!("only file registries are applied to") };
        let recorded: usize =
            self.place.state()?.views.values().map(|view| view.intervals.len()).sum();
        let after = fs::read(self.case.registry("after")?)?;
        let mut file = Message::new();
        for (number, value) in fields(&after)? {
            file = match (number, &value) {
                (6, Value::Bytes(view)) => file.message(6, &with_intervals(view, recorded)?),
                _ => copied(file, number, &value)?,
            };
        }
        fs::write(path, file.into_bytes())?;
        self.defined = self.place.state()?;
        Ok(())
    }

    /// Checks the registry after all steps: definitions as they were, intervals and states as
    /// Feast left them.
    pub(crate) fn check_registry(&self, landed: bool) -> Result<()> {
        let state = self.place.state()?;
        ensure!(
            state.definitions() == self.defined.definitions(),
            "more than intervals and states was changed:\n{state:?}\n{:?}",
            self.defined
        );
        if !landed {
            return Ok(());
        }
        let failed_in_feast = self.case.steps()?.iter().all(|step| step.error.is_some());
        for (name, view) in &state.views {
            if failed_in_feast {
                ensure!(view.state == AVAILABLE_ONLINE, "`{name}` is left in state {}", view.state);
                ensure!(state.intervals(name) == [ASKED], "{:?}", state.intervals(name));
                continue;
            }
            let feasts = self.golden.views.get(name).context("Feast lost a view")?;
            ensure!(view.state == feasts.state, "`{name}` is left in state {}", view.state);
            let (ours, feasts) = (state.intervals(name), self.golden.intervals(name));
            ensure!(
                self.is_same_history(&ours, &feasts)?,
                "`{name}` has intervals {ours:?} instead of {feasts:?}"
            );
        }
        Ok(())
    }

    /// Compares intervals; an end that was the clock's is ours by now.
    fn is_same_history(&self, ours: &[(i64, i64)], feasts: &[(i64, i64)]) -> Result<bool> {
        let mut steps = self.case.steps()?.into_iter();
        if !steps.any(|step| step.argv.iter().any(|flag| flag == "--disable-event-timestamp")) {
            return Ok(ours == feasts);
        }
        let ([(start, end)], [(feasts_start, _)]) = (ours, feasts) else { return Ok(false) };
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros();
        let age = i64::try_from(now)? - end;
        Ok(start == feasts_start && (0..JUST_NOW_MICROS).contains(&age))
    }
}

/// The case's configuration with another registry path and store.
fn configuration(case: &Case, path: Json, store: Json) -> Json {
    let mut configuration = case.json["feature_store_yaml"].clone();
    match &mut configuration["registry"] {
        Json::Object(registry) => {
            registry.insert("path".to_owned(), path);
        }
        registry => *registry = path,
    }
    configuration["online_store"] = store;
    configuration
}

fn golden_state(case: &Case, server: Option<&Postgres>) -> Result<State> {
    let after = case.registry("after")?;
    match after.extension().and_then(|extension| extension.to_str()) {
        Some("db") => file_state(&fs::read(&after)?),
        // A copy, because SQLite may write beside a database that it only reads.
        Some("sqlite") => {
            let copy = tempfile::NamedTempFile::new()?;
            fs::copy(&after, copy.path())?;
            Place::Sqlite(copy.path().to_owned()).state()
        }
        _ => {
            let server = server.context("the case needs PostgreSQL")?;
            server.create_database("golden")?;
            server.psql_file("golden", &after)?;
            Place::Postgres(server, "golden".to_owned()).state()
        }
    }
}

/// A view's message with only the first intervals of its history, and without a state, as `apply`
/// leaves a view whose features have changed.
fn with_intervals(view: &[u8], keep: usize) -> Result<Message> {
    const META: u32 = 2;
    const INTERVALS: u32 = 3;
    const STATE: u32 = 6;
    let mut out = Message::new();
    for (number, value) in fields(view)? {
        if number != META {
            out = copied(out, number, &value)?;
            continue;
        }
        let (mut meta, mut kept) = (Message::new(), 0);
        for (number, value) in fields(value.bytes())? {
            if number == INTERVALS {
                kept += 1;
            }
            if number != STATE && (number != INTERVALS || kept <= keep) {
                meta = copied(meta, number, &value)?;
            }
        }
        out = out.message(META, &meta);
    }
    Ok(out)
}

fn copied(message: Message, number: u32, value: &Value<'_>) -> Result<Message> {
    Ok(match value {
        Value::Bytes(bytes) => message.bytes(number, bytes),
        Value::Number(bits) => message.number(number, *bits as i64),
        Value::Fixed(_) => bail!("a registry has no numbers of fixed width"),
    })
}
