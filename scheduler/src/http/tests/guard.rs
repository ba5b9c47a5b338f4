//! Who is let in, how much is taken, and how every refusal looks.

use std::time::Duration;

use api::Code;
use axum::http::{Method, StatusCode};
use daemon::auth::TokenHash;
use daemon::{Auth, Role};
use serde_json::{Value, json};

use super::run_routes::both_days;
use super::site::{Site, request};
use crate::http::Limits;

async fn guarded() -> Site {
    let line = |role: Role| format!("{role} {role} {}\n", TokenHash::of(role.as_str().as_bytes()));
    let text = [Role::Read, Role::Run, Role::Admin].map(line).concat();
    Site::with(Auth::from_text(&text).expect("three tokens"), Limits::default()).await
}

/// Every route with the least role that may call it.
const ROUTES: [(Method, &str, Role); 17] = [
    (Method::GET, "/", Role::Read),
    (Method::GET, "/runs", Role::Read),
    (Method::GET, "/runs/x", Role::Read),
    (Method::GET, "/views/orders", Role::Read),
    (Method::GET, "/v1/runs", Role::Read),
    (Method::GET, "/v1/runs/x", Role::Read),
    (Method::GET, "/v1/runs/x/events", Role::Read),
    (Method::GET, "/v1/views", Role::Read),
    (Method::GET, "/v1/views/shop/orders/intervals", Role::Read),
    (Method::GET, "/metrics", Role::Read),
    (Method::GET, "/openapi.json", Role::Read),
    (Method::POST, "/v1/runs", Role::Run),
    (Method::POST, "/v1/plan", Role::Run),
    (Method::POST, "/v1/runs/x:cancel", Role::Run),
    (Method::POST, "/materialize", Role::Run),
    (Method::POST, "/rerun", Role::Run),
    (Method::POST, "/runs/x/cancel", Role::Run),
];

