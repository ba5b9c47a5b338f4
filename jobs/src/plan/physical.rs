//! The nodes of a window's plan, put together.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::compute::CastOptions;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::object_store::ObjectStoreUrl;
use datafusion::datasource::physical_plan::parquet::ParquetAccessPlan;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, CastExpr, Column, Literal, cast};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;
use model::Interval;

use super::{ACTIVE, CREATED_TIME, EVENT_TIME, NO_ENTITY, WindowPlan, WindowSpec};
use crate::error::Error;
use crate::latest::{LatestColumns, newest_rows};
use crate::progress::Progress;
use crate::session::{BATCH_ROWS, Session};
use crate::sink::{SinkExec, SinkParts};
use crate::source::{Need, NeededColumn, Piece, PieceIndex, ReadAhead, Readers, Selection, pieces};
use crate::sweep::{Wanted, WantedExec};

type Plan = Arc<dyn ExecutionPlan>;
type Projection = Vec<(Arc<dyn PhysicalExpr>, String)>;

/// Rows up to which one partition does the whole window: starting more costs more than they save,
/// and a small window is then encoded whole before any of it is written.
const SINGLE_PARTITION_ROWS: u64 = 8 * BATCH_ROWS as u64;

fn nanos_utc() -> DataType {
    DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))
}

/// What an encoder will see of a window, known before there is a plan.
pub(super) fn encoder_schema(
    spec: &WindowSpec,
    need: &Need,
    selection: &Selection,
    has_active: bool,
) -> std::result::Result<SchemaRef, Error> {
    let scan = scan_schema(selection);
    let field = |column: &NeededColumn| {
        let data_type = scan.field_with_name(&column.source).map(|field| field.data_type().clone());
        // `select` found every needed column.
        Field::new(&column.name, data_type.unwrap_or(DataType::Null), true)
    };
    let mut fields: Vec<Field> = kept_columns(spec, need).map(field).collect();
    fields.push(Field::new(EVENT_TIME, nanos_utc(), true));
    fields.extend(need.created_time.as_ref().map(|_| Field::new(CREATED_TIME, nanos_utc(), true)));
    fields.extend(has_active.then(|| Field::new(ACTIVE, DataType::Boolean, true)));
    fields.extend(
        spec.view.join_keys.is_empty().then(|| Field::new(NO_ENTITY, DataType::Int8, false)),
    );
    Ok(Arc::new(Schema::new(fields)))
}

/// The columns that go beyond the filter: not those of the predicate alone.
fn kept_columns<'a>(
    spec: &'a WindowSpec,
    need: &'a Need,
) -> impl Iterator<Item = &'a NeededColumn> {
    let view = &spec.view;
    need.columns.iter().enumerate().filter_map(move |(index, column)| {
        let is_used = view.join_keys.iter().any(|key| key.name == column.name)
            || view.features.iter().any(|feature| feature.name == column.name);
        let is_first = need.columns[..index].iter().all(|held| held.name != column.name);
        (is_used && is_first).then_some(column)
    })
}

fn scan_schema(selection: &Selection) -> SchemaRef {
    let partitions = selection.partition_fields.iter().cloned().map(Arc::new);
    let fields: Vec<_> = selection.file_schema.fields().iter().cloned().chain(partitions).collect();
    Arc::new(Schema::new(fields))
}

/// How much of a window is to be written, and in how many partitions.
#[derive(Debug)]
pub(crate) struct Share {
    /// Partitions by key.
    pub(crate) partitions: usize,
    /// Those of them that are left out.
    pub(crate) skipped: BTreeSet<usize>,
    /// The only entity keys that are looked at; `None` for all.
    pub(crate) wanted: Option<Arc<Wanted>>,
}

impl WindowPlan {
    /// Partitions by key that suit the window in this process. An attempt that takes up an earlier
    /// one uses the number of that one instead.
    pub fn partitions(&self, session: &Session) -> usize {
        if self.rows_max() <= SINGLE_PARTITION_ROWS { 1 } else { session.partitions() }
    }
}

