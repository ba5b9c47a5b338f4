//! Feast's registry follows the ledger: committed intervals are appended to it, repeatably.
//!
//! A reconciler: it takes no input, reads what is outstanding, and does it. A run that died
//! between commit and mirror is made good by the next one.

use feast::ViewKind;
use registry::Recorded;

use crate::Scheduler;
use crate::error::Error;

/// Appends every outstanding interval of the project to Feast's registry.
///
/// Each may be appended twice after a crash; the registry then says that it is there already.
pub(crate) async fn mirror(scheduler: &Scheduler) -> Result<(), Error> {
    let ledger = scheduler.ledger()?;
    for row in ledger.pending_mirrors(&scheduler.config.project).await? {
        let kind = if row.kind == STREAM { ViewKind::Stream } else { ViewKind::Feature };
        let now = crate::now().micros_floor();
        let recorded = scheduler
            .registry
            .record_interval(
                &row.project,
                &row.view_name,
                kind,
                row.start_micros,
                row.end_micros,
                now,
            )
            .await?;
        if recorded == Recorded::ViewGone {
            tracing::warn!(
                view = row.view_name,
                "view is gone from the registry; interval dropped"
            );
        }
        ledger.mirror_done(row.id).await?;
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
