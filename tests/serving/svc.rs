//! The project that was recorded, and the rows that its answers show.
//!
//! Worked out from the pairs alone: names, keys, types and values are those that a pair shows.
//! What no pair shows is Feast's default, and an order is that of the requests.

use ::tests::definition::{Part, Project, View};
use feast::entity_key::KeyValue;
use feast::value::Value;
use feast::{ValueType, ViewKind};

use crate::store::{Key, Row};

/// The project.
pub(crate) const PROJECT: &str = "svc";
/// Every join key, and every name that a service gives to one.
pub(crate) const JOIN_KEYS: [&str; 4] = ["driver_id", "customer_id", "origin_id", "dest_id"];
/// 2026-11-23T08:03:42Z, when most of the recorded rows came to be.
const RECORDED_SECONDS: i64 = 1_795_421_022;
/// 2026-11-13T09:03:42Z, ten days before.
const OLD_SECONDS: i64 = 1_794_560_622;
const DAY_SECONDS: i64 = 86_400;
/// What drivers have, in the order of the requests.
pub(crate) const STATS: [(&str, ValueType); 3] = [
    ("conv_rate", ValueType::Double),
    ("acc_rate", ValueType::Double),
    ("avg_daily_trips", ValueType::Int64),
];
/// One feature of each type that was recorded, scalars first.
pub(crate) const TYPES: [(&str, ValueType); 16] = [
    ("f_int32", ValueType::Int32),
    ("f_int64", ValueType::Int64),
    ("f_float32", ValueType::Float),
    ("f_float64", ValueType::Double),
    ("f_string", ValueType::String),
    ("f_bool", ValueType::Bool),
    ("f_bytes", ValueType::Bytes),
    ("f_ts", ValueType::UnixTimestamp),
    ("l_int32", ValueType::Int32List),
    ("l_int64", ValueType::Int64List),
    ("l_float32", ValueType::FloatList),
    ("l_float64", ValueType::DoubleList),
    ("l_string", ValueType::StringList),
    ("l_bool", ValueType::BoolList),
    ("l_bytes", ValueType::BytesList),
    ("l_ts", ValueType::UnixTimestampList),
];

/// The project.
pub(crate) fn project() -> Project {
    let mut views = vec![
        driver("driver_stats", &STATS),
        driver("driver_old", &[("old_val", ValueType::Int64)]).ttl(DAY_SECONDS),
        driver("driver_pushed", &STATS).pushed("driver_push"),
        driver("types", &TYPES),
    ];
    let mut both = driver("drv_cust", &[("affinity", ValueType::Double)]);
    both.keys.push(("customer_id".to_owned(), ValueType::String));
    both.entity_names.insert("customer_id".to_owned(), "customer".to_owned());
    let mut global = driver("globalfv", &[("g", ValueType::Int64)]);
    global.keys.clear();
    views.extend([both, global]);
    views.extend(on_demand_views());
    let stats = STATS.map(|(name, _)| name);
    let whole = || Part::new("driver_stats", &stats);
    Project::new(PROJECT, views)
        .service_of("fs_basic", [whole()])
        .service_of("fs_renamed", [whole().named("ds_alias")])
        .service_of(
            "fs_joinkey",
            [
                whole().named("origin").keyed("driver_id", "origin_id"),
                whole().named("dest").keyed("driver_id", "dest_id"),
            ],
        )
        .service(
            "fs_sub",
            &[
                ("driver_stats", &["conv_rate", "avg_daily_trips"][..]),
                ("driver_old", &["old_val"]),
            ],
        )
        .service("fs_types", &[("types", &TYPES.map(|(name, _)| name))])
        .service(
            "fs_odfv",
            &[
                ("driver_stats", &["conv_rate"][..]),
                ("odfv_pd", &["trips_plus", "conv_x2"]),
                ("odfv_py", &["acc_py"]),
            ],
        )
}

/// A served view of drivers.
fn driver(name: &str, features: &[(&str, ValueType)]) -> View {
    const AVAILABLE_ONLINE: i64 = 4;
    let mut view = View::new(name, &format!("data/{name}.parquet"), features).created("created");
    view.time_column = "event_timestamp".to_owned();
    view.keys = vec![("driver_id".to_owned(), ValueType::Int64)];
    view.entity_names.insert("driver_id".to_owned(), "driver".to_owned());
    view.state = AVAILABLE_ONLINE;
    view
}

