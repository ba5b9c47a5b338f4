//! Submitting, listing, looking at, following and cancelling runs; plans and views.

use api::Code;
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::site::{Site, request};

/// The two days of the orders.
pub(super) fn both_days() -> Value {
    json!({
        "kind": "interval", "views": ["orders"],
        "start": "2024-01-01T00:00:00Z", "end": "2024-01-03T00:00:00Z",
    })
}

#[tokio::test]
async fn a_run_is_recorded_worked_on_and_shown() {
    let site = Site::start().await;
    let answer = site.post("/v1/runs", &both_days()).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
    let run = answer.json();
    let id = run["run_id"].as_str().expect("an id");
    assert_eq!(answer.header("location"), format!("/v1/runs/{id}"));
    assert_eq!((&run["state"], &run["views"]), (&json!("pending"), &json!(["orders"])));
    let work = site.work();
    let detail = site.ended(id).await;
    assert_eq!(detail["state"], "succeeded", "{detail}");
    assert_eq!(detail["jobs"][0]["receipt"]["written"], 7, "{detail}");
    assert_eq!(detail["jobs"][0]["windows"][0]["state"], "committed");
    let views = site.get("/v1/views").await.json();
    let of = |view: &&Value| view["view"] == "orders";
    let orders = views["views"].as_array().and_then(|views| views.iter().find(of));
    let orders = orders.expect("it is listed");
    assert_eq!(orders["watermark"], "2024-01-03T00:00:00+00:00", "{views}");
    let intervals = site.get("/v1/views/shop/orders/intervals").await.json();
    assert_eq!(intervals["landed"].as_array().map(Vec::len), Some(1), "{intervals}");
    site.stop.leases.cancel();
    work.await.expect("it ends");
}

