//! Views of every kind, as the registry holds them.
//!
//! Apart from the other messages because views are most of them, one kind beside the other.
//! Deliberately absent: what a view comes to (see `convert.rs`).

use std::collections::BTreeMap;

use prost::Message;

use super::{DataSource, Duration, FeatureSpec, Opaque, Timestamp};

/// One materialization interval, closed at both ends.
#[derive(Clone, PartialEq, Message)]
pub(in crate::registry) struct MaterializationInterval {
    #[prost(message, optional, tag = "1")]
    pub(in crate::registry) start_time: Option<Timestamp>,
    #[prost(message, optional, tag = "2")]
    pub(in crate::registry) end_time: Option<Timestamp>,
}

impl MaterializationInterval {
    /// Start and end in microseconds; a missing one is the epoch, as protobuf has it.
    pub(in crate::registry) fn ends_micros(&self) -> (i64, i64) {
        let micros = |time: Option<Timestamp>| time.unwrap_or_default().micros();
        (micros(self.start_time), micros(self.end_time))
    }
}

/// `FeatureViewMeta`, of feature views and stream feature views.
#[derive(Clone, PartialEq, Message)]
pub(in crate::registry) struct ViewMeta {
    #[prost(message, optional, tag = "1")]
    pub(in crate::registry) created_timestamp: Option<Timestamp>,
    #[prost(message, optional, tag = "2")]
    pub(in crate::registry) last_updated_timestamp: Option<Timestamp>,
    #[prost(message, repeated, tag = "3")]
    pub(in crate::registry) materialization_intervals: Vec<MaterializationInterval>,
    #[prost(int32, tag = "4")]
    pub(in crate::registry) current_version_number: i32,
    #[prost(int32, tag = "6")]
    pub(in crate::registry) state: i32,
}

impl ViewMeta {
    /// The intervals in microseconds.
    pub(in crate::registry) fn intervals(&self) -> impl Iterator<Item = (i64, i64)> {
        self.materialization_intervals.iter().map(MaterializationInterval::ends_micros)
    }
}

/// `FeatureView`.
#[derive(Clone, PartialEq, Message)]
pub(in crate::registry) struct FeatureView {
    #[prost(message, optional, tag = "1")]
    pub(in crate::registry) spec: Option<FeatureViewSpec>,
    #[prost(message, optional, tag = "2")]
    pub(in crate::registry) meta: Option<ViewMeta>,
}

/// `FeatureViewSpec`.
#[derive(Clone, PartialEq, Message)]
pub(in crate::registry) struct FeatureViewSpec {
    #[prost(string, tag = "1")]
    pub(in crate::registry) name: String,
    #[prost(string, tag = "2")]
    pub(in crate::registry) project: String,
    #[prost(string, repeated, tag = "3")]
    pub(in crate::registry) entities: Vec<String>,
    #[prost(message, repeated, tag = "4")]
    pub(in crate::registry) features: Vec<FeatureSpec>,
    #[prost(btree_map = "string, string", tag = "5")]
    pub(in crate::registry) tags: BTreeMap<String, String>,
    #[prost(message, optional, tag = "6")]
    pub(in crate::registry) ttl: Option<Duration>,
    #[prost(message, optional, tag = "7")]
    pub(in crate::registry) batch_source: Option<DataSource>,
    #[prost(bool, tag = "8")]
    pub(in crate::registry) online: bool,
    #[prost(message, optional, tag = "9")]
    pub(in crate::registry) stream_source: Option<DataSource>,
    #[prost(message, repeated, tag = "12")]
    pub(in crate::registry) entity_columns: Vec<FeatureSpec>,
    #[prost(bool, tag = "13")]
    pub(in crate::registry) offline: bool,
    #[prost(message, repeated, tag = "14")]
    pub(in crate::registry) source_views: Vec<Opaque>,
    #[prost(message, optional, tag = "15")]
    pub(in crate::registry) feature_transformation: Option<Opaque>,
    #[prost(bool, tag = "17")]
    pub(in crate::registry) enable_validation: bool,
    #[prost(string, tag = "18")]
    pub(in crate::registry) version: String,
    #[prost(bool, tag = "20")]
    pub(in crate::registry) disabled: bool,
}

/// `StreamFeatureView`.
#[derive(Clone, PartialEq, Message)]
pub(in crate::registry) struct StreamFeatureView {
    #[prost(message, optional, tag = "1")]
    pub(in crate::registry) spec: Option<StreamFeatureViewSpec>,
    #[prost(message, optional, tag = "2")]
    pub(in crate::registry) meta: Option<ViewMeta>,
}

