//! What Feast's own feature server would answer, answered.

use api::Code;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::site::Site;

#[tokio::test]
async fn a_caller_who_waits_gets_null_when_all_has_landed() {
    let site = Site::start().await;
    let work = site.work();
    let body = json!({
        "start_ts": "2024-01-01", "end_ts": "2024-01-02T00:00:00", "feature_views": ["orders"],
        "full_feature_names": true,
    });
    let answer = site.post("/materialize", &body).await;
    assert_eq!((answer.status, answer.json()), (StatusCode::OK, Value::Null));
    let body = json!({ "end_ts": "2024-01-03T00:00:00Z", "feature_views": ["orders"] });
    let answer = site.post("/materialize-incremental", &body).await;
    assert_eq!((answer.status, answer.json()), (StatusCode::OK, Value::Null));
    let views = site.get("/v1/views").await.json();
    let of = |view: &&Value| view["view"] == "orders";
    let orders = views["views"].as_array().and_then(|views| views.iter().find(of));
    assert_eq!(orders.expect("it is listed")["watermark"], "2024-01-03T00:00:00+00:00");
    site.stop.leases.cancel();
    work.await.expect("it ends");
}

#[tokio::test]
async fn a_view_that_fails_is_told_in_the_form_that_feasts_client_reads() {
    let site = Site::start().await;
    let work = site.work();
    let body = json!({ "disable_event_timestamp": true, "feature_views": ["broken"] });
    let answer = site.post("/materialize", &body).await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    // A text that is JSON once more, as Feast sends its errors.
    let detail = answer.json();
    let detail: Value = serde_json::from_str(detail.as_str().expect("text")).expect("JSON in it");
    assert_eq!(
        (&detail["module"], &detail["class"]),
        (&json!("feast.errors"), &json!("FeastError"))
    );
    let message = detail["message"].as_str().expect("text");
    assert!(message.contains("feature view `broken` is failed"), "{message}");
    site.stop.leases.cancel();
    work.await.expect("it ends");
}

#[tokio::test]
async fn a_view_that_is_waited_for_is_a_conflict_unless_forced() {
    let site = Site::start().await;
    let body = json!({ "end_ts": "2024-01-03", "feature_views": ["orders"] });
    let path = "/materialize-incremental?async=true";
    let accepted = site.post(path, &body).await;
    assert_eq!(accepted.status, StatusCode::ACCEPTED);
    assert_eq!(accepted.json(), json!({ "status": "accepted", "feature_views": ["orders"] }));
    let conflict = site.post(path, &body).await;
    assert_eq!(conflict.status, StatusCode::CONFLICT);
    assert_eq!(conflict.json()["feature_views"], json!(["orders"]));
    assert!(conflict.json()["error"].as_str().is_some_and(|error| error.contains("force")));
    let other = json!({ "end_ts": "2024-01-03", "feature_views": ["broken"] });
    assert_eq!(site.post(path, &other).await.status, StatusCode::ACCEPTED);
    let forced = site.post("/materialize-incremental?async=1&force=yes", &body).await;
    assert_eq!(forced.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn what_feast_refuses_is_refused() {
    let site = Site::start().await;
    for (path, body, code) in [
        ("/materialize", json!({}), Code::InvalidRequest),
        (
            "/materialize",
            json!({ "start_ts": "2024-01-02", "end_ts": "2024-01-01" }),
            Code::InvalidRequest,
        ),
        (
            "/materialize",
            json!({ "start_ts": "soon", "end_ts": "2024-01-01" }),
            Code::InvalidRequest,
        ),
        ("/materialize-incremental", json!({}), Code::InvalidBody),
        (
            "/materialize-incremental",
            json!({ "end_ts": "2024-01-01", "feature_views": ["x"] }),
            Code::UnknownView,
        ),
        (
            "/materialize-incremental?force=maybe",
            json!({ "end_ts": "2024-01-01" }),
            Code::InvalidRequest,
        ),
    ] {
        site.post(path, &body).await.is(code);
    }
}
