//! What a request comes to: which hashes and fields are read, and which column each becomes.
//!
//! Pure: a registry's snapshot and the names asked for in, a flat plan out. A plan is made once for
//! all requests that ask for the same. The order of the columns is the service's, or the request's.

mod reference;

use std::collections::{BTreeMap, HashMap, HashSet};

use feast::entity_key::EntityKeyLayout;
use feast::registry::Snapshot;
use feast::{FeatureView, JoinKey, ValueType, ViewKind};
use model::{FeatureColumn, OnlineView, ViewRef};
use online_store::Fields;

pub(crate) use reference::{Reference, Version};

use crate::error::Error;
use crate::settings::OnDemand;

/// What does not change between requests.
#[derive(Clone, Debug)]
pub struct Project {
    /// The project.
    pub name: String,
    /// Whether views of several versions are stored beside each other.
    pub versioning: bool,
    /// Of entity keys.
    pub serialization_version: i64,
    /// What becomes of features that a Python function computes.
    pub on_demand: OnDemand,
    /// Features that one request may ask for.
    pub features_max: usize,
    /// Whether the store may hold precomputed vectors of services: Feast keeps them in Redis alone.
    pub has_vectors: bool,
}

/// A column of entities that a request has to bring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntityColumn {
    /// Its name in a request and in the answer.
    pub name: String,
    /// The entity's name, by which older clients call it.
    pub entity: Option<String>,
    /// The type of its values.
    pub value_type: ValueType,
    /// A view that needs it; `None` when no view of the plan does.
    pub view: Option<String>,
}

/// Views whose rows are in the same hashes.
#[derive(Debug)]
pub struct Group {
    /// Columns of [`Plan::entities`] that make the key, in the order of the layout's join keys.
    pub key: Vec<usize>,
    /// How the key is laid out.
    pub layout: EntityKeyLayout,
    /// What is read of each hash.
    pub fields: Fields,
}

/// Where the values of a column come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Cells of the rows of a group.
    Stored {
        /// Which group.
        group: usize,
        /// The cell of the event time.
        time: usize,
        /// The cell of the value.
        cell: usize,
        /// Which of [`Plan::views`].
        view: usize,
    },
    /// A Python function would have to compute it.
    OnDemand,
}

/// A feature of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// The feature's name in its view.
    pub feature: String,
    /// Where its values come from.
    pub source: Source,
}

/// A view of the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedView {
    /// Its name in the registry.
    pub name: String,
    /// Its version; 0 where it has none.
    pub version: u32,
    /// How old a value may be; `None` for any age.
    ///
    /// # Units
    /// Nanoseconds.
    pub ttl_nanos: Option<i128>,
}

/// What a request comes to.
#[derive(Debug)]
pub struct Plan {
    /// Columns that a request may bring: those that the plan needs first.
    pub entities: Vec<EntityColumn>,
    /// What is read.
    pub groups: Vec<Group>,
    /// What is answered, in order.
    pub columns: Vec<Column>,
    /// The views, in the order in which they were first asked for.
    pub views: Vec<PlannedView>,
}

/// Views of other versions than the active one, by name and number.
pub(crate) type OldVersions = HashMap<(String, u32), FeatureView>;

/// Makes the plan of some references.
///
/// # Errors
/// What is wrong with the references, each by name.
pub(crate) fn plan(
    project: &Project,
    snapshot: &Snapshot,
    old: &OldVersions,
    references: &[Reference],
    full_feature_names: bool,
) -> Result<Plan, Error> {
    if references.is_empty() {
        return Err(Error::NoFeatures);
    }
    let (count, max) = (references.len(), project.features_max);
    if count > max {
        return Err(Error::TooMuch { what: "features", count, max });
    }
    let mut planner = Planner { project, snapshot, old, parts: Vec::new(), columns: Vec::new() };
    let mut names = HashSet::new();
    for reference in references {
        let name = reference.column_name(full_feature_names);
        if !names.insert(name.clone()) {
            return Err(Error::Collision { name });
        }
        planner.add(reference, name)?;
    }
    planner.finish()
}

