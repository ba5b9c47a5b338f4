//! Which views a trigger means, in Feast's order, and which of them can be materialized.

use std::collections::BTreeSet;

use feast::registry::Snapshot;
use feast::{FeatureView, ViewKind};

use crate::Scheduler;
use crate::error::Error;
use crate::trigger::{Trigger, Version};

/// A view that was selected.
#[derive(Clone, Debug)]
pub(crate) struct Selected {
    pub(crate) view: FeatureView,
    pub(crate) storage_name: String,
    /// The version that was asked for, when it is not the active one: its interval stays out of
    /// Feast's registry, whose list belongs to the active version.
    pub(crate) inactive_version: Option<u32>,
}

/// Selects the views of a trigger.
///
/// # Errors
/// An unknown or switched-off view, a version that does not exist, no view at all.
///
/// # Source
/// Feast 0.67 `_get_feature_views_to_materialize`: without names every feature view, then every
/// stream view, that is online and enabled, then on-demand views that write to the online store;
/// with names each is looked up among all kinds.
pub(crate) async fn select(
    scheduler: &Scheduler,
    snapshot: &Snapshot,
    trigger: &Trigger,
) -> Result<Vec<Selected>, Error> {
    let views: Vec<FeatureView> = if trigger.views.is_empty() {
        all(snapshot)
    } else {
        named(scheduler, snapshot, &trigger.views)?
    };
    if views.is_empty() && !trigger.allow_empty {
        let project = scheduler.config.project.clone();
        return Err(Error::NoViews { project, views: snapshot.views.len() });
    }
    let versioning = scheduler.config.registry.versioning;
    let mut selected = Vec::with_capacity(views.len());
    for view in views {
        selected.push(match trigger.version {
            None => {
                let storage_name = view.storage_name(versioning);
                Selected { view, storage_name, inactive_version: None }
            }
            Some(version) => at_version(scheduler, view, version).await?,
        });
    }
    Ok(selected)
}

fn all(snapshot: &Snapshot) -> Vec<FeatureView> {
    let kinds = [ViewKind::Feature, ViewKind::Stream, ViewKind::OnDemand];
    let of_kind = |kind| snapshot.views.iter().filter(move |view| view.kind == kind);
    kinds
        .into_iter()
        .flat_map(of_kind)
        .filter(|view| view.online && !view.disabled)
        .cloned()
        .collect()
}

fn named(
    scheduler: &Scheduler,
    snapshot: &Snapshot,
    names: &[String],
) -> Result<Vec<FeatureView>, Error> {
    let mut seen = BTreeSet::new();
    let mut views = Vec::with_capacity(names.len());
    for name in names {
        let view = find(snapshot, name).ok_or_else(|| {
            let known: Vec<&str> = snapshot.views.iter().map(|view| view.name.as_str()).collect();
            Error::UnknownView {
                view: name.clone(),
                project: scheduler.config.project.clone(),
                known: if known.is_empty() { "none".to_owned() } else { known.join(", ") },
            }
        })?;
        check(view)?;
        if seen.insert(name) {
            views.push(view.clone());
        }
    }
    Ok(views)
}

fn find<'a>(snapshot: &'a Snapshot, name: &str) -> Option<&'a FeatureView> {
    let kinds = [ViewKind::Feature, ViewKind::Stream, ViewKind::OnDemand, ViewKind::Label];
    kinds
        .into_iter()
        .find_map(|kind| snapshot.views.iter().find(|view| view.kind == kind && view.name == name))
}

fn check(view: &FeatureView) -> Result<(), Error> {
    let why = if view.kind == ViewKind::Label {
        "is a label view, which is never materialized"
    } else if view.disabled {
        "is disabled; enable it in Feast first"
    } else if !view.online && view.kind == ViewKind::OnDemand {
        "does not write to the online store; set `write_to_online_store`"
    } else if !view.online {
        "is not online; set `online: true` in its definition"
    } else {
        return Ok(());
    };
    Err(Error::NotMaterializable { view: view.name.clone(), why })
}

async fn at_version(
    scheduler: &Scheduler,
    view: FeatureView,
    version: Version,
) -> Result<Selected, Error> {
    if !scheduler.config.registry.versioning {
        let what = "needs `enable_online_feature_view_versioning: true` under `registry`";
        return Err(Error::Version { what: what.to_owned() });
    }
    let active = view.storage_name(true);
    let Version::Number(number) = version else {
        return Ok(Selected { view, storage_name: active, inactive_version: None });
    };
    let project = &scheduler.config.project;
    let stored = scheduler.registry.view_at_version(project, &view.name, number).await?;
    let stored = stored.ok_or_else(|| Error::Version {
        what: format!("v{number} of view `{}` is not in the registry's history", view.name),
    })?;
    let storage_name = stored.storage_name(true);
    let inactive_version = (storage_name != active).then_some(number);
    Ok(Selected { view: stored, storage_name, inactive_version })
}
