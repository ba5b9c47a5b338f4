//! Whole registry messages, by their field numbers, as `feast apply` fills them in.
//!
//! The messages beside this module are the parts that a reader needs; a file that Feast itself
//! will open has to have the rest as well. What both sides hold in full is taken from there.

use std::collections::BTreeMap;

use prost::Message;

use crate::registry::message::{Duration, FeatureSpec, FileOptions, Timestamp, ViewMeta};

/// `Registry`: a registry file.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Registry {
    #[prost(message, repeated, tag = "1")]
    pub(super) entities: Vec<Entity>,
    #[prost(string, tag = "3")]
    pub(super) registry_schema_version: String,
    #[prost(string, tag = "4")]
    pub(super) version_id: String,
    #[prost(message, optional, tag = "5")]
    pub(super) last_updated: Option<Timestamp>,
    #[prost(message, repeated, tag = "6")]
    pub(super) feature_views: Vec<FeatureView>,
    #[prost(message, repeated, tag = "7")]
    pub(super) feature_services: Vec<FeatureService>,
    #[prost(message, optional, tag = "10")]
    pub(super) infra: Option<Infra>,
    #[prost(message, repeated, tag = "12")]
    pub(super) data_sources: Vec<DataSource>,
    #[prost(message, repeated, tag = "15")]
    pub(super) project_metadata: Vec<ProjectMetadata>,
    #[prost(message, repeated, tag = "17")]
    pub(super) projects: Vec<Project>,
    #[prost(message, optional, tag = "18")]
    pub(super) feature_view_version_history: Option<History>,
}

/// When an object was made: the same two fields in every kind of object but a data source.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Meta {
    #[prost(message, optional, tag = "1")]
    pub(super) created_timestamp: Option<Timestamp>,
    #[prost(message, optional, tag = "2")]
    pub(super) last_updated_timestamp: Option<Timestamp>,
}

/// `Entity`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Entity {
    #[prost(message, optional, tag = "1")]
    pub(super) spec: Option<EntitySpec>,
    #[prost(message, optional, tag = "2")]
    pub(super) meta: Option<Meta>,
}

/// `EntitySpecV2`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct EntitySpec {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(int32, tag = "2")]
    pub(super) value_type: i32,
    #[prost(string, tag = "4")]
    pub(super) join_key: String,
    #[prost(string, tag = "9")]
    pub(super) project: String,
}

/// `DataSource`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct DataSource {
    #[prost(int32, tag = "1")]
    pub(super) type_code: i32,
    #[prost(btree_map = "string, string", tag = "2")]
    pub(super) field_mapping: BTreeMap<String, String>,
    #[prost(string, tag = "3")]
    pub(super) timestamp_field: String,
    #[prost(string, tag = "5")]
    pub(super) created_timestamp_column: String,
    #[prost(message, optional, tag = "11")]
    pub(super) file_options: Option<FileOptions>,
    #[prost(string, tag = "17")]
    pub(super) data_source_class_type: String,
    #[prost(string, tag = "20")]
    pub(super) name: String,
    #[prost(string, tag = "21")]
    pub(super) project: String,
    #[prost(btree_map = "string, string", tag = "24")]
    pub(super) tags: BTreeMap<String, String>,
    #[prost(message, optional, tag = "50")]
    pub(super) meta: Option<SourceMeta>,
}

/// `DataSource.SourceMeta`; its first two fields, the bounds of the event times, stay empty.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct SourceMeta {
    #[prost(message, optional, tag = "3")]
    pub(super) created_timestamp: Option<Timestamp>,
    #[prost(message, optional, tag = "4")]
    pub(super) last_updated_timestamp: Option<Timestamp>,
}

/// `FeatureView`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct FeatureView {
    #[prost(message, optional, tag = "1")]
    pub(super) spec: Option<FeatureViewSpec>,
    #[prost(message, optional, tag = "2")]
    pub(super) meta: Option<ViewMeta>,
}

