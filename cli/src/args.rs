//! Verbs and flags. The first ones are Feast's own, letter for letter.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

/// Moves features from the offline store to the online store, and can say what has landed.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, max_term_width = 100)]
pub struct Args {
    /// Directory of the feature repository.
    #[arg(short = 'c', long, global = true, env = "FEATURE_REPO_DIR_ENV_VAR")]
    pub chdir: Option<PathBuf>,

    /// The configuration file, when it is not `feature_store.yaml` in the repository.
    #[arg(short = 'f', long, global = true, env = "FEAST_FS_YAML_FILE_PATH")]
    pub feature_store_yaml: Option<PathBuf>,

    /// How much to log to stderr.
    #[arg(long, global = true, value_enum, default_value_t = LogLevel::Warn, ignore_case = true)]
    pub log_level: LogLevel,

    /// URL of the ledger, instead of the one beside the registry:
    /// `postgresql://…` or `sqlite:///path`.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "TIDEGATE_METASTORE",
        hide_env_values = true
    )]
    pub metastore: Option<String>,

    /// How to print the result on stdout.
    #[arg(long, global = true, value_enum, default_value_t = Output::Text)]
    pub output: Output,

    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// Log levels by Feast's names too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// What a person must look at.
    #[value(alias = "critical")]
    Error,
    /// What was unusual.
    #[value(alias = "warning")]
    Warn,
    /// Changes of state.
    Info,
    /// Details.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// The name that `tracing` knows.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// One JSON document.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Materialize each view from where it has got to END.
    MaterializeIncremental(Incremental),
    /// Materialize every view from START to END, whatever has landed.
    Materialize(Interval),
    /// Show what a run would read, without writing anything.
    Plan {
        /// The run.
        #[command(subcommand)]
        run: Planned,
    },
    /// Show each view's watermark, freshness, gaps and last run.
    Status,
    /// List runs, newest first.
    Runs {
        /// Only the newest so many.
        #[arg(long, default_value_t = 20)]
        limit: u32,
        /// Show one run instead.
        #[command(subcommand)]
        one: Option<RunsVerb>,
    },
    /// Read features of one or more entities back from the online store.
    GetOnlineFeatures(Read),
    /// Create or upgrade the ledger.
    Migrate,
    /// Make a sample repository, materialize it, and read it back.
    Demo {
        /// Where to make it; a new directory below the system's temporary one by default.
        directory: Option<PathBuf>,
    },
}

/// Runs that can be planned.
#[derive(Debug, Subcommand)]
pub enum Planned {
    /// What `materialize-incremental END` would do.
    MaterializeIncremental(Incremental),
    /// What `materialize START END` would do.
    Materialize(Interval),
}

/// Verbs on one run.
#[derive(Debug, Subcommand)]
pub enum RunsVerb {
    /// Show one run with its jobs and receipts.
    Show {
        /// The run's id, as `tidegate runs` lists it.
        run_id: String,
    },
}

/// `materialize-incremental`.
#[derive(Debug, ClapArgs)]
pub struct Incremental {
    /// Last instant to materialize: ISO 8601, UTC when it has no offset.
    pub end: String,
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

/// Which views, and how.
#[derive(Debug, ClapArgs)]
pub struct Selection {
    /// A view to materialize; may be given several times. All by default.
    #[arg(short = 'v', long = "views", value_name = "NAME")]
    pub views: Vec<String>,
    /// The version of the one view that is named: `latest`, `v2` or `version2`.
    #[arg(long)]
    pub version: Option<String>,
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

/// `get-online-features`.
#[derive(Debug, ClapArgs)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["features", "feature_service"]))]
pub struct Read {
    /// Features as `view:feature`, separated by commas or given several times.
    #[arg(long, value_delimiter = ',', value_name = "VIEW:FEATURE")]
    pub features: Vec<String>,
    /// A feature service; its order is kept.
    #[arg(long, value_name = "NAME")]
    pub feature_service: Option<String>,
    /// A join key and its value; may be given several times. `id=1,2` reads two entities.
    #[arg(long = "entity", value_name = "KEY=VALUE")]
    pub entities: Vec<String>,
    /// Prefix each feature with its view.
    #[arg(long)]
    pub full_feature_names: bool,
}
