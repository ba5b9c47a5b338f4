//! What is answered when something is in the way: errors become codes, codes become bodies.
//!
//! [`code`] is the one table from our errors to the codes of the contract. A handler's refusal
//! travels as a part of the response, and `guard::finish` writes the body, because it alone knows
//! the path and who is asking.

use api::{Code, Problem};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::error::{Error, chain};

/// Seconds after which an outside system may be there again.
const LATER: u32 = 5;

/// An answer that is no success.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) problem: Problem,
    /// When to come again, in seconds.
    pub(crate) retry_after: Option<u32>,
}

impl Refusal {
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self::from(Problem::new(code, detail))
    }

    /// The same with the time after which it is worth coming again.
    pub(crate) fn after(self, seconds: u32) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    /// The server takes no more of this kind.
    pub(crate) fn overloaded(what: &str) -> Self {
        let detail = format!("as many {what} are at work as this server takes; come again");
        Self::new(Code::Overloaded, detail).after(1)
    }

    /// The server is on its way down.
    pub(crate) fn stopping() -> Self {
        let detail = "the server is stopping and takes no runs any more; another one, or its \
                      successor, does";
        Self::new(Code::Stopping, detail).after(5)
    }

    pub(crate) fn unknown_run(id: &str) -> Self {
        Self::new(Code::UnknownRun, format!("there is no run `{id}`; see `GET /v1/runs`"))
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self { problem, retry_after: None }
    }
}

impl From<Error> for Refusal {
    /// Logs what the caller is not told.
    fn from(error: Error) -> Self {
        let code = code(&error);
        match code.own_words() {
            Some(words) => {
                let error = chain(&error);
                if code == Code::Internal {
                    tracing::error!(error, "a request failed");
                } else {
                    tracing::warn!(error, "a request failed");
                }
                Self::new(code, words).after(LATER)
            }
            None => match error {
                Error::Request(problem) => Self::from(problem),
                error => {
                    let field = field(&error);
                    let problem = Problem::new(code, chain(&error));
                    Self::from(match field {
                        Some(field) => problem.with_field(field),
                        None => problem,
                    })
                }
            },
        }
    }
}

/// Carries the refusal to where its body is written.
impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.problem.status);
        let mut response = status.expect("the table has HTTP statuses").into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// No path fits.
pub(super) async fn nothing_here() -> Refusal {
    Problem::nothing_here().into()
}

/// The path fits, and the method does not.
pub(super) async fn other_method() -> Refusal {
    Problem::other_method().into()
}

/// Decides which code an error is answered with.
pub fn code(error: &Error) -> Code {
    match error {
        Error::UnknownView { .. } => Code::UnknownView,
        Error::NotMaterializable { .. }
        | Error::Tag { .. }
        | Error::ViewChanged { .. }
        | Error::StoreLost { .. } => Code::NotMaterializable,
        Error::NoViews { .. } => Code::NoViews,
        Error::Version { .. }
        | Error::Reversed { .. }
        | Error::StartInFuture { .. }
        | Error::WindowLength { .. }
        | Error::UnknownWindow { .. }
        | Error::NothingFailed { .. }
        | Error::NeverCut { .. } => Code::InvalidRequest,
        Error::Request(problem) => problem.code,
        Error::UnknownRun { .. } => Code::UnknownRun,
        Error::KeyTaken { .. } => Code::IdempotencyMismatch,
        Error::Deadline { .. } => Code::Timeout,
        Error::NoLedger => Code::MetastoreUnavailable,
        // Whatever is wrong with a registry, it is not the caller's.
        Error::Registry(_) => Code::RegistryUnavailable,
        Error::Ledger(error) => ledger_code(error),
        Error::Sink { .. } => Code::OnlineStoreUnavailable,
        // What is wrong with a view's source is told in a plan or a job, never here.
        Error::StoredRequest { .. } | Error::TakenForDead { .. } | Error::Jobs(_) => Code::Internal,
    }
}

fn ledger_code(error: &metastore::Error) -> Code {
    use metastore::Error as Ledger;
    match error {
        Ledger::Open { .. }
        | Ledger::Migrate { .. }
        | Ledger::Admit { .. }
        | Ledger::UpdateRun { .. }
        | Ledger::InterruptRuns { .. }
        | Ledger::Adopt { .. }
        | Ledger::Lease { .. }
        | Ledger::CutJob { .. }
        | Ledger::FinishJob { .. }
        | Ledger::Attempt { .. }
        | Ledger::Commit { .. }
        | Ledger::Mirror { .. }
        | Ledger::Read { .. }
        | Ledger::NewerSchema { .. }
        | Ledger::OlderSchema { .. } => Code::MetastoreUnavailable,
        Ledger::RunUnknown { .. } => Code::UnknownRun,
        Ledger::WindowUnknown { .. } => Code::InvalidRequest,
        Ledger::Address { .. }
        | Ledger::NotALedger { .. }
        | Ledger::AlteredMigration { .. }
        | Ledger::Superseded { .. }
        | Ledger::ViewUnknown { .. }
        | Ledger::WindowClosed { .. }
        | Ledger::AlreadyCommitted { .. }
        | Ledger::WindowMismatch { .. }
        | Ledger::OtherStore { .. }
        | Ledger::Unbalanced { .. } => Code::Internal,
    }
}

