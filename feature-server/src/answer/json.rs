//! The answer as JSON, written straight from the stored bytes.
//!
//! # Source
//! The form is that of Feast 0.67's server: results in front of metadata, a column a feature, no
//! blanks.

use feast::datetime::write_rfc3339;
use feast::value::answer::{write_json, write_string};

use super::{Answer, note};
use crate::error::Error;
use crate::metric::Found;
use crate::plan::{Column, Source};

/// What an entity column has for an event time.
const EPOCH: &[u8] = b"\"1970-01-01T00:00:00Z\"";
/// A timestamp of the smallest number, by which Feast stores a null one and which it answers as it
/// is.
const NULL_TIMESTAMP: &[u8] = &[0x40, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01];
/// About what a value takes with its status and its event time.
const VALUE_BYTES: usize = 56;

impl Answer {
    /// Writes the answer as JSON, and counts what was found.
    ///
    /// # Errors
    /// [`Error::StoredValue`].
    pub fn to_json(&self) -> Result<Vec<u8>, Error> {
        let plan = &self.plan.plan;
        let columns = self.bound.columns.len() + plan.columns.len();
        let mut out = Vec::with_capacity(columns * (self.bound.rows * VALUE_BYTES + 64));
        out.extend_from_slice(b"{\"results\":[");
        for (index, column) in self.bound.columns.iter().enumerate() {
            separate(&mut out, index);
            out.extend_from_slice(b"{\"values\":[");
            for (row, value) in column.values.iter().enumerate() {
                separate(&mut out, row);
                write_json(value, &mut out).map_err(|source| Error::StoredValue {
                    view: "entities".to_owned(),
                    feature: column.name.clone(),
                    source,
                })?;
            }
            out.extend_from_slice(b"],\"statuses\":[");
            repeat(&mut out, self.bound.rows, b"\"PRESENT\"");
            out.extend_from_slice(b"],\"event_timestamps\":[");
            repeat(&mut out, self.bound.rows, EPOCH);
            out.extend_from_slice(b"]}");
        }
        for (index, column) in plan.columns.iter().enumerate() {
            separate(&mut out, self.bound.columns.len() + index);
            self.write_column(column, &mut out)?;
        }
        out.extend_from_slice(b"],\"metadata\":");
        self.write_metadata(&mut out);
        out.push(b'}');
        Ok(out)
    }

    fn write_column(&self, column: &Column, out: &mut Vec<u8>) -> Result<(), Error> {
        let cells: Vec<_> = (0..self.bound.rows).map(|row| self.cell(column, row)).collect();
        let mut found = Found::default();
        out.extend_from_slice(b"{\"values\":[");
        for (row, cell) in cells.iter().enumerate() {
            separate(out, row);
            let value = self.stored(column, row, *cell).and_then(|(row, at)| row.cell(at));
            match value {
                Some(NULL_TIMESTAMP) if self.settings.is_feast() => {
                    out.extend_from_slice(i64::MIN.to_string().as_bytes());
                }
                _ => write_json(value.unwrap_or_default(), out)
                    .map_err(|source| self.bad(column, source))?,
            }
            note(&mut found, cell.status);
        }
        out.extend_from_slice(b"],\"statuses\":[");
        for (row, cell) in cells.iter().enumerate() {
            separate(out, row);
            out.push(b'"');
            out.extend_from_slice(self.told(cell.status).name().as_bytes());
            out.push(b'"');
        }
        out.extend_from_slice(b"],\"event_timestamps\":[");
        for (row, cell) in cells.iter().enumerate() {
            separate(out, row);
            let (seconds, nanos) = cell.event_time;
            out.push(b'"');
            write_rfc3339(seconds, nanos, out);
            out.push(b'"');
        }
        out.extend_from_slice(b"]}");
        self.count(column, found);
        Ok(())
    }

    fn write_metadata(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"feature_names\":[");
        let entities = self.bound.columns.iter().map(|column| &column.name);
        let features = self.plan.plan.columns.iter().map(|column| &column.name);
        for (index, name) in entities.chain(features).enumerate() {
            separate(out, index);
            write_string(name, out);
        }
        out.push(b']');
        if self.view_versions {
            out.extend_from_slice(b",\"feature_view_metadata\":[");
            for (index, view) in self.plan.plan.views.iter().enumerate() {
                separate(out, index);
                out.extend_from_slice(b"{\"name\":");
                write_string(&view.name, out);
                if view.version > 0 {
                    out.extend_from_slice(format!(",\"version\":{}", view.version).as_bytes());
                }
                out.push(b'}');
            }
            out.push(b']');
        }
        out.push(b'}');
    }

    pub(super) fn bad(&self, column: &Column, source: feast::value::Error) -> Error {
        let view = match column.source {
            Source::Stored { view, .. } => self.plan.plan.views[view].name.clone(),
            Source::OnDemand => String::new(),
        };
        Error::StoredValue { view, feature: column.feature.clone(), source }
    }
}

fn separate(out: &mut Vec<u8>, index: usize) {
    if index > 0 {
        out.push(b',');
    }
}

fn repeat(out: &mut Vec<u8>, times: usize, text: &[u8]) {
    for index in 0..times {
        separate(out, index);
        out.extend_from_slice(text);
    }
}
