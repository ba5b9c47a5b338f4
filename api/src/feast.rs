//! Bodies of the two endpoints that Feast's own feature server has for materialization.
//!
//! They are Feast's and stay as they are: times are text in any form that Feast reads, unknown
//! fields are ignored, and success is `null`.

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{IntoParams, ToSchema};

/// The body of `POST /materialize`.
///
/// # Source
/// `MaterializeRequest` of Feast 0.67, `sdk/python/feast/feature_server.py`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MaterializeRequest {
    /// The start; needed unless `disable_event_timestamp` is set.
    #[serde(default)]
    pub start_ts: Option<String>,
    /// The end; needed unless `disable_event_timestamp` is set.
    #[serde(default)]
    pub end_ts: Option<String>,
    /// The views; all that are online when it is left out.
    #[serde(default)]
    pub feature_views: Option<Vec<String>>,
    /// Materializes everything up to now.
    #[serde(default)]
    pub disable_event_timestamp: bool,
    /// Taken and without effect on what is stored.
    #[serde(default)]
    pub full_feature_names: bool,
    /// The version of the one view that is asked for.
    #[serde(default)]
    pub version: Option<String>,
}

/// The body of `POST /materialize-incremental`.
///
/// # Source
/// `MaterializeIncrementalRequest` of Feast 0.67, `sdk/python/feast/feature_server.py`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MaterializeIncrementalRequest {
    /// The end.
    pub end_ts: String,
    /// The views; all that are online when it is left out.
    #[serde(default)]
    pub feature_views: Option<Vec<String>>,
    /// Taken and without effect on what is stored.
    #[serde(default)]
    pub full_feature_names: bool,
    /// The version of the one view that is asked for.
    #[serde(default)]
    pub version: Option<String>,
}

/// The query of both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct MaterializeQuery {
    /// Answers as soon as the run is recorded.
    #[serde(default, rename = "async", deserialize_with = "flag")]
    #[param(rename = "async", default = false)]
    pub is_async: bool,
    /// Starts although a view is being materialized.
    #[serde(default, deserialize_with = "flag")]
    #[param(default = false)]
    pub force: bool,
}

/// A boolean in the words that Feast's server takes.
///
/// # Source
/// Pydantic, booleans: <https://docs.pydantic.dev/latest/api/standard_library_types/#booleans>.
fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    let word = String::deserialize(deserializer)?;
    match word.to_ascii_lowercase().as_str() {
        "1" | "on" | "t" | "true" | "y" | "yes" => Ok(true),
        "0" | "off" | "f" | "false" | "n" | "no" => Ok(false),
        _ => Err(serde::de::Error::custom(format!("`{word}` is neither true nor false"))),
    }
}

/// The answer when `async` is set, with status 202.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MaterializeAccepted {
    /// `accepted`.
    pub status: String,
    /// The views that will be materialized.
    pub feature_views: Vec<String>,
}

impl MaterializeAccepted {
    /// Makes the answer.
    pub fn new(feature_views: Vec<String>) -> Self {
        Self { status: "accepted".to_owned(), feature_views }
    }
}

/// The answer when views are being materialized already, with status 409.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MaterializeConflict {
    /// What is wrong.
    pub error: String,
    /// The views that are being materialized.
    pub feature_views: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_that_feast_takes_are_taken() {
        let body = r#"{"start_ts": "2026-10-24T09:08:40.211502+00:00", "end_ts": "2026-11-23",
                       "feature_views": ["driver_old"], "extra": 1, "version": null}"#;
        let body: MaterializeRequest = serde_json::from_str(body).expect("a body");
        assert_eq!(body.start_ts.as_deref(), Some("2026-10-24T09:08:40.211502+00:00"));
        assert_eq!(body.feature_views, Some(vec!["driver_old".to_owned()]));
        assert!(!body.disable_event_timestamp);
        let nothing: MaterializeRequest = serde_json::from_str("{}").expect("all is optional");
        assert_eq!(nothing, MaterializeRequest::default());
        assert!(serde_json::from_str::<MaterializeIncrementalRequest>("{}").is_err());
    }

    #[test]
    fn flags_are_read_in_pydantics_words() {
        for (json, is_async) in [
            (r#"{"async": "true"}"#, true),
            (r#"{"async": "1"}"#, true),
            (r#"{"async": "Yes"}"#, true),
            (r#"{"async": "off"}"#, false),
            ("{}", false),
        ] {
            let query: MaterializeQuery = serde_json::from_str(json).expect(json);
            assert_eq!(query, MaterializeQuery { is_async, force: false }, "{json}");
        }
        assert!(serde_json::from_str::<MaterializeQuery>(r#"{"force": "maybe"}"#).is_err());
    }

    #[test]
    fn the_answer_is_feasts() {
        let accepted = MaterializeAccepted::new(vec!["driver_old".to_owned()]);
        assert_eq!(
            serde_json::to_string(&accepted).expect("JSON"),
            r#"{"status":"accepted","feature_views":["driver_old"]}"#
        );
    }
}
