//! Every error code with its status and title, in one table, and the body that carries it.
//!
//! The one place where an HTTP status is decided. Each code has a page in `docs/errors/`.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The media type of [`Problem`].
pub const PROBLEM_JSON: &str = "application/problem+json";

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $status:literal, $title:literal;)*) => {
        /// What went wrong, for programs: names that never change their meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum Code { $($(#[$doc])* $variant,)* }

        impl Code {
            /// Every code, in the order of their documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name as sent and documented.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The HTTP status that it is sent with.
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)* }
            }

            /// What went wrong, for people, the same for every occurrence.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }
        }
    };
}

codes! {
    /// The body is no JSON of the expected form.
    InvalidBody = "invalid_body", 400, "The body cannot be read";
    /// The body can be read, and what it asks for makes no sense.
    InvalidRequest = "invalid_request", 422, "The request contradicts itself";
    /// The project is not the one that this server serves.
    UnknownProject = "unknown_project", 404, "This server does not serve the project";
    /// The project has no such feature view.
    UnknownView = "unknown_view", 404, "There is no such feature view";
    /// The ledger has no such run.
    UnknownRun = "unknown_run", 404, "There is no such run";
    /// There is no such path.
    NotFound = "not_found", 404, "There is nothing at this path";
    /// The path exists and does not take this method.
    MethodNotAllowed = "method_not_allowed", 405, "The path does not take this method";
    /// A view that was asked for cannot be materialized.
    NotMaterializable = "not_materializable", 422, "A feature view cannot be materialized";
    /// No view was selected.
    NoViews = "no_views", 422, "There is no feature view to materialize";
    /// The key was used for another request before.
    IdempotencyMismatch = "idempotency_mismatch", 422,
        "The idempotency key belongs to another request";
    /// The key is empty, too long, or not printable.
    InvalidIdempotencyKey = "invalid_idempotency_key", 422, "The idempotency key cannot be used";
    /// The run has ended, so it cannot be cancelled.
    RunEnded = "run_ended", 409, "The run has ended";
    /// No token was sent, or one that this server does not know.
    Unauthenticated = "unauthenticated", 401, "The caller is not known";
    /// The token's role does not allow it.
    Forbidden = "forbidden", 403, "The caller's role does not allow this";
    /// The body is larger than this server reads.
    BodyTooLarge = "body_too_large", 413, "The body is too large";
    /// It took longer than this server waits.
    Timeout = "timeout", 504, "It took too long";
    /// Too much is being asked for at once.
    Overloaded = "overloaded", 503, "The server has too much to do";
    /// The server is on its way down.
    Stopping = "stopping", 503, "The server is stopping";
    /// The ledger does not answer.
    MetastoreUnavailable = "metastore_unavailable", 503, "The ledger does not answer";
    /// Feast's registry does not answer.
    RegistryUnavailable = "registry_unavailable", 503, "Feast's registry does not answer";
    /// The online store does not answer.
    OnlineStoreUnavailable = "online_store_unavailable", 503, "The online store does not answer";
    /// The body's media type is not JSON.
    UnsupportedMediaType = "unsupported_media_type", 415, "The body's media type is not JSON";
    /// The body has not the form that the path takes.
    InvalidShape = "invalid_shape", 422, "The body has another form";
    /// A reference to a feature cannot be read.
    InvalidReference = "invalid_reference", 400, "A feature reference cannot be read";
    /// Neither features nor a feature service are asked for.
    NoFeatures = "no_features", 400, "No features are asked for";
    /// The project has no such feature service.
    UnknownFeatureService = "unknown_feature_service", 404, "There is no such feature service";
    /// The view has no such feature.
    UnknownFeature = "unknown_feature", 404, "The feature view has no such feature";
    /// No view takes rows from the push source.
    UnknownPushSource = "unknown_push_source", 404, "No feature view has the push source";
    /// Two columns of the answer would have one name.
    FeatureNameCollision = "feature_name_collision", 400, "Two features would have one name";
    /// The view's features cannot be answered or written.
    NotServable = "not_servable", 400, "A feature view cannot be served";
    /// A join key is not among the entities.
    MissingJoinKey = "missing_join_key", 400, "A join key is missing";
    /// A value of an entity cannot be used.
    InvalidEntity = "invalid_entity", 400, "An entity cannot be read";
    /// A row to write cannot be used.
    InvalidRows = "invalid_rows", 400, "Rows cannot be written";
    /// One request asks for more than this server answers at once.
    TooMuchAskedFor = "too_much_asked_for", 400, "The request asks for too much at once";
    /// Our bug.
    Internal = "internal", 500, "The server failed";
}