/// Features of one view that are read with the same keys.
struct Part<'a> {
    view: &'a FeatureView,
    storage_name: String,
    /// Each join key with the name under which a request carries it.
    keys: Vec<(JoinKey, String)>,
    features: Vec<FeatureColumn>,
}

/// Why a feature cannot be answered.
const COMPUTED: &str =
    "a Python function computes its features; leave them out, or ask Feast's own server";

enum Draft<'a> {
    Stored { part: usize, feature: usize },
    OnDemand(&'a FeatureView),
}

struct Planner<'a> {
    project: &'a Project,
    snapshot: &'a Snapshot,
    old: &'a OldVersions,
    parts: Vec<Part<'a>>,
    columns: Vec<(String, String, Draft<'a>)>,
}

impl<'a> Planner<'a> {
    fn add(&mut self, reference: &Reference, name: String) -> Result<(), Error> {
        let view = self.view(reference)?;
        let feature = &reference.feature;
        let Some(field) = view.features.iter().find(|field| field.name == *feature) else {
            let (view, feature) = (view.name.clone(), feature.clone());
            return Err(Error::UnknownFeature { view, feature });
        };
        let draft = if view.kind == ViewKind::OnDemand {
            if self.project.on_demand == OnDemand::Refuse {
                return Err(not_servable(view, COMPUTED));
            }
            Draft::OnDemand(view)
        } else {
            let part = self.part(view, reference);
            let features = &mut self.parts[part].features;
            let held = features.iter().position(|held| held.name == *feature);
            let feature = held.unwrap_or(features.len());
            if held.is_none() {
                features.push(field.into());
            }
            Draft::Stored { part, feature }
        };
        self.columns.push((name, feature.clone(), draft));
        Ok(())
    }

