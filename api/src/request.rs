//! What callers send: a run to be made, and which runs to list.
//!
//! What can be checked without a clock, a registry or a ledger is checked here, so that both ends
//! refuse the same. Unknown fields are refused in what is sent and taken in what comes back.

use std::fmt;
use std::str::FromStr;

use model::{EventTime, RunId, RunKind, RunState, WindowId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::error::{Code, Problem};
use crate::schema;

/// A run to be made, or to be planned.
///
/// Serializing it gives the same text for the same request, however the caller wrote it, which is
/// what an idempotency key is compared by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RunRequest {
    /// The project; the server's own when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// What to do.
    #[schema(value_type = schema::RunKind)]
    pub kind: RunKind,
    /// The first instant: needed by `interval`, and by `rerun` of a state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::EventTime>)]
    pub start: Option<EventTime>,
    /// The last instant, which belongs to it as in Feast: needed where `start` is; `incremental`
    /// goes up to now without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::EventTime>)]
    pub end: Option<EventTime>,
    /// The views; empty for all that Feast would materialize.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub views: Vec<String>,
    /// The version of the one view that is asked for: `latest`, `v2` or `version2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What to do once more: needed by `rerun`, refused otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Rerun>)]
    pub rerun: Option<Rerun>,
    /// Lets rows of the interval replace stored rows of equal or greater event time inside it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub correct: bool,
    /// Writes what has landed once more, because the online store has lost it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub rebuild: bool,
    /// Takes the newest windows first.
    #[serde(default, skip_serializing_if = "is_false")]
    pub newest_first: bool,
    /// How long a window is at most: `1d`, `6h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<String>,
    /// Keeps an end in the future.
    #[serde(default, skip_serializing_if = "is_false")]
    pub allow_future: bool,
    /// Takes it for success when there is no view.
    #[serde(default, skip_serializing_if = "is_false")]
    pub allow_empty: bool,
    /// Refuses to write anything where it may not fit into the online store's memory.
    #[serde(default, skip_serializing_if = "is_false")]
    pub refuse_over_memory: bool,
    /// Jobs side by side; the server's own setting when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub parallel: Option<u16>,
}

/// What to do once more: exactly one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rerun {
    /// What did not land of a run.
    RunId(RunId),
    /// One window.
    WindowId(WindowId),
    /// What lies in the interval and is in a state.
    State(RerunState),
}

/// Which part of an interval is done once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RerunState {
    /// What has never landed.
    Missing,
    /// What was tried last and failed.
    Failed,
    /// Everything.
    All,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

impl RunRequest {
    /// A request of a kind that asks for nothing else.
    pub fn new(kind: RunKind) -> Self {
        Self {
            project: None,
            kind,
            start: None,
            end: None,
            views: Vec::new(),
            version: None,
            rerun: None,
            correct: false,
            rebuild: false,
            newest_first: false,
            window: None,
            allow_future: false,
            allow_empty: false,
            refuse_over_memory: false,
            parallel: None,
        }
    }

    /// Checks that the fields fit together.
    ///
    /// # Errors
    /// [`Code::InvalidRequest`] with the first field that does not fit.
    pub fn check(&self) -> Result<(), Problem> {
        self.check_bounds()?;
        self.check_rerun()?;
        self.check_selection()?;
        self.check_limits()
    }

    fn check_bounds(&self) -> Result<(), Problem> {
        if self.kind == RunKind::Incremental && self.start.is_some() {
            return refuse("start", "an incremental run starts at each view's watermark");
        }
        let whole = self.kind == RunKind::Interval || matches!(self.rerun, Some(Rerun::State(_)));
        if whole && self.start.is_none() {
            return refuse("start", "it is needed here");
        }
        if whole && self.end.is_none() {
            return refuse("end", "it is needed here");
        }
        match (self.start, self.end) {
            (Some(start), Some(end)) if start > end => {
                refuse("start", &format!("start {start} is after end {end}"))
            }
            _ => Ok(()),
        }
    }

