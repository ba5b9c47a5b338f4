//! What a run would do, worked out without writing anything anywhere.

use jobs::PlannedFile;
use model::{Cut, Interval};
use serde::Serialize;

use crate::Scheduler;
use crate::admit::{self, Selected};
use crate::error::{Error, chain};
use crate::trigger::Trigger;
use crate::{cut, job};

/// What a run would do.
#[derive(Clone, Debug, Serialize)]
pub struct PlanReport {
    /// The project.
    pub project: String,
    /// One entry a view, in the order of the registry.
    pub views: Vec<ViewPlan>,
}

/// What a job would do.
///
/// # Units
/// Bytes are compressed bytes of the columns that are read; rows are an upper bound, those of the
/// row groups that are read.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ViewPlan {
    /// The view.
    pub view: String,
    /// The name its rows are stored under.
    pub storage_name: String,
    /// The interval to be read, in nanoseconds, end excluded; `None` when nothing is.
    pub interval: Option<Interval>,
    /// Why nothing would be read.
    pub reason: Option<String>,
    /// Whether the view would fail.
    pub is_failure: bool,
    /// The source as resolved.
    pub source: Option<String>,
    /// Files of the source.
    pub files: usize,
    /// Files of which something is read.
    pub files_read: usize,
    /// Row groups of the source.
    pub row_groups: usize,
    /// Row groups that are read.
    pub row_groups_read: usize,
    /// Rows by statistics.
    pub rows: u64,
    /// Bytes by statistics.
    pub bytes: u64,
    /// What the operator should know.
    pub warnings: Vec<String>,
    /// The files of which something is read.
    pub file_list: Vec<PlannedFile>,
}

impl Scheduler {
    /// Plans a trigger. Nothing is written: no ledger, no registry, no online store.
    ///
    /// # Errors
    /// When the trigger or the registry is at fault; what is wrong with one view is in the report.
    pub async fn plan(&self, trigger: &Trigger) -> Result<PlanReport, Error> {
        trigger.check()?;
        let snapshot = self.registry.snapshot(&self.config.project).await?;
        let mut views = Vec::new();
        for selected in admit::select(self, &snapshot, trigger).await? {
            let planned = plan_view(self, trigger, &selected).await;
            views.push(planned.unwrap_or_else(|error| ViewPlan {
                reason: Some(chain(&error)),
                is_failure: true,
                ..named(&selected)
            }));
        }
        Ok(PlanReport { project: self.config.project.clone(), views })
    }
}

fn named(selected: &Selected) -> ViewPlan {
    ViewPlan {
        view: selected.view.name.clone(),
        storage_name: selected.storage_name.clone(),
        ..ViewPlan::default()
    }
}

async fn plan_view(
    scheduler: &Scheduler,
    trigger: &Trigger,
    selected: &Selected,
) -> Result<ViewPlan, Error> {
    if let Some(refusal) = &selected.view.refusal {
        let reason = Some(format!("refused: {refusal}"));
        return Ok(ViewPlan { reason, is_failure: true, ..named(selected) });
    }
    let known = cut::look(scheduler, selected).await?;
    let (interval, warnings) = match cut::cut_view(&selected.view, &known, trigger)? {
        Cut::Read { interval, warnings } => (interval, warnings),
        Cut::Nothing { reason } => {
            return Ok(ViewPlan { reason: Some(reason.to_string()), ..named(selected) });
        }
    };
    // No store is asked: what its keys carry behind the entity key changes nothing here.
    let plan = job::plan(scheduler, Vec::new(), selected, interval).await?;
    let files = plan.files();
    let read: Vec<PlannedFile> =
        files.iter().filter(|file| file.row_groups_read > 0).cloned().collect();
    Ok(ViewPlan {
        interval: Some(interval),
        source: Some(plan.source_path().to_owned()),
        files: files.len(),
        files_read: read.len(),
        row_groups: files.iter().map(|file| file.row_groups).sum(),
        row_groups_read: read.iter().map(|file| file.row_groups_read).sum(),
        rows: plan.rows_max(),
        bytes: read.iter().map(|file| file.bytes).sum(),
        warnings: warnings.iter().map(ToString::to_string).collect(),
        file_list: read,
        ..named(selected)
    })
}
