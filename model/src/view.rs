//! Names of feature views, and what the online store must know of one.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One feature view of one project, by the name under which its rows are stored.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ViewRef {
    /// Feast's project.
    pub project: String,
    /// The view's name, or `name_vN` for a stored version N above 0 when versioning is on.
    pub storage_name: String,
}

impl fmt::Display for ViewRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.project, self.storage_name)
    }
}

/// One feature as the online store sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeatureColumn {
    /// The feature's name.
    pub name: String,
    /// Its type's code in Feast's registry.
    pub value_type: i32,
}

impl From<&feast::Field> for FeatureColumn {
    fn from(field: &feast::Field) -> Self {
        Self { name: field.name.clone(), value_type: field.value_type.code() }
    }
}

/// What the online store must know of a view: names, and the features in the order of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnlineView {
    /// Whose rows they are.
    pub view: ViewRef,
    /// The features, in the order of `EncodedBatch::features`.
    pub features: Vec<FeatureColumn>,
}
