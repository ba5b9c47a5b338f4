//! The interval of each selected view: what has landed, from the ledger and from Feast, and what
//! is asked for.

use std::time::Duration;

use feast::FeatureView;
use model::window::{ViewTimes, cut};
use model::{Coverage, Cut, EventTime, Interval, ViewRef, Warning};

use crate::Scheduler;
use crate::admit::Selected;
use crate::error::Error;
use crate::trigger::Trigger;

/// Tag of a view: how far below the watermark an incremental run reads again.
pub(crate) const TAG_LATENESS: &str = "tidegate.lateness";

/// What is known of a view before its interval is cut.
pub(crate) struct Known {
    pub(crate) coverage: Coverage,
    pub(crate) was_recreated: bool,
    /// Features at the last commit; `None` before the first.
    pub(crate) features: Option<Vec<String>>,
}

/// Names the view in the ledger.
pub(crate) fn view_ref(scheduler: &Scheduler, selected: &Selected) -> ViewRef {
    ViewRef {
        project: scheduler.config.project.clone(),
        storage_name: selected.storage_name.clone(),
    }
}

/// Feast's intervals of a view, half-open.
pub(crate) fn feast_intervals(view: &FeatureView) -> Vec<Interval> {
    let half_open = |&(start, end): &(i64, i64)| {
        let (start, end) = feast::interval::half_open_nanos(start, end);
        Interval::new(EventTime::from_nanos(start), EventTime::from_nanos(end))
    };
    view.materialization_intervals.iter().map(half_open).collect()
}

/// The names of a view's features.
pub(crate) fn feature_names(view: &FeatureView) -> Vec<String> {
    view.features.iter().map(|feature| feature.name.clone()).collect()
}

/// Reads what has landed and takes over what Feast has recorded since.
pub(crate) async fn adopt(scheduler: &Scheduler, selected: &Selected) -> Result<Known, Error> {
    let view = &selected.view;
    let adopted = scheduler
        .ledger()?
        .adopt(
            &view_ref(scheduler, selected),
            view.created_micros.map(EventTime::from_micros),
            &feast_intervals(view),
            &feature_names(view),
            crate::now(),
        )
        .await?;
    Ok(Known {
        coverage: adopted.coverage,
        was_recreated: adopted.reset,
        features: adopted.features_at_last_commit,
    })
}

/// The same without writing: for `plan` and `status`.
pub(crate) async fn look(scheduler: &Scheduler, selected: &Selected) -> Result<Known, Error> {
    let stored = match &scheduler.ledger {
        Some(ledger) => ledger.coverage(&view_ref(scheduler, selected)).await?,
        None => None,
    };
    let created = selected.view.created_micros.map(EventTime::from_micros);
    let was_recreated = stored.as_ref().is_some_and(|stored| stored.feast_created != created);
    let stored = stored.filter(|_| !was_recreated);
    let features = stored.as_ref().and_then(|stored| stored.features.clone());
    let mut coverage = stored.map(|stored| stored.coverage).unwrap_or_default();
    coverage.cover(feast_intervals(&selected.view));
    Ok(Known { coverage, was_recreated, features })
}

/// Cuts the interval of a view and adds what the operator should know.
pub(crate) fn cut_view(view: &FeatureView, known: &Known, trigger: &Trigger) -> Result<Cut, Error> {
    let times = ViewTimes { ttl: view.ttl, lateness: lateness(view)? };
    let mut cut = cut(trigger.request, &known.coverage, times, trigger.now, trigger.allow_future);
    if let Cut::Read { warnings, .. } = &mut cut {
        warnings.extend(known.was_recreated.then_some(Warning::ViewRecreated));
        let incremental = matches!(trigger.request, model::Request::Incremental { .. });
        let held = known.features.as_deref().filter(|_| incremental);
        warnings.extend(held.into_iter().flat_map(|held| added_features(view, held)));
    }
    Ok(cut)
}

fn added_features(view: &FeatureView, held: &[String]) -> Vec<Warning> {
    feature_names(view)
        .into_iter()
        .filter(|name| !held.contains(name))
        .map(|feature| Warning::FeatureAdded { feature })
        .collect()
}

fn lateness(view: &FeatureView) -> Result<Duration, Error> {
    let Some(value) = view.tags.get(TAG_LATENESS) else { return Ok(Duration::ZERO) };
    model::duration::parse(value).map_err(|source| Error::Tag {
        view: view.name.clone(),
        tag: TAG_LATENESS,
        value: value.clone(),
        source,
    })
}
