//! What can keep a run from starting, or a job from landing.

use model::AttemptEnd;

/// Why a run or a job did not go through.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A view that was asked for does not exist.
    #[error("there is no feature view `{view}` in project `{project}`; it has: {known}")]
    UnknownView {
        /// The view.
        view: String,
        /// The project.
        project: String,
        /// The views there are.
        known: String,
    },
    /// A view that was asked for cannot be materialized at all.
    #[error("feature view `{view}` {why}")]
    NotMaterializable {
        /// The view.
        view: String,
        /// Why, and what to do.
        why: &'static str,
    },
    /// No view was selected.
    #[error(
        "no feature view to materialize in project `{project}` (views: {views}); check the project \
         and the registry's path, or pass --allow-empty"
    )]
    NoViews {
        /// The project.
        project: String,
        /// How many views the registry has for it.
        views: usize,
    },
    /// `--version` does not fit the rest.
    #[error("--version {what}")]
    Version {
        /// What is wrong, and what to do.
        what: String,
    },
    /// A tag of a view cannot be read.
    #[error("tag `{tag}` of view `{view}` is `{value}`")]
    Tag {
        /// The view.
        view: String,
        /// The tag.
        tag: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        source: model::duration::ParseError,
    },
    /// The interval is reversed.
    #[error("start {start} is after end {end}")]
    Reversed {
        /// The start.
        start: model::EventTime,
        /// The end.
        end: model::EventTime,
    },
    /// The interval lies in the future.
    #[error("start {start} is in the future; --allow-future takes it as it is")]
    StartInFuture {
        /// The start.
        start: model::EventTime,
    },
    /// `--window` is no duration.
    #[error("window `{text}` is no duration above 0; write `1d` or `6h`")]
    WindowLength {
        /// What was given.
        text: String,
    },
    /// The request contradicts itself.
    #[error("{}", .0.detail)]
    Request(api::Problem),
    /// The run is not recorded, or no longer.
    #[error("there is no run `{run}`; see `tidegate runs`")]
    UnknownRun {
        /// The run.
        run: model::RunId,
    },
    /// The window is not recorded, or no longer.
    #[error("there is no window `{window}`; see `tidegate runs show`")]
    UnknownWindow {
        /// The window.
        window: model::WindowId,
    },
    /// Every view of the run landed.
    #[error("every view of run `{run}` landed, so there is nothing to run again")]
    NothingFailed {
        /// The run.
        run: model::RunId,
    },
    /// The run ended before it was known what it was to read.
    #[error("run `{run}` ended before it was known what it was to read of the view; start it anew")]
    NeverCut {
        /// The run.
        run: model::RunId,
    },
    /// The same key was given to another request.
    #[error("idempotency key `{key}` belongs to run `{run}`, which was asked for something else")]
    KeyTaken {
        /// The key.
        key: String,
        /// The run that has it.
        run: model::RunId,
    },
    /// What a recorded run was asked to do cannot be read.
    #[error("failed to read what run `{run}` was asked to do; an older or newer program made it")]
    StoredRequest {
        /// The run.
        run: model::RunId,
        /// The cause.
        source: serde_json::Error,
    },
    /// The view is stored under another name than when the run was admitted.
    #[error(
        "feature view `{view}` is no longer stored as `{storage_name}`: its version was changed \
         since the run was admitted; start it anew"
    )]
    ViewChanged {
        /// The view.
        view: String,
        /// The name its rows were to be stored under.
        storage_name: String,
    },
    /// The online store and the ledger contradict each other.
    #[error(
        "{agreement}; what has landed may be missing, so an incremental run would leave it so; \
         run it with --rebuild, which writes everything that has landed once more"
    )]
    StoreLost {
        /// How they differ.
        agreement: String,
    },
    /// An attempt took longer than it may.
    #[error("the attempt took longer than {} s", .limit.as_secs())]
    Deadline {
        /// The limit.
        limit: std::time::Duration,
    },
    /// Another process has marked the run as interrupted.
    #[error(
        "run {run} was silent for so long that another process took it for dead; nothing of it can \
         be committed any more, run it again"
    )]
    TakenForDead {
        /// The run.
        run: model::RunId,
    },
    /// A ledger is needed and there is none.
    #[error("there is no ledger yet; run `tidegate migrate`")]
    NoLedger,
    /// Feast's registry could not be read or written.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// The ledger could not be read or written.
    #[error(transparent)]
    Ledger(#[from] metastore::Error),
    /// A window could not be planned or run.
    #[error(transparent)]
    Jobs(#[from] jobs::Error),
    /// The online store cannot take a view.
    #[error("the online store failed view `{view}`")]
    Sink {
        /// The view.
        view: String,
        /// The cause.
        source: jobs::SinkError,
    },
}

impl From<api::Problem> for Error {
    fn from(problem: api::Problem) -> Self {
        Self::Request(problem)
    }
}

impl Error {
    /// Decides what the end of an attempt by this error means. `retries_all` takes everything that
    /// may pass for a reason to try again, and not only what is known to be over.
    pub(crate) fn attempt_end(&self, retries_all: bool) -> AttemptEnd {
        match self {
            Self::Ledger(metastore::Error::Superseded { .. }) => AttemptEnd::Superseded,
            Self::Ledger(metastore::Error::OtherStore { .. }) => AttemptEnd::Transient,
            Self::Jobs(error) if error.is_superseded() => AttemptEnd::Superseded,
            Self::Jobs(error) if error.asks_for_new_attempt() => AttemptEnd::Transient,
            Self::Sink { source, .. } if source.refusal == jobs::Refusal::Superseded => {
                AttemptEnd::Superseded
            }
            Self::Sink { source, .. } if source.refusal == jobs::Refusal::Cancelled => {
                AttemptEnd::Cancelled
            }
            Self::Sink { source, .. } if source.refusal == jobs::Refusal::Lost => {
                AttemptEnd::Transient
            }
            _ if retries_all && self.may_pass() => AttemptEnd::Transient,
            _ => AttemptEnd::Permanent,
        }
    }

    /// Tells whether the same may succeed later without anybody's help.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Ledger(error) => error.is_retryable(),
            Self::Registry(error) => error.is_retryable(),
            Self::Jobs(error) => error.is_retryable(),
            Self::Sink { source, .. } => source.is_retryable(),
            Self::Deadline { .. } => true,
            _ => false,
        }
    }

    /// Tells whether what was asked for is wrong, rather than something on the way.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::UnknownView { .. }
            | Self::NotMaterializable { .. }
            | Self::Version { .. }
            | Self::Reversed { .. }
            | Self::WindowLength { .. }
            | Self::Request(_)
            | Self::UnknownRun { .. }
            | Self::UnknownWindow { .. }
            | Self::NothingFailed { .. }
            | Self::KeyTaken { .. }
            | Self::StartInFuture { .. } => true,
            Self::NoViews { .. }
            | Self::Tag { .. }
            | Self::NeverCut { .. }
            | Self::StoredRequest { .. }
            | Self::ViewChanged { .. }
            | Self::StoreLost { .. }
            | Self::Deadline { .. }
            | Self::TakenForDead { .. }
            | Self::NoLedger
            | Self::Registry(_)
            | Self::Ledger(_)
            | Self::Jobs(_)
            | Self::Sink { .. } => false,
        }
    }
}

/// The error and its causes in one line, outermost first.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let inner = error.to_string();
        // Some libraries repeat their cause in their own message.
        if !text.contains(&inner) {
            text.push_str(": ");
            text.push_str(&inner);
        }
        cause = error.source();
    }
    text
}