/// Builds the plan of a window.
///
/// # Shape
/// Out: one receipt row per partition; partition `n` has the keys whose hash leaves `n`.
pub(crate) fn build(
    session: &Session,
    plan: &WindowPlan,
    share: &Share,
    progress: &Arc<Progress>,
    mut parts: SinkParts,
) -> Result<Plan> {
    let scanned = scan(session, plan, share.partitions)?;
    let filtered: Plan = Arc::new(FilterExec::try_new(window_filter(plan)?, scanned)?);
    let mut rows: Plan = Arc::new(ProjectionExec::try_new(projection(session, plan)?, filtered)?);
    if let Some(wanted) = &share.wanted {
        let encoder = Arc::clone(&plan.encoder);
        rows = Arc::new(WantedExec::new(rows, encoder, Arc::clone(wanted)));
    }
    let columns = latest_columns(plan, &rows.schema())?;
    parts.event_time = columns.event_time;
    parts.keys = columns.keys.clone();
    let latest = newest_rows(rows, columns, share.partitions, &share.skipped, progress)?;
    Ok(Arc::new(SinkExec::new(latest, parts)))
}

fn scan(session: &Session, plan: &WindowPlan, partitions: usize) -> Result<Plan> {
    let partition_fields: Vec<_> =
        plan.selection.partition_fields.iter().cloned().map(Arc::new).collect();
    let table = TableSchema::builder(Arc::clone(&plan.selection.file_schema))
        .with_table_partition_cols(partition_fields)
        .build();
    let pieces = pieces(&plan.source, &plan.selection);
    let store = Arc::clone(&plan.source.store);
    let ahead = Arc::new(ReadAhead::new(store, pieces, session.bytes_ahead_max()));
    let groups = file_groups(plan, ahead.pieces(), partitions);
    // Without a predicate: what the window needs is chosen, and the filter above is exact.
    let source =
        ParquetSource::new(table).with_parquet_file_reader_factory(Arc::new(Readers(ahead)));
    let config =
        FileScanConfigBuilder::new(store_url(), Arc::new(source)).with_file_groups(groups).build();
    Ok(DataSourceExec::from_data_source(config))
}

/// DataFusion wants to know a store of its own; every read goes through our readers instead.
fn store_url() -> ObjectStoreUrl {
    ObjectStoreUrl::local_filesystem()
}

/// Deals the pieces out, in order, so that each partition reads about as many bytes. A partition
/// that is idle takes over the next piece, whoever was to read it.
fn file_groups(plan: &WindowPlan, pieces: &[Arc<Piece>], partitions: usize) -> Vec<FileGroup> {
    let total: u64 = pieces.iter().map(|piece| piece.bytes()).sum();
    let share = total.div_ceil(partitions as u64).max(1);
    let mut groups: Vec<Vec<PartitionedFile>> = vec![Vec::new(); partitions];
    let mut before = 0;
    for (index, piece) in pieces.iter().enumerate() {
        let selected = &plan.selection.files[piece.selected];
        let footer = plan.source.files[selected.file].footer.metadata();
        let mut access = ParquetAccessPlan::new_none(footer.num_row_groups());
        for group in &piece.row_groups {
            access.scan(group.index);
            if let Some(selection) = &group.selection {
                access.scan_selection(group.index, selection.clone());
            }
        }
        let read = PartitionedFile::new_from_meta(piece.meta.clone())
            .with_partition_values(selected.partition_values.clone())
            .with_extension(access)
            .with_extension(PieceIndex(index));
        let partition = usize::try_from(before / share).unwrap_or(0).min(partitions - 1);
        groups[partition].push(read);
        before += piece.bytes();
    }
    groups.into_iter().map(FileGroup::new).collect()
}

