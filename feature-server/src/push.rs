//! Rows that clients write: checked as a whole, encoded in Feast's bytes, and written newer-wins.
//!
//! A push source feeds every view that names it; a row older than the stored one is kept out, as
//! everywhere. Nothing is written before every cell of every view has been read.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use feast::entity_key::{EntityKeyLayout, serialize};
use feast::value::Value as FeastValue;
use feast::value::input::{self, event_time_from_json};
use feast::value::request::{key_from_json, key_from_proto};
use feast::{FeatureView, Field, ValueType, ViewKind};
use model::{ByteColumn, EncodedBatch, EventTime, OnlineView, ViewRef, WriteMode};
use serde_json::Value;

use crate::error::Error;
use crate::server::FeatureServer;

/// A column of rows to write.
#[derive(Clone, Debug, PartialEq)]
pub enum Cells {
    /// As HTTP brings them.
    Json(Vec<Value>),
    /// One row, as gRPC brings it: a serialized `feast.types.Value`.
    Proto(Bytes),
    /// One row, as gRPC brings it for clients that know no types.
    Text(String),
}

impl Cells {
    fn len(&self) -> usize {
        match self {
            Self::Json(cells) => cells.len(),
            Self::Proto(_) | Self::Text(_) => 1,
        }
    }
}

/// Rows to write, a column a name.
pub(crate) type Rows = BTreeMap<String, Cells>;

/// A batch that was checked.
struct Ready {
    view: OnlineView,
    batch: EncodedBatch,
}

impl FeatureServer {
    /// Writes rows to every view that a push source feeds.
    ///
    /// # Errors
    /// What is wrong with the rows, before any is written; what the store says.
    /// # Cancel safety
    /// Rows may have been written in part; pushing them again is harmless.
    pub async fn push(&self, push_source: &str, rows: &Rows) -> Result<(), Error> {
        let loaded = self.catalog.loaded()?;
        let fed = |view: &&FeatureView| view.push_source.as_deref() == Some(push_source);
        let views: Vec<&FeatureView> = loaded.snapshot().views.iter().filter(fed).collect();
        if views.is_empty() {
            let project = self.catalog.project().name.clone();
            return Err(Error::UnknownPushSource { source_name: push_source.to_owned(), project });
        }
        self.write(&views, rows).await?;
        self.metrics.pushed(push_source);
        Ok(())
    }

    /// Writes rows to one view.
    ///
    /// # Errors
    /// As [`Self::push`].
    /// # Cancel safety
    /// As [`Self::push`].
    pub async fn write_to_view(&self, view: &str, rows: &Rows) -> Result<(), Error> {
        let loaded = self.catalog.loaded()?;
        let found = loaded.snapshot().view(view).ok_or_else(|| Error::UnknownView {
            view: view.to_owned(),
            project: self.catalog.project().name.clone(),
        })?;
        self.write(&[found], rows).await
    }

    async fn write(&self, views: &[&FeatureView], rows: &Rows) -> Result<(), Error> {
        let Some(count) = self.count(rows)? else { return Ok(()) };
        let ready = views.iter().map(|view| self.ready(view, rows, count));
        let ready = ready.collect::<Result<Vec<_>, _>>()?;
        if count == 0 {
            return Ok(());
        }
        let store = self.store.get().await?;
        for Ready { view, batch } in ready {
            let prepared = store.prepare(&view, &WriteMode::default()).await;
            let prepared = prepared.map_err(Error::Store)?;
            let counts = store.write(&prepared, batch).await.map_err(Error::Store)?;
            self.metrics.written(&view.view.storage_name, counts.written, counts.stale);
        }
        Ok(())
    }

    /// How many rows there are; `None` without a column, which is how Feast's clients send none.
    fn count(&self, rows: &Rows) -> Result<Option<usize>, Error> {
        let Some((first, cells)) = rows.iter().next() else { return Ok(None) };
        for (key, column) in rows {
            if column.len() != cells.len() {
                return Err(Error::Body {
                    what: format!(
                        "column `{key}` has {} rows and `{first}` has {}; they must agree",
                        column.len(),
                        cells.len()
                    ),
                });
            }
        }
        let (count, max) = (cells.len(), self.settings.limits.entities_max);
        if count > max {
            return Err(Error::TooMuch { what: "rows", count, max });
        }
        Ok(Some(count))
    }

