//! Feast's registry messages by their field numbers: what is read, and what `feast apply` fills in.
//!
//! For reading, and for new files (`write.rs`). A message read here and written again would lose
//! what is not declared, so bytes that are there already go through `edit.rs` alone.

mod source;
pub(super) mod view;

use std::collections::BTreeMap;

use prost::Message;

pub(super) use source::{DataSource, FileFormat, FileOptions, SourceMeta};
pub(super) use view::{
    AnyView, AnyViewSpec, FeatureView, FeatureViewSpec, LabelView, MaterializationInterval,
    OnDemandFeatureView, StreamFeatureView, ViewMeta,
};

pub(super) use crate::timestamp::Timestamp;

/// `google.protobuf.Duration`.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Duration {
    #[prost(int64, tag = "1")]
    pub(super) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(super) nanos: i32,
}

/// A message of which only the presence matters.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Opaque {}

/// `FeatureSpecV2`: a feature or an entity column.
#[derive(Clone, PartialEq, Message)]
pub(super) struct FeatureSpec {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(int32, tag = "2")]
    pub(super) value_type: i32,
    #[prost(bool, tag = "5")]
    pub(super) vector_index: bool,
    #[prost(int32, tag = "7")]
    pub(super) vector_length: i32,
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

/// `FeatureViewVersionRecord`: one view's definition in the version history.
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

/// `FeatureViewVersionHistory` of a registry file.
#[derive(Clone, PartialEq, Message)]
pub(super) struct History {
    #[prost(message, repeated, tag = "1")]
    pub(super) records: Vec<HistoryRecord>,
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

/// `Registry`: a new registry file; one that is there already is split at the wire level.
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
