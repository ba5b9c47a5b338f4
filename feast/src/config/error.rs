//! What can be wrong with a `feature_store.yaml`.
//!
//! Values are shown only where they cannot be a password.

/// What is wrong with a `feature_store.yaml`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text is no YAML.
    #[error("failed to parse `feature_store.yaml` as YAML")]
    Yaml(#[source] serde_norway::Error),
    /// The text is YAML, but no mapping of keys.
    #[error(
        "`feature_store.yaml` must be a mapping of keys, with `project` and `registry` at least"
    )]
    NotAMapping,
    /// A required key is absent or null.
    #[error("`feature_store.yaml` has no `{key}`; add it{hint}")]
    Missing {
        /// The key, with the keys above it.
        key: String,
        /// What it may be.
        hint: &'static str,
    },
    /// A key holds something of the wrong type.
    #[error("`{key}` in `feature_store.yaml` must be {expected}, not {found}")]
    Type {
        /// The key.
        key: String,
        /// What it must be.
        expected: &'static str,
        /// What it is; never its value.
        found: &'static str,
    },
    /// A key holds a value out of range or of the wrong form.
    #[error("`{key}: {value}` in `feature_store.yaml` is not valid: {why}")]
    Value {
        /// The key.
        key: String,
        /// Its value.
        value: String,
        /// What is wrong and what it must be.
        why: String,
    },
    /// A section holds a key that Feast, or we for our own section, do not know.
    #[error("`{section}` in `feature_store.yaml` has the unknown key `{key}`; known are {known}")]
    UnknownKey {
        /// The section.
        section: String,
        /// The key.
        key: String,
        /// The keys that may stand there.
        known: String,
    },
    /// Feast supports it and we do not.
    #[error("`{key}: {value}` in `feature_store.yaml` is not supported: {hint}")]
    Unsupported {
        /// The key.
        key: String,
        /// Its value.
        value: String,
        /// What to do.
        hint: String,
    },
    /// Feast supports the key and we do not; its value is not shown.
    #[error("`{key}` in `feature_store.yaml` is not supported: {hint}")]
    UnsupportedKey {
        /// The key.
        key: String,
        /// What to do.
        hint: String,
    },
    /// The Redis connection string cannot be used.
    #[error("`online_store.connection_string` in `feature_store.yaml` cannot be used: {0}")]
    ConnectionString(String),
    /// The URL of a SQL registry cannot be used.
    #[error("`registry.path` in `feature_store.yaml`, `{url}`, cannot be used: {why}")]
    RegistryUrl {
        /// The URL without its password.
        url: String,
        /// What is wrong and what to do.
        why: String,
    },
}
