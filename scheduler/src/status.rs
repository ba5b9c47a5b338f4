//! How far each view of the project has got, and why one has got nowhere.

use std::collections::HashMap;

use feast::FeatureView;
use metastore::{JobRow, ViewStatus};
use model::{EventTime, Interval};
use serde::Serialize;

use crate::Scheduler;
use crate::admit::Selected;
use crate::cut;
use crate::error::Error;

/// How far the project's views have got.
#[derive(Clone, Debug, Serialize)]
pub struct StatusReport {
    /// The project.
    pub project: String,
    /// One entry a view of the registry, of any kind.
    pub views: Vec<ViewReport>,
}

/// How far one view has got.
#[derive(Clone, Debug, Serialize)]
pub struct ViewReport {
    /// The view.
    pub view: String,
    /// The name its rows are stored under.
    pub storage_name: String,
    /// What kind of view it is.
    pub kind: String,
    /// Whether runs without names take it.
    pub is_selected: bool,
    /// Why it cannot be materialized here.
    pub refusal: Option<String>,
    /// Everything up to here has landed; `None` before the first run.
    pub watermark: Option<EventTime>,
    /// Now less the watermark, in seconds.
    pub freshness_seconds: Option<i64>,
    /// What lies above the watermark and below later rows that have landed.
    pub gaps: Vec<Interval>,
    /// The last job that the ledger knows.
    pub last_job: Option<JobRow>,
}

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
        if let Some(ledger) = &self.ledger {
            let views = ledger.views(project).await?;
            known = views.into_iter().map(|view| (view.view.storage_name.clone(), view)).collect();
        }
        let mut views = Vec::with_capacity(snapshot.views.len());
        for view in snapshot.views {
            let last_job = known
                .remove(&view.storage_name(self.config.registry.versioning))
                .and_then(|status| status.last_job);
            views.push(self.view_report(view, last_job).await?);
        }
        Ok(StatusReport { project: project.clone(), views })
    }

    async fn view_report(
        &self,
        view: FeatureView,
        last_job: Option<JobRow>,
    ) -> Result<ViewReport, Error> {
        let storage_name = view.storage_name(self.config.registry.versioning);
        let selected = Selected { view, storage_name, inactive_version: None };
        let coverage = cut::look(self, &selected).await?.coverage;
        let Selected { view, storage_name, .. } = selected;
        // The last instant that has landed, which is what Feast calls the end.
        let watermark = coverage.watermark().map(|watermark| watermark.plus_nanos(-1));
        let seconds = |watermark: EventTime| {
            crate::now().nanos().saturating_sub(watermark.nanos()) / NANOS_PER_SECOND
        };
        Ok(ViewReport {
            view: view.name.clone(),
            storage_name,
            kind: view.kind.to_string(),
            is_selected: view.online && !view.disabled,
            refusal: view.refusal.as_ref().map(ToString::to_string),
            watermark,
            freshness_seconds: watermark.map(seconds),
            gaps: coverage.gaps(),
            last_job,
        })
    }
}
