//! Applies and verifies migrations.
//!
//! Not sqlx's own migrator: that one takes no lock on SQLite, where two first starts at once are as
//! likely as anywhere. Migrations go forward only, and each names the reason for itself.

use std::borrow::Cow;

use sqlx::migrate::{Migration, MigrationType};
use sqlx::{Any, AnyConnection, Executor, SqlSafeStr, Transaction};

use crate::row::Read;
use crate::url::{Backend, LedgerUrl};
use crate::{Error, Ledger};

/// Every migration, in the order of their numbers, which are 1, 2, 3, ….
const MIGRATIONS: [(&str, &str); 7] = [
    ("runs", include_str!("../migrations/0001_runs.sql")),
    ("views", include_str!("../migrations/0002_views.sql")),
    ("windows", include_str!("../migrations/0003_windows.sql")),
    ("mirrors", include_str!("../migrations/0004_mirrors.sql")),
    ("commits", include_str!("../migrations/0005_commits.sql")),
    ("leases", include_str!("../migrations/0006_leases.sql")),
    ("control_plane", include_str!("../migrations/0007_control_plane.sql")),
];

/// The number of the newest migration.
pub(crate) const SCHEMA_VERSION: i64 = MIGRATIONS.len() as i64;

/// What lists the applied migrations. It comes before all of them, so it is not one itself.
const MIGRATIONS_TABLE: &str = "
    CREATE TABLE migrations (
        version BIGINT NOT NULL PRIMARY KEY,
        name TEXT NOT NULL,
        checksum TEXT NOT NULL
    );
";

/// Held to the end of the migrating transaction. The number is `tidegate` in ASCII: constant, and
/// unlikely to be anybody else's.
const POSTGRES_LOCK: &str =
    "DO $$ BEGIN PERFORM pg_catalog.pg_advisory_xact_lock(x'7469646567617465'::bigint); END $$";

/// Brings the schema up to a version.
///
/// All missing migrations are one transaction: it either reaches that version or changes nothing,
/// and a second process that waited for it finds nothing left to do.
pub(crate) async fn apply(ledger: &Ledger, url: &LedgerUrl, wanted: i64) -> Result<(), Error> {
    // The usual case takes no lock, so that a start does not wait for others' commits.
    if version(ledger, url).await? >= Some(wanted) {
        return Ok(());
    }
    let failed = |source| Error::Migrate { version: wanted, source };
    let mut transaction = ledger.begin().await.map_err(failed)?;
    prepare(&mut transaction, ledger.backend()).await.map_err(failed)?;
    let applied = applied(&mut transaction, ledger.backend()).await.map_err(failed)?;
    let found = verify(applied.as_deref().unwrap_or_default())?;
    if applied.is_none() {
        refuse_foreign(&mut transaction, ledger.backend(), url).await?;
        transaction.execute(MIGRATIONS_TABLE).await.map_err(failed)?;
    }
    let missing =
        (1..).zip(MIGRATIONS).filter(|(version, _)| (found + 1..=wanted).contains(version));
    for (version, (name, sql)) in missing {
        apply_one(&mut transaction, version, name, sql)
            .await
            .map_err(|source| Error::Migrate { version, source })?;
        tracing::debug!(version, name, "migrated the ledger");
    }
    transaction.commit().await.map_err(failed)
}

/// The schema version of a ledger, or `None` where there is none; refuses one it cannot work with.
pub(crate) async fn version(ledger: &Ledger, url: &LedgerUrl) -> Result<Option<i64>, Error> {
    let read = async {
        let mut connection = ledger.pool().acquire().await?;
        applied(&mut connection, ledger.backend()).await
    };
    let applied = read.await.map_err(|source| Error::Open { url: url.to_string(), source })?;
    applied.as_deref().map(verify).transpose()
}

/// One row of the table `migrations`.
struct Applied {
    version: i64,
    checksum: String,
}

/// Takes the lock, where beginning the transaction has not, and makes our schema.
async fn prepare(transaction: &mut Transaction<'_, Any>, backend: Backend) -> sqlx::Result<()> {
    if backend == Backend::Sqlite {
        return Ok(());
    }
    transaction.execute(sqlx::raw_sql(POSTGRES_LOCK)).await?;
    // Asked first: `IF NOT EXISTS` needs the right to create even where nothing is created, and a
    // careful owner makes the schema and grants only that.
    let held = "SELECT COUNT(*) FROM pg_catalog.pg_namespace WHERE nspname = 'tidegate'";
    if sqlx::query_scalar::<_, i64>(held).fetch_one(&mut **transaction).await? == 0 {
        transaction.execute(sqlx::raw_sql("CREATE SCHEMA tidegate")).await?;
    }
    Ok(())
}

