//! The messages of Feast's two gRPC services for reading and pushing features.
//!
//! Written by hand from the contract's field numbers. A `feast.types.Value` is declared as `bytes`
//! throughout: a message and bytes look the same on the wire, so that a stored value goes from the
//! online store into a response without being decoded, and one in a request is decoded only where
//! it is used (`value::request`, `value::input`). Deliberately absent: the services themselves,
//! and the messages that Feast keeps for readers of before 0.10.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::{Enumeration, Message, Oneof};

pub use crate::timestamp::Timestamp;

/// What became of one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum FieldStatus {
    /// Not said.
    Invalid = 0,
    /// There is a value.
    Present = 1,
    /// The entity is known, and the value is null.
    NullValue = 2,
    /// The entity is not known.
    NotFound = 3,
    /// The value is older than the view's time to live.
    OutsideMaxAge = 4,
}

impl FieldStatus {
    /// The name by which the HTTP server answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Invalid => "INVALID",
            Self::Present => "PRESENT",
            Self::NullValue => "NULL_VALUE",
            Self::NotFound => "NOT_FOUND",
            Self::OutsideMaxAge => "OUTSIDE_MAX_AGE",
        }
    }
}

/// `feast.types.RepeatedValue`: a column of serialized values.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct RepeatedValue {
    /// Serialized `feast.types.Value`s; no bytes are null.
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub val: Vec<Bytes>,
}

/// `feast.serving.FeatureList`: names of features.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct FeatureList {
    /// The names: `view:feature` in requests.
    #[prost(string, repeated, tag = "1")]
    pub val: Vec<String>,
}

/// `feast.serving.GetOnlineFeaturesRequest`.
///
/// Columns are in the order of their names: a protobuf map has none, and equal requests are then
/// answered alike.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct GetOnlineFeaturesRequest {
    /// What is asked for.
    #[prost(oneof = "RequestKind", tags = "1, 2")]
    pub kind: Option<RequestKind>,
    /// Join key to the entities' values.
    #[prost(btree_map = "string, message", tag = "3")]
    pub entities: BTreeMap<String, RepeatedValue>,
    /// Tells whether features are named `view__feature` in the response.
    #[prost(bool, tag = "4")]
    pub full_feature_names: bool,
    /// Inputs of on-demand views that are no entities.
    #[prost(btree_map = "string, message", tag = "5")]
    pub request_context: BTreeMap<String, RepeatedValue>,
    /// Tells whether the response names the views' versions.
    #[prost(bool, tag = "6")]
    pub include_feature_view_version_metadata: bool,
}

/// What a [`GetOnlineFeaturesRequest`] asks for.
#[derive(Clone, PartialEq, Eq, Oneof)]
pub enum RequestKind {
    /// The features of a service.
    #[prost(string, tag = "1")]
    FeatureService(String),
    /// These features.
    #[prost(message, tag = "2")]
    Features(FeatureList),
}

/// `feast.serving.GetOnlineFeaturesResponse`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct GetOnlineFeaturesResponse {
    /// What the results are.
    #[prost(message, optional, tag = "1")]
    pub metadata: Option<GetOnlineFeaturesResponseMetadata>,
    /// One column a name in the metadata.
    #[prost(message, repeated, tag = "2")]
    pub results: Vec<FeatureVector>,
    /// Feast never sets it.
    #[prost(bool, tag = "3")]
    pub status: bool,
}

/// `feast.serving.GetOnlineFeaturesResponseMetadata`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct GetOnlineFeaturesResponseMetadata {
    /// Entity columns and features, in the order of the results.
    #[prost(message, optional, tag = "1")]
    pub feature_names: Option<FeatureList>,
    /// The views that were read, when the request asks for them.
    #[prost(message, repeated, tag = "2")]
    pub feature_view_metadata: Vec<FeatureViewMetadata>,
}

/// `feast.serving.FeatureViewMetadata`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct FeatureViewMetadata {
    /// The view.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its version; 0 when it has none.
    #[prost(int32, tag = "2")]
    pub version: i32,
}

/// `feast.serving.GetOnlineFeaturesResponse.FeatureVector`: one column; all three lists are as
/// long as the request has entities.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct FeatureVector {
    /// Serialized `feast.types.Value`s; no bytes are null.
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub values: Vec<Bytes>,
    /// Codes of [`FieldStatus`].
    #[prost(enumeration = "FieldStatus", repeated, tag = "2")]
    pub statuses: Vec<i32>,
    /// Event times; the epoch where there is none.
    #[prost(message, repeated, tag = "3")]
    pub event_timestamps: Vec<Timestamp>,
}

