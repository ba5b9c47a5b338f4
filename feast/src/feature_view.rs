//! Feature views, entities, sources and services as Tidegate uses them.
//!
//! Typed and checked here once, so that no other crate reads a registry message. The messages
//! themselves are in `registry.rs`; what they do not say in a usable form is worked out there.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::value_type::ValueType;

/// A feature or an entity column: a name and a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The name after field mapping.
    pub name: String,
    /// The type that Feast's registry gives it.
    pub value_type: ValueType,
    /// Length of a vector; 0 when it is no vector or the registry does not say.
    pub vector_length: u32,
    /// Tells whether Feast treats it as a vector (all non-null lengths must agree).
    pub vector_index: bool,
}

/// A join key: the column that identifies an entity in the source, and its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinKey {
    /// The column's name after field mapping.
    pub name: String,
    /// The type as which it is serialized.
    pub value_type: ValueType,
}

/// An entity of the project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entity {
    /// Its name.
    pub name: String,
    /// The column that identifies it.
    pub join_key: String,
    /// Its declared type.
    pub value_type: Option<ValueType>,
}

/// Which list of the registry a view stands in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ViewKind {
    /// `feature_views`.
    #[default]
    Feature,
    /// `stream_feature_views`.
    Stream,
    /// `on_demand_feature_views`.
    OnDemand,
    /// `label_views`.
    Label,
}

impl fmt::Display for ViewKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Feature => "feature view",
            Self::Stream => "stream feature view",
            Self::OnDemand => "on-demand feature view",
            Self::Label => "label view",
        })
    }
}

/// Where a view's rows come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DataSource {
    /// Its name.
    pub name: String,
    /// Path or URI: a file, a directory or a glob; relative paths are relative to the repository.
    pub path: String,
    /// Feast's code of the source's type; 1 is a file.
    pub type_code: i32,
    /// Tells whether the file format is Delta.
    pub is_delta: bool,
    /// Event time column, by its name after field mapping.
    pub timestamp_field: String,
    /// Created time column, by its name after field mapping; `None` when there is none.
    pub created_timestamp_column: Option<String>,
    /// Source column to feature name.
    pub field_mapping: BTreeMap<String, String>,
    /// Endpoint of an S3-compatible server; `None` for the default.
    pub s3_endpoint_override: Option<String>,
    /// The source's tags.
    pub tags: BTreeMap<String, String>,
}

/// Why a view cannot be materialized here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A Python function would have to run on the rows.
    #[error(
        "it has a Python transformation (`feature_transformation` or `user_defined_function`); \
         materialize it with Feast"
    )]
    Transformation,
    /// It is computed from other views by a Python function.
    #[error("it is an on-demand view, which a Python function computes; materialize it with Feast")]
    OnDemand,
    /// It holds labels, which Feast does not materialize either.
    #[error("it is a label view, which is never materialized")]
    Label,
    /// It joins other views.
    #[error("it has `source_views` (it joins other views); materialize it with Feast")]
    SourceViews,
    /// Feast fails on such a view after the online write.
    #[error(
        "it has `offline: true` (write-back to the offline store), on which Feast itself fails; \
         set `offline` to false"
    )]
    Offline,
    /// It aggregates a stream.
    #[error("it has aggregations, which need a stream engine")]
    Aggregations,
    /// A precomputed feature vector would go stale.
    #[error(
        "feature service `{service}` has `precompute_online`, whose stored vectors would go \
         stale; materialize it with Feast or turn `precompute_online` off"
    )]
    PrecomputeOnline {
        /// The service.
        service: String,
    },
    /// The source is not Parquet files.
    #[error("its source `{source_name}` is not Parquet files ({what})")]
    Source {
        /// The source.
        source_name: String,
        /// What it is instead.
        what: String,
    },
    /// The registry holds something that Feast 0.67 does not write.
    #[error("its definition cannot be read: {0}")]
    Malformed(String),
}

/// A feature view, of any kind that the registry holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FeatureView {
    /// Its name.
    pub name: String,
    /// Which list of the registry it stands in.
    pub kind: ViewKind,
    /// The features, in the registry's order. A stream view lists its join keys here too.
    pub features: Vec<Field>,
    /// The join keys that identify its rows, in the registry's order; empty without an entity.
    pub join_keys: Vec<JoinKey>,
    /// Tells whether it has no entity: all rows belong to Feast's one dummy entity.
    pub is_entityless: bool,
    /// How long a value stays valid; `None` for ever. Decides the first interval alone.
    pub ttl: Option<Duration>,
    /// The batch source.
    pub source: DataSource,
    /// Renames columns after reading: the stream source's mapping when there is one and it is not
    /// empty, else the batch source's.
    pub field_mapping: BTreeMap<String, String>,
    /// The name of the push source whose rows it takes; `None` when nothing is pushed into it.
    pub push_source: Option<String>,
    /// Tags of the view, `tidegate.*` among them.
    pub tags: BTreeMap<String, String>,
    /// Tells whether the view goes to the online store.
    pub online: bool,
    /// Tells whether it is switched off.
    pub disabled: bool,
    /// Tells whether Feast checks its values while materializing.
    pub enable_validation: bool,
    /// Version that the registry says is active: `None` when unversioned or number 0 with no
    /// explicit `v0`.
    pub version: Option<u32>,
    /// When Feast created it, microseconds since the epoch: tells a view from a re-created one.
    pub created_micros: Option<i64>,
    /// Feast's materialization intervals, closed at both ends, in microseconds, as stored.
    pub materialization_intervals: Vec<(i64, i64)>,
    /// Why it cannot be materialized here, when it cannot.
    pub refusal: Option<Refusal>,
}

impl FeatureView {
    /// The name under which the view's rows are stored.
    ///
    /// # Source
    /// Feast 0.67 `_online_store` naming: `name_vN` for version N above 0 when the registry has
    /// `enable_online_feature_view_versioning`, else the plain name.
    pub fn storage_name(&self, versioning: bool) -> String {
        match self.version {
            Some(version) if versioning && version > 0 => format!("{}_v{version}", self.name),
            _ => self.name.clone(),
        }
    }
}

/// One view's features inside a feature service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectionRef {
    /// The view.
    pub view: String,
    /// The view's name in full feature names.
    pub alias: Option<String>,
    /// The features, in the service's order.
    pub features: Vec<String>,
    /// Join key to the name under which a request carries it.
    pub join_key_map: BTreeMap<String, String>,
    /// The version that the service pins.
    pub version: Option<u32>,
}

/// A feature service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureService {
    /// Its name.
    pub name: String,
    /// Its views and their features, in order.
    pub projections: Vec<ProjectionRef>,
    /// Tells whether Feast stores a precomputed vector for it.
    pub precompute_online: bool,
}
