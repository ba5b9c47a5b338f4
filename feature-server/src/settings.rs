//! How requests are answered where there is a choice, and how much one may ask for.

use std::time::Duration;

use feast::value::request::Coercion;

/// Whose statuses and whose leniency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compat {
    /// A status means what it says, and an input that would have to be guessed at is refused.
    #[default]
    Strict,
    /// Every status is `PRESENT`; inputs are coerced, and errors look, as Feast 0.67 does it.
    Feast,
}

/// What is answered for a value that is older than its view's ttl.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expired {
    /// The value.
    #[default]
    Keep,
    /// Null.
    Null,
}

/// What is answered for a feature that a Python function computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDemand {
    /// Null with the status `INVALID`; the rest of the request is answered.
    #[default]
    Null,
    /// The whole request is refused.
    Refuse,
}

/// How requests are answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Whose statuses.
    pub compat: Compat,
    /// What is answered for a value that is too old.
    pub expired: Expired,
    /// What is answered for an on-demand feature.
    pub on_demand: OnDemand,
    /// Whether features are read from Redis's replicas.
    pub reads_replicas: bool,
    /// How much one request may ask for.
    pub limits: Limits,
}

impl Settings {
    /// Tells whether inputs are coerced and statuses told as Feast does.
    pub fn is_feast(&self) -> bool {
        self.compat == Compat::Feast
    }

    /// How far the values of a request may be from their declared types.
    pub fn coercion(&self) -> Coercion {
        match self.compat {
            Compat::Strict => Coercion::Strict,
            Compat::Feast => Coercion::Feast,
        }
    }
}

/// How much one request may ask for, and how long it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Rows of a request.
    pub entities_max: usize,
    /// Features of a request.
    pub features_max: usize,
    /// Rows times features.
    pub values_max: usize,
    /// Bytes of a body.
    pub body_bytes_max: usize,
    /// Requests at once; more are turned away.
    pub requests_max: usize,
    /// How long the online store may take to answer.
    pub read_timeout: Duration,
    /// How long a request may take, its body included.
    pub request_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // A ranking model asks for some hundred candidates.
            entities_max: 10_000,
            features_max: 2_000,
            // An answer of 20 MB as JSON.
            values_max: 1_000_000,
            // Ten thousand rows of four keys take a tenth of it.
            body_bytes_max: 4 << 20,
            // Each takes its values in memory; connections beyond are kept and told to come again.
            requests_max: 1_024,
            // A caller has given up by then.
            read_timeout: Duration::from_secs(1),
            request_timeout: Duration::from_secs(10),
        }
    }
}
