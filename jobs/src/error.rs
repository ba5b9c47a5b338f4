//! What can go wrong between a source's path and a receipt.

use datafusion::error::DataFusionError;

use crate::encode;
use crate::sink::{Refusal, SinkError};
use crate::source::ReadError;

/// Why a window could not be planned or run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The source's path is not one that can be read.
    #[error("cannot read source path `{path}`: {why}")]
    Path {
        /// The path as the registry has it.
        path: String,
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// An object store could not be set up from its URL and options.
    #[error(
        "failed to open the object store of `{url}`; check the `AWS_*` environment or \
         `tidegate.object_store`"
    )]
    Store {
        /// The store's URL.
        url: String,
        /// The cause.
        source: object_store::Error,
    },
    /// Files could not be listed.
    #[error(
        "failed to list `{path}`; check that the object store answers and that the options in \
         `tidegate.object_store` fit it"
    )]
    List {
        /// The path that was listed.
        path: String,
        /// The cause.
        source: object_store::Error,
    },
    /// No file was found.
    #[error("no Parquet file at `{path}`")]
    NoFiles {
        /// The path as resolved.
        path: String,
    },
    /// A file's footer could not be read.
    #[error(
        "failed to read `{file}`; it is not a complete Parquet file, or it was replaced meanwhile"
    )]
    File {
        /// The file.
        file: String,
        /// The cause.
        source: parquet::errors::ParquetError,
    },
    /// A file could not be got from its object store.
    #[error(transparent)]
    Read(ReadError),
    /// A file lacks a column.
    #[error("column `{column}` ({role}) does not exist in `{file}`, which has: {columns}")]
    MissingColumn {
        /// The column in the source.
        column: String,
        /// What it is needed for.
        role: String,
        /// The file.
        file: String,
        /// The columns that the file has.
        columns: String,
    },
    /// A name is one that the field mapping renames away.
    #[error(
        "`{column}` ({role}) is renamed to `{renamed}` by the source's field mapping; the \
         definition must use `{renamed}`"
    )]
    Renamed {
        /// The name that was used.
        column: String,
        /// What it is used for.
        role: String,
        /// The name after mapping.
        renamed: String,
    },
    /// A file has two columns of one name.
    #[error("`{file}` has two columns named `{column}`")]
    DuplicateColumn {
        /// The column.
        column: String,
        /// The file.
        file: String,
    },
    /// Two files give a column types that do not go together.
    #[error(
        "column `{column}` is {found} in `{file}` but {expected} in `{first}`; rewrite one of \
         them"
    )]
    MixedTypes {
        /// The column.
        column: String,
        /// The file that differs.
        file: String,
        /// Its type there.
        found: String,
        /// The first file.
        first: String,
        /// The type there.
        expected: String,
    },
    /// The event or created time column is no timestamp.
    #[error("{role} column `{column}` is {found} in `{file}`; it must be a timestamp")]
    TimeType {
        /// The column.
        column: String,
        /// Which of the two.
        role: &'static str,
        /// Its type.
        found: String,
        /// The file.
        file: String,
    },
    /// The view's `tidegate.active_when` is not a predicate over the source.
    #[error(
        "tag `tidegate.active_when` = `{predicate}` is not a boolean predicate over the source's \
         columns"
    )]
    Predicate {
        /// The predicate.
        predicate: String,
        /// The cause.
        source: DataFusionError,
    },
    /// A column cannot hold what the view declares.
    #[error("view `{view}` cannot be encoded from `{file}`")]
    Encode {
        /// The view.
        view: String,
        /// The first file of the source.
        file: String,
        /// The cause.
        source: encode::Error,
    },
    /// A row holds a value that Feast's type cannot.
    #[error(
        "column `{column}` of row {row} (counted from 0) of `{file}`: {reason}; repair the row, \
         or set `tidegate.on_bad_row: skip`"
    )]
    BadRow {
        /// The file.
        file: String,
        /// The row in the file, from 0.
        row: String,
        /// The column, by its name in the view.
        column: String,
        /// What is wrong with the value.
        reason: String,
    },
    /// Memory, or the room for what does not fit into it, is used up.
    #[error(
        "view `{view}` needs more memory, or more room for temporary files, than there is; raise \
         `tidegate.memory_limit`, or materialize a shorter interval"
    )]
    Memory {
        /// The view.
        view: String,
        /// What DataFusion says of its consumers.
        source: DataFusionError,
    },
    /// A file was replaced or removed after it was listed.
    #[error(
        "`{file}` was replaced or removed while it was being read; nothing was committed, run it \
         again"
    )]
    SourceChanged {
        /// The file.
        file: String,
    },
    /// The online store did not take the rows.
    #[error("failed to write view `{view}`")]
    Sink {
        /// The view.
        view: String,
        /// Whether the same write may succeed later.
        retryable: bool,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The online store may have lost rows that it had acknowledged.
    #[error("rows of view `{view}` may be gone again; nothing was committed")]
    Unconfirmed {
        /// The view.
        view: String,
        /// Whether the same window may land later, or at once from its start.
        retryable: bool,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another attempt has taken the view over, or may have.
    #[error("view `{view}` was taken over by another attempt; nothing was committed by this one")]
    Superseded {
        /// The view.
        view: String,
        /// How that was noticed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The run was cancelled.
    #[error("view `{view}` was cancelled")]
    Cancelled {
        /// The view.
        view: String,
    },
    /// A partition's rows are in the online store, but that could not be kept.
    #[error("failed to keep that partition {partition} of view `{view}` is done")]
    Checkpoint {
        /// The view.
        view: String,
        /// The partition.
        partition: usize,
        /// Whether the same attempt may get further later.
        retryable: bool,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A correction has more entity keys than memory holds.
    #[error(
        "a correction of view `{view}` must remember every entity key it writes, and they do not \
         fit into half of the memory limit; cut smaller windows, or raise \
         `tidegate.memory_limit`"
    )]
    Keys {
        /// The view.
        view: String,
        /// What the memory pool says.
        source: DataFusionError,
    },
    /// The query engine failed.
    #[error("failed to compute view `{view}`")]
    Engine {
        /// The view.
        view: String,
        /// The cause.
        source: DataFusionError,
    },
}

impl Error {
    /// What a sink's refusal means to the attempt at a view.
    pub fn of_sink(view: &str, error: SinkError) -> Self {
        let (view, retryable, source) = (view.to_owned(), error.is_retryable(), error.source);
        match error.refusal {
            Refusal::Passing | Refusal::Lasting => Self::Sink { view, retryable, source },
            Refusal::Lost => Self::Unconfirmed { view, retryable, source },
            Refusal::Superseded => Self::Superseded { view, source },
            Refusal::Cancelled => Self::Cancelled { view },
        }
    }

    /// Tells whether running the window again from its start, at once, is the way out: what went
    /// wrong is over, but an attempt cannot go on from it.
    pub fn asks_for_new_attempt(&self) -> bool {
        matches!(self, Self::Unconfirmed { retryable: true, .. } | Self::SourceChanged { .. })
    }

    /// Tells whether the attempt lost the view to another, which goes on with it.
    pub fn is_superseded(&self) -> bool {
        matches!(self, Self::Superseded { .. })
    }

    /// Tells whether trying again may help without anyone changing anything.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Store { .. } | Self::List { .. } | Self::Read(_) | Self::SourceChanged { .. } => {
                true
            }
            Self::Sink { retryable, .. }
            | Self::Unconfirmed { retryable, .. }
            | Self::Checkpoint { retryable, .. } => *retryable,
            Self::Path { .. }
            | Self::NoFiles { .. }
            | Self::File { .. }
            | Self::MissingColumn { .. }
            | Self::Renamed { .. }
            | Self::DuplicateColumn { .. }
            | Self::MixedTypes { .. }
            | Self::TimeType { .. }
            | Self::Predicate { .. }
            | Self::Encode { .. }
            | Self::BadRow { .. }
            | Self::Memory { .. }
            | Self::Keys { .. }
            | Self::Superseded { .. }
            | Self::Cancelled { .. }
            | Self::Engine { .. } => false,
        }
    }
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        if error.is_change() { Self::SourceChanged { file: error.file } } else { Self::Read(error) }
    }
}
