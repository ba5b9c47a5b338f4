//! What a run would do.

use model::Interval;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::schema;

/// What a run would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlanReport {
    /// The project.
    pub project: String,
    /// One entry a view, in the order of the registry.
    pub views: Vec<ViewPlan>,
}

/// What a job would do.
///
/// # Units
/// Bytes are compressed bytes of the columns that are read; rows are an upper bound, those of the
/// row groups that are read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ViewPlan {
    /// The view.
    pub view: String,
    /// The name its rows are stored under.
    pub storage_name: String,
    /// The interval to be read, end excluded; `None` when nothing is.
    #[schema(value_type = Option<schema::Interval>)]
    pub interval: Option<Interval>,
    /// The windows it is cut into, in the order of their intervals.
    #[schema(value_type = Vec<schema::Interval>)]
    pub windows: Vec<Interval>,
    /// Whether rows that have landed would be corrected.
    pub correct: bool,
    /// Why nothing would be read.
    pub reason: Option<String>,
    /// Whether the view would fail.
    pub is_failure: bool,
    /// The source as resolved.
    pub source: Option<String>,
    /// Files of the source.
    pub files: u64,
    /// Files of which something is read.
    pub files_read: u64,
    /// Row groups of the source.
    pub row_groups: u64,
    /// Row groups that are read.
    pub row_groups_read: u64,
    /// Rows by statistics.
    pub rows: u64,
    /// Bytes by statistics.
    pub bytes: u64,
    /// What the operator should know.
    pub warnings: Vec<String>,
    /// The files of which something is read.
    pub file_list: Vec<PlannedFile>,
}

/// A file of the source, and what is read of it.
///
/// # Units
/// Bytes are compressed bytes of the columns that are read; `size` is the whole file's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlannedFile {
    /// Its path in its store.
    pub path: String,
    /// Its size.
    pub size: u64,
    /// Its ETag.
    pub etag: Option<String>,
    /// When it was last changed, RFC 3339.
    pub last_modified: String,
    /// Its row groups; 0 where its directory rules it out and the footer is not read.
    pub row_groups: u64,
    /// The row groups that are read.
    pub row_groups_read: u64,
    /// Rows of those.
    pub rows: u64,
    /// Bytes of those.
    pub bytes: u64,
}
