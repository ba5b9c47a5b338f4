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

#[cfg(test)]
mod tests {
    use feast::registry::Snapshot;
    use feast::{Entity, FeatureView, Field, JoinKey, ValueType};
    use serde_json::{Value, json};

    use super::*;
    use crate::plan::{OldVersions, Project, Reference, plan};
    use crate::request::Wanted;
    use crate::settings::OnDemand;

    fn view(name: &str, keys: &[(&str, ValueType)]) -> FeatureView {
        let field = Field {
            name: name.to_uppercase(),
            value_type: ValueType::Double,
            vector_length: 0,
            vector_index: false,
        };
        let key =
            |&(name, value_type): &(&str, ValueType)| JoinKey { name: name.to_owned(), value_type };
        FeatureView {
            name: name.to_owned(),
            features: vec![field],
            join_keys: keys.iter().map(key).collect(),
            ..FeatureView::default()
        }
    }

    fn plan_of(views: &[&str]) -> Plan {
        let (id, other) = (("id", ValueType::Int64), ("other", ValueType::String));
        let snapshot = Snapshot {
            views: vec![view("one", &[id]), view("pair", &[other, id]), view("all", &[])],
            entities: vec![Entity {
                name: "driver".to_owned(),
                join_key: "id".to_owned(),
                value_type: None,
            }],
            services: Vec::new(),
        };
        let project = Project {
            name: "p".to_owned(),
            versioning: false,
            serialization_version: 3,
            on_demand: OnDemand::Null,
            features_max: 9,
            has_vectors: true,
        };
        let names = views.iter().map(|view| format!("{view}:{}", view.to_uppercase())).collect();
        let references = Reference::of(&Wanted::Features(names), "p", &snapshot);
        let references = references.expect("references");
        plan(&project, &snapshot, &OldVersions::new(), &references, false).expect("a plan")
    }

    fn entities(columns: &[(&str, Value)]) -> Vec<(String, Values)> {
        let column = |(name, values): &(&str, Value)| {
            let values = values.as_array().expect("a list").clone();
            ((*name).to_owned(), Values::Json(values))
        };
        columns.iter().map(column).collect()
    }

    fn key(join_keys: &[(&str, ValueType)], values: &[KeyValue]) -> Vec<u8> {
        let keys = view("v", join_keys).join_keys;
        let layout = entity_key::EntityKeyLayout::new(&keys, 3).expect("a layout");
        entity_key::serialize(&layout, values).expect("a key")
    }

    #[test]
    fn rows_become_keys_and_columns_come_back_in_the_requests_order() {
        let plan = plan_of(&["pair", "one", "all"]);
        let request = entities(&[
            ("unknown", json!([1, 2])),
            ("other", json!(["x", 5])),
            ("driver", json!([7, "8"])),
        ]);
        let bound = bind(&plan, &request, 2, Coercion::Strict).expect("entities");
        let names: Vec<&str> = bound.columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!((names, bound.rows), (vec!["other", "id"], 2));
        let (id, other) = (("id", ValueType::Int64), ("other", ValueType::String));
        let pair = |text: &str, number| {
            key(&[id, other], &[KeyValue::Integer(number), KeyValue::Text(text.to_owned())])
        };
        assert_eq!(bound.keys[0], Some(vec![pair("x", 7), pair("5", 8)]));
        let single = |number| key(&[id], &[KeyValue::Integer(number)]);
        assert_eq!(bound.keys[1], Some(vec![single(7), single(8)]));
        assert_eq!(bound.keys[2], Some(vec![key(&[], &[]); 2]));
    }

    #[test]
    fn views_without_entities_have_a_row_without_any() {
        let bound = bind(&plan_of(&["all"]), &[], 9, Coercion::Strict).expect("it needs none");
        assert_eq!((bound.rows, bound.columns.len()), (1, 0));
    }

    #[test]
    fn what_is_wrong_with_entities_is_said_with_column_and_row() {
        for (view, columns, says) in [
            ("one", vec![], "`entities` lacks `id`, the join key of feature view `one`"),
            ("one", vec![("other", json!(["x"]))], "lacks `id`"),
            ("one", vec![("id", json!([]))], "no rows"),
            ("one", vec![("id", json!([1, 2])), ("zz", json!([1]))], "`zz` has 1 values"),
            ("one", vec![("id", json!([1, null]))], "entity `id`, row 1"),
            ("one", vec![("id", json!([1])), ("driver", json!([1]))], "name the same entity"),
            ("one", vec![("id", json!([1, 2, 3, 4]))], "4 entities"),
            ("pair", vec![("id", json!([1]))], "lacks `other`"),
        ] {
            let request = entities(&columns);
            let error = bind(&plan_of(&[view]), &request, 3, Coercion::Strict).expect_err(says);
            assert!(error.to_string().contains(says), "{error}");
        }
    }

    #[test]
    fn half_a_key_finds_nothing_where_feast_is_wanted() {
        let request = entities(&[("id", json!([1.5]))]);
        let bound = bind(&plan_of(&["pair"]), &request, 9, Coercion::Feast).expect("it is taken");
        assert_eq!(bound.keys, [None]);
        let error = bind(&plan_of(&["pair"]), &[], 9, Coercion::Feast).expect_err("nothing is");
        assert!(matches!(error, Error::MissingJoinKey { .. }));
    }
}
