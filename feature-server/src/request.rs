//! A request for features as its two protocols bring it, before anything is looked up.

use bytes::Bytes;
use serde_json::Value;

/// Which features are asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// Those of a feature service.
    Service(String),
    /// References such as `view:feature`.
    Features(Vec<String>),
}

/// The values of one entity column.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// As HTTP brings them.
    Json(Vec<Value>),
    /// As gRPC brings them: serialized `feast.types.Value`s.
    Proto(Vec<Bytes>),
}

impl Values {
    /// Rows of the column.
    pub fn len(&self) -> usize {
        match self {
            Self::Json(values) => values.len(),
            Self::Proto(values) => values.len(),
        }
    }

    /// Tells whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A request.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureRequest {
    /// What is asked for.
    pub wanted: Wanted,
    /// Of whom: a column a join key, in the order of the request.
    pub entities: Vec<(String, Values)>,
    /// Whether features are named `view__feature`.
    pub full_feature_names: bool,
    /// Whether the views and their versions are told.
    pub view_versions: bool,
}
