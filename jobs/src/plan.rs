//! A window, planned: which files and columns, and the physical plan that reads them.
//!
//! `scan → filter → project → repartition by key → latest → encode and write`. The plan is put
//! together by hand: every node is known, and none of an optimizer's choices is left to it.

mod interval;
mod physical;
mod size;

use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::logical_expr::{Expr, ExprSchemable};
use feast::FeatureView;
use feast::config::OnBadRow;
use futures::FutureExt;
use futures::future::BoxFuture;
use model::Interval;
use serde::Serialize;

pub(crate) use physical::{Share, build};

use crate::encode::{EncodeSpec, Encoder};
use crate::error::Error;
use crate::session::Session;
use crate::source::{Days, ListedFile, Need, NeededColumn, Selection, Source, resolve};

/// Plan column of the event time.
pub(crate) const EVENT_TIME: &str = "__tidegate_event_time";
/// Plan column of the created time.
pub(crate) const CREATED_TIME: &str = "__tidegate_created_time";
/// Plan column that tells whether the entity is active.
pub(crate) const ACTIVE: &str = "__tidegate_active";
/// Plan column that stands for the key of a view without an entity.
pub(crate) const NO_ENTITY: &str = "__tidegate_no_entity";

/// Tag of a view: a SQL predicate over source columns, judged on an entity's newest row.
pub const TAG_ACTIVE_WHEN: &str = "tidegate.active_when";
/// Tag of a view: the hive directory key whose value is the day of the event time.
pub const TAG_DATE_PARTITION: &str = "tidegate.date_partition";

/// What is to be computed.
#[derive(Clone, Debug)]
pub struct WindowSpec {
    /// The view.
    pub view: FeatureView,
    /// The repository: relative source paths are relative to it.
    pub repo_dir: PathBuf,
    /// The rows wanted, by event time.
    pub interval: Interval,
    /// `entity_key_serialization_version`.
    pub entity_key_serialization_version: i64,
    /// What follows the serialized entity key in the store's key.
    pub key_suffix: Vec<u8>,
    /// What happens to a row that Feast's types cannot hold.
    pub on_bad_row: OnBadRow,
    /// Most rows of one write; `None` for our own choice.
    pub batch_rows_max: Option<usize>,
}

/// A planned window.
#[derive(Debug)]
pub struct WindowPlan {
    pub(crate) spec: WindowSpec,
    /// Shared with the plans of intervals inside this one.
    pub(crate) source: Arc<Source>,
    pub(crate) selection: Selection,
    pub(crate) need: Need,
    pub(crate) active: Option<Expr>,
    pub(crate) encoder: Arc<Encoder>,
}

/// One file of a planned window.
///
/// # Units
/// Bytes are compressed bytes of the columns that are read; `size` is the whole file's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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
    pub row_groups: usize,
    /// The row groups that are read.
    pub row_groups_read: usize,
    /// Rows of those.
    pub rows: u64,
    /// Bytes of those.
    pub bytes: u64,
}

impl PlannedFile {
    fn unread(file: &ListedFile) -> Self {
        Self {
            path: file.shown.clone(),
            size: file.meta.size,
            etag: file.meta.e_tag.clone(),
            last_modified: file.meta.last_modified.to_rfc3339(),
            row_groups: 0,
            row_groups_read: 0,
            rows: 0,
            bytes: 0,
        }
    }
}

impl WindowPlan {
    /// Lists the source, reads its footers, and checks everything that they can tell.
    ///
    /// # Errors
    /// A source that cannot be read, a missing column, a type that the view's cannot be made from.
    pub fn new(session: &Session, spec: WindowSpec) -> BoxFuture<'_, Result<Self, Error>> {
        // Boxed, because other crates' compilers do not see that its nested futures are `Send`.
        Self::plan(session, spec).boxed()
    }

    async fn plan(session: &Session, spec: WindowSpec) -> Result<Self, Error> {
        let view = &spec.view;
        let location = resolve(
            &view.source.path,
            &spec.repo_dir,
            view.source.s3_endpoint_override.as_deref(),
        )?;
        let mut need = need(view)?;
        let days = view.tags.get(TAG_DATE_PARTITION);
        let days = days.map(|key| Days { key, interval: spec.interval });
        let source = Source::open(session, location, days).await?;
        let active = predicate(session, view, &source)?;
        for column in active.iter().flat_map(Expr::column_refs) {
            need.columns.push(NeededColumn {
                source: column.name.clone(),
                name: column.name.clone(),
                role: format!("tag `{TAG_ACTIVE_WHEN}`"),
            });
        }
        Self::over(spec, Arc::new(source), need, active).await
    }

    /// Plans a window over a source that is listed already.
    async fn over(
        spec: WindowSpec,
        source: Arc<Source>,
        need: Need,
        active: Option<Expr>,
    ) -> Result<Self, Error> {
        let selection = source.select(&need, spec.interval).await?;
        let schema = physical::encoder_schema(&spec, &need, &selection, active.is_some())?;
        let encoder = encoder(&spec, &need, &schema, active.is_some()).map_err(|error| {
            let file = source.files[0].listed.shown.clone();
            Error::Encode { view: spec.view.name.clone(), file, source: error }
        })?;
        Ok(Self { spec, source, selection, need, active, encoder: Arc::new(encoder) })
    }

    /// The view's name.
    pub fn view(&self) -> &str {
        &self.spec.view.name
    }

    /// The source's path as resolved.
    pub fn source_path(&self) -> &str {
        &self.source.location.shown
    }

    /// The interval whose rows are read.
    pub fn interval(&self) -> Interval {
        self.spec.interval
    }

    /// Every file of the source with what of it is read: what the window is pinned to.
    pub fn files(&self) -> Vec<PlannedFile> {
        let read = self.selection.files.iter().map(|selected| {
            let file = &self.source.files[selected.file];
            PlannedFile {
                row_groups: file.footer.metadata().num_row_groups(),
                row_groups_read: selected.row_groups.len(),
                rows: selected.row_groups.iter().map(|group| group.rows).sum(),
                bytes: selected.row_groups.iter().map(|group| group.bytes).sum(),
                ..PlannedFile::unread(&file.listed)
            }
        });
        read.chain(self.source.outside.iter().map(PlannedFile::unread)).collect()
    }

    /// Rows of the row groups that are read: an upper bound of the window's rows.
    pub fn rows_max(&self) -> u64 {
        let groups = self.selection.files.iter().flat_map(|file| &file.row_groups);
        groups.map(|group| group.rows).sum()
    }

    pub(crate) fn engine_error(&self, source: datafusion::error::DataFusionError) -> Error {
        Error::Engine { view: self.spec.view.name.clone(), source }
    }
}

