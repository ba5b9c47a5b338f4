//! A view's table as `feast apply` made it: never created here, only looked at.

use std::path::Path;

use model::ViewRef;
use rusqlite::Connection;

use crate::error::Error;

/// Columns that every table of Feast 0.67 has.
const COLUMNS: [&str; 7] =
    ["entity_key", "feature_name", "value", "value_text", "vector_value", "event_ts", "created_ts"];

/// A view's table.
#[derive(Debug)]
pub(super) struct Table {
    /// Its name: project, underscore, storage name.
    pub name: String,
    /// Tells whether it has `value_num` (`enable_openai_compatible_store`).
    pub has_value_num: bool,
}

impl Table {
    /// Finds a view's table and checks its columns.
    pub(super) fn find(
        path: &Path,
        connection: &Connection,
        view: &ViewRef,
    ) -> Result<Self, Error> {
        let name = name(view);
        let columns = columns(connection, &name).map_err(|source| Error::Sqlite {
            operation: "read the schema",
            path: path.to_owned(),
            source,
        })?;
        if columns.is_empty() {
            return Err(Error::TableMissing { path: path.to_owned(), table: name });
        }
        let has = |column: &str| columns.iter().any(|name| name == column);
        match COLUMNS.into_iter().find(|column| !has(column)) {
            Some(column) => {
                Err(Error::ColumnMissing { path: path.to_owned(), table: name, column })
            }
            None => Ok(Self { has_value_num: has("value_num"), name }),
        }
    }

    /// The name as an identifier in a statement.
    pub(super) fn quoted(&self) -> String {
        format!("\"{}\"", self.name.replace('"', "\"\""))
    }
}

/// The name that Feast gives a view's table.
pub(super) fn name(view: &ViewRef) -> String {
    format!("{}_{}", view.project, view.storage_name)
}

/// Tells whether the database has a table.
pub(super) fn exists(connection: &Connection, table: &str) -> rusqlite::Result<bool> {
    let select = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1";
    connection.prepare_cached(select)?.exists([table])
}

fn columns(connection: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare_cached("SELECT name FROM pragma_table_info(?1)")?;
    statement.query_map([table], |row| row.get(0))?.collect()
}
