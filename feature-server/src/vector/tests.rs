//! When a vector is taken, and when it is not.

use bytes::{Bytes, BytesMut};
use feast::redis_layout::encode_timestamp;
use feast::registry::Snapshot;
use feast::serving::FeatureViewTimestamp;
use feast::value::Value;
use feast::{FeatureView, Field, JoinKey, ProjectionRef};

use super::*;
use crate::plan::{OldVersions, Project, plan};
use crate::request::Wanted;
use crate::settings::OnDemand;

fn view(name: &str, key: &str) -> FeatureView {
    let field = |name: &str| Field {
        name: name.to_owned(),
        value_type: ValueType::Int64,
        vector_length: 0,
        vector_index: false,
    };
    FeatureView {
        name: name.to_owned(),
        features: vec![field("a"), field("b")],
        join_keys: vec![JoinKey { name: key.to_owned(), value_type: ValueType::Int64 }],
        ..FeatureView::default()
    }
}

fn projection(view: &str, features: &[&str]) -> ProjectionRef {
    ProjectionRef {
        view: view.to_owned(),
        alias: None,
        features: features.iter().map(|&name| name.to_owned()).collect(),
        join_key_map: Default::default(),
        version: None,
    }
}

/// `one:b`, and both features of `two` under the name `other`.
fn projections() -> Vec<ProjectionRef> {
    let alias = Some("other".to_owned());
    vec![projection("one", &["b"]), ProjectionRef { alias, ..projection("two", &["a", "b"]) }]
}

fn vector(projections: Vec<ProjectionRef>, precompute_online: bool) -> Option<Vector> {
    let service = FeatureService { name: "s".to_owned(), projections, precompute_online };
    let snapshot = Snapshot {
        views: vec![view("one", "id"), view("two", "id"), view("far", "other_id")],
        services: vec![service.clone()],
        ..Snapshot::default()
    };
    let project = Project {
        name: "p".to_owned(),
        versioning: true,
        serialization_version: 3,
        on_demand: OnDemand::Null,
        features_max: 9,
        has_vectors: true,
    };
    let wanted = Wanted::Service("s".to_owned());
    let references = Reference::of(&wanted, "p", &snapshot).expect("references");
    let plan = plan(&project, &snapshot, &OldVersions::new(), &references, true).expect("a plan");
    Vector::of(&service, &references, &plan)
}

/// Makes a vector one that cannot be taken.
type Spoil = fn(&mut PrecomputedFeatureVector);

fn bytes(value: &Value) -> Bytes {
    let mut out = BytesMut::new();
    value.encode(&mut out);
    out.freeze()
}

/// The vector of the service above; `one` is of second 1 and `two` of second 2.
fn made() -> PrecomputedFeatureVector {
    let names = ["one__b", "other__a", "other__b"];
    let time = |name: &str, seconds| FeatureViewTimestamp {
        feature_view_name: name.to_owned(),
        event_timestamp: Some(Timestamp { seconds, nanos: 0 }),
    };
    PrecomputedFeatureVector {
        feature_names: names.map(Bytes::from).to_vec(),
        values: (1..=3).map(|number| bytes(&Value::Int64(number))).collect(),
        fv_timestamps: vec![time("one", 1), time("other", 2)],
        precomputed_at: Some(Timestamp { seconds: 9, nanos: 0 }),
    }
}

/// What the store has: a vector, and the event times of both views.
fn stored(made: &PrecomputedFeatureVector, seconds: [Option<i64>; 2]) -> FetchedRow {
    let vector = made.to_value();
    let [one, two] = seconds.map(|seconds| seconds.map(|seconds| encode_timestamp(seconds, 0)));
    [None, Some(&vector[..]), one.as_deref(), two.as_deref()].into_iter().collect()
}

#[test]
fn a_vector_of_the_stored_rows_is_the_views_row() {
    let vector = vector(projections(), true).expect("it has one");
    assert_eq!(vector.fields.len(), 4);
    let row = vector.row(&stored(&made(), [Some(1), Some(2)])).expect("it is fresh");
    let (one, two) = (encode_timestamp(1, 0), encode_timestamp(2, 0));
    let value = |number| bytes(&Value::Int64(number));
    let expected: FetchedRow =
        [Some(&one[..]), Some(&value(1)), Some(&two), Some(&value(2)), Some(&value(3))]
            .into_iter()
            .collect();
    assert_eq!(row, expected);
}

#[test]
fn a_vector_that_does_not_tell_the_stored_rows_is_none() {
    let vector = vector(projections(), true).expect("it has one");
    for times in [[Some(1), Some(3)], [Some(0), Some(2)], [Some(1), None]] {
        assert_eq!(vector.row(&stored(&made(), times)), None, "{times:?}");
    }
    let nothing: FetchedRow = [None; 4].into_iter().collect();
    assert_eq!(vector.row(&nothing), None);
    let spoil: [(&str, Spoil); 5] = [
        ("a null", |made| made.values[1] = Bytes::new()),
        ("another order", |made| made.feature_names.swap(0, 1)),
        ("a feature more", |made| made.feature_names.push("other__c".into())),
        ("a value less", |made| drop(made.values.pop())),
        ("no time", |made| drop(made.fv_timestamps.pop())),
    ];
    for (what, spoil) in spoil {
        let mut spoilt = made();
        spoil(&mut spoilt);
        assert_eq!(vector.row(&stored(&spoilt, [Some(1), Some(2)])), None, "{what}");
    }
}

#[test]
fn only_what_is_under_one_key_has_vectors() {
    assert!(vector(projections(), false).is_none());
    let mut far = projections();
    far.push(projection("far", &["a"]));
    assert!(vector(far, true).is_none());
    let mut renamed = projections();
    let keys = [("id".to_owned(), "other_id".to_owned())];
    renamed.iter_mut().for_each(|part| part.join_key_map = keys.clone().into());
    assert!(vector(renamed, true).is_none());
    let mut pinned = projections();
    pinned[0].version = Some(0);
    assert!(vector(pinned, true).is_none());
}
