//! Brings every Arrow layout of one meaning to one layout.
//!
//! Dictionaries, views, wide offsets and fixed sizes say the same values in other ways. Once they
//! are one, a reader needs a case a meaning and not a case a layout. The cast costs an allocation
//! a column, and nothing where the layout is the canonical one already.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::error::ArrowError;

/// The layout for a type, or why no layout of it can be read.
pub(super) fn layout(kind: &DataType) -> Result<DataType, &'static str> {
    Ok(match kind {
        DataType::Dictionary(_, values) => layout(values)?,
        DataType::RunEndEncoded(_, values) => layout(values.data_type())?,
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            DataType::Binary
        }
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item) => DataType::List(field(item)?),
        DataType::Struct(fields) => {
            DataType::Struct(fields.iter().map(field).collect::<Result<_, _>>()?)
        }
        DataType::Map(..) => {
            return Err("Feast takes no Arrow map; write the column as a struct or as JSON text");
        }
        DataType::Union(..) => return Err("Feast takes no Arrow union"),
        other => other.clone(),
    })
}

fn field(field: &FieldRef) -> Result<FieldRef, &'static str> {
    let kind = layout(field.data_type())?;
    if kind == *field.data_type() {
        return Ok(Arc::clone(field));
    }
    Ok(Arc::new(Field::new(field.name(), kind, true)))
}

/// The array in that layout.
pub(super) fn array(array: &ArrayRef, layout: &DataType) -> Result<ArrayRef, ArrowError> {
    if array.data_type() == layout { Ok(Arc::clone(array)) } else { cast(array, layout) }
}