#[tokio::test]
async fn one_key_makes_one_run_and_no_other() {
    let site = Site::start().await;
    let send = |key: &'static str, body: Value| {
        let headers = [("content-type", "application/json"), ("idempotency-key", key)];
        site.send(request(Method::POST, "/v1/runs", &headers, &body.to_string()))
    };
    let first = send("nightly 1", both_days()).await;
    let again = send("nightly 1", both_days()).await;
    assert_eq!((first.status, again.status), (StatusCode::ACCEPTED, StatusCode::ACCEPTED));
    assert_eq!(first.json()["run_id"], again.json()["run_id"]);
    assert_eq!(first.json()["idempotency_key"], "nightly 1");
    let other = json!({ "kind": "incremental" });
    send("nightly 1", other).await.is(Code::IdempotencyMismatch);
    send("é", both_days()).await.is(Code::InvalidIdempotencyKey);
    send("", both_days()).await.is(Code::InvalidIdempotencyKey);
    let runs = site.get("/v1/runs").await.json();
    assert_eq!(runs["runs"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_by_code_and_field() {
    let site = Site::start().await;
    let unknown = "01890a5d-ac96-774b-bcce-b302099a8057";
    for (body, code, field) in [
        (json!({ "kind": "backfill" }), Code::InvalidBody, None),
        (json!({ "kind": "incremental", "ends": "x" }), Code::InvalidBody, None),
        (json!({ "kind": "interval" }), Code::InvalidRequest, Some("start")),
        (json!({ "kind": "incremental", "window": "soon" }), Code::InvalidRequest, Some("window")),
        (json!({ "kind": "incremental", "views": ["none"] }), Code::UnknownView, Some("views")),
        (json!({ "kind": "incremental", "project": "p" }), Code::UnknownProject, Some("project")),
        (json!({ "kind": "rerun", "rerun": { "run_id": unknown } }), Code::UnknownRun, None),
        (
            json!({ "kind": "rerun", "rerun": { "window_id": unknown } }),
            Code::InvalidRequest,
            Some("rerun"),
        ),
    ] {
        for path in ["/v1/runs", "/v1/plan"] {
            let problem = site.post(path, &body).await.is(code);
            assert_eq!(problem["field"].as_str(), field, "{problem}");
            assert_eq!(problem["instance"], path);
            assert_eq!(problem["type"], format!("/errors/{code}"));
        }
    }
    let headers = [("content-type", "application/json")];
    let half = request(Method::POST, "/v1/runs", &headers, "{\"kind\":");
    site.send(half).await.is(Code::InvalidBody);
    let plain = request(Method::POST, "/v1/runs", &[("content-type", "text/plain")], "{}");
    site.send(plain).await.is(Code::UnsupportedMediaType);
}

#[tokio::test]
async fn runs_are_listed_page_by_page_and_by_what_they_are() {
    let site = Site::start().await;
    let mut ids = Vec::new();
    for view in ["orders", "broken", "orders"] {
        let body = json!({ "kind": "incremental", "views": [view] });
        ids.insert(0, site.post("/v1/runs", &body).await.json()["run_id"].clone());
    }
    let listed = |page: &Value| -> Vec<Value> {
        let runs = page["runs"].as_array().expect("a list");
        runs.iter().map(|run| run["run_id"].clone()).collect()
    };
    let first = site.get("/v1/runs?limit=2").await.json();
    assert_eq!(listed(&first), ids[..2]);
    let next = first["next"].as_str().expect("there are more");
    let second = site.get(&format!("/v1/runs?limit=2&cursor={next}")).await.json();
    assert_eq!((listed(&second), &second["next"]), (ids[2..].to_vec(), &Value::Null));
    let of_view = site.get("/v1/runs?view=broken&state=pending&project=shop").await.json();
    assert_eq!(listed(&of_view), ids[1..2]);
    assert!(listed(&site.get("/v1/runs?state=failed").await.json()).is_empty());
    let later = "/v1/runs?since=2100-01-01T00:00:00Z";
    assert!(listed(&site.get(later).await.json()).is_empty());
    for query in ["limit=0", "limit=201", "limit=x", "cursor=x", "state=late", "stat=failed"] {
        site.get(&format!("/v1/runs?{query}")).await.is(Code::InvalidRequest);
    }
    site.get("/v1/runs?project=other").await.is(Code::UnknownProject);
}

#[tokio::test]
async fn a_run_is_cancelled_once_and_not_after_its_end() {
    let site = Site::start().await;
    let run = site.post("/v1/runs", &both_days()).await.json();
    let path = format!("/v1/runs/{}:cancel", run["run_id"].as_str().expect("an id"));
    let answer = site.post(&path, &Value::Null).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
    let work = site.work();
    let detail = site.ended(run["run_id"].as_str().expect("an id")).await;
    assert_eq!(detail["state"], "cancelled");
    site.post(&path, &Value::Null).await.is(Code::RunEnded);
    let escaped = path.replace(':', "%3A");
    site.post(&escaped, &Value::Null).await.is(Code::RunEnded);
    site.post(&path.replace("cancel", "pause"), &Value::Null).await.is(Code::NotFound);
    let plain = path.replace(":cancel", "");
    let refused = site.post(&plain, &Value::Null).await;
    refused.is(Code::MethodNotAllowed);
    assert_eq!(refused.header("allow"), "GET, HEAD");
    let none = "/v1/runs/01890a5d-ac96-774b-bcce-b302099a8057";
    site.post(&format!("{none}:cancel"), &Value::Null).await.is(Code::UnknownRun);
    site.get(none).await.is(Code::UnknownRun);
    site.get("/v1/runs/nothing").await.is(Code::UnknownRun);
    site.stop.leases.cancel();
    work.await.expect("it ends");
}

#[tokio::test]
async fn a_run_that_is_being_written_is_cancelled_in_the_middle() {
    let site = Site::start().await;
    site.store.shut_gate();
    let work = site.work();
    let run = site.post("/v1/runs", &both_days()).await.json();
    let id = run["run_id"].as_str().expect("an id").to_owned();
    let path = format!("/v1/runs/{id}");
    while site.get(&path).await.json()["jobs"][0]["windows"][0]["state"] != "open" {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let answer = site.post(&format!("{path}:cancel"), &Value::Null).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert_eq!(answer.json()["cancel_requested"], true);
    assert_eq!(site.ended(&id).await["state"], "cancelled");
    site.stop.leases.cancel();
    work.await.expect("it ends");
}

#[tokio::test]
async fn a_plan_says_what_would_be_read_and_records_nothing() {
    let site = Site::start().await;
    let plan = site.post("/v1/plan", &both_days()).await.json();
    assert_eq!(plan["views"][0]["rows"], 48, "{plan}");
    assert_eq!(plan["views"][0]["files_read"], 1);
    let broken = json!({
        "kind": "interval", "views": ["broken"],
        "start": "2024-01-01T00:00:00Z", "end": "2024-01-03T00:00:00Z",
    });
    let plan = site.post("/v1/plan", &broken).await.json();
    assert_eq!(plan["views"][0]["is_failure"], true, "{plan}");
    assert_eq!(site.get("/v1/runs").await.json()["runs"], json!([]));
}

#[tokio::test]
async fn intervals_are_of_one_view_of_the_one_project() {
    let site = Site::start().await;
    let none = site.get("/v1/views/shop/orders/intervals").await.json();
    assert_eq!(none["landed"], json!([]));
    site.get("/v1/views/shop/none/intervals").await.is(Code::UnknownView);
    site.get("/v1/views/other/orders/intervals").await.is(Code::UnknownProject);
}

/// The events of a stream, each with its id, name and data.
fn events(text: &str) -> Vec<(Option<u64>, String, Value)> {
    let field = |block: &str, name: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(name));
        line.map(|value| value.trim_start_matches([':', ' ']).to_owned())
    };
    text.split("\n\n")
        .filter(|block| block.contains("event:"))
        .map(|block| {
            let id = field(block, "id").map(|id| id.parse().expect("a number"));
            let data = field(block, "data").expect("an event has data");
            let data = serde_json::from_str(&data).expect("data is JSON");
            (id, field(block, "event").expect("a name"), data)
        })
        .collect()
}

#[tokio::test]
async fn events_are_numbered_resumed_and_end_with_the_run() {
    let site = Site::start().await;
    let run = site.post("/v1/runs", &both_days()).await.json();
    let path = format!("/v1/runs/{}/events", run["run_id"].as_str().expect("an id"));
    let work = site.work();
    let followed = site.get(&path).await;
    assert_eq!(followed.header("content-type"), "text/event-stream");
    let all = events(&followed.text());
    assert_eq!(
        all.last().map(|(id, name, data)| (*id, name.as_str(), data)),
        Some((None, "end", &json!({})))
    );
    let recorded: Vec<_> = all.iter().filter(|(id, ..)| id.is_some()).collect();
    let ids: Vec<u64> = recorded.iter().filter_map(|(id, ..)| *id).collect();
    assert_eq!(ids, (1..=ids.len() as u64).collect::<Vec<_>>());
    let kinds: Vec<&str> = recorded.iter().map(|(_, name, _)| name.as_str()).collect();
    for kind in ["run", "job", "window", "attempt"] {
        assert!(kinds.contains(&kind), "{kind} is not in {kinds:?}");
    }
    assert_eq!(recorded.last().map(|(.., data)| data["state"].clone()), Some(json!("succeeded")));
    let resumed = request(Method::GET, &path, &[("last-event-id", "2")], "");
    let rest = events(&site.send(resumed).await.text());
    assert_eq!(rest.first().and_then(|(id, ..)| *id), Some(3));
    let wrong = request(Method::GET, &path, &[("last-event-id", "two")], "");
    site.send(wrong).await.is(Code::InvalidRequest);
    site.get("/v1/runs/01890a5d-ac96-774b-bcce-b302099a8057/events").await.is(Code::UnknownRun);
    site.stop.leases.cancel();
    work.await.expect("it ends");
}

#[tokio::test]
async fn progress_is_told_while_rows_are_written() {
    let site = Site::start().await;
    site.store.shut_gate();
    let work = site.work();
    let run = site.post("/v1/runs", &both_days()).await.json();
    let path = format!("/v1/runs/{}/events", run["run_id"].as_str().expect("an id"));
    let (followed, ()) = tokio::join!(site.get(&path), async {
        // Long enough for a look at the progress; what is told does not hang on it.
        tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
        site.store.open_gate();
    });
    let all = events(&followed.text());
    let progress =
        all.iter().find(|(_, name, data)| name == "progress" && data[0]["rows_max"] == 48);
    let (id, _, data) = progress.expect("progress of the rows");
    assert_eq!((*id, &data[0]["view"]), (None, &json!("orders")));
    site.stop.leases.cancel();
    work.await.expect("it ends");
}