/// One that also reads a value of the request, and one that reads a view alone.
fn on_demand_views() -> [View; 2] {
    let on_demand = |name: &str, features: &[(&str, ValueType)]| {
        let mut view = driver(name, features);
        view.kind = ViewKind::OnDemand;
        view.keys.clear();
        view.online = false;
        let stats = STATS.map(|(name, value_type)| (name.to_owned(), value_type));
        view.inputs = vec![("driver_stats".to_owned(), stats.to_vec())];
        view
    };
    let results = [("trips_plus", ValueType::Double), ("conv_x2", ValueType::Double)];
    let mut pandas = on_demand("odfv_pd", &results);
    pandas.request_fields = vec![("val_to_add".to_owned(), ValueType::Int64)];
    [pandas, on_demand("odfv_py", &[("acc_py", ValueType::Double)])]
}

/// Every row that was there when the recording began.
pub(crate) fn rows() -> Vec<Row> {
    let mut rows = stats();
    for (id, value) in [(1001, 1), (1002, 2)] {
        let mut row = row("driver_old", vec![driver_key(id)], 0, vec![Value::Int64(value)]);
        row.event_micros = OLD_SECONDS * 1_000_000;
        rows.push(row);
    }
    for (id, customer, value) in [(1001, "a", 0.9), (1002, "b", 0.8)] {
        let customer =
            Key::new("customer_id", ValueType::String, KeyValue::Text(customer.to_owned()));
        let keys = vec![driver_key(id), customer];
        rows.push(row("drv_cust", keys, 0, vec![Value::Double(value)]));
    }
    rows.push(row("globalfv", Vec::new(), 0, vec![Value::Int64(42)]));
    for (id, values) in [(1001, type_values()), (1002, empty_values()), (1003, null_values())] {
        rows.push(row("types", vec![driver_key(id)], 0, values));
    }
    rows
}

/// Both views of drivers were filled from the same file.
fn stats() -> Vec<Row> {
    let null = || Value::Null;
    // 2^53 for what was one more: a null in its column had made floats of the others.
    let rows = [
        (1001, 0, Value::Double(0.1), Value::Double(0.5), Value::Int64(10)),
        (1002, 123_000, null(), Value::Double(0.25), null()),
        (1003, 123_456, null(), null(), Value::Int64(30)),
        (1004, 1, Value::Double(f64::INFINITY), Value::Double(1.0), Value::Int64(1 << 53)),
        (1005, 999_999, Value::Double(1e300), Value::Double(-0.0), Value::Int64(-5)),
    ];
    let of_view = |view: &'static str| {
        let rows = rows.clone().into_iter();
        rows.map(move |(id, micros, conversion, acceptance, trips)| {
            let values = vec![conversion, acceptance, trips];
            row(view, vec![driver_key(id)], micros, values)
        })
    };
    of_view("driver_stats").chain(of_view("driver_pushed")).collect()
}

/// A row of a view, its values in the order of the features.
fn row(view: &str, keys: Vec<Key>, micros: i64, values: Vec<Value>) -> Row {
    let project = project();
    let view = project.views.iter().find(|held| held.name == view).expect("it is one of ours");
    let names = view.features.iter().map(|(name, _)| name.clone());
    Row {
        view: view.name.clone(),
        keys,
        event_micros: RECORDED_SECONDS * 1_000_000 + micros,
        values: names.zip(values).collect(),
    }
}

/// The key of a driver.
pub(crate) fn driver_key(id: i64) -> Key {
    Key::new("driver_id", ValueType::Int64, KeyValue::Integer(id))
}

fn type_values() -> Vec<Value> {
    const INSTANT: i64 = 1_767_323_045;
    let list = |kind, values: &[Value]| Value::List(kind, values.to_vec());
    let bytes = |bytes: &[u8]| Value::Bytes(bytes.to_vec());
    let text = |text: &str| Value::String(text.to_owned());
    vec![
        Value::Int32(-7),
        Value::Int64(1 << 53),
        Value::Float(0.1),
        Value::Double(0.1),
        text("héllo"),
        Value::Bool(true),
        bytes(&[0, 0xff, 1]),
        Value::UnixTimestamp(INSTANT),
        list(ValueType::Int32List, &[Value::Int32(1), Value::Int32(2)]),
        list(ValueType::Int64List, &[Value::Int64((1 << 53) + 1), Value::Int64(2)]),
        list(ValueType::FloatList, &[Value::Float(0.1), Value::Float(2.5)]),
        list(ValueType::DoubleList, &[0.1, f64::NAN, f64::INFINITY].map(Value::Double)),
        list(ValueType::StringList, &[text("a"), text("b")]),
        list(ValueType::BoolList, &[Value::Bool(true), Value::Bool(false)]),
        list(ValueType::BytesList, &[bytes(&[0, 0xff]), bytes(b"ab")]),
        list(ValueType::UnixTimestampList, &[Value::UnixTimestamp(INSTANT)]),
    ]
}

