//! How requests are read: JSON, forms, queries and ids, whose faults become problems of ours.
//!
//! Apart from the handlers because axum's own rejections are plain text with statuses of their own.

use std::str::FromStr;

use api::{Code, Problem};
use axum::extract::rejection::{FormRejection, JsonRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use model::RunId;
use serde::de::DeserializeOwned;

use super::problem::Refusal;

/// A body of JSON.
#[derive(Debug)]
pub(crate) struct Json<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        match axum::Json::<T>::from_request(request, state).await {
            Ok(axum::Json(body)) => Ok(Self(body)),
            Err(rejection) => Err(json(&rejection)),
        }
    }
}

fn json(rejection: &JsonRejection) -> Refusal {
    let text = rejection.body_text();
    match rejection {
        JsonRejection::MissingJsonContentType(_) => unsupported("application/json"),
        JsonRejection::BytesRejection(rejection) => broken(rejection.status(), text),
        _ => Refusal::new(Code::InvalidBody, text),
    }
}

/// What a browser's form sends.
#[derive(Debug)]
pub(crate) struct Form<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Form<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        match axum::extract::Form::<T>::from_request(request, state).await {
            Ok(axum::extract::Form(body)) => Ok(Self(body)),
            Err(rejection) => Err(form(&rejection)),
        }
    }
}

fn form(rejection: &FormRejection) -> Refusal {
    let text = rejection.body_text();
    match rejection {
        FormRejection::InvalidFormContentType(_) => {
            unsupported("application/x-www-form-urlencoded")
        }
        FormRejection::BytesRejection(rejection) => broken(rejection.status(), text),
        _ => Refusal::new(Code::InvalidBody, text),
    }
}

fn unsupported(expected: &str) -> Refusal {
    let detail = format!("the body's media type must be `{expected}`");
    Refusal::new(Code::UnsupportedMediaType, detail)
}

/// A body that is too large, or whose sender went away half way.
fn broken(status: StatusCode, text: String) -> Refusal {
    if status == StatusCode::PAYLOAD_TOO_LARGE {
        return Refusal::new(Code::BodyTooLarge, "the body is larger than this server reads");
    }
    Refusal::new(Code::InvalidBody, text)
}

/// What follows the question mark.
#[derive(Debug)]
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let read: Result<axum::extract::Query<T>, QueryRejection> =
            axum::extract::Query::from_request_parts(parts, state).await;
        match read {
            Ok(axum::extract::Query(query)) => Ok(Self(query)),
            Err(rejection) => Err(Refusal::new(Code::InvalidRequest, rejection.body_text())),
        }
    }
}

/// The last part of the path where it is a run's id, alone or with a verb: `ID` or `ID:cancel`.
#[derive(Debug)]
pub(crate) struct RunPath {
    /// The id as given.
    pub(crate) id: String,
    /// What follows the colon.
    pub(crate) verb: Option<String>,
}

impl RunPath {
    /// The run; what is no id names no run.
    pub(crate) fn run(&self) -> Result<RunId, Refusal> {
        RunId::from_str(&self.id).map_err(|_| Refusal::unknown_run(&self.id))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for RunPath {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let PathText(text) = PathText::from_request_parts(parts, state).await?;
        Ok(match text.split_once(':') {
            Some((id, verb)) => Self { id: id.to_owned(), verb: Some(verb.to_owned()) },
            None => Self { id: text, verb: None },
        })
    }
}

/// The one parameter of a path, decoded.
#[derive(Debug)]
pub(crate) struct PathText(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for PathText {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(text)) => Ok(Self(text)),
            Err(_) => Err(Refusal::new(Code::NotFound, "the path holds more than UTF-8")),
        }
    }
}

/// The two parameters of a path, decoded.
#[derive(Debug)]
pub(crate) struct PathTexts(pub(crate) String, pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for PathTexts {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match Path::<(String, String)>::from_request_parts(parts, state).await {
            Ok(Path((first, second))) => Ok(Self(first, second)),
            Err(_) => Err(Refusal::new(Code::NotFound, "the path holds more than UTF-8")),
        }
    }
}

/// Refuses a value of a query or a header.
pub(crate) fn refuse(field: &str, why: impl std::fmt::Display) -> Refusal {
    let detail = format!("`{field}`: {why}");
    Refusal::from(Problem::new(Code::InvalidRequest, detail).with_field(field))
}
