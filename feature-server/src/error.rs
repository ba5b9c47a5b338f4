//! What can be wrong with a request, and what can be wrong with us.

use std::time::Duration;

use api::Code;

/// Why a request cannot be answered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A reference is none.
    #[error("`{reference}` is no feature; write `view:feature`")]
    Reference {
        /// The reference.
        reference: String,
    },
    /// Nothing is asked for.
    #[error("no features are asked for; name them in `features`, or a `feature_service`")]
    NoFeatures,
    /// The project has no such service.
    #[error("feature service `{service}` does not exist in project `{project}`")]
    UnknownService {
        /// The service.
        service: String,
        /// The project.
        project: String,
    },
    /// The project has no such view.
    #[error("feature view `{view}` does not exist in project `{project}`")]
    UnknownView {
        /// The view.
        view: String,
        /// The project.
        project: String,
    },
    /// The view has no such feature.
    #[error("feature view `{view}` has no feature `{feature}`")]
    UnknownFeature {
        /// The view.
        view: String,
        /// The feature.
        feature: String,
    },
    /// No view takes rows from such a source.
    #[error("no feature view of project `{project}` has the push source `{source_name}`")]
    UnknownPushSource {
        /// The source.
        source_name: String,
        /// The project.
        project: String,
    },
    /// Two columns would have one name.
    #[error(
        "two features would be named `{name}`; set `full_feature_names`, or ask for one of them"
    )]
    Collision {
        /// The name.
        name: String,
    },
    /// The view cannot be answered for.
    #[error("feature view `{view}` cannot be served: {why}")]
    NotServable {
        /// The view.
        view: String,
        /// Why.
        why: String,
    },
    /// A join key is not in the request.
    #[error("`entities` lacks `{key}`, the join key of feature view `{view}`")]
    MissingJoinKey {
        /// The name under which a request carries it.
        key: String,
        /// The view that needs it.
        view: String,
    },
    /// A value of an entity cannot be used.
    #[error("entity `{key}`, row {row}")]
    Entity {
        /// The column.
        key: String,
        /// The row, from 0.
        row: usize,
        /// What is wrong with it.
        source: feast::value::Error,
    },
    /// Columns differ in length.
    #[error("entity `{key}` has {length} values and `{other}` has {other_length}; they must agree")]
    Lengths {
        /// A column.
        key: String,
        /// Its values.
        length: usize,
        /// Another.
        other: String,
        /// Its values.
        other_length: usize,
    },
    /// There is no row.
    #[error("`entities` has no rows; every join key takes a list of at least one value")]
    NoRows,
    /// More is asked for than is allowed.
    #[error("{count} {what} are asked for, and this server takes {max}; split the request")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// How many there may be.
        max: usize,
    },
    /// The body has another form.
    #[error("{what}")]
    Body {
        /// What is wrong with it.
        what: String,
    },
    /// A column of rows to write is not there.
    #[error("the rows lack column `{column}` of feature view `{view}`")]
    MissingColumn {
        /// The column.
        column: String,
        /// The view.
        view: String,
    },
    /// A cell of rows to write cannot be used.
    #[error("column `{column}`, row {row}: {what}")]
    Cell {
        /// The column.
        column: String,
        /// The row, from 0.
        row: usize,
        /// What is wrong with it.
        what: String,
    },
    /// A stored value is no value of Feast's.
    #[error("what is stored of `{view}:{feature}` is no value of Feast's")]
    StoredValue {
        /// The view.
        view: String,
        /// The feature.
        feature: String,
        /// What is wrong with it.
        source: feast::value::Error,
    },
    /// The join keys of a view have no bytes.
    #[error("the entity key of feature view `{view}` cannot be serialized")]
    EntityKey {
        /// The view.
        view: String,
        /// Why.
        source: feast::entity_key::Error,
    },
    /// The registry cannot be read.
    #[error("the registry cannot be read")]
    Registry(#[source] registry::Error),
    /// The registry has not been read yet.
    #[error("the registry has not been read yet")]
    NoRegistry,
    /// The registry took too long.
    #[error("the registry did not answer within {} s", limit.as_secs())]
    RegistryTimeout {
        /// How long it may take.
        limit: Duration,
    },
    /// The online store cannot be read or written.
    #[error("the online store cannot be used")]
    Store(#[source] online_store::Error),
    /// The online store cannot be reached.
    #[error("the online store cannot be reached; the server goes on trying")]
    NoStore,
    /// The online store took too long.
    #[error("the online store did not answer within {} ms", limit.as_millis())]
    StoreTimeout {
        /// How long it may take.
        limit: Duration,
    },
}

impl Error {
    /// The code that a caller is told.
    pub fn code(&self) -> Code {
        match self {
            Self::Reference { .. } => Code::InvalidReference,
            Self::NoFeatures => Code::NoFeatures,
            Self::UnknownService { .. } => Code::UnknownFeatureService,
            Self::UnknownView { .. } => Code::UnknownView,
            Self::UnknownFeature { .. } => Code::UnknownFeature,
            Self::UnknownPushSource { .. } => Code::UnknownPushSource,
            Self::Collision { .. } => Code::FeatureNameCollision,
            Self::NotServable { .. } => Code::NotServable,
            Self::MissingJoinKey { .. } => Code::MissingJoinKey,
            Self::Entity { .. } | Self::Lengths { .. } | Self::NoRows => Code::InvalidEntity,
            Self::TooMuch { .. } => Code::TooMuchAskedFor,
            Self::Body { .. } => Code::InvalidShape,
            Self::MissingColumn { .. } | Self::Cell { .. } => Code::InvalidRows,
            Self::Registry(_) | Self::NoRegistry | Self::RegistryTimeout { .. } => {
                Code::RegistryUnavailable
            }
            Self::Store(_) | Self::NoStore | Self::StoreTimeout { .. } => {
                Code::OnlineStoreUnavailable
            }
            Self::StoredValue { .. } | Self::EntityKey { .. } => Code::Internal,
        }
    }

    /// Tells whether the same request may go through later, as it is.
    pub fn is_retryable(&self) -> bool {
        self.code().is_retryable()
    }
}