/// `feast.serving.GetFeastServingInfoRequest`.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct GetFeastServingInfoRequest {}

/// `feast.serving.GetFeastServingInfoResponse`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct GetFeastServingInfoResponse {
    /// The server's version.
    #[prost(string, tag = "1")]
    pub version: String,
}

/// `PushRequest`: one row for a push source.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct PushRequest {
    /// Columns as texts.
    #[prost(btree_map = "string, string", tag = "1")]
    pub features: BTreeMap<String, String>,
    /// The push source, whatever the field's name says.
    #[prost(string, tag = "2")]
    pub stream_feature_view: String,
    /// Tells whether a cached registry will do.
    #[prost(bool, tag = "3")]
    pub allow_registry_cache: bool,
    /// `online`, `offline` or `online_and_offline`.
    #[prost(string, tag = "4")]
    pub to: String,
    /// Columns as serialized `feast.types.Value`s.
    #[prost(btree_map = "string, bytes", tag = "5")]
    pub typed_features: BTreeMap<String, Bytes>,
}

/// `PushResponse`.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct PushResponse {
    /// Tells whether the row was taken.
    #[prost(bool, tag = "1")]
    pub status: bool,
}

/// `WriteToOnlineStoreRequest`: one row for a feature view.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct WriteToOnlineStoreRequest {
    /// Columns as texts.
    #[prost(btree_map = "string, string", tag = "1")]
    pub features: BTreeMap<String, String>,
    /// The view.
    #[prost(string, tag = "2")]
    pub feature_view_name: String,
    /// Tells whether a cached registry will do.
    #[prost(bool, tag = "3")]
    pub allow_registry_cache: bool,
    /// Columns as serialized `feast.types.Value`s.
    #[prost(btree_map = "string, bytes", tag = "4")]
    pub typed_features: BTreeMap<String, Bytes>,
}

/// `WriteToOnlineStoreResponse`.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct WriteToOnlineStoreResponse {
    /// Tells whether the row was taken.
    #[prost(bool, tag = "1")]
    pub status: bool,
}

/// The one feature under which a vector is stored.
pub const VECTOR_FEATURE: &str = "vector";

/// The name under which the vectors of a service are stored, as a view's rows are.
pub fn vector_storage_name(service: &str) -> String {
    format!("__precomputed__{service}")
}

/// `PrecomputedFeatureVector`: all features of a service for one entity.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct PrecomputedFeatureVector {
    /// `view__feature` in UTF-8, in the service's order.
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub feature_names: Vec<Bytes>,
    /// Serialized `feast.types.Value`s; no bytes are null, or not stored.
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub values: Vec<Bytes>,
    /// The event times of the rows that it was made of.
    #[prost(message, repeated, tag = "3")]
    pub fv_timestamps: Vec<FeatureViewTimestamp>,
    /// When it was made.
    #[prost(message, optional, tag = "4")]
    pub precomputed_at: Option<Timestamp>,
}

/// `FeatureViewTimestamp`: the event time of a view's row.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct FeatureViewTimestamp {
    /// The view, by the name that the service has for it.
    #[prost(string, tag = "1")]
    pub feature_view_name: String,
    /// The event time.
    #[prost(message, optional, tag = "2")]
    pub event_timestamp: Option<Timestamp>,
}

impl PrecomputedFeatureVector {
    /// Reads a vector as it is stored, in a value of bytes; `None` for anything else.
    pub fn of_value(stored: Bytes) -> Option<Self> {
        Self::decode(BytesValue::decode(stored).ok()?.bytes_val?).ok()
    }

    /// The vector as it is stored.
    pub fn to_value(&self) -> Bytes {
        BytesValue { bytes_val: Some(self.encode_to_vec().into()) }.encode_to_vec().into()
    }
}

/// A `feast.types.Value` of bytes.
#[derive(Clone, PartialEq, Eq, Message)]
struct BytesValue {
    #[prost(bytes = "bytes", optional, tag = "1")]
    bytes_val: Option<Bytes>,
}

#[cfg(test)]
mod tests;
