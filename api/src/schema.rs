//! How `model`'s types look in the OpenAPI document.
//!
//! `model` knows nothing of OpenAPI, so each of its types that stands in a body has a twin here
//! that describes it; twins are never made. A test compares the twins with what is serialized.

use utoipa::openapi::schema::{ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{Components, ComponentsBuilder, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::error::Problem;
use crate::event::{Event, ViewProgress};
use crate::feast::{
    MaterializeAccepted, MaterializeConflict, MaterializeIncrementalRequest, MaterializeRequest,
};
use crate::plan::PlanReport;
use crate::report::RunReport;
use crate::request::{RerunState, RunRequest};
use crate::run::{RunDetail, RunPage};
use crate::view::{IntervalsReport, StatusReport};

/// The schemas of every body, for the document of whoever has the routes.
pub fn components() -> Components {
    let mut schemas = Vec::new();
    add::<Problem>(&mut schemas);
    add::<Event>(&mut schemas);
    add::<ViewProgress>(&mut schemas);
    add::<MaterializeAccepted>(&mut schemas);
    add::<MaterializeConflict>(&mut schemas);
    add::<MaterializeIncrementalRequest>(&mut schemas);
    add::<MaterializeRequest>(&mut schemas);
    add::<PlanReport>(&mut schemas);
    add::<RunReport>(&mut schemas);
    add::<RunRequest>(&mut schemas);
    add::<RunDetail>(&mut schemas);
    add::<RunPage>(&mut schemas);
    add::<IntervalsReport>(&mut schemas);
    add::<StatusReport>(&mut schemas);
    ComponentsBuilder::new().schemas_from_iter(schemas).build()
}

/// Adds a body, and with it what it is made of.
fn add<T: ToSchema>(schemas: &mut Vec<(String, RefOr<Schema>)>) {
    schemas.push((T::name().into_owned(), T::schema()));
    T::schemas(schemas);
}

macro_rules! text {
    ($(#[doc = $doc:literal])* $name:ident, $format:literal) => {
        $(#[doc = $doc])*
        #[derive(Debug)]
        pub struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                ObjectBuilder::new()
                    .schema_type(Type::String)
                    .format(Some(SchemaFormat::Custom($format.to_owned())))
                    .description(Some(concat!($($doc),*).trim()))
                    .into()
            }
        }

        impl ToSchema for $name {}
    };
}

text! {
    /// A moment: RFC 3339 with its offset, in UTC, with up to nine decimals.
    EventTime, "date-time"
}
text! {
    /// Names one trigger: the views and the interval that were asked for.
    RunId, "uuid"
}
text! {
    /// Names the materialization of one view over one interval.
    JobId, "uuid"
}
text! {
    /// Names one slice of a job's interval: the unit of commit.
    WindowId, "uuid"
}
text! {
    /// Names one try at a window, under one fencing token.
    AttemptId, "uuid"
}

macro_rules! names {
    ($(#[doc = $doc:literal])* $name:ident) => {
        $(#[doc = $doc])*
        #[derive(Debug)]
        pub struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let names = model::$name::ALL.iter().map(|one| one.as_str());
                ObjectBuilder::new()
                    .schema_type(Type::String)
                    .enum_values(Some(names))
                    .description(Some(concat!($($doc),*).trim()))
                    .into()
            }
        }

        impl ToSchema for $name {}
    };
}

names! {
    /// What a run was asked to do.
    RunKind
}
names! {
    /// How far a run has got.
    RunState
}
names! {
    /// How far a job has got.
    JobState
}
names! {
    /// How far a window has got.
    WindowState
}
names! {
    /// How far an attempt has got.
    AttemptState
}

/// `[start, end)` in event time.
#[derive(Debug, ToSchema)]
pub struct Interval {
    /// The first instant inside.
    pub start: EventTime,
    /// The first instant after it.
    pub end: EventTime,
}

/// What to do once more: exactly one of them. The twin of [`crate::Rerun`], which carries ids.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "snake_case", description = "What to do once more: exactly one of them.")]
pub enum Rerun {
    /// What did not land of a run.
    RunId(RunId),
    /// One window.
    WindowId(WindowId),
    /// What lies in the interval and is in a state.
    State(RerunState),
}

/// What was done with the rows of a window, or of a job's windows together.
///
/// Counts are rows; `entities` is `written + stale + tombstoned + refused`.
#[derive(Debug, ToSchema)]
pub struct Receipt {
    /// Rows that were read from the source.
    pub rows_read: u64,
    /// Rows that were the newest of their entity.
    pub entities: u64,
    /// Rows whose features are now the stored ones.
    pub written: u64,
    /// Rows refused because a row of equal or greater event time is stored.
    pub stale: u64,
    /// Rows whose entity is no longer active: features removed, event time kept.
    pub tombstoned: u64,
    /// Rows that Feast's types cannot hold, skipped because the configuration says so.
    pub refused: u64,
    /// Entities whose rows a correction withdrew: an earlier row was restored, or none is left.
    pub swept: u64,
    /// Bytes of keys and values handed to the online store.
    pub bytes_written: u64,
    /// Least event time among the newest rows.
    #[schema(required, nullable)]
    pub event_time_min: Option<EventTime>,
    /// Greatest event time among the newest rows.
    #[schema(required, nullable)]
    pub event_time_max: Option<EventTime>,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::*;

    fn described<T: ToSchema>() -> Value {
        serde_json::to_value(T::schema()).expect("a schema is JSON")
    }

    fn keys(object: &Value) -> BTreeSet<&str> {
        object.as_object().expect("an object").keys().map(String::as_str).collect()
    }

    /// The names behind every `$ref`.
    fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
        match value {
            Value::Object(fields) => {
                let name = fields.get("$ref").and_then(Value::as_str);
                found.extend(name.and_then(|path| path.strip_prefix("#/components/schemas/")));
                fields.values().for_each(|field| references(field, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }

    #[test]
    fn whatever_a_body_is_made_of_is_described() {
        let components = serde_json::to_value(components()).expect("JSON");
        let schemas = &components["schemas"];
        let mut found = BTreeSet::new();
        references(schemas, &mut found);
        assert!(found.contains("WindowDetail") && found.contains("Code"), "{found:?}");
        assert!(found.is_subset(&keys(schemas)), "{found:?}");
    }

    #[test]
    fn twins_have_the_fields_of_what_is_serialized() {
        let epoch = model::EventTime::EPOCH;
        let interval = serde_json::to_value(model::Interval::new(epoch, epoch)).expect("JSON");
        assert_eq!(keys(&described::<Interval>()["properties"]), keys(&interval));
        let receipt = serde_json::to_value(model::Receipt::default()).expect("JSON");
        assert_eq!(keys(&described::<Receipt>()["properties"]), keys(&receipt));
    }

    #[test]
    fn states_are_listed_by_name() {
        let described = described::<WindowState>();
        assert_eq!(
            described["enum"],
            json!(["pending", "open", "committed", "failed", "interrupted"])
        );
        assert_eq!(described["description"], "How far a window has got.");
        assert_eq!(WindowState::name(), "WindowState");
    }

    #[test]
    fn moments_and_ids_are_text_with_a_format() {
        assert_eq!(described::<EventTime>()["format"], "date-time");
        assert_eq!(described::<RunId>()["format"], "uuid");
    }
}
