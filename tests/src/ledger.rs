//! What the ledger says, read past the code that writes it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use harness::Postgres;
use rusqlite::Connection;

/// Where a ledger lives.
#[derive(Clone, Debug)]
pub enum Ledger<'a> {
    /// A SQLite file.
    Sqlite(PathBuf),
    /// The schema `tidegate` of a PostgreSQL database.
    Postgres(&'a Postgres, String),
}

/// What is known of a view: its watermark and what has landed, half-open, in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The watermark.
    pub watermark: Option<i64>,
    /// Intervals in order.
    pub intervals: Vec<(i64, i64)>,
}

impl Ledger<'_> {
    /// Coverage of every view, by storage name.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn coverage(&self) -> Result<BTreeMap<String, Known>> {
        let mut views = BTreeMap::new();
        for row in self.rows(
            "SELECT storage_name, coalesce(cast(watermark AS TEXT), '-') FROM {views} ORDER BY 1",
        )? {
            let watermark = row[1].parse().ok();
            views.insert(row[0].clone(), Known { watermark, intervals: Vec::new() });
        }
        for row in self.rows(
            "SELECT storage_name, cast(interval_start AS TEXT), cast(interval_end AS TEXT) \
             FROM {intervals} ORDER BY storage_name, interval_start",
        )? {
            let view = views.get_mut(&row[0]).context("an interval belongs to a view")?;
            view.intervals.push((row[1].parse()?, row[2].parse()?));
        }
        Ok(views)
    }

    /// How many rows a table holds that match a condition.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn count(&self, table: &str, condition: &str) -> Result<u64> {
        let sql = format!("SELECT cast(count(*) AS TEXT) FROM {{{table}}} WHERE {condition}");
        Ok(self.rows(&sql)?[0][0].parse()?)
    }

    /// Tells whether there is a ledger yet.
    ///
    /// # Errors
    /// When the place cannot be read.
    pub fn exists(&self) -> Result<bool> {
        match self {
            Self::Sqlite(path) => {
                if !path.is_file() {
                    return Ok(false);
                }
                let sql = "SELECT count(*) FROM sqlite_master WHERE name = 'mirrors'";
                Ok(Connection::open(path)?.query_row(sql, [], |row| row.get::<_, i64>(0))? == 1)
            }
            Self::Postgres(server, database) => {
                let sql = "SELECT to_regclass('tidegate.mirrors') IS NOT NULL";
                Ok(server.psql(database, sql)? == "t")
            }
        }
    }

    /// Rows of texts; a table's name stands in braces.
    fn rows(&self, sql: &str) -> Result<Vec<Vec<String>>> {
        match self {
            Self::Sqlite(path) => {
                let connection = Connection::open(path)?;
                let mut statement = connection.prepare(&sql.replace(['{', '}'], ""))?;
                let columns = statement.column_count();
                let rows = statement
                    .query_map([], |row| (0..columns).map(|column| row.get(column)).collect())?;
                Ok(rows.collect::<rusqlite::Result<_>>()?)
            }
            Self::Postgres(server, database) => {
                let text =
                    server.psql(database, &sql.replace('{', "tidegate.").replace('}', ""))?;
                Ok(text.lines().map(|line| line.split('|').map(str::to_owned).collect()).collect())
            }
        }
    }
}
