//! How far each view of the project has got, and why one has got nowhere.

use std::collections::HashMap;

use api::{IntervalsReport, LastJob, Lease, StatusReport, ViewReport};
use feast::FeatureView;
use metastore::{HeldLease, JobRow, ViewStatus};
use model::{EventTime, IntervalSet, JobState, ViewRef, WindowState};

use crate::Scheduler;
use crate::cut;
use crate::error::Error;

const NANOS_PER_SECOND: i64 = 1_000_000_000;

impl Scheduler {
    /// Tells how far every view has got. Nothing is written.
    ///
    /// # Errors
    /// When the registry or the ledger cannot be read.
    pub async fn status(&self) -> Result<StatusReport, Error> {
        let project = &self.config.project;
        let snapshot = self.registry.snapshot(project).await?;
        let mut known: HashMap<String, ViewStatus> = HashMap::new();
        let mut leases: HashMap<String, HeldLease> = HashMap::new();
        if let Some(ledger) = &self.ledger {
            let views = ledger.views(project).await?;
            known = views.into_iter().map(|view| (view.view.storage_name.clone(), view)).collect();
            let held = ledger.leases(project).await?;
            leases = held.into_iter().map(|lease| (lease.storage_name.clone(), lease)).collect();
        }
        let now = crate::now();
        let report = |view: FeatureView| {
            let storage_name = view.storage_name(self.config.registry.versioning);
            let known = known.remove(&storage_name);
            let lease = leases.remove(&storage_name);
            view_report(view, storage_name, known, lease, now)
        };
        let views = snapshot.views.into_iter().map(report).collect();
        Ok(StatusReport { project: project.clone(), views })
    }

    /// What of a view has landed, is being written, failed, and is missing.
    ///
    /// # Errors
    /// [`Error::UnknownView`]; when the registry or the ledger cannot be read.
    pub async fn intervals(&self, name: &str) -> Result<IntervalsReport, Error> {
        let project = &self.config.project;
        let snapshot = self.registry.snapshot(project).await?;
        let view = snapshot.views.iter().find(|view| view.name == name);
        let view = view.ok_or_else(|| Error::UnknownView {
            view: name.to_owned(),
            project: project.clone(),
            known: snapshot
                .views
                .iter()
                .map(|view| view.name.as_str())
                .collect::<Vec<_>>()
                .join(", "),
        })?;
        let storage_name = view.storage_name(self.config.registry.versioning);
        self.stored_intervals(name, storage_name).await
    }

    /// The same of a view whose stored name is known, without asking the registry.
    pub(crate) async fn stored_intervals(
        &self,
        name: &str,
        storage_name: String,
    ) -> Result<IntervalsReport, Error> {
        let project = &self.config.project;
        let view_ref = ViewRef { project: project.clone(), storage_name };
        let mut report = IntervalsReport {
            project: project.clone(),
            view: name.to_owned(),
            landed: Vec::new(),
            gaps: Vec::new(),
            running: Vec::new(),
            failed: Vec::new(),
            watermark: None,
        };
        let Some(ledger) = &self.ledger else { return Ok(report) };
        let Some(state) = ledger.coverage(&view_ref).await? else { return Ok(report) };
        let (mut running, mut failed) = (IntervalSet::default(), IntervalSet::default());
        for window in ledger.windows_left(&view_ref).await? {
            match window.state {
                WindowState::Pending | WindowState::Open => running.insert(window.interval),
                WindowState::Failed | WindowState::Interrupted => failed.insert(window.interval),
                WindowState::Committed => {}
            }
        }
        report.gaps = state.coverage.intervals().gaps();
        report.failed = failed.minus(state.coverage.intervals());
        report.running = running.as_slice().to_vec();
        report.landed = state.coverage.intervals().as_slice().to_vec();
        report.watermark = state.coverage.watermark().map(|watermark| watermark.plus_nanos(-1));
        Ok(report)
    }
}

fn view_report(
    view: FeatureView,
    storage_name: String,
    known: Option<ViewStatus>,
    lease: Option<HeldLease>,
    now: EventTime,
) -> ViewReport {
    let created = view.created_micros.map(EventTime::from_micros);
    let (mut coverage, mut lost, mut fenced, mut last_job) = Default::default();
    if let Some(known) = known {
        fenced = known.fenced;
        last_job = known.last_job;
        // A view that was created anew starts afresh.
        if known.feast_created == created {
            coverage = known.coverage;
            lost = known.lost;
        }
    }
    coverage.cover(cut::feast_intervals(&view));
    // The last instant that has landed, which is what Feast calls the end.
    let watermark = coverage.watermark().map(|watermark| watermark.plus_nanos(-1));
    let seconds =
        |watermark: EventTime| now.nanos().saturating_sub(watermark.nanos()) / NANOS_PER_SECOND;
    ViewReport {
        view: view.name.clone(),
        storage_name,
        kind: view.kind.to_string(),
        is_selected: view.online && !view.disabled,
        refusal: view.refusal.as_ref().map(ToString::to_string),
        watermark,
        freshness_seconds: watermark.map(seconds),
        gaps: coverage.gaps(),
        last_job: last_job.map(crate::status::last_job),
        lost,
        fenced,
        lease: lease.map(|lease| Lease {
            holder: lease.holder,
            token: lease.token.0,
            until: lease.until,
        }),
    }
}

fn last_job(job: JobRow) -> LastJob {
    LastJob {
        run_id: job.run_id,
        job_id: job.job_id,
        state: job.state,
        reason: job.reason.filter(|_| job.state != JobState::Succeeded),
        interval: job.interval,
        receipt: job.receipt,
        started_at: job.started_at.unwrap_or(job.admitted_at),
        finished_at: job.finished_at,
    }
}
