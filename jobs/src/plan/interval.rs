//! The source of a window, for other intervals: what cutting, and withdrawing rows, need.

use std::collections::HashMap;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use model::{EventTime, Interval};

use super::{WindowPlan, WindowSpec};
use crate::error::Error;
use crate::session::Session;
use crate::source::{ListedFile, Source, is_same};

impl WindowPlan {
    /// The row groups that are read: which part of the interval each can hold rows of, and the
    /// bytes that are read of it. One whose statistics do not tell spans the whole interval.
    pub fn spans(&self) -> Vec<(Interval, u64)> {
        let whole = self.spec.interval;
        let inside =
            |times: Interval| Interval::new(times.start.max(whole.start), times.end.min(whole.end));
        let groups = self.selection.files.iter().flat_map(|file| &file.row_groups);
        groups.map(|group| (group.times.map_or(whole, inside), group.bytes)).collect()
    }

    /// Plans an interval inside this one over the same listed files, so that the windows of a job
    /// are pinned to one state of its source and its footers are read once.
    ///
    /// # Errors
    /// When a page index cannot be read.
    pub fn within(&self, interval: Interval) -> BoxFuture<'static, Result<Self, Error>> {
        let spec = WindowSpec { interval, ..self.spec.clone() };
        Self::over(spec, Arc::clone(&self.source), self.need.clone(), self.active.clone()).boxed()
    }

    /// Plans everything before the interval; `None` where there is no earlier time.
    ///
    /// # Errors
    /// [`Error::SourceChanged`] when a file of this plan is not there any more, or is another;
    /// else as [`Self::new`]. Files that have come since are read: they hold no row of this plan.
    pub(crate) async fn earlier(&self, session: &Session) -> Result<Option<Self>, Error> {
        let interval = Interval::new(EventTime::MIN, self.spec.interval.start);
        if interval.is_empty() {
            return Ok(None);
        }
        // Listed again, because of files that a directory's day rules out no footer was read.
        let spec = WindowSpec { interval, ..self.spec.clone() };
        let earlier = Self::new(session, spec).await?;
        match changed(&self.source, &earlier.source) {
            Some(file) => Err(Error::SourceChanged { file: file.shown.clone() }),
            None => Ok(Some(earlier)),
        }
    }
}

/// The first file of a listing that is not in a later one as it was.
fn changed<'a>(pinned: &'a Source, found: &Source) -> Option<&'a ListedFile> {
    let found: HashMap<_, _> = files(found).map(|file| (&file.meta.location, &file.meta)).collect();
    files(pinned).find(|file| {
        let now = found.get(&file.meta.location);
        now.is_none_or(|now| !is_same(&file.meta, now))
    })
}

fn files(source: &Source) -> impl Iterator<Item = &ListedFile> {
    source.files.iter().map(|file| &file.listed).chain(&source.outside)
}
