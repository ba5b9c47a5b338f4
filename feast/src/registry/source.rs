//! Data sources: from the message to what a scan needs.

use std::collections::BTreeMap;

use super::message;
use crate::feature_view::{DataSource, Refusal};

/// Feast's code of a file source.
const TYPE_FILE: i32 = 1;
/// Feast's code of a push source.
const TYPE_PUSH: i32 = 9;

/// The batch source of a view, whose stream source may carry it.
pub(super) fn batch_source<'a>(
    batch: Option<&'a message::DataSource>,
    stream: Option<&'a message::DataSource>,
) -> Option<&'a message::DataSource> {
    batch.map(innermost).or_else(|| stream.and_then(|stream| stream.batch_source.as_deref()))
}

/// A push or stream source in the place of a batch source stands for the batch source it holds.
fn innermost(source: &message::DataSource) -> &message::DataSource {
    match source.batch_source.as_deref() {
        Some(inner) if source.type_code != TYPE_FILE => inner,
        _ => source,
    }
}

/// The name of a stream source into which rows are pushed; `None` for any other.
///
/// # Source
/// Feast 0.67 looks for the source of a push among the stream sources alone.
pub(super) fn push_source(stream: Option<&message::DataSource>) -> Option<String> {
    stream.filter(|stream| stream.type_code == TYPE_PUSH).map(|stream| stream.name.clone())
}

/// How columns are renamed after reading.
///
/// # Source
/// Feast 0.67 takes the stream source's mapping whenever there is a stream source, and then fails
/// on views whose batch source alone has one; those are read by the batch source's here.
pub(super) fn field_mapping(
    batch: Option<&message::DataSource>,
    stream: Option<&message::DataSource>,
) -> BTreeMap<String, String> {
    stream
        .map(|stream| &stream.field_mapping)
        .filter(|mapping| !mapping.is_empty())
        .or_else(|| batch.map(|batch| &batch.field_mapping))
        .cloned()
        .unwrap_or_default()
}

/// The typed source.
pub(super) fn typed(source: &message::DataSource) -> DataSource {
    let file = source.file_options.clone().unwrap_or_default();
    DataSource {
        name: source.name.clone(),
        path: file.uri,
        type_code: source.type_code,
        is_delta: file.file_format.is_some_and(|format| format.delta_format.is_some()),
        timestamp_field: source.timestamp_field.clone(),
        created_timestamp_column: non_empty(&source.created_timestamp_column),
        field_mapping: source.field_mapping.clone(),
        s3_endpoint_override: non_empty(&file.s3_endpoint_override),
        tags: source.tags.clone(),
    }
}

/// Why rows cannot be read from the source, if they cannot.
pub(super) fn refusal(source: Option<&message::DataSource>) -> Option<Refusal> {
    let Some(source) = source else {
        return Some(Refusal::Malformed("it has no batch source".to_owned()));
    };
    let typed = typed(source);
    let what = if source.type_code != TYPE_FILE {
        other_kind(source)
    } else if typed.is_delta {
        "its format is Delta".to_owned()
    } else if typed.path.is_empty() {
        "it has no path".to_owned()
    } else if typed.timestamp_field.is_empty() {
        "it has no `timestamp_field`".to_owned()
    } else {
        return None;
    };
    Some(Refusal::Source { source_name: typed.name, what })
}

fn other_kind(source: &message::DataSource) -> String {
    if source.class_type.is_empty() {
        format!("its type code is {}", source.type_code)
    } else {
        format!("it is a `{}`", source.class_type)
    }
}

pub(super) fn non_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
