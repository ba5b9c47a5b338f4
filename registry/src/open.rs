//! The registry as its users see it: one type, whatever is behind it.

use std::collections::BTreeMap;

use feast::config::{RegistryConfig, RegistryLocation};
use feast::registry::{IntervalRecord, Snapshot, view_in_file_history};
use feast::{FeatureView, ViewKind};

use crate::Error;
use crate::file::FileRegistry;
use crate::intervals::{Recorded, Recording};
use crate::object::ObjectRegistry;
use crate::sql::SqlRegistry;

/// Feast's registry, open for reading definitions and recording intervals.
#[derive(Clone, Debug)]
pub struct Registry {
    location: String,
    place: Place,
}

#[derive(Clone, Debug)]
enum Place {
    Sql(Box<SqlRegistry>),
    File(FileRegistry),
    Object(ObjectRegistry),
}

impl Registry {
    /// Opens the registry that a configuration names; databases are not connected yet.
    ///
    /// Creates nothing: no file, no table, no row. `object_options` are object_store's, by their
    /// names there; they matter to `s3://` and `gs://` alone.
    ///
    /// # Errors
    /// `Error::Missing` when a file or SQLite database is not there, `Error::Url` for a URL that
    /// cannot be used.
    /// # Cancel safety
    /// Cancel safe: nothing is changed.
    pub async fn open(
        config: &RegistryConfig,
        object_options: &BTreeMap<String, String>,
    ) -> Result<Self, Error> {
        let location = config.location.to_string();
        let with_metadata = !config.purge_feast_metadata;
        let place = match &config.location {
            RegistryLocation::Postgres(url) => {
                Place::Sql(Box::new(SqlRegistry::postgres(url, with_metadata)?))
            }
            RegistryLocation::Sqlite(path) => {
                Place::Sql(Box::new(SqlRegistry::sqlite(path, with_metadata).await?))
            }
            RegistryLocation::File(path) => Place::File(FileRegistry::open(path).await?),
            RegistryLocation::Object(url) => {
                Place::Object(ObjectRegistry::open(url, object_options)?)
            }
        };
        Ok(Self { location, place })
    }

    /// Where it is, without a password.
    pub fn location(&self) -> &str {
        &self.location
    }

    /// Reads all objects of a project, as they are now.
    ///
    /// # Errors
    /// As the storage has it; `Error::Bytes` for an object that cannot be understood.
    /// # Cancel safety
    /// Cancel safe: nothing is changed.
    pub async fn snapshot(&self, project: &str) -> Result<Snapshot, Error> {
        let bytes = match &self.place {
            Place::Sql(sql) => {
                return Snapshot::decode(&sql.objects(project).await?)
                    .map_err(|source| self.bytes(source));
            }
            Place::File(file) => file.read().await?,
            Place::Object(object) => object.read().await?,
        };
        Snapshot::from_file(&bytes, project).map_err(|source| self.bytes(source))
    }

    /// Reads a view as it was at a version of Feast's history; `None` when there is no such
    /// version. Its intervals are those of then.
    ///
    /// # Errors
    /// As [`Self::snapshot`].
    /// # Cancel safety
    /// Cancel safe: nothing is changed.
    pub async fn view_at_version(
        &self,
        project: &str,
        name: &str,
        version: u32,
    ) -> Result<Option<FeatureView>, Error> {
        let bytes = match &self.place {
            Place::Sql(sql) => return sql.view_at_version(project, name, version).await,
            Place::File(file) => file.read().await?,
            Place::Object(object) => object.read().await?,
        };
        view_in_file_history(&bytes, project, name, version).map_err(|source| self.bytes(source))
    }

    /// Records that a view has been materialized over an interval, closed at both ends.
    ///
    /// Safe to repeat: an interval that a listed one covers changes nothing. Those that overlap or
    /// adjoin it become one with it. The definition is read afresh under a lock and nothing else of
    /// it is touched, so that neither a concurrent `feast apply` nor a second recorder is undone by
    /// it. The view's state becomes `AVAILABLE_ONLINE`.
    ///
    /// # Units
    /// Microseconds since the epoch.
    /// # Errors
    /// As the storage has it; `Error::Contended` when others kept changing the registry.
    /// # Source
    /// Feast 0.67 `apply_materialization`.
    pub async fn record_interval(
        &self,
        project: &str,
        view: &str,
        kind: ViewKind,
        start_micros: i64,
        end_micros: i64,
        now_micros: i64,
    ) -> Result<Recorded, Error> {
        feast::registry::check_kind(view, kind).map_err(|source| self.bytes(source))?;
        let recording = Recording {
            project: project.to_owned(),
            view: view.to_owned(),
            kind,
            interval: IntervalRecord { start_micros, end_micros, now_micros },
        };
        let recorded = match &self.place {
            Place::Sql(sql) => sql.record(&recording).await?,
            Place::File(file) => file.record(recording).await?,
            Place::Object(object) => object.record(&recording).await?,
        };
        tracing::debug!(project, view, start_micros, end_micros, ?recorded, "recorded an interval");
        Ok(recorded)
    }

    fn bytes(&self, source: feast::registry::Error) -> Error {
        Error::Bytes { location: self.location.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REGISTRY: &[u8] = include_bytes!("../../feast/testdata/registry/versioned_after.db");

    async fn open(directory: &tempfile::TempDir) -> Registry {
        let path = directory.path().join("registry.db");
        std::fs::write(&path, REGISTRY).expect("there is room");
        let config = RegistryConfig {
            location: RegistryLocation::File(path),
            versioning: true,
            purge_feast_metadata: false,
            cache_ttl_seconds: None,
        };
        Registry::open(&config, &BTreeMap::new()).await.expect("it is there")
    }

    #[tokio::test]
    async fn definitions_versions_and_intervals_go_through_one_door() {
        let directory = tempfile::tempdir().expect("there is room");
        let registry = open(&directory).await;
        let view = registry.snapshot("proj").await.expect("it can be read").views.remove(0);
        assert_eq!((view.name.as_str(), view.version), ("fv", Some(1)));
        let listed = view.materialization_intervals.len();
        let version = registry.view_at_version("proj", "fv", 0).await.expect("it can be read");
        assert_eq!(version.expect("it is version 0").features.len(), 1);
        let recorded = registry.record_interval("proj", "fv", view.kind, 1, 2, 3).await;
        assert_eq!(recorded.expect("it can be recorded"), Recorded::Added);
        let view = registry.snapshot("proj").await.expect("it can be read").views.remove(0);
        assert_eq!(view.materialization_intervals.len(), listed + 1);
        assert_eq!(view.materialization_intervals.last(), Some(&(1, 2)));
    }

    #[tokio::test]
    async fn kinds_without_intervals_are_refused() {
        let directory = tempfile::tempdir().expect("there is room");
        let registry = open(&directory).await;
        for kind in [ViewKind::OnDemand, ViewKind::Label] {
            let error = registry.record_interval("proj", "fv", kind, 1, 2, 3).await;
            let error = error.expect_err("it has no intervals");
            assert!(matches!(error, Error::Bytes { .. }) && !error.is_retryable(), "{error}");
        }
    }
}