async fn apply_one(
    transaction: &mut Transaction<'_, Any>,
    version: i64,
    name: &str,
    sql: &'static str,
) -> sqlx::Result<()> {
    transaction.execute(sqlx::raw_sql(sql)).await?;
    sqlx::query("INSERT INTO migrations (version, name, checksum) VALUES ($1, $2, $3)")
        .bind(version)
        .bind(name)
        .bind(checksum(sql))
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

/// The applied migrations by number; `None` before the first.
async fn applied(
    connection: &mut AnyConnection,
    backend: Backend,
) -> sqlx::Result<Option<Vec<Applied>>> {
    let exists = match backend {
        Backend::Postgres => {
            "SELECT COUNT(*) FROM pg_catalog.pg_tables \
             WHERE schemaname = 'tidegate' AND tablename = 'migrations'"
        }
        Backend::Sqlite => {
            "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'migrations'"
        }
    };
    if sqlx::query_scalar::<_, i64>(exists).fetch_one(&mut *connection).await? == 0 {
        return Ok(None);
    }
    let rows = sqlx::query("SELECT version, checksum FROM migrations ORDER BY version")
        .fetch_all(connection)
        .await?;
    rows.iter()
        .map(|row| {
            let row = Read(row);
            Ok(Applied { version: row.number("version")?, checksum: row.text("checksum")? })
        })
        .collect::<sqlx::Result<_>>()
        .map(Some)
}

/// Checks what was applied against what this program carries, and returns the version reached.
fn verify(applied: &[Applied]) -> Result<i64, Error> {
    let found = applied.last().map_or(0, |last| last.version);
    if found > SCHEMA_VERSION {
        return Err(Error::NewerSchema { found, known: SCHEMA_VERSION });
    }
    for ((version, (name, sql)), applied) in (1..).zip(MIGRATIONS).zip(applied) {
        if applied.version != version || applied.checksum != checksum(sql) {
            return Err(Error::AlteredMigration { version, name });
        }
    }
    Ok(found)
}

/// Refuses to make a ledger inside a SQLite file that holds something else. PostgreSQL needs no
/// such check: nobody else has reason to name a schema `tidegate`.
async fn refuse_foreign(
    connection: &mut AnyConnection,
    backend: Backend,
    url: &LedgerUrl,
) -> Result<(), Error> {
    if backend == Backend::Postgres {
        return Ok(());
    }
    let tables = sqlx::query_scalar::<_, i64>("SELECT COUNT(*) FROM sqlite_master")
        .fetch_one(connection)
        .await
        .map_err(|source| Error::Migrate { version: SCHEMA_VERSION, source })?;
    if tables == 0 { Ok(()) } else { Err(Error::NotALedger { url: url.to_string() }) }
}

/// SHA-384 of a migration's text, in hexadecimal, as sqlx computes it.
fn checksum(sql: &'static str) -> String {
    let kind = MigrationType::Simple;
    let migration = Migration::new(0, Cow::Borrowed(""), kind, sql.into_sql_str(), false);
    migration.checksum.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carried() -> Vec<Applied> {
        (1..)
            .zip(MIGRATIONS)
            .map(|(version, (_, sql))| Applied { version, checksum: checksum(sql) })
            .collect()
    }

    #[test]
    fn every_prefix_of_the_migrations_is_a_version() {
        let mut applied = carried();
        for version in (0..=SCHEMA_VERSION).rev() {
            assert_eq!(verify(&applied).ok(), Some(version));
            applied.pop();
        }
    }

    #[test]
    fn an_altered_migration_is_refused() {
        let mut applied = carried();
        applied[1].checksum.replace_range(..1, "x");
        assert!(matches!(verify(&applied), Err(Error::AlteredMigration { version: 2, .. })));
    }

    #[test]
    fn a_missing_migration_is_refused() {
        let mut applied = carried();
        applied.remove(0);
        assert!(matches!(verify(&applied), Err(Error::AlteredMigration { version: 1, .. })));
    }

    #[test]
    fn every_migration_says_why() {
        for (name, sql) in MIGRATIONS {
            assert!(sql.starts_with("-- ") && sql.contains("-- Why: "), "{name}");
        }
    }
}