impl Code {
    /// Reads a name back.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == name)
    }

    /// Tells whether the same request may go through later, as it is.
    pub const fn is_retryable(self) -> bool {
        match self {
            Self::Timeout
            | Self::Overloaded
            | Self::Stopping
            | Self::MetastoreUnavailable
            | Self::RegistryUnavailable
            | Self::OnlineStoreUnavailable => true,
            Self::InvalidBody
            | Self::InvalidRequest
            | Self::UnknownProject
            | Self::UnknownView
            | Self::UnknownRun
            | Self::NotFound
            | Self::MethodNotAllowed
            | Self::NotMaterializable
            | Self::NoViews
            | Self::IdempotencyMismatch
            | Self::InvalidIdempotencyKey
            | Self::RunEnded
            | Self::Unauthenticated
            | Self::Forbidden
            | Self::BodyTooLarge
            | Self::UnsupportedMediaType
            | Self::InvalidShape
            | Self::InvalidReference
            | Self::NoFeatures
            | Self::UnknownFeatureService
            | Self::UnknownFeature
            | Self::UnknownPushSource
            | Self::FeatureNameCollision
            | Self::NotServable
            | Self::MissingJoinKey
            | Self::InvalidEntity
            | Self::InvalidRows
            | Self::TooMuchAskedFor
            | Self::Internal => false,
        }
    }

    /// What a caller is told of what is not the caller's fault. The causes may name machines, so
    /// they are logged instead.
    pub const fn own_words(self) -> Option<&'static str> {
        match self {
            Self::MetastoreUnavailable => {
                Some("the ledger did not do as it was asked; the server's log says why; come again")
            }
            Self::RegistryUnavailable => {
                Some("Feast's registry could not be read; the server's log says why; come again")
            }
            Self::OnlineStoreUnavailable => {
                Some("the online store did not answer; the server's log says why; come again")
            }
            Self::Timeout => Some("it took longer than this server waits"),
            Self::Internal => {
                Some("the server failed, which is a bug of its own; its log says how: report it")
            }
            Self::InvalidBody
            | Self::InvalidRequest
            | Self::UnknownProject
            | Self::UnknownView
            | Self::UnknownRun
            | Self::NotFound
            | Self::MethodNotAllowed
            | Self::NotMaterializable
            | Self::NoViews
            | Self::IdempotencyMismatch
            | Self::InvalidIdempotencyKey
            | Self::RunEnded
            | Self::Unauthenticated
            | Self::Forbidden
            | Self::BodyTooLarge
            | Self::Overloaded
            | Self::Stopping
            | Self::UnsupportedMediaType
            | Self::InvalidShape
            | Self::InvalidReference
            | Self::NoFeatures
            | Self::UnknownFeatureService
            | Self::UnknownFeature
            | Self::UnknownPushSource
            | Self::FeatureNameCollision
            | Self::NotServable
            | Self::MissingJoinKey
            | Self::InvalidEntity
            | Self::InvalidRows
            | Self::TooMuchAskedFor => None,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The body of every answer that is no success.
///
/// # Source
/// RFC 9457, Problem Details for HTTP APIs: <https://www.rfc-editor.org/rfc/rfc9457>. `code` and
/// `field` are ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, thiserror::Error)]
#[error("{detail}")]
pub struct Problem {
    /// Where the code is explained.
    #[serde(rename = "type")]
    pub kind: String,
    /// What went wrong, the same for every occurrence.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What went wrong this time, and what to do.
    pub detail: String,
    /// What went wrong, for programs.
    pub code: Code,
    /// The path that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The field of the request that is at fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

impl Problem {
    /// Makes a problem; status and title are the code's.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("/errors/{code}"),
            title: code.title().to_owned(),
            status: code.status(),
            detail: detail.into(),
            code,
            instance: None,
            field: None,
        }
    }

    /// No path fits.
    pub fn nothing_here() -> Self {
        Self::new(Code::NotFound, "there is nothing at this path; see `/openapi.json`")
    }

    /// The path fits, and the method does not.
    pub fn other_method() -> Self {
        let detail = "the path does not take this method; the header `Allow` lists those it takes";
        Self::new(Code::MethodNotAllowed, detail)
    }

    /// The same with the field of the request that is at fault.
    #[must_use]
    pub fn with_field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// The same with the path that was asked for.
    #[must_use]
    pub fn with_instance(mut self, path: impl Into<String>) -> Self {
        self.instance = Some(path.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn a_code_is_sent_under_its_name() {
        for &code in Code::ALL {
            let json = serde_json::to_string(&code).expect("a name is text");
            assert_eq!(json, format!("\"{code}\""));
            assert_eq!(Code::parse(code.as_str()), Some(code));
        }
        assert_eq!(Code::parse("teapot"), None);
    }

    #[test]
    fn every_code_has_a_page_and_every_page_a_code() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/errors");
        let pages: BTreeSet<String> = fs::read_dir(&directory)
            .expect("docs/errors exists")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
            .collect();
        let codes: BTreeSet<String> = Code::ALL.iter().map(|code| format!("{code}.md")).collect();
        assert_eq!(pages, codes);
        for &code in Code::ALL {
            let page = fs::read_to_string(directory.join(format!("{code}.md"))).expect("a page");
            let heading = format!("# {code}\n\n{} (HTTP {}).", code.title(), code.status());
            assert!(page.starts_with(&heading), "`{code}.md` must open with:\n{heading}");
            for section in ["## Meaning\n", "## Likely cause\n", "## What to do\n"] {
                assert!(page.contains(section), "`{code}.md` has no `{}`", section.trim());
            }
        }
    }

    #[test]
    fn what_may_go_through_later_is_of_the_server() {
        for code in Code::ALL.iter().filter(|code| code.is_retryable()) {
            assert!(matches!(code.status(), 503 | 504), "{code}");
        }
    }

    #[test]
    fn a_problem_reads_back_and_leaves_out_what_it_lacks() {
        let plain = Problem::new(Code::UnknownRun, "there is no run `r`");
        let json = serde_json::to_value(&plain).expect("JSON");
        assert_eq!(
            json,
            serde_json::json!({
                "type": "/errors/unknown_run",
                "title": "There is no such run",
                "status": 404,
                "detail": "there is no run `r`",
                "code": "unknown_run",
            })
        );
        let full = plain.with_field("run_id").with_instance("/v1/runs/r");
        let text = serde_json::to_string(&full).expect("JSON");
        assert_eq!(serde_json::from_str::<Problem>(&text).expect("a problem"), full);
        assert_eq!(full.to_string(), "there is no run `r`");
    }
}