    /// Checks and encodes the rows of one view.
    fn ready(&self, view: &FeatureView, rows: &Rows, count: usize) -> Result<Ready, Error> {
        let project = self.catalog.project();
        if view.kind == ViewKind::OnDemand {
            let why = "it is computed, not stored".to_owned();
            return Err(Error::NotServable { view: view.name.clone(), why });
        }
        let is_key = |field: &&Field| view.join_keys.iter().all(|key| key.name != field.name);
        let features: Vec<&Field> = view.features.iter().filter(is_key).collect();
        let mut columns = Vec::with_capacity(features.len());
        for field in &features {
            columns.push(encode(view, field, rows)?);
        }
        let online = OnlineView {
            view: ViewRef {
                project: project.name.clone(),
                storage_name: view.storage_name(project.versioning),
            },
            features: features.iter().map(|&field| field.into()).collect(),
        };
        let batch = EncodedBatch {
            keys: self.keys(view, rows, count)?,
            event_times: event_times(view, rows)?,
            features: columns,
            ..EncodedBatch::default()
        };
        Ok(Ready { view: online, batch })
    }

    fn keys(&self, view: &FeatureView, rows: &Rows, count: usize) -> Result<ByteColumn, Error> {
        let project = self.catalog.project();
        let bad = |source| Error::EntityKey { view: view.name.clone(), source };
        let layout =
            EntityKeyLayout::new(&view.join_keys, project.serialization_version).map_err(bad)?;
        let suffix = self.store.key_suffix(&project.name);
        let coercion = self.settings.coercion();
        let mut columns = Vec::with_capacity(view.join_keys.len());
        for key in &view.join_keys {
            columns.push((key, column(view, &key.name, rows)?));
        }
        let mut keys = Vec::with_capacity(count);
        for row in 0..count {
            let mut values = Vec::with_capacity(columns.len());
            for (key, cells) in &columns {
                let value = match cells {
                    Cells::Json(cells) => key_from_json(&cells[row], key.value_type, coercion),
                    Cells::Proto(cell) => key_from_proto(cell, key.value_type, coercion),
                    Cells::Text(text) => {
                        key_from_json(&Value::from(text.as_str()), key.value_type, coercion)
                    }
                };
                values.push(value.map_err(|error| cell_error(&key.name, row, &error))?);
            }
            let mut bytes = serialize(&layout, &values).map_err(bad)?;
            bytes.extend_from_slice(suffix);
            keys.push(bytes);
        }
        Ok(keys.iter().map(Vec::as_slice).collect())
    }
}

fn column<'a>(view: &FeatureView, name: &str, rows: &'a Rows) -> Result<&'a Cells, Error> {
    // Clients may send a column under the source's name, as they would to Feast.
    let mapped = view.field_mapping.iter().find(|(_, to)| *to == name).map(|(from, _)| from);
    rows.get(name)
        .or_else(|| rows.get(mapped?))
        .ok_or_else(|| Error::MissingColumn { column: name.to_owned(), view: view.name.clone() })
}

fn encode(view: &FeatureView, field: &Field, rows: &Rows) -> Result<ByteColumn, Error> {
    let cells = column(view, &field.name, rows)?;
    let mut encoded = Vec::with_capacity(cells.len());
    for row in 0..cells.len() {
        let value = value(cells, row, field.value_type)
            .map_err(|error| cell_error(&field.name, row, &error))?;
        let mut bytes = BytesMut::new();
        value.encode(&mut bytes);
        encoded.push(bytes);
    }
    Ok(encoded.iter().map(|bytes| &bytes[..]).collect())
}

fn value(
    cells: &Cells,
    row: usize,
    value_type: ValueType,
) -> Result<FeastValue, feast::value::Error> {
    match cells {
        Cells::Json(cells) => input::from_json(&cells[row], value_type),
        Cells::Proto(cell) => input::from_proto(cell, value_type),
        Cells::Text(text) => {
            let is_word =
                matches!(value_type, ValueType::Double | ValueType::Float | ValueType::Bool);
            let word = is_word.then(|| serde_json::from_str(text).ok()).flatten();
            input::from_json(&word.unwrap_or_else(|| Value::from(text.as_str())), value_type)
        }
    }
}

fn event_times(view: &FeatureView, rows: &Rows) -> Result<Vec<EventTime>, Error> {
    let name = &view.source.timestamp_field;
    // Feast's own client calls it so, whatever the source does.
    let cells = column(view, name, rows).or_else(|missing| match rows.get("event_timestamp") {
        Some(cells) => Ok(cells),
        None => Err(missing),
    })?;
    let micros = |row| match cells {
        Cells::Json(cells) => event_time_from_json(&cells[row]),
        Cells::Text(text) => event_time_from_json(&Value::from(text.as_str())),
        Cells::Proto(cell) => {
            FeastValue::decode(cell).and_then(|value| event_time_from_json(&value.to_json()))
        }
    };
    let time = |row| {
        let micros = micros(row).map_err(|error| cell_error(name, row, &error))?;
        Ok(EventTime::from_micros(micros))
    };
    (0..cells.len()).map(time).collect()
}

fn cell_error(column: &str, row: usize, error: &dyn std::error::Error) -> Error {
    Error::Cell { column: column.to_owned(), row, what: error.to_string() }
}