    fn view(&self, reference: &Reference) -> Result<&'a FeatureView, Error> {
        let unknown = || Error::UnknownView {
            view: reference.view.clone(),
            project: self.project.name.clone(),
        };
        let active = self.snapshot.view(&reference.view).ok_or_else(unknown)?;
        if active.disabled {
            return Err(not_servable(active, "it is disabled"));
        }
        match reference.version {
            Version::Latest => Ok(active),
            Version::Number(_) if !self.project.versioning => Err(not_servable(
                active,
                "a version is asked for, and `registry.enable_online_feature_view_versioning` is \
                 not set",
            )),
            Version::Number(number) if active.version.unwrap_or(0) == number => Ok(active),
            Version::Number(number) => {
                let old = self.old.get(&(reference.view.clone(), number));
                old.ok_or_else(|| not_servable(active, &format!("it has no version {number}")))
            }
        }
    }

    fn part(&mut self, view: &'a FeatureView, reference: &Reference) -> usize {
        let storage_name = view.storage_name(self.project.versioning);
        let renamed = |key: &JoinKey| {
            let name = reference.join_key_map.get(&key.name).unwrap_or(&key.name);
            (key.clone(), name.clone())
        };
        let keys: Vec<_> = view.join_keys.iter().map(renamed).collect();
        let same = |part: &Part<'_>| part.storage_name == storage_name && part.keys == keys;
        if let Some(held) = self.parts.iter().position(same) {
            return held;
        }
        self.parts.push(Part { view, storage_name, keys, features: Vec::new() });
        self.parts.len() - 1
    }

    fn finish(self) -> Result<Plan, Error> {
        // An answer of nothing but nulls would say nothing.
        let computed = self.columns.iter().map(|(_, _, draft)| match draft {
            Draft::OnDemand(view) => Some(*view),
            Draft::Stored { .. } => None,
        });
        if let Some(views) = computed.collect::<Option<Vec<_>>>() {
            return Err(not_servable(views[0], COMPUTED));
        }
        let mut entities = self.needed();
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for (index, part) in self.parts.iter().enumerate() {
            let same = |group: &&mut Vec<usize>| self.parts[group[0]].keys == part.keys;
            match groups.iter_mut().find(same) {
                Some(group) => group.push(index),
                None => groups.push(vec![index]),
            }
        }
        // Where each part's cells begin.
        let mut places = vec![(0, 0); self.parts.len()];
        for (at, group) in groups.iter().enumerate() {
            let mut cell = 0;
            for &part in group {
                places[part] = (at, cell);
                cell += 1 + self.parts[part].features.len();
            }
        }
        let made = groups.iter().map(|group| self.group(group, &entities));
        let groups = made.collect::<Result<_, _>>()?;
        let column = |(name, feature, draft): &(String, String, Draft<'_>)| Column {
            name: name.clone(),
            feature: feature.clone(),
            source: match *draft {
                Draft::OnDemand(_) => Source::OnDemand,
                Draft::Stored { part, feature } => {
                    let (group, time) = places[part];
                    Source::Stored { group, time, cell: time + 1 + feature, view: part }
                }
            },
        };
        let columns = self.columns.iter().map(column).collect();
        self.add_known(&mut entities);
        Ok(Plan { entities, groups, columns, views: self.parts.iter().map(planned).collect() })
    }

    /// The columns that the views need, each once.
    fn needed(&self) -> Vec<EntityColumn> {
        let mut columns: Vec<EntityColumn> = Vec::new();
        for part in &self.parts {
            for (key, name) in &part.keys {
                if columns.iter().all(|column| column.name != *name) {
                    columns.push(EntityColumn {
                        name: name.clone(),
                        // Under another name it is another entity to the caller.
                        entity: self.entity(name).filter(|_| *name == key.name),
                        value_type: key.value_type,
                        view: Some(part.view.name.clone()),
                    });
                }
            }
        }
        columns
    }

    /// Adds the project's other join keys: a request may bring them, and gets them back.
    fn add_known(&self, columns: &mut Vec<EntityColumn>) {
        let mut known: BTreeMap<&str, ValueType> = BTreeMap::new();
        for key in self.snapshot.views.iter().flat_map(|view| &view.join_keys) {
            known.entry(&key.name).or_insert(key.value_type);
        }
        for (name, value_type) in known {
            if columns.iter().all(|column| column.name != name) {
                columns.push(EntityColumn {
                    name: name.to_owned(),
                    entity: self.entity(name),
                    value_type,
                    view: None,
                });
            }
        }
    }

    /// The name of the entity that a join key identifies.
    fn entity(&self, join_key: &str) -> Option<String> {
        let by_key = |entity: &&feast::Entity| entity.join_key == join_key;
        self.snapshot.entities.iter().find(by_key).map(|entity| entity.name.clone())
    }

    fn group(&self, parts: &[usize], entities: &[EntityColumn]) -> Result<Group, Error> {
        let first = &self.parts[parts[0]];
        let join_keys: Vec<JoinKey> = first.keys.iter().map(|(key, _)| key.clone()).collect();
        let layout = EntityKeyLayout::new(&join_keys, self.project.serialization_version)
            .map_err(|source| Error::EntityKey { view: first.view.name.clone(), source })?;
        let place = |(_, name): &(JoinKey, String)| {
            let place = entities.iter().position(|column| column.name == *name);
            place.expect("every key of a part is among the needed columns")
        };
        let online = |&part: &usize| {
            let part = &self.parts[part];
            let (project, storage_name) = (self.project.name.clone(), part.storage_name.clone());
            OnlineView { view: ViewRef { project, storage_name }, features: part.features.clone() }
        };
        let fields = Fields::new(parts.iter().map(online).collect());
        Ok(Group { key: first.keys.iter().map(place).collect(), layout, fields })
    }
}

fn planned(part: &Part<'_>) -> PlannedView {
    let nanos = |ttl: std::time::Duration| i128::try_from(ttl.as_nanos()).unwrap_or(i128::MAX);
    PlannedView {
        name: part.view.name.clone(),
        version: part.view.version.unwrap_or(0),
        ttl_nanos: part.view.ttl.map(nanos).filter(|&nanos| nanos > 0),
    }
}

fn not_servable(view: &FeatureView, why: &str) -> Error {
    Error::NotServable { view: view.name.clone(), why: why.to_owned() }
}

#[cfg(test)]
mod tests;