/// The field of a request that an error is about.
fn field(error: &Error) -> Option<&'static str> {
    match error {
        Error::Version { .. } => Some("version"),
        Error::Reversed { .. } | Error::StartInFuture { .. } => Some("start"),
        Error::WindowLength { .. } => Some("window"),
        Error::UnknownView { .. } | Error::NotMaterializable { .. } => Some("views"),
        Error::UnknownWindow { .. } | Error::NothingFailed { .. } | Error::NeverCut { .. } => {
            Some("rerun")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use model::{EventTime, RunId, WindowId};
    use uuid::Uuid;

    use super::*;

    fn run() -> RunId {
        RunId::from_uuid(Uuid::from_u128(1))
    }

    fn ledger(error: metastore::Error) -> Error {
        Error::Ledger(error)
    }

    #[test]
    fn every_fault_of_the_caller_has_its_code() {
        let start = EventTime::EPOCH;
        let window = WindowId::from_uuid(Uuid::from_u128(2));
        let text = String::new;
        for (error, expected) in [
            (
                Error::UnknownView { view: text(), project: text(), known: text() },
                Code::UnknownView,
            ),
            (Error::NotMaterializable { view: text(), why: "" }, Code::NotMaterializable),
            (Error::ViewChanged { view: text(), storage_name: text() }, Code::NotMaterializable),
            (Error::StoreLost { agreement: text() }, Code::NotMaterializable),
            (Error::NoViews { project: text(), views: 0 }, Code::NoViews),
            (Error::Version { what: text() }, Code::InvalidRequest),
            (Error::Reversed { start, end: start }, Code::InvalidRequest),
            (Error::StartInFuture { start }, Code::InvalidRequest),
            (Error::WindowLength { text: text() }, Code::InvalidRequest),
            (Error::UnknownWindow { window }, Code::InvalidRequest),
            (Error::NothingFailed { run: run() }, Code::InvalidRequest),
            (Error::NeverCut { run: run() }, Code::InvalidRequest),
            (Error::UnknownRun { run: run() }, Code::UnknownRun),
            (Error::KeyTaken { key: text(), run: run() }, Code::IdempotencyMismatch),
            (Error::Request(Problem::new(Code::NoViews, "")), Code::NoViews),
            (ledger(metastore::Error::RunUnknown { run: run() }), Code::UnknownRun),
        ] {
            assert_eq!(code(&error), expected, "{error}");
            assert!((400..500).contains(&expected.status()), "{error}");
        }
    }

    #[test]
    fn what_is_not_the_callers_fault_says_nothing_of_its_cause() {
        let url = "postgresql://u:hunter2@db.internal/x";
        for (error, expected) in [
            (Error::NoLedger, Code::MetastoreUnavailable),
            (ledger(metastore::Error::Address { reason: url.to_owned() }), Code::Internal),
            (
                ledger(metastore::Error::NewerSchema { found: 9, known: 1 }),
                Code::MetastoreUnavailable,
            ),
            (
                Error::Registry(registry::Error::Torn { location: url.to_owned() }),
                Code::RegistryUnavailable,
            ),
            (
                Error::Sink {
                    view: "v".to_owned(),
                    source: jobs::SinkError { refusal: jobs::Refusal::Passing, source: url.into() },
                },
                Code::OnlineStoreUnavailable,
            ),
            (Error::Deadline { limit: std::time::Duration::from_secs(1) }, Code::Timeout),
            (Error::TakenForDead { run: run() }, Code::Internal),
        ] {
            assert_eq!(code(&error), expected, "{error}");
            let refusal = Refusal::from(error);
            let body = serde_json::to_string(&refusal.problem).expect("JSON");
            assert!(!body.contains("hunter2") && !body.contains("db.internal"), "{body}");
            assert!(refusal.problem.status >= 500, "{body}");
        }
    }

    #[test]
    fn a_refusal_names_the_field_it_is_about() {
        let refusal = Refusal::from(Error::WindowLength { text: "soon".to_owned() });
        assert_eq!(refusal.problem.field.as_deref(), Some("window"));
        assert_eq!(Refusal::overloaded("streams").retry_after, Some(1));
    }
}
