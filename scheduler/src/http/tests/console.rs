//! Pages as they are without a script.

use api::Code;
use axum::http::{Method, StatusCode};

use super::run_routes::both_days;
use super::site::{Answer, Site, request};

async fn page(site: &Site, path: &str) -> String {
    let answer = site.get(path).await;
    assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
    is_guarded(&answer);
    answer.text()
}

/// A page runs nothing but its own script, and is framed by nobody.
fn is_guarded(answer: &Answer) {
    let policy = answer.header("content-security-policy");
    assert!(policy.contains("default-src 'none'"), "{policy}");
    assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");
    let text = answer.text();
    let nonce = policy.split("script-src 'nonce-").nth(1).and_then(|rest| rest.split('\'').next());
    let nonce = nonce.expect("a nonce");
    for tag in ["<script", "<style"] {
        let with_nonce = format!("{tag} nonce=\"{nonce}\"");
        assert_eq!(text.matches(tag).count(), text.matches(&with_nonce).count(), "{tag}");
    }
    assert!(!text.contains(" style="), "an inline style would not be applied");
}

#[tokio::test]
async fn views_and_runs_are_on_the_first_page_and_everything_is_escaped() {
    let site = Site::start().await;
    let work = site.work();
    let run = site.post("/v1/runs", &both_days()).await.json();
    let id = run["run_id"].as_str().expect("an id").to_owned();
    site.ended(&id).await;
    let home = page(&site, "/").await;
    assert!(home.contains("<h1>Feature views of shop</h1>"), "{home}");
    assert!(home.contains("aria-label=\"1 landed\""), "{home}");
    assert!(home.contains(&format!("href=\"/runs/{id}\"")), "{home}");
    assert!(!home.contains("<i>spare") && home.contains("&lt;i&gt;spare&lt;/i&gt;"), "{home}");
    let never = home.find("/views/broken").expect("it is listed");
    let landed = home.find("/views/orders").expect("it is listed");
    assert!(never < landed, "what has never landed comes first");
    let cells = home.matches("<th").count() - home.matches("<thead").count();
    assert_eq!(cells, home.matches("scope=\"").count(), "each heads a row or a column");
    let list = page(&site, "/runs").await;
    assert!(list.contains("succeeded") && list.contains("1 of 1"), "{list}");
    let shown = page(&site, &format!("/runs/{id}")).await;
    assert!(shown.contains("7 written") && shown.contains("committed, token"), "{shown}");
    assert!(!shown.contains("Cancel the run"), "it has ended");
    assert!(shown.contains("data-every=\"0\""), "nothing more is to come");
    let view = page(&site, "/views/orders").await;
    assert!(view.contains("value=\"2024-01-01T00:00:00\""), "the form begins with what landed");
    let spare = page(&site, "/views/%3Ci%3Espare%3C%2Fi%3E").await;
    assert!(spare.contains("nothing has landed"), "{spare}");
    site.stop.leases.cancel();
    work.await.expect("it ends");
}

const FORM: &str =
    "view=orders&start=2024-01-01T00%3A00&end=2024-01-02T00%3A00%3A00&state=all&newest_first=yes";

#[tokio::test]
async fn a_rerun_is_planned_first_and_started_once() {
    let site = Site::start().await;
    let planned = site.form("/rerun", FORM).await;
    assert_eq!(planned.status, StatusCode::OK, "{}", planned.text());
    is_guarded(&planned);
    let text = planned.text();
    assert!(text.contains("Nothing has been written") && text.contains("Start the run"), "{text}");
    assert!(site.get("/v1/runs").await.json()["runs"].as_array().expect("a list").is_empty());
    let key = text.split("name=\"key\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
    let confirmed = format!("{FORM}&key={}", key.expect("a key"));
    let started = site.form("/rerun", &confirmed).await;
    assert_eq!(started.status, StatusCode::SEE_OTHER, "{}", started.text());
    let again = site.form("/rerun", &confirmed).await;
    assert_eq!(started.header("location"), again.header("location"));
    let runs = site.get("/v1/runs").await.json();
    assert_eq!(runs["runs"].as_array().map(Vec::len), Some(1), "{runs}");
    assert_eq!(runs["runs"][0]["kind"], "rerun");
    let path = started.header("location").to_owned();
    let run = page(&site, &path).await;
    assert!(run.contains("Cancel the run"), "{run}");
    let cancelled = site.form(&format!("{path}/cancel"), "").await;
    assert_eq!(
        (cancelled.status, cancelled.header("location")),
        (StatusCode::SEE_OTHER, path.as_str())
    );
}

#[tokio::test]
async fn a_form_of_another_site_does_nothing() {
    let site = Site::start().await;
    let headers =
        [("content-type", "application/x-www-form-urlencoded"), ("sec-fetch-site", "cross-site")];
    let sent = request(Method::POST, "/rerun", &headers, &format!("{FORM}&key=k"));
    site.send(sent).await.is(Code::Forbidden);
    let wrong = site.form("/rerun", &FORM.replace("2024-01-01T00%3A00", "soon")).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(wrong.text().contains("`start`"), "{}", wrong.text());
    assert!(site.get("/v1/runs").await.json()["runs"].as_array().expect("a list").is_empty());
}
