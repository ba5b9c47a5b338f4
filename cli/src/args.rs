//! Verbs and flags. The first ones are Feast's own, letter for letter.
//!
//! What goes into a run has a file of its own, because it is also what a server is asked for.

mod credentials;
mod run;
mod scheduler;
mod serve;

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use model::RunState;

pub use credentials::Credentials;
pub use run::{Incremental, Interval, OnStop, Rerun, Selection, State, Submission};
pub use scheduler::Scheduler;
pub use serve::Serve;

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

    /// A server of ours to ask, instead of doing it in this process; no repository is read then.
    #[arg(long, global = true, value_name = "URL", env = "TIDEGATE_SERVER")]
    pub server: Option<String>,

    /// A file with the token for the server, instead of the variable TIDEGATE_TOKEN.
    #[arg(long, global = true, value_name = "FILE", env = "TIDEGATE_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,

    /// PEM certificates to trust for the server, in place of the machine's own.
    #[arg(long, global = true, value_name = "FILE", env = "TIDEGATE_CA")]
    pub ca: Option<PathBuf>,

    /// How to print the result on stdout.
    #[arg(long, global = true, value_enum, default_value_t = Output::Text)]
    pub output: Output,

    /// Where to stop dead, for tests of what happens then: `STEP` or `STEP:N`.
    #[arg(
        long = "fail-at",
        global = true,
        value_name = "STEP",
        hide = true,
        env = "TIDEGATE_FAIL_AT"
    )]
    pub fail_point: Option<String>,

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
    MaterializeIncremental {
        /// The run.
        #[command(flatten)]
        run: Incremental,
        /// How it is begun.
        #[command(flatten)]
        submission: Submission,
    },
    /// Materialize every view from START to END, whatever has landed.
    Materialize {
        /// The run.
        #[command(flatten)]
        run: Interval,
        /// How it is begun.
        #[command(flatten)]
        submission: Submission,
    },
    /// Do once more what failed, what is missing, or all of an interval.
    Rerun {
        /// The run.
        #[command(flatten)]
        run: Rerun,
        /// How it is begun.
        #[command(flatten)]
        submission: Submission,
    },
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
        /// Which runs.
        #[command(flatten)]
        list: RunsList,
        /// One run instead.
        #[command(subcommand)]
        one: Option<RunsVerb>,
    },
    /// Read features of one or more entities back from the online store.
    GetOnlineFeatures(Read),
    /// Create or upgrade the ledger.
    Migrate,
    /// Serve runs over HTTP, with a console for people, until SIGTERM.
    Scheduler(Scheduler),
    /// Serve online features over HTTP and gRPC, until SIGTERM.
    Serve(Serve),
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
    /// What `rerun` would do.
    Rerun(Rerun),
}

/// Which runs to list.
#[derive(Debug, ClapArgs)]
pub struct RunsList {
    /// Only the newest so many.
    #[arg(long, default_value_t = 20)]
    pub limit: u32,
    /// Only runs in this state: `pending`, `running`, `succeeded`, `failed`, `cancelled` or
    /// `interrupted`.
    #[arg(long, value_parser = run_state)]
    pub state: Option<RunState>,
    /// Only runs of this view.
    #[arg(long, value_name = "NAME")]
    pub view: Option<String>,
    /// Only runs since then: ISO 8601, or how long ago, such as `2h`.
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
}

fn run_state(text: &str) -> Result<RunState, String> {
    RunState::parse(text).ok_or_else(|| {
        let states: Vec<&str> = RunState::ALL.iter().map(|state| state.as_str()).collect();
        format!("it is one of {}", states.join(", "))
    })
}

/// Verbs on one run.
#[derive(Debug, Subcommand)]
pub enum RunsVerb {
    /// Show one run with its jobs and receipts.
    Show {
        /// The run's id, as `tidegate runs` lists it.
        run_id: String,
    },
    /// Show what happens to a run until it ends, and exit as it does.
    Watch {
        /// The run's id, as `tidegate runs` lists it.
        run_id: String,
    },
    /// Ask a run to end; what has landed stays.
    Cancel {
        /// The run's id, as `tidegate runs` lists it.
        run_id: String,
    },
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