/// `start <= event time and event time < end`, in the column's own unit, so that nothing is lost
/// to a conversion before the filter.
fn window_filter(plan: &WindowPlan) -> Result<Arc<dyn PhysicalExpr>> {
    let schema = scan_schema(&plan.selection);
    let name = &plan.need.event_time.source;
    let index = schema.index_of(name)?;
    let DataType::Timestamp(unit, zone) = schema.field(index).data_type() else {
        return Err(DataFusionError::Internal(format!("event time `{name}` is checked earlier")));
    };
    let (first, last) = ticks(plan.spec.interval, *unit);
    let literal = |ticks: i64| -> Arc<dyn PhysicalExpr> {
        let (ticks, zone) = (Some(ticks), zone.clone());
        Arc::new(Literal::new(match unit {
            TimeUnit::Second => ScalarValue::TimestampSecond(ticks, zone),
            TimeUnit::Millisecond => ScalarValue::TimestampMillisecond(ticks, zone),
            TimeUnit::Microsecond => ScalarValue::TimestampMicrosecond(ticks, zone),
            TimeUnit::Nanosecond => ScalarValue::TimestampNanosecond(ticks, zone),
        }))
    };
    let compare = |operator, ticks| -> Arc<dyn PhysicalExpr> {
        let column = Arc::new(Column::new(name, index));
        Arc::new(BinaryExpr::new(column, operator, literal(ticks)))
    };
    let from = compare(Operator::GtEq, first);
    Ok(Arc::new(BinaryExpr::new(from, Operator::And, compare(Operator::LtEq, last))))
}

/// The first and the last tick of a unit inside a half-open interval.
fn ticks(interval: Interval, unit: TimeUnit) -> (i64, i64) {
    let scale = crate::source::nanos_per(unit);
    let ceil = |nanos: i64| nanos.div_euclid(scale) + i64::from(nanos.rem_euclid(scale) != 0);
    (ceil(interval.start.nanos()), ceil(interval.end.nanos()).saturating_sub(1))
}

fn projection(session: &Session, plan: &WindowPlan) -> Result<Projection> {
    let schema = scan_schema(&plan.selection);
    let column = |source: &str| -> Result<Arc<dyn PhysicalExpr>> {
        Ok(Arc::new(Column::new(source, schema.index_of(source)?)))
    };
    let mut projection: Projection = Vec::new();
    for kept in kept_columns(&plan.spec, &plan.need) {
        projection.push((column(&kept.source)?, kept.name.clone()));
    }
    let event_time = cast(column(&plan.need.event_time.source)?, &schema, nanos_utc())?;
    projection.push((event_time, EVENT_TIME.to_owned()));
    if let Some(created) = &plan.need.created_time {
        // A created time beyond nanoseconds' years becomes null, and loses.
        let options = CastOptions { safe: true, ..Default::default() };
        let created = CastExpr::new(column(&created.source)?, nanos_utc(), Some(options));
        projection.push((Arc::new(created), CREATED_TIME.to_owned()));
    }
    if let Some(active) = &plan.active {
        let df_schema = DFSchema::try_from(schema.as_ref().clone())?;
        let active = session.context().create_physical_expr(active.clone(), &df_schema)?;
        projection.push((active, ACTIVE.to_owned()));
    }
    if plan.spec.view.join_keys.is_empty() {
        let nothing = Arc::new(Literal::new(ScalarValue::Int8(Some(0))));
        projection.push((nothing, NO_ENTITY.to_owned()));
    }
    Ok(projection)
}

fn latest_columns(plan: &WindowPlan, schema: &SchemaRef) -> Result<LatestColumns> {
    let index = |name: &str| schema.index_of(name).map_err(DataFusionError::from);
    let mut keys: Vec<&str> =
        plan.spec.view.join_keys.iter().map(|key| key.name.as_str()).collect();
    if keys.is_empty() {
        keys.push(NO_ENTITY);
    }
    Ok(LatestColumns {
        keys: keys.into_iter().map(index).collect::<Result<_>>()?,
        event_time: index(EVENT_TIME)?,
        created_time: plan.need.created_time.as_ref().map(|_| index(CREATED_TIME)).transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use model::EventTime;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_tick_is_inside_exactly_when_its_instant_is(
            start in -5_000_000_000_i64..5_000_000_000,
            length in 0_i64..5_000_000_000,
            tick in -6_i64..11,
        ) {
            let interval =
                Interval::new(EventTime::from_nanos(start), EventTime::from_nanos(start + length));
            let (first, last) = ticks(interval, TimeUnit::Second);
            let instant = EventTime::from_nanos(tick * 1_000_000_000);
            prop_assert_eq!(first <= tick && tick <= last, interval.contains(instant));
        }
    }
}
