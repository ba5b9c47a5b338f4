//! The bodies that clients send, in Feast's form.
//!
//! Unknown fields are ignored, as Feast does. The order of `entities` is kept, because the answer
//! has it.

use std::collections::BTreeMap;
use std::fmt;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use utoipa::ToSchema;

use crate::error::Error;
use crate::push::Cells;
use crate::request::{FeatureRequest, Values, Wanted};

/// A body as it came, or why it did not.
pub(super) type Received = Result<Bytes, BytesRejection>;

/// The body of `POST /get-online-features`.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct GetOnlineFeatures {
    /// References such as `view:feature`; not needed with `feature_service`.
    #[serde(default)]
    #[schema(example = json!(["driver_stats:conv_rate"]))]
    features: Option<Vec<String>>,
    /// A feature service; wins over `features`.
    #[serde(default)]
    feature_service: Option<String>,
    /// Join key to the values of the rows.
    #[schema(value_type = BTreeMap<String, Vec<Value>>, example = json!({"driver_id": [1001]}))]
    entities: Entities,
    /// Names features `view__feature`.
    #[serde(default)]
    full_feature_names: bool,
    /// Adds the views and their versions to the metadata.
    #[serde(default)]
    include_feature_view_version_metadata: bool,
}

impl GetOnlineFeatures {
    pub(super) fn read(body: &[u8]) -> Result<FeatureRequest, Error> {
        parse::<Self>(body).map(FeatureRequest::from)
    }
}

impl From<GetOnlineFeatures> for FeatureRequest {
    fn from(body: GetOnlineFeatures) -> Self {
        let features = body.features.unwrap_or_default();
        Self {
            wanted: body.feature_service.map_or(Wanted::Features(features), Wanted::Service),
            entities: body.entities.0,
            full_feature_names: body.full_feature_names,
            view_versions: body.include_feature_view_version_metadata,
        }
    }
}

/// Columns of entities in the order of the body.
#[derive(Debug, Default)]
pub(super) struct Entities(pub(super) Vec<(String, Values)>);

impl<'de> Deserialize<'de> for Entities {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Columns;

        impl<'de> Visitor<'de> for Columns {
            type Value = Entities;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of lists, such as {\"driver_id\": [1001]}")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Entities, M::Error> {
                let mut columns: Vec<(String, Values)> = Vec::new();
                while let Some((name, values)) = map.next_entry::<String, Vec<Value>>()? {
                    // As in Python, the last one counts, at the place of the first.
                    match columns.iter_mut().find(|(held, _)| *held == name) {
                        Some((_, held)) => *held = Values::Json(values),
                        None => columns.push((name, Values::Json(values))),
                    }
                }
                Ok(Entities(columns))
            }
        }

        deserializer.deserialize_map(Columns)
    }
}

/// Columns of rows to write.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(transparent)]
pub(super) struct DataFrame(BTreeMap<String, Vec<Value>>);

impl DataFrame {
    pub(super) fn into_rows(self) -> BTreeMap<String, Cells> {
        self.0.into_iter().map(|(name, cells)| (name, Cells::Json(cells))).collect()
    }
}

/// The body of `POST /push`.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Push {
    /// The push source.
    pub(super) push_source_name: String,
    /// The rows, a column a name.
    pub(super) df: DataFrame,
    /// Where they go; only `online` is served here.
    #[serde(default = "online")]
    pub(super) to: String,
}

fn online() -> String {
    "online".to_owned()
}

/// The body of `POST /write-to-online-store`.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct WriteToOnlineStore {
    /// The feature view.
    pub(super) feature_view_name: String,
    /// The rows, a column a name.
    pub(super) df: DataFrame,
}

/// Reads a body; its media type is not asked for, as the tutorials leave it out.
pub(super) fn parse<'de, T: Deserialize<'de>>(body: &'de [u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|error| Error::Body { what: format!("the body: {error}") })
}

