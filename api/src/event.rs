//! What the stream of a run's events carries.
//!
//! `GET /v1/runs/{id}/events` is a stream of server-sent events. What was recorded has an `id`, by
//! which a reader resumes, and the name of its [`EventKind`]. [`PROGRESS`] has no `id`, because
//! nothing is lost without it. [`END`] comes last, after the run has ended.

use std::time::Duration;

use model::{EventTime, JobState, RunId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::schema;

/// The name of an event whose data is a list of [`ViewProgress`].
pub const PROGRESS: &str = "progress";

/// The name of the last event; its data is [`END_DATA`].
pub const END: &str = "end";

/// The data of [`END`]. An event without data is no event to a reader.
pub const END_DATA: &str = "{}";

/// How long the server may be silent: a comment is sent when nothing else is. Most proxies give a
/// silent connection up after 30 or 60 seconds.
pub const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Something that was recorded of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Its number, which grows; later events have greater ones.
    pub id: u64,
    /// The run.
    #[schema(value_type = schema::RunId)]
    pub run_id: RunId,
    /// When it was recorded.
    #[schema(value_type = schema::EventTime)]
    pub at: EventTime,
    /// What it is about.
    pub kind: EventKind,
    /// The id of the run, job, window or attempt.
    pub subject: String,
    /// The view, unless it is about the run as a whole.
    pub view: Option<String>,
    /// The state that it is in from now on.
    pub state: Option<String>,
    /// What the operator should know.
    pub text: Option<String>,
}

/// What an event is about; also the event's name in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The run changed its state.
    Run,
    /// A job changed its state.
    Job,
    /// A window changed its state.
    Window,
    /// An attempt changed its state.
    Attempt,
    /// Something that the operator should know.
    Warning,
}

impl EventKind {
    /// Every kind.
    pub const ALL: &'static [Self] =
        &[Self::Run, Self::Job, Self::Window, Self::Attempt, Self::Warning];

    /// The name as stored and sent.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Job => "job",
            Self::Window => "window",
            Self::Attempt => "attempt",
            Self::Warning => "warning",
        }
    }

    /// Reads a name back.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == name)
    }
}

/// How far a view of a running run has got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ViewProgress {
    /// The view.
    pub view: String,
    /// How far its job has got.
    #[schema(value_type = schema::JobState)]
    pub state: JobState,
    /// Rows that were read so far.
    pub rows_read: u64,
    /// Rows that statistics promise at most.
    pub rows_max: u64,
    /// Rows whose features are now the stored ones.
    pub written: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_sent_under_its_name() {
        for &kind in EventKind::ALL {
            let json = serde_json::to_string(&kind).expect("a name is text");
            assert_eq!(json, format!("\"{}\"", kind.as_str()));
            assert_eq!(EventKind::parse(kind.as_str()), Some(kind));
        }
        assert_eq!(EventKind::parse(PROGRESS), None);
        assert_eq!(EventKind::parse(END), None);
    }
}
