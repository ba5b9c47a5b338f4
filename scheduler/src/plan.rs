//! What a run would do, worked out without writing anything anywhere.

use api::{PlanReport, PlannedFile, RunRequest, ViewPlan};

use crate::Scheduler;
use crate::admit::Selected;
use crate::cut::ViewCut;
use crate::error::{Error, chain};
use crate::trigger::Trigger;
use crate::{cut, job};

impl Scheduler {
    /// Plans a request. Nothing is written: no ledger, no registry, no online store.
    ///
    /// # Errors
    /// When the request or the registry is at fault; what is wrong with one view is in the report.
    pub async fn plan(&self, request: &RunRequest) -> Result<PlanReport, Error> {
        let trigger = Trigger::of(request, self.settings.defaults, crate::now())?;
        let mut views = Vec::new();
        for selected in self.select(&trigger).await? {
            let planned = plan_view(self, &trigger, &selected).await;
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
    if let Some(lost) = &known.lost
        && trigger.is_incremental()
        && !(trigger.rebuild || scheduler.settings.rebuild_lost)
    {
        let refused = Error::StoreLost { agreement: lost.clone() };
        let reason = Some(format!("refused: {refused}"));
        return Ok(ViewPlan { reason, is_failure: true, ..named(selected) });
    }
    let (intervals, warnings) = match cut::cut_view(scheduler, selected, &known, trigger).await? {
        ViewCut::Read { intervals, warnings } => (intervals, warnings),
        ViewCut::Nothing { reason } => {
            return Ok(ViewPlan { reason: Some(reason), ..named(selected) });
        }
    };
    let correct = trigger.correct || (trigger.rebuild && known.fenced);
    let mut report = ViewPlan { warnings, correct, ..named(selected) };
    for &interval in intervals.as_slice() {
        // No store is asked: what its keys carry behind the entity key changes nothing here.
        let plan = job::plan(scheduler, Vec::new(), selected, interval).await?;
        report.windows.extend(cut::windows(scheduler, &plan, trigger));
        report.source = Some(plan.source_path().to_owned());
        let files = plan.files();
        report.files = report.files.max(files.len() as u64);
        report.row_groups =
            report.row_groups.max(files.iter().map(|file| file.row_groups as u64).sum());
        report.rows += plan.rows_max();
        for file in files.iter().filter(|file| file.row_groups_read > 0) {
            report.row_groups_read += file.row_groups_read as u64;
            report.bytes += file.bytes;
            add_file(&mut report.file_list, file);
        }
    }
    report.files_read = report.file_list.len() as u64;
    report.interval = intervals.hull();
    if trigger.newest_first {
        report.windows.reverse();
    }
    Ok(report)
}

/// Lists a file once, with all that is read of it.
fn add_file(list: &mut Vec<PlannedFile>, file: &jobs::PlannedFile) {
    let read = PlannedFile {
        path: file.path.clone(),
        size: file.size,
        etag: file.etag.clone(),
        last_modified: file.last_modified.clone(),
        row_groups: file.row_groups as u64,
        row_groups_read: file.row_groups_read as u64,
        rows: file.rows,
        bytes: file.bytes,
    };
    match list.iter_mut().find(|held| held.path == read.path) {
        Some(held) => {
            held.row_groups_read += read.row_groups_read;
            held.rows += read.rows;
            held.bytes += read.bytes;
        }
        None => list.push(read),
    }
}