/// A request in the query of a `GET`: `features` (repeated, or parted by commas) or
/// `feature_service`, `entities` as JSON, and any other name as an entity's values.
pub(super) fn from_query(query: &str) -> Result<FeatureRequest, Error> {
    let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query)
        .map_err(|error| Error::Body { what: format!("the query: {error}") })?;
    let mut request = FeatureRequest {
        wanted: Wanted::Features(Vec::new()),
        entities: Vec::new(),
        full_feature_names: false,
        view_versions: false,
    };
    let mut features: Vec<String> = Vec::new();
    let mut service = None;
    for (name, text) in pairs {
        match name.as_str() {
            "features" => features.extend(text.split(',').map(|name| name.trim().to_owned())),
            "feature_service" => service = Some(text),
            "full_feature_names" => request.full_feature_names = flag(&name, &text)?,
            "include_feature_view_version_metadata" => {
                request.view_versions = flag(&name, &text)?;
            }
            "entities" => request.entities.extend(parse::<Entities>(text.as_bytes())?.0),
            _ => add_values(&mut request.entities, name, &text),
        }
    }
    request.wanted = service.map_or(Wanted::Features(features), Wanted::Service);
    Ok(request)
}

fn add_values(entities: &mut Vec<(String, Values)>, name: String, text: &str) {
    let values = text.split(',').map(|value| Value::from(value.trim()));
    match entities.iter_mut().find(|(held, _)| *held == name) {
        Some((_, Values::Json(held))) => held.extend(values),
        _ => entities.push((name, Values::Json(values.collect()))),
    }
}

fn flag(name: &str, text: &str) -> Result<bool, Error> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" => Ok(true),
        "false" | "0" | "" => Ok(false),
        _ => Err(Error::Body { what: format!("`{name}={text}` is neither true nor false") }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn entities_keep_their_order_and_a_service_wins() {
        let body = br#"{"entities": {"b": [1], "a": ["x"], "b": [2]}, "features": ["v:f"],
                        "feature_service": "s", "unknown": 1}"#;
        let request = GetOnlineFeatures::read(body).expect("a request");
        assert_eq!(request.wanted, Wanted::Service("s".to_owned()));
        let values = |value: Value| Values::Json(vec![value]);
        assert_eq!(
            request.entities,
            [("b".to_owned(), values(json!(2))), ("a".to_owned(), values(json!("x")))]
        );
    }

    #[test]
    fn another_shape_is_an_error_that_says_where() {
        for (body, says) in [
            ("{bad", "line 1"),
            (r#"{"features": ["v:f"]}"#, "entities"),
            (r#"{"entities": {"a": 1}}"#, "sequence"),
            (r#"{"entities": [1]}"#, "an object of lists"),
            (r#"{"entities": {}, "features": "v:f"}"#, "sequence"),
        ] {
            let error = GetOnlineFeatures::read(body.as_bytes()).expect_err(body).to_string();
            assert!(error.contains(says), "{body}: {error}");
        }
    }

    #[test]
    fn a_query_asks_for_the_same() {
        let query = "features=v:f,v:g&features=w:h&driver_id=1,2&driver_id=3&full_feature_names=1";
        let request = from_query(query).expect("a request");
        let features = ["v:f", "v:g", "w:h"].map(str::to_owned).to_vec();
        assert_eq!(request.wanted, Wanted::Features(features));
        let values = Values::Json(vec![json!("1"), json!("2"), json!("3")]);
        assert_eq!(request.entities, [("driver_id".to_owned(), values)]);
        assert!(request.full_feature_names);
        let request = from_query("feature_service=s&entities=%7B%22id%22%3A%5B7%5D%7D");
        let request = request.expect("a request");
        assert_eq!(request.entities, [("id".to_owned(), Values::Json(vec![json!(7)]))]);
        assert!(from_query("full_feature_names=maybe").is_err());
    }
}
