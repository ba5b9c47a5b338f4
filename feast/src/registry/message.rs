//! Feast's registry messages by their field numbers: what is read, and what `feast apply` fills in.
//!
//! For reading, and for new files (`write.rs`). A message read here and written again would lose
//! what is not declared, so bytes that are there already go through `edit.rs` alone.

use std::collections::BTreeMap;

use prost::Message;

/// `google.protobuf.Timestamp`.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Timestamp {
    #[prost(int64, tag = "1")]
    pub(super) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(super) nanos: i32,
}

const MICROS_PER_SECOND: i64 = 1_000_000;
const NANOS_PER_MICRO: i32 = 1_000;

impl Timestamp {
    /// Makes a timestamp from microseconds since the epoch.
    pub(super) fn from_micros(micros: i64) -> Self {
        let above = i32::try_from(micros.rem_euclid(MICROS_PER_SECOND))
            .expect("a remainder below a million fits");
        Self { seconds: micros.div_euclid(MICROS_PER_SECOND), nanos: above * NANOS_PER_MICRO }
    }

    /// Microseconds since the epoch, rounded down; out of range saturates.
    pub(super) fn micros(self) -> i64 {
        let above = i64::from(self.nanos.div_euclid(NANOS_PER_MICRO));
        self.seconds.saturating_mul(MICROS_PER_SECOND).saturating_add(above)
    }
}

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

/// One materialization interval, closed at both ends.
#[derive(Clone, PartialEq, Message)]
pub(super) struct MaterializationInterval {
    #[prost(message, optional, tag = "1")]
    pub(super) start_time: Option<Timestamp>,
    #[prost(message, optional, tag = "2")]
    pub(super) end_time: Option<Timestamp>,
}

impl MaterializationInterval {
    /// Start and end in microseconds; a missing one is the epoch, as protobuf has it.
    pub(super) fn ends_micros(&self) -> (i64, i64) {
        let micros = |time: Option<Timestamp>| time.unwrap_or_default().micros();
        (micros(self.start_time), micros(self.end_time))
    }
}

/// `FeatureViewMeta`, of feature views and stream feature views.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ViewMeta {
    #[prost(message, optional, tag = "1")]
    pub(super) created_timestamp: Option<Timestamp>,
    #[prost(message, optional, tag = "2")]
    pub(super) last_updated_timestamp: Option<Timestamp>,
    #[prost(message, repeated, tag = "3")]
    pub(super) materialization_intervals: Vec<MaterializationInterval>,
    #[prost(int32, tag = "4")]
    pub(super) current_version_number: i32,
    #[prost(int32, tag = "6")]
    pub(super) state: i32,
}

impl ViewMeta {
    /// The intervals in microseconds.
    pub(super) fn intervals(&self) -> impl Iterator<Item = (i64, i64)> {
        self.materialization_intervals.iter().map(MaterializationInterval::ends_micros)
    }
}

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
    #[prost(message, optional, tag = "9")]
    pub(super) stream_source: Option<DataSource>,
    #[prost(message, repeated, tag = "12")]
    pub(super) entity_columns: Vec<FeatureSpec>,
    #[prost(bool, tag = "13")]
    pub(super) offline: bool,
    #[prost(message, repeated, tag = "14")]
    pub(super) source_views: Vec<Opaque>,
    #[prost(message, optional, tag = "15")]
    pub(super) feature_transformation: Option<Opaque>,
    #[prost(bool, tag = "17")]
    pub(super) enable_validation: bool,
    #[prost(string, tag = "18")]
    pub(super) version: String,
    #[prost(bool, tag = "20")]
    pub(super) disabled: bool,
}

/// `StreamFeatureView`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct StreamFeatureView {
    #[prost(message, optional, tag = "1")]
    pub(super) spec: Option<StreamFeatureViewSpec>,
    #[prost(message, optional, tag = "2")]
    pub(super) meta: Option<ViewMeta>,
}

