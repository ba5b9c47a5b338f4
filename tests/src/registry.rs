//! Feast's registry: put down where a test wants it, and looked at afterwards.
//!
//! A registry is compared as a whole: what recording an interval may change is taken out of each
//! view and compared by its meaning, and every other byte must be what it was.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use feast::ViewKind;
use harness::Postgres;
use rusqlite::Connection;

use crate::definition::Project;
use crate::hex;
use crate::wire::{Message, fields, timestamp, timestamp_micros};

/// Where a registry lives.
#[derive(Clone, Debug)]
pub enum Place<'a> {
    /// One protobuf file.
    File(PathBuf),
    /// A SQLite database.
    Sqlite(PathBuf),
    /// A PostgreSQL database.
    Postgres(&'a Postgres, String),
}

/// What recording an interval may change in a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewState {
    /// Intervals, closed, in microseconds, in the registry's order.
    pub intervals: Vec<(i64, i64)>,
    /// 4 is AVAILABLE_ONLINE.
    pub state: i64,
    /// The definition, byte for byte.
    pub spec: Vec<u8>,
    /// The rest of `meta` by field number, without the time of the last update.
    pub meta: Vec<(u32, Vec<u8>)>,
}

/// A registry, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Views by name.
    pub views: BTreeMap<String, ViewState>,
    /// All else, in a form that can be compared.
    pub rest: Vec<String>,
}

impl State {
    /// The intervals of a view, each once and in order.
    ///
    /// # Panics
    /// When there is no such view.
    #[must_use]
    pub fn intervals(&self, view: &str) -> Vec<(i64, i64)> {
        let mut intervals = self.views[view].intervals.clone();
        intervals.sort_unstable();
        intervals.dedup();
        intervals
    }

    /// The same registry as it would be had nothing ever been recorded.
    #[must_use]
    pub fn definitions(&self) -> Self {
        let mut definitions = self.clone();
        for view in definitions.views.values_mut() {
            view.intervals.clear();
            view.state = 0;
        }
        definitions
    }
}

/// Numbers of the lists of views in a registry file.
const VIEW_LISTS: [u32; 4] = [6, 14, 8, 19];
/// Version and time of a registry file, which every write renews.
const RENEWED: [u32; 2] = [4, 5];
/// Tables of views with intervals.
const VIEW_TABLES: [&str; 2] = ["feature_views", "stream_feature_views"];
/// Everything else that Feast keeps in tables, and the columns that tell one row from another.
const OTHER_TABLES: [(&str, &str); 6] = [
    ("entities", "entity_name"),
    ("data_sources", "data_source_name"),
    ("on_demand_feature_views", "feature_view_name"),
    ("feature_services", "feature_service_name"),
    ("feature_view_version_history", "feature_view_name"),
    ("projects", "project_id"),
];

impl Place<'_> {
    /// Takes the registry apart.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn state(&self) -> Result<State> {
        match self {
            Self::File(path) => file_state(&std::fs::read(path)?),
            Self::Sqlite(path) => {
                let connection = Connection::open(path)?;
                table_state(&|sql| sqlite_rows(&connection, sql), &|blob| format!("hex({blob})"))
            }
            Self::Postgres(server, database) => {
                let rows = |sql: &str| {
                    let text = server.psql(database, sql)?;
                    let row = |line: &str| line.split('|').map(str::to_owned).collect();
                    Ok(text.lines().map(row).collect())
                };
                table_state(&rows, &|blob| format!("encode({blob}, 'hex')"))
            }
        }
    }

    /// Puts a view's definition down anew, as `feast apply` does.
    ///
    /// # Errors
    /// When the registry cannot be written.
    pub fn apply(&self, project: &Project) -> Result<()> {
        match self {
            Self::File(path) => Ok(std::fs::write(path, file_bytes(project))?),
            Self::Sqlite(path) => {
                let connection = Connection::open(path)?;
                connection.busy_timeout(std::time::Duration::from_secs(30))?;
                Ok(connection.execute_batch(&apply_sql(project, |bytes| {
                    format!("x'{}'", hex::encode(bytes))
                }))?)
            }
            Self::Postgres(server, database) => {
                let sql =
                    apply_sql(project, |bytes| format!("decode('{}','hex')", hex::encode(bytes)));
                server.psql(database, &sql)?;
                Ok(())
            }
        }
    }
}

/// A registry file with a project's definitions.
#[must_use]
pub fn file_bytes(project: &Project) -> Vec<u8> {
    let mut file = Message::new().text(3, "1").text(4, "00000000-0000-4000-8000-000000000000");
    for (_, entity) in project.entities() {
        file = file.bytes(1, &entity);
    }
    for view in &project.views {
        let list = match view.kind {
            ViewKind::Feature => 6,
            ViewKind::Stream => 14,
            ViewKind::OnDemand => 8,
            ViewKind::Label => 19,
        };
        file = file.bytes(list, &view.encode(&project.name));
        for source in view.sources(&project.name) {
            file = file.message(12, &source);
        }
    }
    for service in &project.services {
        file = file.bytes(7, &service.encode(project));
    }
    file.message(5, &timestamp(crate::definition::CREATED_MICROS)).into_bytes()
}

