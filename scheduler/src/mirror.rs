//! Feast's registry follows the ledger: committed intervals are added to its lists, repeatably.
//!
//! A reconciler: it takes no input, reads what is outstanding, and does it. A run that died
//! between commit and mirror is made good by the next one.

use feast::{FeatureView, ViewKind};
use metastore::Mirror;
use model::{Coverage, IntervalSet};
use registry::Recorded;

use crate::error::Error;
use crate::{Scheduler, cut};

/// Adds every outstanding interval of the project to Feast's registry.
///
/// Each may be added twice after a crash; the registry then says that it is there already.
pub(crate) async fn mirror(scheduler: &Scheduler) -> Result<(), Error> {
    let ledger = scheduler.ledger()?;
    let mut outcome = Ok(());
    for row in ledger.pending_mirrors(&scheduler.config.project).await? {
        // One interval that cannot be recorded must not keep the others back.
        if let Err(error) = deliver(scheduler, &row).await {
            outcome = outcome.and(Err(error));
        }
    }
    outcome
}

async fn deliver(scheduler: &Scheduler, row: &Mirror) -> Result<(), Error> {
    let kind = if row.kind == STREAM { ViewKind::Stream } else { ViewKind::Feature };
    let now = crate::now().micros_floor();
    let recorded = scheduler
        .registry
        .record_interval(&row.project, &row.view_name, kind, row.start_micros, row.end_micros, now)
        .await?;
    if recorded == Recorded::ViewGone {
        tracing::warn!(view = row.view_name, "view is gone from the registry; interval dropped");
    }
    Ok(scheduler.ledger()?.mirror_done(row.id).await?)
}

/// Lists again what our ledger knows to have landed and Feast's list of the view does not cover.
///
/// `feast apply` reads a view and writes it back later, without a lock; an interval that was
/// recorded in between is gone from the list, though nothing is gone from the online store.
pub(crate) async fn list_again(
    scheduler: &Scheduler,
    view: &FeatureView,
    coverage: &Coverage,
) -> Result<(), Error> {
    let listed: IntervalSet = cut::feast_intervals(view).into_iter().collect();
    for interval in coverage.intervals().minus(&listed) {
        let (start, end) =
            feast::interval::closed_micros(interval.start.nanos(), interval.end.nanos());
        // The instant that the next listed interval begins with has landed too.
        let is_joined = listed.as_slice().iter().any(|next| next.start == interval.end);
        let end = if is_joined { interval.end.micros_floor() } else { end };
        let now = crate::now().micros_floor();
        let project = &scheduler.config.project;
        scheduler.registry.record_interval(project, &view.name, view.kind, start, end, now).await?;
    }
    Ok(())
}

const STREAM: &str = "stream";

/// The kind of a view as the outbox names it.
pub(crate) fn kind_name(kind: ViewKind) -> &'static str {
    match kind {
        ViewKind::Stream => STREAM,
        ViewKind::Feature | ViewKind::OnDemand | ViewKind::Label => "feature",
    }
}