/// Zeros, and lists of nothing.
fn empty_values() -> Vec<Value> {
    let scalars = [
        Value::Int32(0),
        Value::Int64(0),
        Value::Float(0.0),
        Value::Double(0.0),
        Value::String(String::new()),
        Value::Bool(false),
        Value::Bytes(Vec::new()),
        Value::UnixTimestamp(0),
    ];
    let lists = TYPES[scalars.len()..].iter().map(|(_, kind)| Value::List(*kind, Vec::new()));
    scalars.into_iter().chain(lists).collect()
}

/// Nulls as Feast stores them: a timestamp's is the smallest number.
fn null_values() -> Vec<Value> {
    let null = |(_, value_type): &(&str, ValueType)| match value_type {
        ValueType::UnixTimestamp => Value::UnixTimestamp(i64::MIN),
        _ => Value::Null,
    };
    TYPES.iter().map(null).collect()
}

#[cfg(test)]
mod tests {
    use ::tests::registry::file_bytes;
    use anyhow::{Context, Result};
    use feast::registry::Snapshot;

    use super::*;

    #[test]
    fn the_registry_of_the_recording_is_read_as_it_was_defined() -> Result<()> {
        let project = project();
        let snapshot = Snapshot::from_file(&file_bytes(&project), PROJECT)?;
        let view = |name: &str| snapshot.view(name).context("the view is not there");
        let names = |name| -> Result<Vec<String>> {
            Ok(view(name)?.join_keys.iter().map(|key| key.name.clone()).collect())
        };
        assert_eq!(names("driver_stats")?, ["driver_id"]);
        assert_eq!(names("drv_cust")?, ["driver_id", "customer_id"]);
        assert!(view("globalfv")?.is_entityless);
        assert_eq!(view("driver_old")?.ttl.map(|ttl| ttl.as_secs()), Some(86_400));
        assert_eq!(view("driver_stats")?.ttl, None);
        assert_eq!(view("odfv_pd")?.kind, ViewKind::OnDemand);
        for view in project.views.iter().filter(|view| view.kind == ViewKind::Feature) {
            let read = snapshot.view(&view.name).context("the view is not there")?;
            let features = read.features.iter().map(|field| (field.name.clone(), field.value_type));
            assert_eq!(features.collect::<Vec<_>>(), view.features, "{}", view.name);
            assert_eq!((read.refusal.as_ref(), read.disabled), (None, false), "{}", view.name);
        }
        let mut entities: Vec<_> =
            snapshot.entities.iter().map(|entity| entity.name.as_str()).collect();
        entities.sort_unstable();
        assert_eq!(entities, ["__dummy", "customer", "driver"]);
        Ok(())
    }

    #[test]
    fn the_services_of_the_recording_keep_names_keys_and_order() -> Result<()> {
        let project = project();
        let snapshot = Snapshot::from_file(&file_bytes(&project), PROJECT)?;
        let service = |name: &str| {
            let found = snapshot.services.iter().find(|service| service.name == name);
            found.map(|service| service.projections.clone()).context("the service is not there")
        };
        let basic = &service("fs_basic")?[0];
        assert_eq!(basic.features, ["conv_rate", "acc_rate", "avg_daily_trips"]);
        assert_eq!((basic.alias.as_ref(), basic.join_key_map.len()), (None, 0));
        assert_eq!(service("fs_renamed")?[0].alias.as_deref(), Some("ds_alias"));
        let pair = service("fs_joinkey")?;
        assert_eq!(pair[0].join_key_map["driver_id"], "origin_id");
        assert_eq!(pair[1].alias.as_deref(), Some("dest"));
        assert_eq!(pair[1].join_key_map["driver_id"], "dest_id");
        assert_eq!(service("fs_types")?[0].features.len(), TYPES.len());
        assert_eq!(service("fs_odfv")?.len(), 3);
        Ok(())
    }

    #[test]
    fn every_row_has_a_value_for_each_feature() {
        let project = project();
        for row in rows() {
            let view = project.views.iter().find(|view| view.name == row.view).expect("a view");
            let names: Vec<_> = row.values.iter().map(|(name, _)| name).collect();
            assert_eq!(names, view.features.iter().map(|(name, _)| name).collect::<Vec<_>>());
            assert_eq!(row.keys.len(), view.keys.len(), "{}", row.view);
        }
    }
}
