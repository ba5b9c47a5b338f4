//! What a run is asked to do, and how it is begun.

use clap::{ArgGroup, Args as ClapArgs, ValueEnum};

/// `materialize-incremental`.
#[derive(Debug, ClapArgs)]
pub struct Incremental {
    /// Last instant to materialize: ISO 8601, UTC when it has no offset.
    pub end: String,
    /// Write all that has landed once more, because the online store has lost it.
    #[arg(long)]
    pub rebuild: bool,
    /// Which views and how.
    #[command(flatten)]
    pub selection: Selection,
}

/// `materialize`.
#[derive(Debug, ClapArgs)]
pub struct Interval {
    /// First instant to materialize: ISO 8601, UTC when it has no offset.
    #[arg(requires = "end", required_unless_present = "disable_event_timestamp")]
    pub start: Option<String>,
    /// Last instant to materialize.
    #[arg(required_unless_present = "disable_event_timestamp")]
    pub end: Option<String>,
    /// Materialize everything from 1970 to now; rows keep their event times.
    #[arg(long, conflicts_with_all = ["start", "end"])]
    pub disable_event_timestamp: bool,
    /// Which views and how.
    #[command(flatten)]
    pub selection: Selection,
}

/// `rerun`.
#[derive(Debug, ClapArgs)]
#[group(skip)]
#[command(group = ArgGroup::new("what").required(true).multiple(true)
    .args(["run", "window_id", "state", "from"]))]
pub struct Rerun {
    /// What did not land of this run.
    #[arg(long, value_name = "ID", conflicts_with_all = ["window_id", "state", "from", "to"])]
    pub run: Option<String>,
    /// One window, as `tidegate runs show` lists it.
    #[arg(long, value_name = "ID", conflicts_with_all = ["state", "from", "to", "views"])]
    pub window_id: Option<String>,
    /// Which part of the interval; all of it by default.
    #[arg(long, value_enum, requires = "from")]
    pub state: Option<State>,
    /// First instant: ISO 8601, UTC when it has no offset.
    #[arg(long, value_name = "START", requires = "to")]
    pub from: Option<String>,
    /// Last instant.
    #[arg(long, value_name = "END", requires = "from")]
    pub to: Option<String>,
    /// Which views and how.
    #[command(flatten)]
    pub selection: Selection,
}

/// Which part of an interval is done once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum State {
    /// What has never landed.
    Missing,
    /// What was tried last and failed.
    Failed,
    /// Everything.
    All,
}

/// Which views, and how.
#[derive(Debug, ClapArgs)]
pub struct Selection {
    /// A view to materialize; may be given several times. All by default.
    #[arg(short = 'v', long = "views", alias = "view", value_name = "NAME")]
    pub views: Vec<String>,
    /// The version of the one view that is named: `latest`, `v2` or `version2`.
    #[arg(long)]
    pub version: Option<String>,
    /// Let rows of the interval replace stored ones of it, and withdraw what it has no more.
    #[arg(long)]
    pub correct: bool,
    /// Write the newest windows first.
    #[arg(long)]
    pub newest_first: bool,
    /// Commit at least every so much of event time, such as `1d`; by bytes otherwise.
    #[arg(long, value_name = "DURATION", value_parser = window)]
    pub window: Option<String>,
    /// Keep an end in the future instead of cutting it to now.
    #[arg(long)]
    pub allow_future: bool,
    /// Succeed when there is no view to materialize.
    #[arg(long)]
    pub allow_empty: bool,
    /// Write nothing when it may not fit into Redis's memory, instead of warning.
    #[arg(long)]
    pub refuse_over_memory: bool,
    /// Views side by side; `tidegate.parallel` or 2 by default.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub parallel: Option<u16>,
}

/// How a run is begun.
#[derive(Debug, ClapArgs)]
pub struct Submission {
    /// Show the plan instead, as `tidegate plan` does.
    #[arg(long)]
    pub dry_run: bool,
    /// With a server: asked for again under the same key, the run is not made twice.
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
    /// With a server: what becomes of the run when this process is told to stop.
    #[arg(long, value_enum, env = "TIDEGATE_ON_STOP", default_value_t = OnStop::Cancel)]
    pub on_stop: OnStop,
}

/// What becomes of a server's run when whoever asked for it is told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnStop {
    /// It is cancelled.
    Cancel,
    /// It goes on without us.
    Detach,
}

/// A duration above zero, as it was written.
fn window(text: &str) -> Result<String, String> {
    match model::duration::parse(text) {
        Ok(length) if !length.is_zero() => Ok(text.to_owned()),
        Ok(_) => Err("it must be above 0".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