/// `StreamFeatureViewSpec`.
#[derive(Clone, PartialEq, Message)]
pub(in crate::registry) struct StreamFeatureViewSpec {
    #[prost(string, tag = "1")]
    pub(in crate::registry) name: String,
    #[prost(string, repeated, tag = "3")]
    pub(in crate::registry) entities: Vec<String>,
    #[prost(message, repeated, tag = "4")]
    pub(in crate::registry) features: Vec<FeatureSpec>,
    #[prost(message, repeated, tag = "5")]
    pub(in crate::registry) entity_columns: Vec<FeatureSpec>,
    #[prost(btree_map = "string, string", tag = "7")]
    pub(in crate::registry) tags: BTreeMap<String, String>,
    #[prost(message, optional, tag = "9")]
    pub(in crate::registry) ttl: Option<Duration>,
    #[prost(message, optional, tag = "10")]
    pub(in crate::registry) batch_source: Option<DataSource>,
    #[prost(message, optional, tag = "11")]
    pub(in crate::registry) stream_source: Option<DataSource>,
    #[prost(bool, tag = "12")]
    pub(in crate::registry) online: bool,
    #[prost(message, optional, tag = "13")]
    pub(in crate::registry) user_defined_function: Option<Opaque>,
    #[prost(message, repeated, tag = "15")]
    pub(in crate::registry) aggregations: Vec<Opaque>,
    #[prost(message, optional, tag = "17")]
    pub(in crate::registry) feature_transformation: Option<Opaque>,
    #[prost(bool, tag = "20")]
    pub(in crate::registry) enable_validation: bool,
    #[prost(string, tag = "21")]
    pub(in crate::registry) version: String,
    #[prost(bool, tag = "23")]
    pub(in crate::registry) disabled: bool,
}

/// `OnDemandFeatureView`.
#[derive(Clone, PartialEq, Message)]
pub(in crate::registry) struct OnDemandFeatureView {
    #[prost(message, optional, tag = "1")]
    pub(in crate::registry) spec: Option<OnDemandFeatureViewSpec>,
    #[prost(message, optional, tag = "2")]
    pub(in crate::registry) meta: Option<OnDemandMeta>,
}

/// `OnDemandFeatureViewSpec`.
#[derive(Clone, PartialEq, Message)]
pub(in crate::registry) struct OnDemandFeatureViewSpec {
    #[prost(string, tag = "1")]
    pub(in crate::registry) name: String,
    #[prost(message, repeated, tag = "3")]
    pub(in crate::registry) features: Vec<FeatureSpec>,
    #[prost(bool, tag = "12")]
    pub(in crate::registry) write_to_online_store: bool,
    #[prost(string, repeated, tag = "13")]
    pub(in crate::registry) entities: Vec<String>,
    #[prost(message, repeated, tag = "14")]
    pub(in crate::registry) entity_columns: Vec<FeatureSpec>,
    #[prost(string, tag = "17")]
    pub(in crate::registry) version: String,
    #[prost(bool, tag = "19")]
    pub(in crate::registry) disabled: bool,
}

/// `OnDemandFeatureViewMeta`.
#[derive(Clone, PartialEq, Message)]
pub(in crate::registry) struct OnDemandMeta {
    #[prost(message, optional, tag = "1")]
    pub(in crate::registry) created_timestamp: Option<Timestamp>,
    #[prost(int32, tag = "3")]
    pub(in crate::registry) current_version_number: i32,
}

/// `LabelView`.
#[derive(Clone, PartialEq, Message)]
pub(in crate::registry) struct LabelView {
    #[prost(message, optional, tag = "1")]
    pub(in crate::registry) spec: Option<LabelViewSpec>,
}

/// `LabelViewSpec`.
#[derive(Clone, PartialEq, Message)]
pub(in crate::registry) struct LabelViewSpec {
    #[prost(string, tag = "1")]
    pub(in crate::registry) name: String,
    #[prost(string, repeated, tag = "3")]
    pub(in crate::registry) entities: Vec<String>,
    #[prost(message, repeated, tag = "4")]
    pub(in crate::registry) features: Vec<FeatureSpec>,
    #[prost(btree_map = "string, string", tag = "5")]
    pub(in crate::registry) tags: BTreeMap<String, String>,
    #[prost(bool, tag = "8")]
    pub(in crate::registry) online: bool,
    #[prost(message, repeated, tag = "11")]
    pub(in crate::registry) entity_columns: Vec<FeatureSpec>,
}

/// What every kind of view has in the same place: name, project and, where it has one, the list
/// of intervals.
#[derive(Clone, PartialEq, Message)]
pub(in crate::registry) struct AnyView {
    #[prost(message, optional, tag = "1")]
    pub(in crate::registry) spec: Option<AnyViewSpec>,
    #[prost(message, optional, tag = "2")]
    pub(in crate::registry) meta: Option<ViewMeta>,
}

/// The spec of [`AnyView`]; a feature service's spec begins with the same two fields.
#[derive(Clone, PartialEq, Message)]
pub(in crate::registry) struct AnyViewSpec {
    #[prost(string, tag = "1")]
    pub(in crate::registry) name: String,
    #[prost(string, tag = "2")]
    pub(in crate::registry) project: String,
}
