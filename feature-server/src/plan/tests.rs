//! Plans: the order of columns, what shares a hash, and every name that is wrong.

use std::time::Duration;

use feast::{Entity, FeatureService, Field, ProjectionRef};

use super::*;
use crate::request::Wanted;

fn project() -> Project {
    Project {
        name: "p".to_owned(),
        versioning: false,
        serialization_version: 3,
        on_demand: OnDemand::Null,
        features_max: 5,
        has_vectors: true,
    }
}

fn view(name: &str, keys: &[&str], features: &[&str]) -> FeatureView {
    let field = |name: &&str| Field {
        name: (*name).to_owned(),
        value_type: ValueType::Double,
        vector_length: 0,
        vector_index: false,
    };
    let key = |name: &&str| JoinKey { name: (*name).to_owned(), value_type: ValueType::Int64 };
    FeatureView {
        name: name.to_owned(),
        features: features.iter().map(field).collect(),
        join_keys: keys.iter().map(key).collect(),
        ttl: Some(Duration::from_secs(60)),
        ..FeatureView::default()
    }
}

fn snapshot() -> Snapshot {
    let projection = |view: &str, features: &[&str], alias: Option<&str>, map: &[(&str, &str)]| {
        let pair = |&(from, to): &(&str, &str)| (from.to_owned(), to.to_owned());
        ProjectionRef {
            view: view.to_owned(),
            alias: alias.map(str::to_owned),
            features: features.iter().map(|&name| name.to_owned()).collect(),
            join_key_map: map.iter().map(pair).collect(),
            version: None,
        }
    };
    let trip = FeatureService {
        name: "trip".to_owned(),
        projections: vec![
            projection("stats", &["b", "a"], Some("from"), &[("id", "from_id")]),
            projection("stats", &["a"], Some("to"), &[("id", "to_id")]),
        ],
        precompute_online: false,
    };
    let computed = FeatureView { kind: ViewKind::OnDemand, ..view("computed", &[], &["c"]) };
    let disabled = FeatureView { disabled: true, ..view("off", &["id"], &["a"]) };
    Snapshot {
        views: vec![
            view("stats", &["id"], &["a", "b"]),
            view("more", &["id"], &["a", "d"]),
            view("pair", &["id", "other"], &["e"]),
            view("global", &[], &["g"]),
            computed,
            disabled,
        ],
        entities: vec![Entity {
            name: "driver".to_owned(),
            join_key: "id".to_owned(),
            value_type: None,
        }],
        services: vec![trip],
    }
}

fn try_plan(wanted: &Wanted, is_full: bool, project: &Project) -> Result<Plan, Error> {
    let snapshot = snapshot();
    let references = Reference::of(wanted, &project.name, &snapshot)?;
    plan(project, &snapshot, &OldVersions::new(), &references, is_full)
}

fn features(names: &[&str]) -> Wanted {
    Wanted::Features(names.iter().map(|&name| name.to_owned()).collect())
}

fn names(plan: &Plan) -> Vec<&str> {
    plan.columns.iter().map(|column| column.name.as_str()).collect()
}

#[test]
fn columns_keep_the_order_of_the_request_and_views_share_a_hash() {
    let wanted = features(&["more:d", "stats:b", "pair:e", "stats:a", "global:g"]);
    let plan = try_plan(&wanted, false, &project()).expect("a plan");
    assert_eq!(names(&plan), ["d", "b", "e", "a", "g"]);
    // `more` and `stats` have one key; each has an event time before its features.
    assert_eq!(plan.groups.len(), 3);
    assert_eq!(plan.groups[0].fields.len(), 5);
    let stored = |column: usize| match plan.columns[column].source {
        Source::Stored { group, time, cell, .. } => (group, time, cell),
        Source::OnDemand => panic!("it is stored"),
    };
    assert_eq!([stored(0), stored(1), stored(3)], [(0, 0, 1), (0, 2, 3), (0, 2, 4)]);
    assert_eq!((stored(2).0, stored(4).0), (1, 2));
    let views: Vec<&str> = plan.views.iter().map(|view| view.name.as_str()).collect();
    assert_eq!(views, ["more", "stats", "pair", "global"]);
    assert_eq!(plan.views[0].ttl_nanos, Some(60_000_000_000));
}

