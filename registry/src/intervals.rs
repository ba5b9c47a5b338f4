//! What recording an interval comes to, however the registry is stored.

use feast::registry::IntervalRecord;
use feast::{ViewKind, registry};

use crate::Error;

/// What recording an interval came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// The list covers the interval now, merged with what adjoins it, and readers may serve the
    /// view.
    Added,
    /// One listed interval covered it already and readers may serve the view; nothing was changed.
    AlreadyThere,
    /// The project has no such view any more; nothing was changed.
    ViewGone,
}

/// One interval of one view, to be recorded.
#[derive(Clone, Debug)]
pub(crate) struct Recording {
    pub(crate) project: String,
    pub(crate) view: String,
    pub(crate) kind: ViewKind,
    pub(crate) interval: IntervalRecord,
}

impl Recording {
    /// Whole seconds of our clock, as Feast's columns have it.
    pub(crate) fn now_seconds(&self) -> i64 {
        const MICROS_PER_SECOND: i64 = 1_000_000;
        self.interval.now_micros.div_euclid(MICROS_PER_SECOND)
    }

    /// Applies it to the bytes of a registry file: the new bytes, or why there are none.
    pub(crate) fn apply(
        &self,
        file: &[u8],
        location: &str,
    ) -> Result<Result<Vec<u8>, Recorded>, Error> {
        let version_id = uuid::Uuid::new_v4().to_string();
        let Self { project, view, kind, interval } = self;
        let edit =
            registry::record_interval_in_file(file, project, view, *kind, *interval, &version_id);
        match edit.map_err(|source| Error::Bytes { location: location.to_owned(), source })? {
            registry::FileEdit::Changed(bytes) => Ok(Ok(bytes)),
            registry::FileEdit::AlreadyThere => Ok(Err(Recorded::AlreadyThere)),
            registry::FileEdit::ViewGone => Ok(Err(Recorded::ViewGone)),
        }
    }
}