fn apply_sql(project: &Project, blob: impl Fn(&[u8]) -> String) -> String {
    let name = &project.name;
    let mut sql = "BEGIN;\n".to_owned();
    let mut put = |table: &str, kind: &str, key: &str, message: &[u8]| {
        let column = format!("{kind}_name");
        sql.push_str(&format!(
            "DELETE FROM {table} WHERE {column} = '{key}' AND project_id = '{name}';\n\
             INSERT INTO {table} ({column}, project_id, last_updated_timestamp, {kind}_proto) \
             VALUES ('{key}', '{name}', 1701388800, {});\n",
            blob(message)
        ));
    };
    for (entity, message) in project.entities() {
        put("entities", "entity", &entity, &message);
    }
    for view in &project.views {
        let table = match view.kind {
            ViewKind::Feature => "feature_views",
            ViewKind::Stream => "stream_feature_views",
            ViewKind::OnDemand => "on_demand_feature_views",
            ViewKind::Label => "label_views",
        };
        put(table, "feature_view", &view.name, &view.encode(name));
    }
    for service in &project.services {
        put("feature_services", "feature_service", &service.name, &service.encode(project));
    }
    sql.push_str("COMMIT;\n");
    sql
}

/// Takes a registry file apart.
///
/// # Errors
/// When the bytes are no registry.
pub fn file_state(registry: &[u8]) -> Result<State> {
    let mut state = State::default();
    for (number, value) in fields(registry)? {
        if VIEW_LISTS.contains(&number) {
            let (name, view) = view_state(value.bytes())?;
            ensure!(state.views.insert(name.clone(), view).is_none(), "two views `{name}`");
        } else if !RENEWED.contains(&number) {
            state.rest.push(format!("{number}: {}", hex::encode(value.bytes())));
        }
    }
    state.rest.sort_unstable();
    Ok(state)
}

/// Takes a view's message apart. A message field that occurs twice is merged, as protobuf says.
///
/// # Errors
/// When the bytes are no view.
pub fn view_state(view: &[u8]) -> Result<(String, ViewState)> {
    let mut state =
        ViewState { intervals: Vec::new(), state: 0, spec: Vec::new(), meta: Vec::new() };
    let mut name = String::new();
    for (number, value) in fields(view)? {
        match number {
            1 => {
                state.spec.extend_from_slice(value.bytes());
                let spec = fields(value.bytes())?;
                if let Some((_, text)) = spec.iter().find(|(number, _)| *number == 1) {
                    name = String::from_utf8(text.bytes().to_vec())?;
                }
            }
            _ => meta(value.bytes(), &mut state)?,
        }
    }
    ensure!(!name.is_empty(), "a view has no name");
    state.meta.sort_unstable();
    Ok((name, state))
}

fn meta(bytes: &[u8], state: &mut ViewState) -> Result<()> {
    const LAST_UPDATED: u32 = 2;
    for (number, value) in fields(bytes)? {
        match number {
            LAST_UPDATED => {}
            3 => {
                let mut ends = (0, 0);
                for (end, time) in fields(value.bytes())? {
                    let micros = timestamp_micros(time.bytes())?;
                    if end == 1 {
                        ends.0 = micros;
                    } else {
                        ends.1 = micros;
                    }
                }
                state.intervals.push(ends);
            }
            6 => state.state = value.number(),
            other => {
                let bytes = match value.bytes() {
                    [] => value.number().to_le_bytes().to_vec(),
                    bytes => bytes.to_vec(),
                };
                state.meta.push((other, bytes));
            }
        }
    }
    Ok(())
}

type Rows<'a> = &'a dyn Fn(&str) -> Result<Vec<Vec<String>>>;

/// Takes a SQL registry apart.
fn table_state(rows: Rows<'_>, blob: &dyn Fn(&str) -> String) -> Result<State> {
    let mut state = State::default();
    for table in VIEW_TABLES {
        let proto = blob("feature_view_proto");
        for row in rows(&format!("SELECT {proto} FROM {table}"))? {
            let (name, view) = view_state(&hex::decode(&row[0].to_lowercase())?)?;
            state.views.insert(name, view);
        }
        // Never written by Feast, so never by us.
        let written = format!("SELECT count(materialized_intervals) FROM {table}");
        if table == "feature_views" {
            ensure!(rows(&written)?[0][0] == "0", "`materialized_intervals` was written");
        }
    }
    for (table, key) in OTHER_TABLES {
        let singular = match table {
            "entities" => "entity",
            "data_sources" => "data_source",
            "feature_services" => "feature_service",
            "projects" => "project",
            _ => "feature_view",
        };
        let proto = blob(&format!("{singular}_proto"));
        for row in
            rows(&format!("SELECT project_id, {key}, {proto} FROM {table} ORDER BY 1, 2, 3"))?
        {
            state.rest.push(format!("{table}: {}", row.join(" ").to_lowercase()));
        }
    }
    Ok(state)
}

