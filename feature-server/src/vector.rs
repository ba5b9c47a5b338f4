//! A service's precomputed vector: all features of an entity in one field, as Feast keeps it beside
//! the views.
//!
//! Pure. It is a copy that nobody keeps up to date: each view's event time is read along, and a
//! vector counts only where it was made of just those rows. What it does not tell for certain is
//! not taken from it, so that an answer is the same with it and without it.

use feast::redis_layout::decode_timestamp;
use feast::serving::{PrecomputedFeatureVector, Timestamp, VECTOR_FEATURE, vector_storage_name};
use feast::{FeatureService, ValueType};
use model::{FeatureColumn, OnlineView, ViewRef};
use online_store::{FetchedRow, Fields};

use crate::plan::{Plan, Reference, Source, Version};

/// Cells in front of the views' event times: the vector's own time, and the vector.
const TIMES: usize = 2;

/// How the vectors of a service are read.
#[derive(Debug)]
pub(crate) struct Vector {
    /// The vector, and the event time of each view.
    pub fields: Fields,
    /// The features, as the vector names them.
    names: Vec<String>,
    /// The views, as the vector names them.
    views: Vec<String>,
    /// What each cell of the views' rows is.
    cells: Vec<Part>,
}

/// A part of a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// The event time of a view.
    Time(usize),
    /// A value.
    Value(usize),
}

impl Vector {
    /// How to read the vectors of a service, whose plan is made of these references; `None` where
    /// it has none, or where they do not hold all of the plan: Feast makes them by the keys of the
    /// first view.
    pub(crate) fn of(
        service: &FeatureService,
        references: &[Reference],
        plan: &Plan,
    ) -> Option<Self> {
        let is_plain = |reference: &Reference| {
            reference.version == Version::Latest && reference.join_key_map.is_empty()
        };
        let [group] = &plan.groups[..] else { return None };
        if !service.precompute_online || !references.iter().all(is_plain) {
            return None;
        }
        let stored = group.fields.views();
        let mut views: Vec<Option<String>> = vec![None; stored.len()];
        let mut cells: Vec<Option<Part>> = vec![None; group.fields.len()];
        for (at, (reference, column)) in references.iter().zip(&plan.columns).enumerate() {
            let Source::Stored { time, cell, view, .. } = column.source else { return None };
            let name = reference.alias.as_ref().unwrap_or(&reference.view);
            views[view].get_or_insert_with(|| name.clone());
            cells[time] = Some(Part::Time(view));
            cells[cell].get_or_insert(Part::Value(at));
        }
        let project = stored[0].view.project.clone();
        let vector = OnlineView {
            view: ViewRef { project, storage_name: vector_storage_name(&service.name) },
            features: vec![FeatureColumn {
                name: VECTOR_FEATURE.to_owned(),
                value_type: ValueType::Bytes.code(),
            }],
        };
        let times = stored
            .iter()
            .map(|online| OnlineView { view: online.view.clone(), features: Vec::new() });
        Some(Self {
            fields: Fields::new(std::iter::once(vector).chain(times).collect()),
            names: references.iter().map(|reference| reference.column_name(true)).collect(),
            views: views.into_iter().collect::<Option<_>>()?,
            cells: cells.into_iter().collect::<Option<_>>()?,
        })
    }

    /// The views' row as the vector has it; `None` where there is no vector, where it is stale, and
    /// where it does not tell a null from what is not stored.
    pub(crate) fn row(&self, read: &FetchedRow) -> Option<FetchedRow> {
        let vector = PrecomputedFeatureVector::of_value(read.cell_bytes(1)?)?;
        let are_names = vector.feature_names.iter().eq(&self.names);
        if !are_names || vector.values.len() != self.names.len() {
            return None;
        }
        for (at, view) in self.views.iter().enumerate() {
            let (seconds, nanos) = decode_timestamp(read.cell(TIMES + at)?)?;
            let made_of =
                vector.fv_timestamps.iter().find(|made| made.feature_view_name == *view)?;
            if made_of.event_timestamp != Some(Timestamp { seconds, nanos }) {
                return None;
            }
        }
        if vector.values.iter().any(|value| value.is_empty()) {
            return None;
        }
        let cell = |part: &Part| match *part {
            Part::Time(view) => read.cell(TIMES + view),
            Part::Value(at) => Some(&vector.values[at][..]),
        };
        Some(self.cells.iter().map(cell).collect())
    }
}

#[cfg(test)]
mod tests;
