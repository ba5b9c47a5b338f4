//! Definitions encoded here are read back by this crate's own reader, and compared field by field
//! with a file that the real `feast apply` left.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::collections::BTreeSet;

use super::*;
use crate::registry::view_in_file_history;
use crate::registry::{FileEdit, IntervalRecord, Snapshot, record_interval_in_file, wire};
use crate::{FeatureView, JoinKey, ViewKind};

const CREATED: i64 = 1_700_000_000_123_456;
const DAY: Duration = Duration::from_secs(86_400);

fn ids() -> impl FnMut() -> String {
    let mut next = 0_u32;
    move || {
        next += 1;
        format!("00000000-0000-4000-8000-{next:012}")
    }
}

fn field(name: &str, value_type: ValueType) -> Field {
    Field { name: name.to_owned(), value_type, vector_length: 0, vector_index: false }
}

fn entity(name: &str, join_key: &str, value_type: ValueType) -> Entity {
    let value_type = Some(value_type);
    Entity { name: name.to_owned(), join_key: join_key.to_owned(), value_type }
}

fn file_source(name: &str) -> DataSource {
    DataSource {
        name: name.to_owned(),
        path: format!("data/{name}.parquet"),
        type_code: 1,
        timestamp_field: "ts".to_owned(),
        ..Default::default()
    }
}

fn text_map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// One view of every feature type and two entities, one without an entity, and a service.
fn definitions() -> Definitions {
    let every_type = |kind: &ValueType| !matches!(kind, ValueType::Invalid);
    let mut wide = ViewDefinition {
        name: "wide".to_owned(),
        entities: vec!["driver".to_owned(), "customer".to_owned()],
        features: ValueType::ALL
            .into_iter()
            .filter(every_type)
            .map(|kind| field(&format!("f{}", kind.code()), kind))
            .collect(),
        ttl: Some(DAY + Duration::from_millis(500)),
        source: "wide_source".to_owned(),
        tags: text_map(&[("tidegate.lateness", "1h"), ("team", "")]),
        ..Default::default()
    };
    let vector = Field { vector_length: 3, vector_index: true, ..field("v", ValueType::FloatList) };
    wide.features.push(vector);
    let wide_source = DataSource {
        created_timestamp_column: Some("created".to_owned()),
        field_mapping: text_map(&[("ts_src", "ts"), ("f_src", "f4")]),
        s3_endpoint_override: Some("http://localhost:9000".to_owned()),
        tags: text_map(&[("owner", "team")]),
        ..file_source("wide_source")
    };
    let plain = ViewDefinition {
        name: "plain".to_owned(),
        features: vec![field("f", ValueType::Int64)],
        source: "plain_source".to_owned(),
        online: false,
        disabled: true,
        materialization_intervals: vec![(1, 2), (-5, 1_000_001)],
        ..Default::default()
    };
    let reversed = ProjectionRef {
        view: "wide".to_owned(),
        alias: Some("w".to_owned()),
        features: ["v", "f4", "f2"].map(str::to_owned).to_vec(),
        join_key_map: text_map(&[("id", "other_id")]),
        version: Some(2),
    };
    Definitions {
        project: "proj".to_owned(),
        created_micros: CREATED,
        entities: vec![
            entity("driver", "id", ValueType::Int64),
            entity("customer", "cid", ValueType::String),
        ],
        sources: vec![wide_source, file_source("plain_source")],
        views: vec![wide, plain],
        services: vec![FeatureService {
            name: "svc".to_owned(),
            projections: vec![reversed],
            precompute_online: false,
        }],
        sqlite_tables: vec![SqliteTable {
            path: "/repo/data/online.db".to_owned(),
            name: "proj_wide".to_owned(),
        }],
    }
}

#[test]
fn what_is_defined_reads_back() {
    let definitions = definitions();
    let bytes = definitions.encode(ids()).unwrap();
    let snapshot = Snapshot::from_file(&bytes, "proj").unwrap();
    let wide = FeatureView {
        name: "wide".to_owned(),
        kind: ViewKind::Feature,
        features: definitions.views[0].features.clone(),
        join_keys: vec![
            JoinKey { name: "id".to_owned(), value_type: ValueType::Int64 },
            JoinKey { name: "cid".to_owned(), value_type: ValueType::String },
        ],
        is_entityless: false,
        ttl: definitions.views[0].ttl,
        source: definitions.sources[0].clone(),
        push_source: None,
        field_mapping: definitions.sources[0].field_mapping.clone(),
        tags: definitions.views[0].tags.clone(),
        online: true,
        disabled: false,
        enable_validation: false,
        version: None,
        created_micros: Some(CREATED),
        materialization_intervals: Vec::new(),
        refusal: None,
    };
    let plain = FeatureView {
        name: "plain".to_owned(),
        features: definitions.views[1].features.clone(),
        join_keys: Vec::new(),
        is_entityless: true,
        ttl: None,
        source: definitions.sources[1].clone(),
        field_mapping: BTreeMap::new(),
        tags: BTreeMap::new(),
        online: false,
        disabled: true,
        materialization_intervals: definitions.views[1].materialization_intervals.clone(),
        ..wide.clone()
    };
    assert_eq!(snapshot.views, [wide, plain]);
    assert_eq!(snapshot.services, definitions.services);
    let dummy =
        Entity { name: "__dummy".to_owned(), join_key: "__dummy_id".to_owned(), value_type: None };
    assert_eq!(snapshot.entities, [definitions.entities.clone(), vec![dummy]].concat());
}

