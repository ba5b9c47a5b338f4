//! What can go wrong between a caller and the server.
//!
//! Addresses are shown without credentials: a client takes none in its URL.

use std::time::Duration;

use crate::error::{Code, Problem};

/// Why a call did not go through.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server's URL cannot be used. It is not shown, because it may hold a password.
    #[error("the server's URL {why}")]
    Address {
        /// What is wrong with it.
        why: String,
    },
    /// The token cannot stand in a header.
    #[error("the token is empty, or holds more than a header can carry")]
    Token,
    /// The certificates to be trusted are no PEM.
    #[error("the certificates to be trusted cannot be read as PEM")]
    Authority(#[source] reqwest::Error),
    /// There is no certificate among those to be trusted.
    #[error("there is no certificate among those to be trusted")]
    NoAuthority,
    /// TLS cannot be set up.
    #[error("failed to set up TLS")]
    Build(#[source] reqwest::Error),
    /// There was no answer, or it broke off.
    #[error("failed to {operation} at `{url}`")]
    Transport {
        /// What was being done.
        operation: &'static str,
        /// The address.
        url: String,
        /// The cause.
        source: reqwest::Error,
    },
    /// The server refused.
    #[error("{problem} ({})", problem.code)]
    Problem {
        /// What it said.
        problem: Box<Problem>,
        /// How long it asks to wait before the next try.
        retry_after: Option<Duration>,
    },
    /// Something answered that is not our server.
    #[error("`{url}` answered {status} in words that are not of a tidegate server: `{text}`")]
    Stranger {
        /// The address.
        url: String,
        /// The HTTP status.
        status: u16,
        /// How the body begins.
        text: String,
    },
    /// The answer is of another form than expected.
    #[error("the answer of `{url}` cannot be read; is the server of another version?")]
    Answer {
        /// The address.
        url: String,
        /// The cause.
        source: serde_json::Error,
    },
    /// The stream of events broke off again and again.
    #[error("the events of `{url}` broke off {failed} times without a new one in between")]
    BrokenOff {
        /// The address.
        url: String,
        /// How often in a row.
        failed: u32,
    },
    /// An event is larger than any of ours.
    #[error("`{url}` sent an event of more than {bytes_max} bytes")]
    EventTooLarge {
        /// The address.
        url: String,
        /// What an event may have.
        bytes_max: usize,
    },
}

impl Error {
    /// What the server said, if it was the server that refused.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Problem { problem, .. } => Some(problem),
            _ => None,
        }
    }

    /// The code that the server refused with.
    pub fn code(&self) -> Option<Code> {
        self.problem().map(|problem| problem.code)
    }

    /// Tells whether the same call may go through later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Problem { problem, .. } => problem.code.is_retryable(),
            Self::Transport { .. } | Self::BrokenOff { .. } => true,
            // A proxy that cannot reach the server answers in its place.
            Self::Stranger { status, .. } => matches!(status, 502..=504),
            Self::Address { .. }
            | Self::Token
            | Self::Authority(_)
            | Self::NoAuthority
            | Self::Build(_)
            | Self::Answer { .. }
            | Self::EventTooLarge { .. } => false,
        }
    }
}