    fn check_rerun(&self) -> Result<(), Problem> {
        let bounded = self.start.is_some() || self.end.is_some();
        match (self.kind, self.rerun) {
            (RunKind::Rerun, None) => {
                refuse("rerun", "a rerun names a `run_id`, a `window_id` or a `state`")
            }
            (RunKind::Rerun, Some(Rerun::RunId(_) | Rerun::WindowId(_))) if bounded => {
                let field = if self.start.is_some() { "start" } else { "end" };
                refuse(field, "the interval is that of the run or window named in `rerun`")
            }
            (RunKind::Rerun, Some(Rerun::WindowId(_))) if !self.views.is_empty() => {
                refuse("views", "the view is that of the window named in `rerun`")
            }
            (RunKind::Rerun, Some(_)) | (RunKind::Incremental | RunKind::Interval, None) => Ok(()),
            (kind @ (RunKind::Incremental | RunKind::Interval), Some(_)) => {
                refuse("rerun", &format!("it goes with `rerun`, not with `{kind}`"))
            }
        }
    }

    fn check_selection(&self) -> Result<(), Problem> {
        if self.project.as_ref().is_some_and(|project| project.trim().is_empty()) {
            return refuse("project", "it is blank; leave it out for the server's own");
        }
        if self.views.iter().any(|view| view.trim().is_empty()) {
            return refuse("views", "a name is blank");
        }
        if self.version.is_some() && self.views.len() != 1 {
            let count = self.views.len();
            return refuse("version", &format!("it needs exactly one of `views`, got {count}"));
        }
        Ok(())
    }

    fn check_limits(&self) -> Result<(), Problem> {
        if self.parallel == Some(0) {
            return refuse("parallel", "it must be above 0");
        }
        match self.window.as_deref().map(model::duration::parse) {
            Some(Err(error)) => refuse("window", &error.to_string()),
            Some(Ok(length)) if length.is_zero() => refuse("window", "it must be above 0"),
            Some(Ok(_)) | None => Ok(()),
        }
    }
}

fn refuse(field: &str, why: &str) -> Result<(), Problem> {
    Err(Problem::new(Code::InvalidRequest, format!("`{field}`: {why}")).with_field(field))
}

/// Which runs to list, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RunQuery {
    /// Runs of this project; the server's own when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Runs that have a job of this view.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub view: Option<String>,
    /// Runs in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<schema::RunState>, inline)]
    pub state: Option<RunState>,
    /// Runs admitted at or after this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<schema::EventTime>, inline)]
    pub since: Option<EventTime>,
    /// How many runs a page has at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1)]
    pub limit: Option<u32>,
    /// Where the page begins: `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// A name that the caller gives to one request, so that sending it again does nothing twice.
///
/// Sent in the header `Idempotency-Key`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// The header it is sent in.
    pub const HEADER: &'static str = "idempotency-key";
    /// What a hash or a handful of ids takes several times over, and an index of PostgreSQL holds.
    pub const CHARS_MAX: usize = 255;

    /// Draws a key that nobody has used.
    pub fn draw() -> Self {
        Self(uuid::Uuid::new_v4().to_string())
    }

    /// The key as sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for IdempotencyKey {
    type Err = Problem;

    /// Reads a key.
    ///
    /// # Errors
    /// [`Code::InvalidIdempotencyKey`] when it is empty, longer than [`Self::CHARS_MAX`], holds
    /// anything but printable ASCII, or begins or ends with a blank, which a header loses.
    fn from_str(text: &str) -> Result<Self, Problem> {
        let refused = |why: String| Err(Problem::new(Code::InvalidIdempotencyKey, why));
        if text.is_empty() {
            return refused("the idempotency key is empty; leave the header out instead".into());
        }
        if text.len() > Self::CHARS_MAX {
            let (length, most) = (text.len(), Self::CHARS_MAX);
            return refused(format!("the idempotency key has {length} bytes, {most} is the most"));
        }
        if !text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
            return refused("the idempotency key holds more than printable ASCII".into());
        }
        if text.starts_with(' ') || text.ends_with(' ') {
            return refused("the idempotency key begins or ends with a blank".into());
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests;
