//! The answer as the message of Feast's gRPC services; values are shares of what was read.

use bytes::Bytes;
use feast::serving::{
    FeatureList, FeatureVector, FeatureViewMetadata, FieldStatus, GetOnlineFeaturesResponse,
    GetOnlineFeaturesResponseMetadata, Timestamp,
};
use feast::value::answer::is_null;

use super::{Answer, note};
use crate::metric::Found;
use crate::plan::Column;

impl Answer {
    /// The answer as a message; counts what was found.
    pub fn to_proto(&self) -> GetOnlineFeaturesResponse {
        let plan = &self.plan.plan;
        let of_entities = self.bound.columns.iter().map(|column| FeatureVector {
            values: column.values.clone(),
            statuses: vec![FieldStatus::Present as i32; self.bound.rows],
            event_timestamps: vec![Timestamp::default(); self.bound.rows],
        });
        let of_features = plan.columns.iter().map(|column| self.vector(column));
        let entities = self.bound.columns.iter().map(|column| column.name.clone());
        let features = plan.columns.iter().map(|column| column.name.clone());
        let view = |view: &crate::plan::PlannedView| FeatureViewMetadata {
            name: view.name.clone(),
            version: i32::try_from(view.version).unwrap_or(i32::MAX),
        };
        let views = plan.views.iter().filter(|_| self.view_versions);
        GetOnlineFeaturesResponse {
            metadata: Some(GetOnlineFeaturesResponseMetadata {
                feature_names: Some(FeatureList { val: entities.chain(features).collect() }),
                feature_view_metadata: views.map(view).collect(),
            }),
            results: of_entities.chain(of_features).collect(),
            status: false,
        }
    }

    fn vector(&self, column: &Column) -> FeatureVector {
        let rows = self.bound.rows;
        let mut found = Found::default();
        let mut vector = FeatureVector {
            values: Vec::with_capacity(rows),
            statuses: Vec::with_capacity(rows),
            event_timestamps: Vec::with_capacity(rows),
        };
        for row in 0..rows {
            let cell = self.cell(column, row);
            let stored = self.stored(column, row, cell).and_then(|(row, at)| row.cell_bytes(at));
            // One form of null, however it was stored; Feast gives what is there.
            let is_kept = |value: &Bytes| self.settings.is_feast() || !is_null(value);
            let value = stored.filter(is_kept).unwrap_or_default();
            vector.values.push(value);
            vector.statuses.push(self.told(cell.status) as i32);
            let (seconds, nanos) = cell.event_time;
            let nanos = i32::try_from(nanos).unwrap_or_default();
            vector.event_timestamps.push(Timestamp { seconds, nanos });
            note(&mut found, cell.status);
        }
        self.count(column, found);
        vector
    }
}
