//! Feast's tables, as `feast apply` makes them: for repositories that are made without Feast.
//!
//! A file of its own because nothing that materializes may call it: there a missing table means a
//! view that was not applied, which is an error (see `table`).

use std::path::Path;

use rusqlite::Connection;

use super::{blocking, failed_to};
use crate::error::Error;

/// Creates the database and one table a storage name, where they are missing.
///
/// # Errors
/// When the file cannot be opened or written; its directory must exist.
/// # Source
/// Feast 0.67 `SqliteOnlineStore`: table `<project>_<storage name>` and its index on the key.
pub async fn create_tables(
    path: &Path,
    project: &str,
    storage_names: &[&str],
) -> Result<(), Error> {
    let statements: String = storage_names.iter().map(|name| table(project, name)).collect();
    let path = path.to_owned();
    blocking(move || {
        let connection = Connection::open(&path).map_err(failed_to("create it", &path))?;
        connection.execute_batch(&statements).map_err(failed_to("create its tables", &path))
    })
    .await
}

fn table(project: &str, storage_name: &str) -> String {
    let name = format!("{project}_{storage_name}").replace('"', "\"\"");
    format!(
        "CREATE TABLE IF NOT EXISTS \"{name}\" (entity_key BLOB, feature_name TEXT, value BLOB,
            value_text TEXT, vector_value BLOB, event_ts timestamp, created_ts timestamp,
            PRIMARY KEY(entity_key, feature_name));
        CREATE INDEX IF NOT EXISTS \"{name}_ek\" ON \"{name}\" (entity_key);"
    )
}

#[cfg(test)]
mod tests {
    use feast::config::OnlineStoreConfig;
    use model::{OnlineView, ViewRef, WriteMode};

    use super::*;
    use crate::{OnlineStore, WriteLimits};

    #[tokio::test]
    async fn a_table_that_is_made_can_be_written_and_stays() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("online.db");
        create_tables(&path, "proj", &["fv", "other"]).await.expect("they can be made");
        let connection = Connection::open(&path).expect("the database opens");
        connection
            .execute("INSERT INTO proj_fv (entity_key, feature_name) VALUES (x'01', 'f')", [])
            .expect("Feast's columns");
        create_tables(&path, "proj", &["fv"]).await.expect("they are there already");
        let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        assert_eq!(count("SELECT count(*) FROM proj_fv").expect("it counts"), 1);
        let indexes = "SELECT count(*) FROM pragma_index_list('proj_other') WHERE name LIKE '%_ek'";
        assert_eq!(count(indexes).expect("it counts"), 1);
        let config = OnlineStoreConfig::Sqlite { path };
        let store = OnlineStore::connect(&config, WriteLimits::default()).await.expect("it opens");
        let view = ViewRef { project: "proj".to_owned(), storage_name: "fv".to_owned() };
        store
            .prepare(&OnlineView { view, features: Vec::new() }, &WriteMode::default())
            .await
            .expect("a view can be written");
    }
}
