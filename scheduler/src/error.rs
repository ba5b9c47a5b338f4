//! What can keep a run from starting, or a job from landing.

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
    #[error("failed to open the online store for view `{view}`")]
    Sink {
        /// The view.
        view: String,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    /// Tells whether what was asked for is wrong, rather than something on the way.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::UnknownView { .. }
            | Self::NotMaterializable { .. }
            | Self::Version { .. }
            | Self::Reversed { .. }
            | Self::StartInFuture { .. } => true,
            Self::NoViews { .. }
            | Self::Tag { .. }
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