#[test]
fn the_history_holds_the_first_definition_without_intervals() {
    let bytes = definitions().encode(ids()).unwrap();
    let first = view_in_file_history(&bytes, "proj", "plain", 0).unwrap().unwrap();
    assert_eq!(first.features, definitions().views[1].features);
    assert!(first.materialization_intervals.is_empty());
    assert_eq!(view_in_file_history(&bytes, "proj", "plain", 1).unwrap(), None);
}

#[test]
fn an_interval_is_recorded_in_the_file() {
    let bytes = definitions().encode(ids()).unwrap();
    let record = IntervalRecord { start_micros: 7, end_micros: 8, now_micros: CREATED + 1 };
    let edit =
        record_interval_in_file(&bytes, "proj", "wide", ViewKind::Feature, record, "another");
    let FileEdit::Changed(edited) = edit.unwrap() else { panic!("the view is there") };
    let snapshot = Snapshot::from_file(&edited, "proj").unwrap();
    assert_eq!(snapshot.view("wide").unwrap().materialization_intervals, [(7, 8)]);
}

#[test]
fn every_id_is_another_one() {
    let bytes = definitions().encode(ids()).unwrap();
    let registry = message::Registry::decode(bytes.as_slice()).unwrap();
    let history = registry.feature_view_version_history.unwrap().records;
    let mut seen: BTreeSet<String> = history.into_iter().map(|record| record.version_id).collect();
    seen.insert(registry.version_id);
    seen.insert(registry.project_metadata[0].project_uuid.clone());
    assert_eq!(seen.len(), 4);
}

#[test]
fn what_is_not_defined_is_refused_by_name() {
    let refused = |change: fn(&mut Definitions)| {
        let mut definitions = definitions();
        change(&mut definitions);
        definitions.encode(ids()).unwrap_err().to_string()
    };
    let source = refused(|all| all.views[0].source = "gone".to_owned());
    assert!(source.contains("`wide` names the data source `gone`"), "{source}");
    let entity = refused(|all| all.views[0].entities.push("gone".to_owned()));
    assert!(entity.contains("`wide` names the entity `gone`"), "{entity}");
    let view = refused(|all| all.services[0].projections[0].view = "gone".to_owned());
    assert!(view.contains("`svc` names the feature view `gone`"), "{view}");
    let feature = refused(|all| all.services[0].projections[0].features[0] = "gone".to_owned());
    assert!(feature.contains("`svc` names the feature `gone`"), "{feature}");
    let untyped = refused(|all| all.entities[0].value_type = None);
    assert!(untyped.contains("entity `driver` has no value type"), "{untyped}");
}

/// Paths of field numbers that occur in a message, down to the fields that hold no message.
fn paths(message: &[u8], parents: &[u32], nested: &[&[u32]], out: &mut BTreeSet<Vec<u32>>) {
    for field in wire::fields(message).unwrap() {
        let path = [parents, &[field.number]].concat();
        if nested.contains(&path.as_slice()) {
            paths(field.payload, &path, nested, out);
        }
        out.insert(path);
    }
}

/// The messages that are compared inside.
const NESTED: [&[u32]; 17] = [
    &[1],
    &[1, 1],
    &[1, 2],
    &[5],
    &[6],
    &[6, 1],
    &[6, 1, 4],
    &[6, 1, 7],
    &[6, 1, 7, 11],
    &[6, 1, 7, 50],
    &[6, 2],
    &[12],
    &[12, 11],
    &[17],
    &[17, 1],
    &[18],
    &[18, 1],
];

#[test]
fn it_fills_the_fields_that_feast_fills() {
    let golden = include_bytes!("../../../testdata/registry/entityless_before.db");
    let definitions = Definitions {
        project: "proj".to_owned(),
        created_micros: CREATED,
        sources: vec![DataSource { path: "data/d.parquet".to_owned(), ..file_source("src") }],
        views: vec![ViewDefinition {
            name: "fv".to_owned(),
            features: vec![field("f", ValueType::Int64)],
            source: "src".to_owned(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let ours = definitions.encode(ids()).unwrap();
    let (mut expected, mut found) = (BTreeSet::new(), BTreeSet::new());
    paths(golden, &[], &NESTED, &mut expected);
    paths(&ours, &[], &NESTED, &mut found);
    // Feast fills in the project's metadata in a registry that it has had to make itself.
    assert!(found.remove([15].as_slice()));
    assert_eq!(found, expected);
    let theirs = Snapshot::from_file(golden, "proj").unwrap();
    let mut read = Snapshot::from_file(&ours, "proj").unwrap();
    read.views[0].created_micros = theirs.views[0].created_micros;
    assert_eq!(read, theirs);
}