#[test]
fn a_service_may_read_a_view_twice_under_other_keys() {
    let wanted = Wanted::Service("trip".to_owned());
    let plan = try_plan(&wanted, true, &project()).expect("a plan");
    assert_eq!(names(&plan), ["from__b", "from__a", "to__a"]);
    assert_eq!(plan.groups.len(), 2);
    let needed: Vec<&str> = plan
        .entities
        .iter()
        .filter(|column| column.view.is_some())
        .map(|column| column.name.as_str())
        .collect();
    assert_eq!(needed, ["from_id", "to_id"]);
    // The project's own keys may be sent, and are given back.
    assert!(plan.entities.iter().any(|column| column.name == "id" && column.view.is_none()));
    let error = try_plan(&wanted, false, &project()).expect_err("two are named `a`");
    assert!(matches!(error, Error::Collision { name } if name == "a"));
}

#[test]
fn an_entity_may_be_called_by_its_name() {
    let plan = try_plan(&features(&["stats:a"]), false, &project()).expect("a plan");
    assert_eq!(plan.entities[0].entity.as_deref(), Some("driver"));
}

#[test]
fn what_is_wrong_with_names_is_said_by_name() {
    for (wanted, says) in [
        (features(&[]), "no features"),
        (features(&["a"]), "`a` is no feature"),
        (features(&["nope:a"]), "`nope` does not exist in project `p`"),
        (features(&["stats:nope"]), "no feature `nope`"),
        (features(&["stats:a", "more:a"]), "named `a`"),
        (features(&["off:a"]), "`off` cannot be served: it is disabled"),
        (features(&["stats@v1:a"]), "enable_online_feature_view_versioning"),
        (features(&["computed:c"]), "a Python function computes"),
        (features(&["stats:a"; 6]), "6 features"),
        (Wanted::Service("nope".to_owned()), "service `nope`"),
    ] {
        let error = try_plan(&wanted, false, &project()).expect_err(says).to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn computed_features_are_null_or_refuse_the_request_as_the_setting_says() {
    let wanted = features(&["stats:a", "computed:c"]);
    let plan = try_plan(&wanted, false, &project()).expect("a plan");
    assert_eq!(plan.columns[1].source, Source::OnDemand);
    let refusing = Project { on_demand: OnDemand::Refuse, ..project() };
    let error = try_plan(&wanted, false, &refusing).expect_err("it is refused");
    assert!(matches!(error, Error::NotServable { view, .. } if view == "computed"));
}

#[test]
fn a_version_is_read_from_where_it_is_stored() {
    let versioned = Project { versioning: true, ..project() };
    let snapshot = snapshot();
    let old = FeatureView { version: Some(2), ..view("stats", &["id"], &["z"]) };
    let old = OldVersions::from([(("stats".to_owned(), 2), old)]);
    let wanted = features(&["stats@v2:z", "stats:a"]);
    let references = Reference::of(&wanted, "p", &snapshot).expect("references");
    let plan = plan(&versioned, &snapshot, &old, &references, true).expect("a plan");
    assert_eq!(names(&plan), ["stats@v2__z", "stats__a"]);
    let stored: Vec<&str> =
        plan.groups[0].fields.views().iter().map(|view| view.view.storage_name.as_str()).collect();
    assert_eq!(stored, ["stats_v2", "stats"]);
    assert_eq!((plan.views[0].version, plan.views[1].version), (2, 0));
    let references = Reference::of(&features(&["stats@v3:z"]), "p", &snapshot).expect("one");
    let error = super::plan(&versioned, &snapshot, &old, &references, true);
    assert!(error.expect_err("there is none").to_string().contains("no version 3"));
}