/// `FeatureViewSpec`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct FeatureViewSpec {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) project: String,
    #[prost(string, repeated, tag = "3")]
    pub(super) entities: Vec<String>,
    #[prost(message, repeated, tag = "4")]
    pub(super) features: Vec<FeatureSpec>,
    #[prost(btree_map = "string, string", tag = "5")]
    pub(super) tags: BTreeMap<String, String>,
    #[prost(message, optional, tag = "6")]
    pub(super) ttl: Option<Duration>,
    #[prost(message, optional, tag = "7")]
    pub(super) batch_source: Option<DataSource>,
    #[prost(bool, tag = "8")]
    pub(super) online: bool,
    #[prost(message, repeated, tag = "12")]
    pub(super) entity_columns: Vec<FeatureSpec>,
    #[prost(string, tag = "18")]
    pub(super) version: String,
    #[prost(bool, tag = "20")]
    pub(super) disabled: bool,
}

/// `FeatureService`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct FeatureService {
    #[prost(message, optional, tag = "1")]
    pub(super) spec: Option<FeatureServiceSpec>,
    #[prost(message, optional, tag = "2")]
    pub(super) meta: Option<Meta>,
}

/// `FeatureServiceSpec`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct FeatureServiceSpec {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) project: String,
    #[prost(message, repeated, tag = "3")]
    pub(super) features: Vec<Projection>,
    #[prost(bool, tag = "8")]
    pub(super) precompute_online: bool,
}

/// `FeatureViewProjection`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Projection {
    #[prost(string, tag = "1")]
    pub(super) feature_view_name: String,
    #[prost(message, repeated, tag = "2")]
    pub(super) feature_columns: Vec<FeatureSpec>,
    #[prost(string, tag = "3")]
    pub(super) feature_view_name_alias: String,
    #[prost(btree_map = "string, string", tag = "4")]
    pub(super) join_key_map: BTreeMap<String, String>,
    #[prost(string, tag = "5")]
    pub(super) timestamp_field: String,
    #[prost(string, tag = "7")]
    pub(super) created_timestamp_column: String,
    #[prost(message, optional, tag = "8")]
    pub(super) batch_source: Option<DataSource>,
    #[prost(int32, optional, tag = "10")]
    pub(super) version_tag: Option<i32>,
    #[prost(string, tag = "11")]
    pub(super) view_type: String,
}

/// `Project`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Project {
    #[prost(message, optional, tag = "1")]
    pub(super) spec: Option<ProjectSpec>,
    #[prost(message, optional, tag = "2")]
    pub(super) meta: Option<Meta>,
}

/// `ProjectSpec`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ProjectSpec {
    #[prost(string, tag = "1")]
    pub(super) name: String,
}

/// `ProjectMetadata`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ProjectMetadata {
    #[prost(string, tag = "1")]
    pub(super) project: String,
    #[prost(string, tag = "2")]
    pub(super) project_uuid: String,
}

/// `Infra`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Infra {
    #[prost(message, repeated, tag = "1")]
    pub(super) infra_objects: Vec<InfraObject>,
}

/// `InfraObject`, for a table of the SQLite online store.
#[derive(Clone, PartialEq, Message)]
pub(super) struct InfraObject {
    #[prost(string, tag = "1")]
    pub(super) infra_object_class_type: String,
    #[prost(message, optional, tag = "4")]
    pub(super) sqlite_table: Option<SqliteTable>,
}

/// `SqliteTable`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct SqliteTable {
    #[prost(string, tag = "1")]
    pub(super) path: String,
    #[prost(string, tag = "2")]
    pub(super) name: String,
}

/// `FeatureViewVersionHistory`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct History {
    #[prost(message, repeated, tag = "1")]
    pub(super) records: Vec<HistoryRecord>,
}

/// `FeatureViewVersionRecord`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct HistoryRecord {
    #[prost(string, tag = "1")]
    pub(super) feature_view_name: String,
    #[prost(string, tag = "2")]
    pub(super) project_id: String,
    #[prost(int32, tag = "3")]
    pub(super) version_number: i32,
    #[prost(string, tag = "4")]
    pub(super) feature_view_type: String,
    #[prost(bytes = "vec", tag = "5")]
    pub(super) feature_view_proto: Vec<u8>,
    #[prost(message, optional, tag = "6")]
    pub(super) created_timestamp: Option<Timestamp>,
    #[prost(string, tag = "8")]
    pub(super) version_id: String,
}
