//! What a stored value is called, in both protocols.

use bytes::{Bytes, BytesMut};
use feast::redis_layout::encode_timestamp;
use feast::registry::Snapshot;
use feast::value::Value;
use feast::{FeatureView, Field, JoinKey, ValueType};

use super::*;
use crate::bind::bind;
use crate::metric::ServeMetrics;
use crate::plan::{OldVersions, Project, Reference, plan};
use crate::request::{Values, Wanted};
use crate::settings::{Compat, OnDemand};

/// The ttl of the view, and how old the older row is.
const TTL_SECONDS: u64 = 100;
const NOW_SECONDS: i64 = 1_000;

fn counted() -> Arc<CountedPlan> {
    let field = |name: &str| Field {
        name: name.to_owned(),
        value_type: ValueType::Double,
        vector_length: 0,
        vector_index: false,
    };
    let view = FeatureView {
        name: "v".to_owned(),
        features: vec![field("a"), field("b")],
        join_keys: vec![JoinKey { name: "id".to_owned(), value_type: ValueType::Int64 }],
        ttl: Some(std::time::Duration::from_secs(TTL_SECONDS)),
        ..FeatureView::default()
    };
    let snapshot = Snapshot { views: vec![view], ..Snapshot::default() };
    let project = Project {
        name: "p".to_owned(),
        versioning: false,
        serialization_version: 3,
        on_demand: OnDemand::Null,
        features_max: 9,
        has_vectors: true,
    };
    let wanted = Wanted::Features(vec!["v:b".to_owned(), "v:a".to_owned()]);
    let references = Reference::of(&wanted, "p", &snapshot).expect("references");
    let plan = plan(&project, &snapshot, &OldVersions::new(), &references, false).expect("a plan");
    let metrics = ServeMetrics::register(&mut daemon::Metrics::new("0"));
    Arc::new(CountedPlan { plan, counters: vec![metrics.of_view("v")], vector: None })
}

fn double(number: f64) -> Bytes {
    let mut bytes = BytesMut::new();
    Value::Double(number).encode(&mut bytes);
    bytes.freeze()
}

/// Four rows: fresh with a null, one that is as old as may be, one older, and none.
fn answer(settings: Settings) -> Answer {
    let plan = counted();
    let ids = Values::Json((1..=4).map(serde_json::Value::from).collect());
    let entities = [("id".to_owned(), ids)];
    let bound = bind(&plan.plan, &entities, 9, settings.coercion()).expect("entities");
    let ttl = i64::try_from(TTL_SECONDS).expect("it is short");
    let time = |seconds: i64| encode_timestamp(seconds, 500_000_000);
    let value = double(1e300);
    let row = |seconds: i64, b: &[u8]| {
        [Some(&time(seconds)[..]), Some(b), Some(&value)].into_iter().collect::<FetchedRow>()
    };
    let rows = vec![
        row(NOW_SECONDS - 1, &[]),
        row(NOW_SECONDS - ttl, &value),
        row(NOW_SECONDS - ttl - 1, &value),
        [None; 3].into_iter().collect(),
    ];
    let now_nanos = i128::from(NOW_SECONDS) * NANOS_PER_SECOND + NANOS_PER_SECOND / 2;
    Answer { plan, bound, rows: vec![Some(rows)], settings, view_versions: true, now_nanos }
}

fn json(settings: Settings) -> String {
    String::from_utf8(answer(settings).to_json().expect("an answer")).expect("text")
}

#[test]
fn a_status_says_what_is_stored() {
    let text = json(Settings::default());
    let epochs = ["\"1970-01-01T00:00:00Z\""; 4].join(",");
    let times = "\"1970-01-01T00:16:39.500Z\",\"1970-01-01T00:15:00.500Z\",\
                 \"1970-01-01T00:14:59.500Z\",\"1970-01-01T00:00:00Z\"";
    let expected = format!(
        "{{\"results\":[{{\"values\":[1,2,3,4],\"statuses\":[\"PRESENT\",\"PRESENT\",\"PRESENT\",\
         \"PRESENT\"],\"event_timestamps\":[{epochs}]}},{{\"values\":[null,1e+300,1e+300,null],\
         \"statuses\":[\"NULL_VALUE\",\"PRESENT\",\"OUTSIDE_MAX_AGE\",\"NOT_FOUND\"],\
         \"event_timestamps\":[{times}]}},{{\"values\":[1e+300,1e+300,1e+300,null],\
         \"statuses\":[\"PRESENT\",\"PRESENT\",\"OUTSIDE_MAX_AGE\",\"NOT_FOUND\"],\
         \"event_timestamps\":[{times}]}}],\"metadata\":{{\"feature_names\":[\"id\",\"b\",\"a\"],\
         \"feature_view_metadata\":[{{\"name\":\"v\"}}]}}}}"
    );
    assert_eq!(text, expected);
}

#[test]
fn a_value_that_is_too_old_is_null_where_that_is_set() {
    let text = json(Settings { expired: Expired::Null, ..Settings::default() });
    assert!(text.contains("\"values\":[1e+300,1e+300,null,null]"), "{text}");
    assert!(text.contains("OUTSIDE_MAX_AGE"), "{text}");
}

#[test]
fn everything_is_present_where_feast_is_wanted() {
    let text = json(Settings { compat: Compat::Feast, ..Settings::default() });
    assert!(text.contains("\"values\":[null,1e+300,1e+300,null]"), "{text}");
    assert!(!text.contains("NOT_FOUND") && !text.contains("OUTSIDE"), "{text}");
}

#[test]
fn a_message_says_the_same_with_the_stored_bytes() {
    let answer = answer(Settings::default());
    let message = answer.to_proto();
    let names = message.metadata.expect("there is some").feature_names.expect("names").val;
    assert_eq!(names, ["id", "b", "a"]);
    let column = &message.results[1];
    assert_eq!(column.statuses, [2, 1, 4, 3]);
    assert_eq!(column.values, [Bytes::new(), double(1e300), double(1e300), Bytes::new()]);
    assert_eq!(
        (column.event_timestamps[0].seconds, column.event_timestamps[0].nanos),
        (999, 500_000_000)
    );
    assert_eq!(column.event_timestamps[3].seconds, 0);
}

#[test]
fn what_was_found_is_counted_by_view() {
    let answer = answer(Settings::default());
    answer.to_json().expect("an answer");
    let counters = &answer.plan.counters[0];
    let counts =
        (counters.hits.get(), counters.nulls.get(), counters.stale.get(), counters.misses.get());
    assert_eq!(counts, (3, 1, 2, 2));
}

#[test]
fn a_null_timestamp_is_null_unless_feast_is_wanted() {
    let mut bytes = BytesMut::new();
    Value::UnixTimestamp(i64::MIN).encode(&mut bytes);
    let row = || [Some(&b""[..]), Some(&bytes), None].into_iter().collect::<FetchedRow>();
    let of = |compat| {
        let mut answer = answer(Settings { compat, ..Settings::default() });
        answer.rows = vec![Some(vec![row(), row(), row(), row()])];
        String::from_utf8(answer.to_json().expect("an answer")).expect("text")
    };
    let nulls = "{\"values\":[null,null,null,null],";
    assert!(of(Compat::Strict).contains(nulls) && !of(Compat::Strict).contains("-922"));
    assert!(of(Compat::Feast).contains("{\"values\":[-9223372036854775808,"));
}