#[tokio::test]
async fn each_route_needs_its_role() {
    let site = guarded().await;
    for (method, path, needs) in ROUTES {
        let none = site.send(request(method.clone(), path, &[], "")).await;
        none.is(Code::Unauthenticated);
        assert_eq!(none.header("www-authenticate"), "Bearer realm=\"tidegate\"", "{path}");
        let wrong = [("authorization", "Bearer nobody")];
        site.send(request(method.clone(), path, &wrong, "")).await.is(Code::Unauthenticated);
        for role in [Role::Read, Role::Run, Role::Admin] {
            let token = format!("Bearer {role}");
            let headers = [("authorization", token.as_str())];
            let answer = site.send(request(method.clone(), path, &headers, "")).await;
            if role < needs {
                answer.is(Code::Forbidden);
            } else {
                assert!(!matches!(answer.status.as_u16(), 401 | 403), "{path} {}", answer.text());
            }
        }
    }
    for path in ["/livez", "/readyz"] {
        assert_eq!(site.get(path).await.status, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn a_browser_is_asked_for_a_password_which_is_the_token() {
    let site = guarded().await;
    let headers = [("accept", "text/html")];
    let asked = site.send(request(Method::GET, "/", &headers, "")).await;
    assert_eq!(asked.status, StatusCode::UNAUTHORIZED);
    assert!(asked.header("www-authenticate").starts_with("Basic realm=\"tidegate\""));
    assert!(asked.header("content-type").starts_with("text/html"), "{}", asked.text());
    // `me:read`
    let headers = [("accept", "text/html"), ("authorization", "Basic bWU6cmVhZA==")];
    let shown = site.send(request(Method::GET, "/", &headers, "")).await;
    assert_eq!(shown.status, StatusCode::OK, "{}", shown.text());
}

#[tokio::test]
async fn another_site_can_neither_send_nor_read() {
    let site = Site::start().await;
    let json = ("content-type", "application/json");
    for foreign in [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")] {
        let body = both_days().to_string();
        let sent = request(Method::POST, "/v1/runs", &[json, foreign], &body);
        site.send(sent).await.is(Code::Forbidden);
    }
    let mut rebound = request(Method::GET, "/v1/runs", &[], "");
    rebound.headers_mut().insert("host", "evil.example".parse().expect("a host"));
    site.send(rebound).await.is(Code::Forbidden);
    let own = [json, ("origin", "http://localhost"), ("sec-fetch-site", "same-origin")];
    let sent = request(Method::POST, "/v1/plan", &own, &both_days().to_string());
    assert_eq!(site.send(sent).await.status, StatusCode::OK);
}

#[tokio::test]
async fn what_axum_refuses_is_a_problem_too() {
    let site = Site::start().await;
    let problem = site.get("/v2/runs").await.is(Code::NotFound);
    assert_eq!(problem["instance"], "/v2/runs");
    let refused = site.send(request(Method::DELETE, "/v1/runs", &[], "")).await;
    refused.is(Code::MethodNotAllowed);
    assert!(refused.header("allow").contains("POST"), "{:?}", refused.headers);
    assert_eq!(refused.header("x-content-type-options"), "nosniff");
    assert_eq!(refused.header("cache-control"), "no-store");
    let views = vec!["x".repeat(200); 6_000];
    let large = json!({ "kind": "incremental", "views": views });
    site.post("/v1/runs", &large).await.is(Code::BodyTooLarge);
    let page = request(Method::GET, "/nothing", &[("accept", "text/html")], "");
    let page = site.send(page).await;
    assert_eq!(page.status, StatusCode::NOT_FOUND);
    assert!(page.text().contains("<h1>There is nothing at this path</h1>"), "{}", page.text());
}

#[tokio::test]
async fn too_much_at_once_is_turned_away_with_a_time_to_come_again() {
    let auth = || Auth::none(([127, 0, 0, 1], 80).into()).expect("loopback");
    let none = Limits { requests_max: 0, ..Limits::default() };
    let site = Site::with(auth(), none).await;
    let answer = site.get("/v1/runs").await;
    answer.is(Code::Overloaded);
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(site.get("/livez").await.status, StatusCode::OK, "probes need no room");

    let none = Limits { streams_max: 0, waiting_max: 0, ..Limits::default() };
    let site = Site::with(auth(), none).await;
    let run = site.post("/v1/runs", &both_days()).await.json();
    let path = format!("/v1/runs/{}/events", run["run_id"].as_str().expect("an id"));
    site.get(&path).await.is(Code::Overloaded);
    let body = json!({ "end_ts": "2024-01-03", "feature_views": ["broken"] });
    site.post("/materialize-incremental", &body).await.is(Code::Overloaded);
}

#[tokio::test]
async fn what_takes_too_long_is_given_up() {
    let auth = Auth::none(([127, 0, 0, 1], 80).into()).expect("loopback");
    let hasty = Limits { answer_timeout: Duration::ZERO, ..Limits::default() };
    let site = Site::with(auth, hasty).await;
    site.get("/v1/views").await.is(Code::Timeout);
}

#[tokio::test]
async fn a_stopping_server_takes_no_runs_and_still_answers() {
    let site = Site::start().await;
    let run = site.post("/v1/runs", &both_days()).await.json();
    site.stop.leases.cancel();
    let answer = site.post("/v1/runs", &both_days()).await;
    answer.is(Code::Stopping);
    assert_eq!(answer.header("retry-after"), "5");
    let body = json!({ "end_ts": "2024-01-03" });
    site.post("/materialize-incremental?force=true", &body).await.is(Code::Stopping);
    let path = format!("/v1/runs/{}", run["run_id"].as_str().expect("an id"));
    assert_eq!(site.get(&path).await.status, StatusCode::OK);
    let ready = site.get("/readyz").await;
    assert_eq!(
        (ready.status, &ready.json()["status"]),
        (StatusCode::SERVICE_UNAVAILABLE, &Value::from("stopping"))
    );
}
