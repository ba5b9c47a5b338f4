//! What each selected view is to read: what has landed, from the ledger and from Feast, what is
//! asked for, and the windows that it is cut into.

use std::time::Duration;

use feast::FeatureView;
use jobs::WindowPlan;
use metastore::NewWindow;
use model::cutting::cut_windows;
use model::window::{ViewTimes, cut};
use model::{Coverage, Cut, EventTime, Interval, IntervalSet, Marker, ViewRef, Warning, WindowId};
use uuid::Uuid;

use crate::Scheduler;
use crate::admit::Selected;
use crate::error::Error;
use crate::trigger::{Ask, Trigger};

/// Tag of a view: how far below the watermark an incremental run reads again.
pub(crate) const TAG_LATENESS: &str = "tidegate.lateness";

/// What is known of a view before it is cut.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) coverage: Coverage,
    pub(crate) was_recreated: bool,
    /// Features at the last commit; `None` before the first.
    pub(crate) features: Option<Vec<String>>,
    /// The last commit.
    pub(crate) committed: Option<Marker>,
    /// Whether every write carries the fence.
    pub(crate) fenced: bool,
    /// Why the online store no longer has all that landed, if so.
    pub(crate) lost: Option<String>,
}

/// What a view is to read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ViewCut {
    /// These intervals.
    Read { intervals: IntervalSet, warnings: Vec<String> },
    /// None, and why.
    Nothing { reason: String },
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
    let (view, ledger) = (&selected.view, scheduler.ledger()?);
    let view_ref = view_ref(scheduler, selected);
    let created = view.created_micros.map(EventTime::from_micros);
    let (intervals, features) = (feast_intervals(view), feature_names(view));
    let adopted = ledger.adopt(&view_ref, created, &intervals, &features, crate::now()).await?;
    let state = ledger.coverage(&view_ref).await?;
    let (committed, fenced, lost) =
        state.map(|state| (state.committed, state.fenced, state.lost)).unwrap_or_default();
    Ok(Known {
        coverage: adopted.coverage,
        was_recreated: adopted.reset,
        features: adopted.features_at_last_commit,
        committed,
        fenced,
        lost,
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
    let mut known = Known { was_recreated, ..Known::default() };
    if let Some(stored) = stored {
        known.fenced = stored.fenced;
        known.committed = stored.committed;
        if !was_recreated {
            known.coverage = stored.coverage;
            known.features = stored.features;
            known.lost = stored.lost;
        }
    }
    known.coverage.cover(feast_intervals(&selected.view));
    Ok(known)
}

/// Decides what a view is to read, and adds what the operator should know.
pub(crate) async fn cut_view(
    scheduler: &Scheduler,
    selected: &Selected,
    known: &Known,
    trigger: &Trigger,
) -> Result<ViewCut, Error> {
    let view = &selected.view;
    let request = match trigger.ask {
        Ask::Interval(request) => request,
        Ask::State(..) | Ask::Run(_) | Ask::Window(_) => {
            let view_ref = view_ref(scheduler, selected);
            let mut found =
                scheduler.intervals_of_rerun(trigger, &view_ref, &known.coverage).await?;
            if trigger.rebuild {
                found.insert_all(known.coverage.intervals());
            }
            if !found.is_empty() {
                return Ok(ViewCut::Read { intervals: found, warnings: Vec::new() });
            }
            let Ask::Run(run) = trigger.ask else {
                let reason = "nothing of what was asked for is left to do".to_owned();
                return Ok(ViewCut::Nothing { reason });
            };
            scheduler.request_of(run).await?
        }
    };
    let times = ViewTimes { ttl: view.ttl, lateness: lateness(view)? };
    match cut(request, &known.coverage, times, trigger.now, trigger.allow_future) {
        Cut::Nothing { reason } if !trigger.rebuild => {
            Ok(ViewCut::Nothing { reason: reason.to_string() })
        }
        // What has landed is read again even where nothing has been added to it.
        Cut::Nothing { .. } => Ok(ViewCut::Read {
            intervals: known.coverage.intervals().clone(),
            warnings: Vec::new(),
        }),
        Cut::Read { interval, mut warnings } => {
            warnings.extend(known.was_recreated.then_some(Warning::ViewRecreated));
            let incremental = trigger.is_incremental() && !trigger.rebuild;
            let held = known.features.as_deref().filter(|_| incremental);
            warnings.extend(held.into_iter().flat_map(|held| added_features(view, held)));
            let mut intervals: IntervalSet = [interval].into_iter().collect();
            if trigger.rebuild {
                intervals.insert_all(known.coverage.intervals());
            }
            let warnings = warnings.iter().map(ToString::to_string).collect();
            Ok(ViewCut::Read { intervals, warnings })
        }
    }
}

/// The windows of an interval that is planned as a whole, in the order of time.
pub(crate) fn windows(
    scheduler: &Scheduler,
    plan: &WindowPlan,
    trigger: &Trigger,
) -> Vec<Interval> {
    cut_windows(plan.interval(), &plan.spans(), scheduler.settings.window_bytes, trigger.window)
}

/// Windows to be recorded, numbered in the order in which they are to run.
pub(crate) fn in_turn(mut windows: Vec<NewWindow>, newest_first: bool) -> Vec<NewWindow> {
    windows.sort_by_key(|window| window.interval.start);
    if newest_first {
        windows.reverse();
    }
    for (position, window) in (0..).zip(&mut windows) {
        window.position = position;
    }
    windows
}

/// A window of a plan that reads just its interval, without its turn.
pub(crate) fn new_window(scheduler: &Scheduler, plan: &WindowPlan) -> NewWindow {
    let partitions = plan.partitions(&scheduler.session);
    NewWindow {
        window_id: WindowId::from_uuid(Uuid::now_v7()),
        position: 0,
        interval: plan.interval(),
        partitions: u32::try_from(partitions).unwrap_or(u32::MAX),
        rows_max: plan.rows_max(),
        bytes: plan.spans().iter().map(|(_, bytes)| bytes).sum(),
    }
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
