//! Feast's registry messages, and how they become typed objects.
//!
//! Everything that knows a field number is here, so that the crate `registry` moves bytes and
//! never reads them. Deliberately absent: where the bytes live.

mod compact;
mod convert;
mod edit;
mod message;
mod snapshot;
mod source;
mod wire;
mod write;

pub use edit::{FileEdit, IntervalRecord, check_kind, record_interval, record_interval_in_file};
pub use snapshot::{RawObjects, Snapshot, file_is_whole, view_in_file_history, view_in_history};
pub use write::{Definitions, SqliteTable, ViewDefinition};

use crate::feature_view::ViewKind;

/// What goes wrong when registry bytes are read or made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An object's bytes are no message of its kind.
    #[error(
        "failed to decode {what} `{name}` of the registry; apply the repository again with Feast"
    )]
    Decode {
        /// The kind of object.
        what: &'static str,
        /// Its name; empty where the registry does not tell it apart.
        name: String,
        /// What the decoder says.
        #[source]
        source: prost::DecodeError,
    },
    /// The registry file is no `Registry` message.
    #[error("failed to decode the registry: its bytes are no Feast registry")]
    File(#[source] prost::DecodeError),
    /// An interval was to be recorded for a view whose kind has none.
    #[error("failed to record an interval of `{view}`: a {kind} has no materialization intervals")]
    NoIntervals {
        /// The view.
        view: String,
        /// Its kind.
        kind: ViewKind,
    },
    /// The version history names a kind of view that Feast 0.67 does not have.
    #[error("version {version} of view `{view}` has the unknown type `{view_type}`")]
    HistoryType {
        /// The view.
        view: String,
        /// The version.
        version: u32,
        /// The type as the history has it.
        view_type: String,
    },
    /// A definition names something that the same definitions do not have.
    #[error("`{by}` names the {what} `{name}`, which is not defined; define or correct it")]
    Undefined {
        /// The kind of object that is named.
        what: &'static str,
        /// Its name.
        name: String,
        /// The view or service that names it.
        by: String,
    },
    /// An entity whose views need the type of its join key has none.
    #[error("entity `{entity}` has no value type, so its join key cannot be written; give it one")]
    Untyped {
        /// The entity.
        entity: String,
    },
}