fn sqlite_rows(connection: &Connection, sql: &str) -> Result<Vec<Vec<String>>> {
    let mut statement = connection.prepare(sql)?;
    let columns = statement.column_count();
    let rows = statement.query_map([], |row| {
        (0..columns)
            .map(|column| {
                Ok(match row.get_ref(column)? {
                    rusqlite::types::ValueRef::Text(text) => {
                        String::from_utf8_lossy(text).into_owned()
                    }
                    rusqlite::types::ValueRef::Integer(number) => number.to_string(),
                    other => format!("{other:?}"),
                })
            })
            .collect()
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Makes a SQLite registry with Feast's tables and a project's definitions.
///
/// # Errors
/// When the file cannot be written.
pub fn make_sqlite(path: &Path, project: &Project) -> Result<()> {
    std::fs::copy(crate::golden::vectors().join("registry_sqlite/registry_before.sqlite"), path)?;
    let connection = Connection::open(path)?;
    connection.execute_batch(EMPTY_TABLES)?;
    drop(connection);
    Place::Sqlite(path.to_owned()).apply(project)
}

/// Makes a PostgreSQL registry with Feast's tables and a project's definitions.
///
/// # Errors
/// When the database exists already.
pub fn make_postgres<'a>(
    server: &'a Postgres,
    database: &str,
    project: &Project,
) -> Result<Place<'a>> {
    server.create_database(database)?;
    let dump = crate::golden::vectors().join("registry_postgres/registry_before.sql");
    server.psql_file(database, &dump)?;
    server.psql(database, EMPTY_TABLES)?;
    let place = Place::Postgres(server, database.to_owned());
    place.apply(project)?;
    Ok(place)
}

/// The tables are the golden case's; its rows are not wanted.
const EMPTY_TABLES: &str = "DELETE FROM feature_views; DELETE FROM entities; \
    DELETE FROM data_sources; DELETE FROM projects; DELETE FROM feature_view_version_history;";

#[cfg(test)]
mod tests {
    use anyhow::Context;
    use feast::ValueType;

    use super::*;
    use crate::definition::View;

    #[test]
    fn the_project_reads_what_is_written_here() -> Result<()> {
        let mut view = View::new("v", "data/d.parquet", &[("f", ValueType::Float)])
            .tag("tidegate.lateness", "1h")
            .created("created")
            .ttl(60);
        view.intervals.push((1, 2));
        let project = Project::new("p", [view]).service("s", &[("v", &["f"])]);
        let snapshot = feast::registry::Snapshot::from_file(&file_bytes(&project), "p")?;
        let read = snapshot.view("v").context("the view is not there")?;
        assert_eq!(read.refusal, None);
        assert_eq!(read.join_keys[0].name, "id");
        assert_eq!(read.features[0].value_type, ValueType::Float);
        assert_eq!(read.ttl, Some(std::time::Duration::from_secs(60)));
        assert_eq!(read.source.created_timestamp_column.as_deref(), Some("created"));
        assert_eq!(read.tags["tidegate.lateness"], "1h");
        assert_eq!(read.created_micros, Some(crate::definition::CREATED_MICROS));
        assert_eq!(read.materialization_intervals, [(1, 2)]);
        assert_eq!(snapshot.services[0].projections[0].features, ["f"]);
        Ok(())
    }

    #[test]
    fn a_second_meta_is_merged_and_a_changed_definition_is_seen() -> Result<()> {
        let view = View::new("v", "d", &[("f", ValueType::Float)]);
        let project = Project::new("p", [view]);
        let before = file_state(&file_bytes(&project))?;
        let mut message = project.views[0].encode("p");
        let patch = Message::new()
            .message(3, &Message::new().message(1, &timestamp(5)).message(2, &timestamp(6)))
            .number(6, 4);
        message.extend(Message::new().message(2, &patch).into_bytes());
        let (name, after) = view_state(&message)?;
        assert_eq!((name.as_str(), after.state, &after.intervals[..]), ("v", 4, &[(5, 6)][..]));
        assert_eq!(after.meta, before.views["v"].meta);
        assert_eq!(after.spec, before.views["v"].spec);
        let other = Project::new("p", [View::new("v", "d", &[("g", ValueType::Float)])]);
        assert_ne!(file_state(&file_bytes(&other))?.definitions(), before.definitions());
        Ok(())
    }
}
