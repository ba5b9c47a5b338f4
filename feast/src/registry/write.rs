//! Builds a registry file from typed definitions, as `feast apply` would leave it.
//!
//! For sample repositories, suites and benches, which need a registry that the real Feast reads
//! too, without a Python beside them. Pure: the clock and the ids are the caller's. Deliberately
//! absent: every change to a registry that is there already (see `edit.rs`).

use std::collections::BTreeMap;
use std::time::Duration;

use prost::Message;

use super::message::{
    Duration as DurationMessage, FeatureSpec, FileFormat, FileOptions, MaterializationInterval,
    Opaque, Timestamp, ViewMeta,
};
use super::{Error, message};
use crate::feature_view::{DataSource, Entity, FeatureService, Field, ProjectionRef};
use crate::value_type::ValueType;

/// The version of the file's layout that Feast 0.67 writes.
const SCHEMA_VERSION: &str = "1";
/// The entity that Feast gives to views without one, its join key, and that key's type.
const DUMMY: (&str, &str, ValueType) = ("__dummy", "__dummy_id", ValueType::String);
/// Feast's class of a source of files.
const FILE_SOURCE: &str = "feast.infra.offline_stores.file_source.FileSource";
/// Feast's class of a table in its SQLite online store.
const SQLITE_TABLE: &str = "feast.infra.online_stores.sqlite.SqliteTable";
/// What a definition that asks for no version says.
const LATEST: &str = "latest";
/// How the version history names a feature view.
const HISTORY_TYPE: &str = "feature_view";
/// How a feature service names a feature view.
const PROJECTION_TYPE: &str = "featureView";
/// State `AVAILABLE_ONLINE`.
const STATE_AVAILABLE: i32 = 4;

/// Everything that a repository defines.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Definitions {
    /// The project.
    pub project: String,
    /// When it was applied, in microseconds since the epoch.
    pub created_micros: i64,
    /// The entities, without Feast's dummy, which is always added.
    pub entities: Vec<Entity>,
    /// The sources; those of files have type code 1.
    pub sources: Vec<DataSource>,
    /// The feature views.
    pub views: Vec<ViewDefinition>,
    /// The feature services; each projection's features are looked up in its view.
    pub services: Vec<FeatureService>,
    /// The tables of Feast's SQLite online store; none for any other store.
    pub sqlite_tables: Vec<SqliteTable>,
}

/// A feature view as a repository defines it.
#[derive(Clone, Debug, PartialEq)]
pub struct ViewDefinition {
    /// Its name.
    pub name: String,
    /// Names of its entities; empty for a view without one.
    pub entities: Vec<String>,
    /// Its features, in order.
    pub features: Vec<Field>,
    /// How long a value stays valid; `None` for ever.
    pub ttl: Option<Duration>,
    /// The name of its source.
    pub source: String,
    /// Its tags, `tidegate.*` among them.
    pub tags: BTreeMap<String, String>,
    /// Tells whether it goes to the online store.
    pub online: bool,
    /// Tells whether it is switched off.
    pub disabled: bool,
    /// Intervals that count as materialized, closed at both ends, in microseconds.
    pub materialization_intervals: Vec<(i64, i64)>,
}

/// Online, without entities, features or a source.
impl Default for ViewDefinition {
    fn default() -> Self {
        Self {
            name: String::new(),
            entities: Vec::new(),
            features: Vec::new(),
            ttl: None,
            source: String::new(),
            tags: BTreeMap::new(),
            online: true,
            disabled: false,
            materialization_intervals: Vec::new(),
        }
    }
}

/// A table of Feast's SQLite online store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SqliteTable {
    /// The database file, as an absolute path.
    pub path: String,
    /// The table's name: project, underscore, view.
    pub name: String,
}

impl Definitions {
    /// Encodes the registry file.
    ///
    /// `new_id` gives another UUID at each call: one for the project, one for this version of the
    /// file and one for each view's first entry in the version history.
    ///
    /// # Errors
    /// `Error::Undefined` when a view or a service names something that is not defined here,
    /// `Error::Untyped` when an entity of a view has no value type.
    pub fn encode(&self, mut new_id: impl FnMut() -> String) -> Result<Vec<u8>, Error> {
        let views = self.views.iter().map(|view| self.view(view)).collect::<Result<Vec<_>, _>>()?;
        let services = self.services.iter().map(|service| self.service(service));
        let records = views.iter().map(|view| self.first_version(view, new_id())).collect();
        let registry = message::Registry {
            entities: self.entities(),
            registry_schema_version: SCHEMA_VERSION.to_owned(),
            version_id: new_id(),
            last_updated: self.created(),
            feature_services: services.collect::<Result<_, _>>()?,
            infra: self.infra(),
            data_sources: self.sources.iter().map(|source| self.listed_source(source)).collect(),
            project_metadata: vec![message::ProjectMetadata {
                project: self.project.clone(),
                project_uuid: new_id(),
            }],
            projects: vec![message::Project {
                spec: Some(message::ProjectSpec { name: self.project.clone() }),
                meta: Some(self.meta()),
            }],
            feature_view_version_history: Some(message::History { records }),
            feature_views: views,
        };
        Ok(registry.encode_to_vec())
    }

