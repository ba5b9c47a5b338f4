//! The columns that a view needs, and the one schema that all files of its source agree on.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::ScalarValue;

use super::{ListedFile, Source, SourceFile};
use crate::error::Error;

/// A column that is needed, by its name in the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeededColumn {
    /// Its name in the source.
    pub source: String,
    /// Its name after field mapping.
    pub name: String,
    /// What it is needed for, for messages.
    pub role: String,
}

/// All columns that a view needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// Event time.
    pub event_time: NeededColumn,
    /// Created time, when the source has it.
    pub created_time: Option<NeededColumn>,
    /// Join keys and features, without repetition, and columns of the predicate.
    pub columns: Vec<NeededColumn>,
}

impl Need {
    fn all(&self) -> impl Iterator<Item = &NeededColumn> {
        self.columns.iter().chain([&self.event_time]).chain(&self.created_time)
    }
}

/// What the files agree on.
pub(super) struct Merged {
    pub(super) file_schema: SchemaRef,
    pub(super) partition_fields: Vec<Field>,
}

impl Merged {
    pub(super) fn partition_values(&self, file: &ListedFile) -> Vec<ScalarValue> {
        self.partition_fields
            .iter()
            .map(|field| {
                let found = file.hive.iter().find(|(key, _)| key == field.name());
                // Every file has the directory: `merge` has checked it.
                let text = found.map(|(_, value)| value.as_str());
                let text = text.filter(|text| *text != HIVE_NULL);
                match field.data_type() {
                    DataType::Int64 => ScalarValue::Int64(text.and_then(|text| text.parse().ok())),
                    _ => ScalarValue::Utf8(text.map(str::to_owned)),
                }
            })
            .collect()
    }
}

/// Hive's name for a null in a directory.
const HIVE_NULL: &str = "__HIVE_DEFAULT_PARTITION__";

pub(super) fn merge(source: &Source, need: &Need) -> Result<Merged, Error> {
    let files = &source.files;
    let mut fields = Vec::new();
    let mut partition_fields = Vec::new();
    let mut seen = BTreeSet::new();
    for column in need.all() {
        if !seen.insert(column.source.as_str()) {
            continue;
        }
        let is_in_files =
            files.iter().any(|file| file.footer.schema().field_with_name(&column.source).is_ok());
        if is_in_files {
            fields.push(merge_column(files, column)?);
        } else {
            partition_fields.push(partition_field(source, column)?);
        }
    }
    check_time(files, &fields, &need.event_time, "event timestamp")?;
    if let Some(created) = &need.created_time {
        check_time(files, &fields, created, "created timestamp")?;
    }
    Ok(Merged { file_schema: Arc::new(Schema::new(fields)), partition_fields })
}

fn merge_column(files: &[SourceFile], column: &NeededColumn) -> Result<Field, Error> {
    let mut merged: Option<DataType> = None;
    for file in files {
        let schema = file.footer.schema();
        let mut named = schema.fields().iter().filter(|field| *field.name() == column.source);
        let field = named.next().ok_or_else(|| missing(file, column))?;
        if named.next().is_some() {
            let file = file.listed.shown.clone();
            return Err(Error::DuplicateColumn { column: column.source.clone(), file });
        }
        merged = Some(match merged {
            None => field.data_type().clone(),
            Some(held) => unify(&held, field.data_type()).ok_or_else(|| Error::MixedTypes {
                column: column.source.clone(),
                file: file.listed.shown.clone(),
                found: field.data_type().to_string(),
                first: files[0].listed.shown.clone(),
                expected: held.to_string(),
            })?,
        });
    }
    let data_type = merged.expect("a source has at least one file");
    Ok(Field::new(&column.source, data_type, true))
}

fn missing(file: &SourceFile, column: &NeededColumn) -> Error {
    let names: Vec<&str> =
        file.footer.schema().fields().iter().map(|field| field.name().as_str()).collect();
    Error::MissingColumn {
        column: column.source.clone(),
        role: column.role.clone(),
        file: file.listed.shown.clone(),
        columns: names.join(", "),
    }
}

/// The type that holds the values of both without loss; `None` when there is none.
///
/// Integer widths are unified as Feast's readers do; an all-null column takes the other's type;
/// text and bytes differ between files only in their layout.
fn unify(left: &DataType, right: &DataType) -> Option<DataType> {
    use DataType::{Binary, BinaryView, Dictionary, LargeBinary, LargeUtf8, Null, Utf8, Utf8View};
    match (left, right) {
        _ if left == right => Some(left.clone()),
        (Null, other) | (other, Null) => Some(other.clone()),
        (Dictionary(_, value), other) | (other, Dictionary(_, value)) => unify(value, other),
        (Utf8 | LargeUtf8 | Utf8View, Utf8 | LargeUtf8 | Utf8View) => Some(LargeUtf8),
        (Binary | LargeBinary | BinaryView, Binary | LargeBinary | BinaryView) => Some(LargeBinary),
        _ if left.is_integer() && right.is_integer() => {
            let has_u64 = *left == DataType::UInt64 || *right == DataType::UInt64;
            let has_signed = left.is_signed_integer() || right.is_signed_integer();
            match (has_u64, has_signed) {
                (true, true) => None,
                (true, false) => Some(DataType::UInt64),
                (false, _) => Some(DataType::Int64),
            }
        }
        _ => None,
    }
}

/// A column that is in no file: a hive directory that every file has, or missing.
///
/// Its type follows from all files, whatever interval is read.
fn partition_field(source: &Source, column: &NeededColumn) -> Result<Field, Error> {
    let value = |file: &ListedFile| {
        file.hive.iter().find(|(key, _)| *key == column.source).map(|(_, value)| value.clone())
    };
    let mut values: Vec<String> = source.outside.iter().filter_map(value).collect();
    for file in &source.files {
        values.push(value(&file.listed).ok_or_else(|| missing(file, column))?);
    }
    let is_integer = |value: &String| value == HIVE_NULL || value.parse::<i64>().is_ok();
    let all_integers = values.iter().all(is_integer);
    let data_type = if all_integers { DataType::Int64 } else { DataType::Utf8 };
    Ok(Field::new(&column.source, data_type, true))
}

fn check_time(
    files: &[SourceFile],
    fields: &[Field],
    column: &NeededColumn,
    role: &'static str,
) -> Result<(), Error> {
    let field = fields.iter().find(|field| *field.name() == column.source);
    match field.map(Field::data_type) {
        Some(DataType::Timestamp(_, _)) => Ok(()),
        other => Err(Error::TimeType {
            column: column.source.clone(),
            role,
            found: other.map_or("a directory name".to_owned(), DataType::to_string),
            file: files[0].listed.shown.clone(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integer_widths_unify_without_loss() {
        use DataType::{Int8, Int32, Int64, UInt8, UInt64};
        assert_eq!(unify(&Int32, &Int64), Some(Int64));
        assert_eq!(unify(&Int8, &UInt8), Some(Int64));
        assert_eq!(unify(&UInt8, &UInt64), Some(UInt64));
        assert_eq!(unify(&UInt64, &Int8), None);
        assert_eq!(unify(&Int64, &DataType::Float64), None);
    }
}
