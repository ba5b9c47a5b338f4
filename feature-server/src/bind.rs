//! The entities of a request, matched to a plan: values of the right type, and keys of the store.
//!
//! Pure. Everything that can be wrong with the entities is found here, before the store is asked.

use bytes::Bytes;
use feast::entity_key::{self, KeyValue};
use feast::value::request::{Coercion, echo, key_from_json, key_from_proto};

use crate::error::Error;
use crate::plan::{EntityColumn, Group, Plan};
use crate::request::Values;

/// An entity column of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BoundColumn {
    /// Its name.
    pub name: String,
    /// Serialized `feast.types.Value`s, as they were understood.
    pub values: Vec<Bytes>,
}

/// A request's entities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    /// What the answer has in front of the features, in the order of the request.
    pub columns: Vec<BoundColumn>,
    /// For each group of the plan a key for each row, without the store's suffix; none for a group
    /// that the request does not say enough about.
    pub keys: Vec<Option<Vec<Vec<u8>>>>,
    /// Rows.
    pub rows: usize,
}

/// Matches entities to a plan. A lenient request is taken as Feast takes it.
///
/// # Errors
/// What is wrong, with the column and the row.
pub(crate) fn bind(
    plan: &Plan,
    entities: &[(String, Values)],
    entities_max: usize,
    coercion: Coercion,
) -> Result<Bound, Error> {
    let rows = rows(plan, entities)?;
    let (what, count, max) = ("entities", rows, entities_max);
    if count > max {
        return Err(Error::TooMuch { what, count, max });
    }
    let mut columns = Vec::with_capacity(entities.len());
    let mut values: Vec<Option<Vec<KeyValue>>> = vec![None; plan.entities.len()];
    for (name, column) in entities {
        // What nobody asked for is left out, as clients send more than they need.
        let Some(place) = place(plan, name) else { continue };
        let entity = &plan.entities[place];
        if values[place].is_some() {
            let what = format!("`{name}` and `{}` name the same entity; send one", entity.name);
            return Err(Error::Body { what });
        }
        let read = read(entity, name, column, coercion)?;
        let echoed = read.iter().map(|value| echo(value, entity.value_type)).collect();

        columns.push(BoundColumn { name: entity.name.clone(), values: echoed });
        values[place] = Some(read);
    }
    let is_lenient = coercion == Coercion::Feast;
    let keys = plan.groups.iter().map(|group| keys(plan, group, &values, rows, is_lenient));
    Ok(Bound { columns, keys: keys.collect::<Result<_, _>>()?, rows })
}

/// How many rows there are, which all columns agree on.
fn rows(plan: &Plan, entities: &[(String, Values)]) -> Result<usize, Error> {
    let Some((first, values)) = entities.first() else {
        let needed = plan.entities.iter().find(|entity| entity.view.is_some());
        return match needed {
            Some(entity) => Err(missing(entity)),
            // Views without an entity have one row for everyone.
            None => Ok(1),
        };
    };
    for (key, column) in entities {
        if column.len() != values.len() {
            return Err(Error::Lengths {
                key: key.clone(),
                length: column.len(),
                other: first.clone(),
                other_length: values.len(),
            });
        }
    }
    if values.is_empty() { Err(Error::NoRows) } else { Ok(values.len()) }
}

fn place(plan: &Plan, name: &str) -> Option<usize> {
    let by_name = plan.entities.iter().position(|entity| entity.name == name);
    by_name
        .or_else(|| plan.entities.iter().position(|entity| entity.entity.as_deref() == Some(name)))
}

fn read(
    entity: &EntityColumn,
    key: &str,
    column: &Values,
    coercion: Coercion,
) -> Result<Vec<KeyValue>, Error> {
    let kind = entity.value_type;
    let refused = |row| move |source| Error::Entity { key: key.to_owned(), row, source };
    match column {
        Values::Json(values) => {
            let read = values.iter().enumerate();
            read.map(|(row, value)| key_from_json(value, kind, coercion).map_err(refused(row)))
                .collect()
        }
        Values::Proto(values) => {
            let read = values.iter().enumerate();
            read.map(|(row, value)| key_from_proto(value, kind, coercion).map_err(refused(row)))
                .collect()
        }
    }
}

/// The keys of a group; `None` where a lenient request brings only a part of them.
fn keys(
    plan: &Plan,
    group: &Group,
    values: &[Option<Vec<KeyValue>>],
    rows: usize,
    is_lenient: bool,
) -> Result<Option<Vec<Vec<u8>>>, Error> {
    let serialize = |parts: &[KeyValue]| {
        entity_key::serialize(&group.layout, parts).map_err(|source| Error::EntityKey {
            view: group.fields.views()[0].view.storage_name.clone(),
            source,
        })
    };
    let mut columns: Vec<&[KeyValue]> = Vec::with_capacity(group.key.len());
    for &place in &group.key {
        match &values[place] {
            Some(column) => columns.push(column),
            // Feast answers nulls when it has one of the keys, and refuses when it has none.
            None if is_lenient && group.key.iter().any(|&place| values[place].is_some()) => {
                return Ok(None);
            }
            None => return Err(missing(&plan.entities[place])),
        }
    }
    if let [column] = columns[..] {
        return column
            .iter()
            .map(|value| serialize(std::slice::from_ref(value)))
            .collect::<Result<_, _>>()
            .map(Some);
    }
    if columns.is_empty() {
        return Ok(Some(vec![serialize(&[])?; rows]));
    }
    let row = |row: usize| -> Vec<KeyValue> {
        columns.iter().map(|column| column[row].clone()).collect()
    };
    (0..rows).map(|at| serialize(&row(at))).collect::<Result<_, _>>().map(Some)
}

fn missing(entity: &EntityColumn) -> Error {
    let view = entity.view.clone().unwrap_or_default();
    Error::MissingJoinKey { key: entity.name.clone(), view }
}
