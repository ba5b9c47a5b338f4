//! `get-online-features`: reads entities back from the online store, in the order asked for.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use feast::entity_key::{EntityKeyLayout, KeyValue, serialize};
use feast::registry::Snapshot;
use feast::value::Value as FeastValue;
use feast::{FeatureService, FeatureView, ValueType, ViewKind};
use model::{FeatureColumn, OnlineView, ViewRef};
use online_store::{OnlineStore, StoredRow};
use registry::Registry;
use serde_json::{Map, Value, json};

use super::{Context, UsageError};
use crate::args::Read;
use crate::embedded;
use crate::repo::{Repo, registry_options};
use crate::{EXIT_LANDED, output};

/// One view's part of a request, in the order asked for.
struct Wanted {
    view: FeatureView,
    storage_name: String,
    /// The name in full feature names.
    shown: String,
    /// The features, and where in the result each goes.
    features: Vec<(String, usize)>,
    join_key_map: BTreeMap<String, String>,
}

/// Reads and prints one object per entity.
pub async fn run(context: &Context, read: &Read) -> anyhow::Result<u8> {
    let repo = context.repo("get-online-features")?;
    let options = registry_options(repo, &context.environment);
    let registry = Registry::open(&repo.config.registry, &options).await?;
    let snapshot = registry.snapshot(&repo.config.project).await?;
    let (wanted, columns) = resolve(repo, &snapshot, read)?;
    let entities = entities(&read.entities)?;
    let store = embedded::online_store(repo).await?;
    let mut rows: Vec<Vec<Value>> = vec![vec![Value::Null; columns.len()]; entities.len()];
    for view in &wanted {
        fill(repo, &store, view, &entities, &mut rows).await?;
    }
    let results: Vec<Value> = entities
        .iter()
        .zip(rows)
        .map(|(entity, values)| {
            let keys =
                entity.iter().map(|(key, value)| (key.clone(), key_json(&wanted, key, value)));
            let features = columns.iter().cloned().zip(values);
            Value::Object(keys.chain(features).collect::<Map<_, _>>())
        })
        .collect();
    output::value(context.args.output, &results, || text(&results))?;
    Ok(EXIT_LANDED)
}

/// An entity's value as its join key's type has it: a number where the key is one.
fn key_json(wanted: &[Wanted], key: &str, value: &str) -> Value {
    let is_number = wanted.iter().any(|view| {
        view.view.join_keys.iter().any(|join_key| {
            view.join_key_map.get(&join_key.name).unwrap_or(&join_key.name) == key
                && matches!(
                    join_key.value_type,
                    ValueType::Int32 | ValueType::Int64 | ValueType::UnixTimestamp
                )
        })
    });
    let number = value.trim().parse::<i64>().ok().filter(|_| is_number);
    number.map_or_else(|| json!(value), |number| json!(number))
}

fn text(results: &[Value]) -> String {
    let blocks: Vec<String> = results
        .iter()
        .filter_map(Value::as_object)
        .map(|object| {
            let width = object.keys().map(|key| key.chars().count()).max().unwrap_or(0);
            let line = |(key, value): (&String, &Value)| format!("{key:width$}  {value}");
            object.iter().map(line).collect::<Vec<_>>().join("\n")
        })
        .collect();
    blocks.join("\n\n")
}

/// The views to read and the names of the result's columns.
fn resolve(
    repo: &Repo,
    snapshot: &Snapshot,
    read: &Read,
) -> anyhow::Result<(Vec<Wanted>, Vec<String>)> {
    let mut wanted: Vec<Wanted> = Vec::new();
    let mut columns = Vec::new();
    for (reference, feature) in references(snapshot, read)? {
        let view = wanted_view(repo, snapshot, &reference, &mut wanted)?;
        if !view.view.features.iter().any(|field| field.name == feature) {
            let name = &view.view.name;
            return Err(UsageError(format!("view `{name}` has no feature `{feature}`")).into());
        }
        let column = if read.full_feature_names {
            format!("{}__{feature}", view.shown)
        } else {
            feature.clone()
        };
        if columns.contains(&column) {
            let what = format!("two features would be named `{column}`; use --full-feature-names");
            return Err(UsageError(what).into());
        }
        view.features.push((feature, columns.len()));
        columns.push(column);
    }
    Ok((wanted, columns))
}

/// A view as a request refers to it.
#[derive(Clone)]
struct Reference {
    view: String,
    alias: Option<String>,
    version: Option<u32>,
    join_key_map: BTreeMap<String, String>,
}

fn references(snapshot: &Snapshot, read: &Read) -> anyhow::Result<Vec<(Reference, String)>> {
    let Some(name) = &read.feature_service else {
        return read.features.iter().map(|text| parse_reference(text)).collect();
    };
    let service: &FeatureService =
        snapshot
            .services
            .iter()
            .find(|service| service.name == *name)
            .ok_or_else(|| UsageError(format!("there is no feature service `{name}`")))?;
    let of_projection = |projection: &feast::ProjectionRef| {
        let reference = Reference {
            view: projection.view.clone(),
            alias: projection.alias.clone(),
            version: projection.version,
            join_key_map: projection.join_key_map.clone(),
        };
        projection
            .features
            .iter()
            .map(move |feature| (reference.clone(), feature.clone()))
            .collect()
    };
    let lists: Vec<Vec<_>> = service.projections.iter().map(of_projection).collect();
    Ok(lists.into_iter().flatten().collect())
}