/// `StreamFeatureViewSpec`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct StreamFeatureViewSpec {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, repeated, tag = "3")]
    pub(super) entities: Vec<String>,
    #[prost(message, repeated, tag = "4")]
    pub(super) features: Vec<FeatureSpec>,
    #[prost(message, repeated, tag = "5")]
    pub(super) entity_columns: Vec<FeatureSpec>,
    #[prost(btree_map = "string, string", tag = "7")]
    pub(super) tags: BTreeMap<String, String>,
    #[prost(message, optional, tag = "9")]
    pub(super) ttl: Option<Duration>,
    #[prost(message, optional, tag = "10")]
    pub(super) batch_source: Option<DataSource>,
    #[prost(message, optional, tag = "11")]
    pub(super) stream_source: Option<DataSource>,
    #[prost(bool, tag = "12")]
    pub(super) online: bool,
    #[prost(message, optional, tag = "13")]
    pub(super) user_defined_function: Option<Opaque>,
    #[prost(message, repeated, tag = "15")]
    pub(super) aggregations: Vec<Opaque>,
    #[prost(message, optional, tag = "17")]
    pub(super) feature_transformation: Option<Opaque>,
    #[prost(bool, tag = "20")]
    pub(super) enable_validation: bool,
    #[prost(string, tag = "21")]
    pub(super) version: String,
    #[prost(bool, tag = "23")]
    pub(super) disabled: bool,
}

/// `OnDemandFeatureView`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct OnDemandFeatureView {
    #[prost(message, optional, tag = "1")]
    pub(super) spec: Option<OnDemandFeatureViewSpec>,
    #[prost(message, optional, tag = "2")]
    pub(super) meta: Option<OnDemandMeta>,
}

/// `OnDemandFeatureViewSpec`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct OnDemandFeatureViewSpec {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(message, repeated, tag = "3")]
    pub(super) features: Vec<FeatureSpec>,
    #[prost(bool, tag = "12")]
    pub(super) write_to_online_store: bool,
    #[prost(string, repeated, tag = "13")]
    pub(super) entities: Vec<String>,
    #[prost(message, repeated, tag = "14")]
    pub(super) entity_columns: Vec<FeatureSpec>,
    #[prost(string, tag = "17")]
    pub(super) version: String,
    #[prost(bool, tag = "19")]
    pub(super) disabled: bool,
}

/// `OnDemandFeatureViewMeta`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct OnDemandMeta {
    #[prost(message, optional, tag = "1")]
    pub(super) created_timestamp: Option<Timestamp>,
    #[prost(int32, tag = "3")]
    pub(super) current_version_number: i32,
}

/// `LabelView`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct LabelView {
    #[prost(message, optional, tag = "1")]
    pub(super) spec: Option<LabelViewSpec>,
}

/// `LabelViewSpec`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct LabelViewSpec {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, repeated, tag = "3")]
    pub(super) entities: Vec<String>,
    #[prost(message, repeated, tag = "4")]
    pub(super) features: Vec<FeatureSpec>,
    #[prost(btree_map = "string, string", tag = "5")]
    pub(super) tags: BTreeMap<String, String>,
    #[prost(bool, tag = "8")]
    pub(super) online: bool,
    #[prost(message, repeated, tag = "11")]
    pub(super) entity_columns: Vec<FeatureSpec>,
}

/// What every kind of view has in the same place: name, project and, where it has one, the list
/// of intervals.
#[derive(Clone, PartialEq, Message)]
pub(super) struct AnyView {
    #[prost(message, optional, tag = "1")]
    pub(super) spec: Option<AnyViewSpec>,
    #[prost(message, optional, tag = "2")]
    pub(super) meta: Option<ViewMeta>,
}

/// The spec of [`AnyView`]; a feature service's spec begins with the same two fields.
#[derive(Clone, PartialEq, Message)]
pub(super) struct AnyViewSpec {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) project: String,
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
    pub(super) class_type: String,
    #[prost(string, tag = "20")]
    pub(super) name: String,
    #[prost(string, tag = "21")]
    pub(super) project: String,
    #[prost(btree_map = "string, string", tag = "24")]
    pub(super) tags: BTreeMap<String, String>,
    #[prost(message, optional, boxed, tag = "26")]
    pub(super) batch_source: Option<Box<DataSource>>,
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

/// `DataSource.FileOptions`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct FileOptions {
    #[prost(message, optional, tag = "1")]
    pub(super) file_format: Option<FileFormat>,
    #[prost(string, tag = "2")]
    pub(super) uri: String,
    #[prost(string, tag = "3")]
    pub(super) s3_endpoint_override: String,
}

/// `FileFormat`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct FileFormat {
    #[prost(message, optional, tag = "2")]
    pub(super) delta_format: Option<Opaque>,
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
