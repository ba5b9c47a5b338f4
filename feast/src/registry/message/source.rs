//! Data sources, as the registry holds them.
//!
//! Apart from the other messages because views and services carry them too. Deliberately absent:
//! what a scan needs of one (see `registry/source.rs`).

use std::collections::BTreeMap;

use prost::Message;

use super::{Opaque, Timestamp};

/// `DataSource`.
#[derive(Clone, PartialEq, Message)]
pub(in crate::registry) struct DataSource {
    #[prost(int32, tag = "1")]
    pub(in crate::registry) type_code: i32,
    #[prost(btree_map = "string, string", tag = "2")]
    pub(in crate::registry) field_mapping: BTreeMap<String, String>,
    #[prost(string, tag = "3")]
    pub(in crate::registry) timestamp_field: String,
    #[prost(string, tag = "5")]
    pub(in crate::registry) created_timestamp_column: String,
    #[prost(message, optional, tag = "11")]
    pub(in crate::registry) file_options: Option<FileOptions>,
    #[prost(string, tag = "17")]
    pub(in crate::registry) class_type: String,
    #[prost(string, tag = "20")]
    pub(in crate::registry) name: String,
    #[prost(string, tag = "21")]
    pub(in crate::registry) project: String,
    #[prost(btree_map = "string, string", tag = "24")]
    pub(in crate::registry) tags: BTreeMap<String, String>,
    #[prost(message, optional, boxed, tag = "26")]
    pub(in crate::registry) batch_source: Option<Box<DataSource>>,
    #[prost(message, optional, tag = "50")]
    pub(in crate::registry) meta: Option<SourceMeta>,
}

/// `DataSource.SourceMeta`; its first two fields, the bounds of the event times, stay empty.
#[derive(Clone, Copy, PartialEq, Message)]
pub(in crate::registry) struct SourceMeta {
    #[prost(message, optional, tag = "3")]
    pub(in crate::registry) created_timestamp: Option<Timestamp>,
    #[prost(message, optional, tag = "4")]
    pub(in crate::registry) last_updated_timestamp: Option<Timestamp>,
}

/// `DataSource.FileOptions`.
#[derive(Clone, PartialEq, Message)]
pub(in crate::registry) struct FileOptions {
    #[prost(message, optional, tag = "1")]
    pub(in crate::registry) file_format: Option<FileFormat>,
    #[prost(string, tag = "2")]
    pub(in crate::registry) uri: String,
    #[prost(string, tag = "3")]
    pub(in crate::registry) s3_endpoint_override: String,
}

/// `FileFormat`.
#[derive(Clone, PartialEq, Message)]
pub(in crate::registry) struct FileFormat {
    #[prost(message, optional, tag = "2")]
    pub(in crate::registry) delta_format: Option<Opaque>,
}