    fn created(&self) -> Option<Timestamp> {
        Some(Timestamp::from_micros(self.created_micros))
    }

    fn meta(&self) -> message::Meta {
        let created = self.created();
        message::Meta { created_timestamp: created, last_updated_timestamp: created }
    }

    fn entities(&self) -> Vec<message::Entity> {
        let (name, join_key, _) = DUMMY;
        let dummy =
            Entity { name: name.to_owned(), join_key: join_key.to_owned(), value_type: None };
        let entity = |entity: &Entity| message::Entity {
            spec: Some(message::EntitySpec {
                name: entity.name.clone(),
                value_type: entity.value_type.map_or(0, ValueType::code),
                join_key: entity.join_key.clone(),
                project: self.project.clone(),
            }),
            meta: Some(self.meta()),
        };
        self.entities.iter().chain([&dummy]).map(entity).collect()
    }

    fn view(&self, view: &ViewDefinition) -> Result<message::FeatureView, Error> {
        let entities = match view.entities.as_slice() {
            [] => vec![DUMMY.0.to_owned()],
            names => names.to_vec(),
        };
        let spec = message::FeatureViewSpec {
            name: view.name.clone(),
            project: self.project.clone(),
            entities,
            features: view.features.iter().map(feature).collect(),
            tags: view.tags.clone(),
            ttl: Some(duration(view.ttl.unwrap_or_default())),
            batch_source: Some(self.source(self.find_source(view)?)),
            online: view.online,
            entity_columns: self.entity_columns(view)?,
            version: LATEST.to_owned(),
            disabled: view.disabled,
            ..Default::default()
        };
        Ok(message::FeatureView { spec: Some(spec), meta: Some(self.view_meta(view)) })
    }

    /// The join keys of the view's entities, with their types.
    fn entity_columns(&self, view: &ViewDefinition) -> Result<Vec<FeatureSpec>, Error> {
        if view.entities.is_empty() {
            let (_, join_key, value_type) = DUMMY;
            return Ok(vec![column(join_key, value_type)]);
        }
        let join_key = |name: &String| {
            let entity = self.entities.iter().find(|entity| entity.name == *name);
            let entity = entity.ok_or_else(|| undefined("entity", name, &view.name))?;
            let value_type =
                entity.value_type.ok_or_else(|| Error::Untyped { entity: name.clone() })?;
            Ok(column(&entity.join_key, value_type))
        };
        view.entities.iter().map(join_key).collect()
    }

    fn view_meta(&self, view: &ViewDefinition) -> ViewMeta {
        let interval = |(start, end): &(i64, i64)| MaterializationInterval {
            start_time: Some(Timestamp::from_micros(*start)),
            end_time: Some(Timestamp::from_micros(*end)),
        };
        let is_materialized = !view.materialization_intervals.is_empty();
        ViewMeta {
            created_timestamp: self.created(),
            last_updated_timestamp: self.created(),
            materialization_intervals: view
                .materialization_intervals
                .iter()
                .map(interval)
                .collect(),
            current_version_number: 0,
            state: if is_materialized { STATE_AVAILABLE } else { 0 },
        }
    }

    /// Feast keeps each view's first definition as version 0, before anything is materialized.
    fn first_version(&self, view: &message::FeatureView, id: String) -> message::HistoryRecord {
        let spec = view.spec.clone().unwrap_or_default();
        let meta = ViewMeta {
            created_timestamp: self.created(),
            last_updated_timestamp: self.created(),
            ..Default::default()
        };
        let name = spec.name.clone();
        let first = message::FeatureView { spec: Some(spec), meta: Some(meta) };
        message::HistoryRecord {
            feature_view_name: name,
            project_id: self.project.clone(),
            version_number: 0,
            feature_view_type: HISTORY_TYPE.to_owned(),
            feature_view_proto: first.encode_to_vec(),
            created_timestamp: self.created(),
            version_id: id,
        }
    }