/// The columns of a view, by their names in the source.
///
/// # Source
/// Feast 0.67: names are mapped back through the field mapping, read, and mapped forward again; a
/// name that the mapping renames away is not there any more afterwards.
fn need(view: &FeatureView) -> Result<Need, Error> {
    let column = |name: &str, role: String| {
        let mapped = view.field_mapping.iter().find(|(_, renamed)| renamed.as_str() == name);
        if mapped.is_none()
            && let Some(renamed) = view.field_mapping.get(name)
            && renamed != name
        {
            return Err(Error::Renamed { column: name.to_owned(), role, renamed: renamed.clone() });
        }
        let source = mapped.map_or(name, |(source, _)| source).to_owned();
        Ok(NeededColumn { source, name: name.to_owned(), role })
    };
    let mut columns: Vec<NeededColumn> = Vec::new();
    let keys = view.join_keys.iter().map(|key| (&key.name, "join key".to_owned()));
    let features =
        view.features.iter().map(|feature| (&feature.name, format!("feature `{}`", feature.name)));
    for (name, role) in keys.chain(features) {
        if columns.iter().all(|held| held.name != *name) {
            columns.push(column(name, role)?);
        }
    }
    let created = view.source.created_timestamp_column.as_deref();
    Ok(Need {
        event_time: column(&view.source.timestamp_field, "event timestamp".to_owned())?,
        created_time: created
            .map(|name| column(name, "created timestamp".to_owned()))
            .transpose()?,
        columns,
    })
}

/// Parses `tidegate.active_when` against the source's columns.
fn predicate(
    session: &Session,
    view: &FeatureView,
    source: &Source,
) -> Result<Option<Expr>, Error> {
    let Some(text) = view.tags.get(TAG_ACTIVE_WHEN) else { return Ok(None) };
    let failed = |source| Error::Predicate { predicate: text.clone(), source };
    let file = &source.files[0];
    let mut fields: Vec<Field> =
        source.first_schema().fields().iter().map(|field| field.as_ref().clone()).collect();
    for (key, _) in &file.listed.hive {
        if fields.iter().all(|field| field.name() != key) {
            fields.push(Field::new(key, DataType::Utf8, true));
        }
    }
    let schema = DFSchema::try_from(Schema::new(fields)).map_err(failed)?;
    let expr = session.context().parse_sql_expr(text, &schema).map_err(failed)?;
    match expr.get_type(&schema).map_err(failed)? {
        DataType::Boolean => Ok(Some(expr)),
        other => Err(failed(datafusion::error::DataFusionError::Plan(format!(
            "it is of type {other}, not boolean"
        )))),
    }
}

fn encoder(
    spec: &WindowSpec,
    need: &Need,
    schema: &SchemaRef,
    has_active: bool,
) -> Result<Encoder, crate::encode::Error> {
    let encode = EncodeSpec {
        join_keys: spec.view.join_keys.clone(),
        features: spec.view.features.clone(),
        event_time: EVENT_TIME.to_owned(),
        created_time: need.created_time.as_ref().map(|_| CREATED_TIME.to_owned()),
        active: has_active.then(|| ACTIVE.to_owned()),
        entity_key_serialization_version: spec.entity_key_serialization_version,
        key_suffix: spec.key_suffix.clone(),
        on_bad_row: spec.on_bad_row,
    };
    Encoder::new(encode, schema)
}

/// The features of a view as the online store wants them, in the encoder's order.
pub fn feature_columns(view: &FeatureView) -> Vec<model::FeatureColumn> {
    view.features.iter().map(Into::into).collect()
}