/// `view:feature`, or `view@v2:feature`.
fn parse_reference(text: &str) -> anyhow::Result<(Reference, String)> {
    let refused = || UsageError(format!("`{text}` is no feature; write `view:feature`"));
    let (view, feature) = text.split_once(':').ok_or_else(refused)?;
    let (view, version) = match view.split_once('@') {
        None => (view, None),
        Some((view, version)) => match scheduler::Version::parse(version)? {
            scheduler::Version::Latest => (view, None),
            scheduler::Version::Number(number) => (view, Some(number)),
        },
    };
    if view.is_empty() || feature.is_empty() {
        return Err(refused().into());
    }
    let (view, join_key_map) = (view.to_owned(), BTreeMap::new());
    Ok((Reference { view, alias: None, version, join_key_map }, feature.to_owned()))
}

fn wanted_view<'a>(
    repo: &Repo,
    snapshot: &Snapshot,
    reference: &Reference,
    wanted: &'a mut Vec<Wanted>,
) -> anyhow::Result<&'a mut Wanted> {
    let shown = reference.alias.clone().unwrap_or_else(|| reference.view.clone());
    let found = wanted
        .iter()
        .position(|held| held.shown == shown && held.join_key_map == reference.join_key_map);
    let index = match found {
        Some(index) => index,
        None => {
            let view = find(snapshot, &reference.view)?;
            let versioning = repo.config.registry.versioning;
            let storage_name = match reference.version {
                Some(0) => view.name.clone(),
                Some(version) if versioning => format!("{}_v{version}", view.name),
                Some(_) => bail!(UsageError(
                    "a version needs `enable_online_feature_view_versioning: true`".to_owned()
                )),
                None => view.storage_name(versioning),
            };
            let join_key_map = reference.join_key_map.clone();
            wanted.push(Wanted { view, storage_name, shown, features: Vec::new(), join_key_map });
            wanted.len() - 1
        }
    };
    Ok(&mut wanted[index])
}

fn find(snapshot: &Snapshot, name: &str) -> anyhow::Result<FeatureView> {
    let is_stored = |view: &&FeatureView| {
        matches!(view.kind, ViewKind::Feature | ViewKind::Stream) && view.name == name
    };
    match snapshot.views.iter().find(is_stored) {
        Some(view) => Ok(view.clone()),
        None => match snapshot.views.iter().find(|view| view.name == name) {
            Some(view) => {
                bail!(UsageError(format!("`{name}` is a {}, which is computed", view.kind)))
            }
            None => bail!(UsageError(format!("there is no feature view `{name}`"))),
        },
    }
}

/// `k=v` pairs to entities: a value with commas gives one entity per part.
fn entities(pairs: &[String]) -> anyhow::Result<Vec<BTreeMap<String, String>>> {
    let mut rows: Vec<BTreeMap<String, String>> = Vec::new();
    let mut lengths = Vec::new();
    for pair in pairs {
        let (key, values) = pair
            .split_once('=')
            .ok_or_else(|| UsageError(format!("`{pair}` is no entity; write `key=value`")))?;
        let values: Vec<&str> = values.split(',').collect();
        lengths.push(values.len());
        rows.resize_with(rows.len().max(values.len()), BTreeMap::new);
        for (row, value) in rows.iter_mut().zip(values) {
            row.insert(key.to_owned(), value.to_owned());
        }
    }
    if lengths.iter().any(|&length| length != rows.len()) {
        bail!(UsageError("every --entity must have as many values as the others".to_owned()));
    }
    if rows.is_empty() {
        // A view without an entity has one row for everyone.
        rows.push(BTreeMap::new());
    }
    Ok(rows)
}

async fn fill(
    repo: &Repo,
    store: &Arc<OnlineStore>,
    wanted: &Wanted,
    entities: &[BTreeMap<String, String>],
    rows: &mut [Vec<Value>],
) -> anyhow::Result<()> {
    let config = &repo.config;
    let layout =
        EntityKeyLayout::new(&wanted.view.join_keys, config.entity_key_serialization_version)?;
    let suffix = store.key_suffix(&config.project).to_vec();
    let mut keys = Vec::with_capacity(entities.len());
    for entity in entities {
        let mut key = entity_key(&layout, wanted, entity)?;
        key.extend_from_slice(&suffix);
        keys.push(key);
    }
    let feature = |(name, _): &(String, usize)| {
        let field = wanted.view.features.iter().find(|field| field.name == *name);
        field.map(|field| FeatureColumn { name: name.clone(), value_type: field.value_type.code() })
    };
    let online = OnlineView {
        view: ViewRef {
            project: config.project.clone(),
            storage_name: wanted.storage_name.clone(),
        },
        features: wanted.features.iter().filter_map(feature).collect(),
    };
    let stored: Vec<Option<StoredRow>> = store.read(&online, &keys).await?;
    for (row, stored) in rows.iter_mut().zip(stored) {
        let Some(stored) = stored else { continue };
        for ((name, column), bytes) in wanted.features.iter().zip(stored.values) {
            let Some(bytes) = bytes else { continue };
            let value = FeastValue::decode(&bytes)
                .with_context(|| format!("stored value of `{}:{name}`", wanted.view.name))?;
            row[*column] = value.to_json();
        }
    }
    Ok(())
}

fn entity_key(
    layout: &EntityKeyLayout,
    wanted: &Wanted,
    entity: &BTreeMap<String, String>,
) -> anyhow::Result<Vec<u8>> {
    let mut values = Vec::with_capacity(wanted.view.join_keys.len());
    for key in &wanted.view.join_keys {
        let asked = wanted.join_key_map.get(&key.name).unwrap_or(&key.name);
        let text = entity.get(asked).ok_or_else(|| {
            let view = &wanted.view.name;
            UsageError(format!("view `{view}` needs --entity {asked}=…"))
        })?;
        let value = KeyValue::parse(text, key.value_type)
            .map_err(|error| UsageError(format!("--entity {asked}={text}: {error}")))?;
        values.push(value);
    }
    Ok(serialize(layout, &values)?)
}