    fn find_source(&self, view: &ViewDefinition) -> Result<&DataSource, Error> {
        let found = self.sources.iter().find(|source| source.name == view.source);
        found.ok_or_else(|| undefined("data source", &view.source, &view.name))
    }

    /// A source as a view carries it: without the project.
    fn source(&self, source: &DataSource) -> message::DataSource {
        let delta_format = source.is_delta.then_some(Opaque {});
        let format = delta_format.map(|delta| FileFormat { delta_format: Some(delta) });
        let created = self.created();
        message::DataSource {
            type_code: source.type_code,
            field_mapping: source.field_mapping.clone(),
            timestamp_field: source.timestamp_field.clone(),
            created_timestamp_column: source.created_timestamp_column.clone().unwrap_or_default(),
            file_options: Some(FileOptions {
                file_format: format,
                uri: source.path.clone(),
                s3_endpoint_override: source.s3_endpoint_override.clone().unwrap_or_default(),
            }),
            class_type: FILE_SOURCE.to_owned(),
            name: source.name.clone(),
            tags: source.tags.clone(),
            meta: Some(message::SourceMeta {
                created_timestamp: created,
                last_updated_timestamp: created,
            }),
            ..Default::default()
        }
    }

    fn listed_source(&self, source: &DataSource) -> message::DataSource {
        message::DataSource { project: self.project.clone(), ..self.source(source) }
    }

    fn service(&self, service: &FeatureService) -> Result<message::FeatureService, Error> {
        let projections =
            service.projections.iter().map(|projection| self.projection(projection, &service.name));
        let spec = message::FeatureServiceSpec {
            name: service.name.clone(),
            project: self.project.clone(),
            features: projections.collect::<Result<_, _>>()?,
            precompute_online: service.precompute_online,
        };
        Ok(message::FeatureService { spec: Some(spec), meta: Some(self.meta()) })
    }

    fn projection(
        &self,
        projection: &ProjectionRef,
        service: &str,
    ) -> Result<message::Projection, Error> {
        let view = self.views.iter().find(|view| view.name == projection.view);
        let view = view.ok_or_else(|| undefined("feature view", &projection.view, service))?;
        let named = |name: &String| {
            let found = view.features.iter().find(|feature| feature.name == *name);
            found.map(feature).ok_or_else(|| undefined("feature", name, service))
        };
        // Feast leaves the class out of a projection's source.
        let source = message::DataSource {
            class_type: String::new(),
            ..self.source(self.find_source(view)?)
        };
        let created = source.created_timestamp_column.clone();
        Ok(message::Projection {
            feature_view_name: view.name.clone(),
            feature_columns: projection.features.iter().map(named).collect::<Result<_, _>>()?,
            feature_view_name_alias: projection.alias.clone().unwrap_or_default(),
            join_key_map: projection.join_key_map.clone(),
            // Feast 0.67 puts the created column into both.
            timestamp_field: created.clone(),
            created_timestamp_column: created,
            batch_source: Some(source),
            version_tag: projection.version.and_then(|version| i32::try_from(version).ok()),
            view_type: PROJECTION_TYPE.to_owned(),
        })
    }

    fn infra(&self) -> Option<message::Infra> {
        let object = |table: &SqliteTable| message::InfraObject {
            infra_object_class_type: SQLITE_TABLE.to_owned(),
            sqlite_table: Some(message::SqliteTable {
                path: table.path.clone(),
                name: table.name.clone(),
            }),
        };
        let infra_objects: Vec<_> = self.sqlite_tables.iter().map(object).collect();
        (!infra_objects.is_empty()).then_some(message::Infra { infra_objects })
    }
}

fn feature(field: &Field) -> FeatureSpec {
    FeatureSpec {
        name: field.name.clone(),
        value_type: field.value_type.code(),
        vector_index: field.vector_index,
        vector_length: i32::try_from(field.vector_length).unwrap_or(i32::MAX),
    }
}

fn column(name: &str, value_type: ValueType) -> FeatureSpec {
    FeatureSpec { name: name.to_owned(), value_type: value_type.code(), ..Default::default() }
}

fn duration(ttl: Duration) -> DurationMessage {
    let seconds = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX);
    let nanos = i32::try_from(ttl.subsec_nanos()).expect("nanoseconds below a second fit");
    DurationMessage { seconds, nanos }
}

fn undefined(what: &'static str, name: &str, by: &str) -> Error {
    Error::Undefined { what, name: name.to_owned(), by: by.to_owned() }
}

#[cfg(test)]
mod tests;
