//! How an attempt's rows are to be written.

use serde::{Deserialize, Serialize};

use crate::interval::Interval;

/// Number that grows with every lease of a view; a commit that carries an older one is refused.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct FencingToken(pub u64);

impl std::fmt::Display for FencingToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// How an attempt's rows are to be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteMode {
    /// The fence of a view that was ever corrected: put into the store before the first write, and
    /// compared there for equality by every write. `None` for a view without corrections.
    pub fence: Option<FencingToken>,
    /// The window of a correcting attempt: a row of equal event time wins, and so does any row
    /// over a stored one whose event time lies inside.
    pub correct: Option<Interval>,
}
