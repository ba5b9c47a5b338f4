//! Probes, metrics and the document.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::run_routes::both_days;
use super::site::Site;

#[tokio::test]
async fn readiness_names_what_does_not_answer_and_not_why() {
    let site = Site::start().await;
    let ready = site.get("/readyz").await;
    assert_eq!(ready.status, StatusCode::OK);
    for system in ["metastore", "registry", "online_store"] {
        assert_eq!(ready.json()["checks"][system], json!({ "ok": true, "error": null }));
    }
    assert_eq!(site.get("/livez").await.json(), json!({ "status": "ok" }));

    let site = Site::start().await;
    site.store.go_away();
    let answer = site.get("/readyz").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.json()["checks"]["online_store"]["ok"], false);
    assert!(!answer.text().contains("hunter2"), "{}", answer.text());
    assert_eq!(site.get("/livez").await.status, StatusCode::OK);
}

#[tokio::test]
async fn metrics_tell_what_was_done_and_how_far_views_have_got() {
    let site = Site::start().await;
    let work = site.work();
    let run = site.post("/v1/runs", &both_days()).await.json();
    site.ended(run["run_id"].as_str().expect("an id")).await;
    // The job is counted after its end is recorded.
    let text = loop {
        let text = site.get("/metrics").await.text();
        if text.contains("tidegate_jobs_ended_total{state=\"succeeded\"} 1") {
            break text;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    };
    for line in [
        "tidegate_attempts_ended_total{end=\"committed\"} 1",
        "tidegate_rows_total{outcome=\"written\"} 7",
        "tidegate_rows_read_total 48",
        "tidegate_runs{state=\"succeeded\"} 1.0",
        "tidegate_ledger_up 1.0",
        "tidegate_view_watermark_timestamp_seconds{view=\"orders\"} 1704240000.0",
        "tidegate_view_lost{view=\"orders\"} 0.0",
        "tidegate_http_requests_total{method=\"POST\",route=\"/v1/runs\",status=\"202\"} 1",
        "# EOF",
    ] {
        assert!(text.lines().any(|have| have == line), "`{line}` is not in:\n{text}");
    }
    let freshness = "tidegate_view_freshness_seconds{view=\"orders\"} ";
    assert!(text.contains(freshness), "{text}");
    for family in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let name = family.split(' ').next().expect("a name");
        assert!(text.contains(&format!("# HELP {name} ")), "{name} has no help");
    }
    site.stop.leases.cancel();
    work.await.expect("it ends");
}

#[tokio::test]
async fn the_document_is_served() {
    let site = Site::start().await;
    let document = site.get("/openapi.json").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    assert!(matches!(document["paths"]["/v1/runs"]["post"], Value::Object(_)));
}
