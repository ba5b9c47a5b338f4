//! The server over real sockets: submitting, watching, cancelling, callers, TLS, and its end.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result};
use api::{Client, Code, IdempotencyKey, RunRequest, StreamEvent};
use daemon::auth::TokenHash;
use futures::TryStreamExt;
use futures::future::try_join_all;
use harness::{Certificates, Postgres, Redis, Reply, Schemathesis};
use model::{EventTime, RunId, RunKind, RunState};
use serde_json::{Value, json};
use tests::definition::Project;
use tests::online;
use tests::repo::{Repo, configuration, redis_store};
use tests::serving::Serving;
use tests::wait::until;

use crate::sample::{PROJECT, Row, at, fill, iso, landed, many, view};

const ROWS: [Row; 2] = [(1, 1_704_085_200_000_000, 10), (2, 1_704_085_200_000_000, 20)];
/// Written at the speed below, these take a few seconds.
const MANY: i64 = 100_000;
const ROWS_PER_SECOND: u64 = 20_000;

/// A repository on Redis with its ledger in PostgreSQL.
struct Site {
    redis: Redis,
    repo: Repo,
    _postgres: std::sync::Arc<Postgres>,
}

impl Site {
    /// `broken` has no file.
    fn new(database: &str) -> Result<Self> {
        let (postgres, redis) = (Postgres::shared()?, Redis::start()?);
        let project = Project::new(PROJECT, [view("v"), view("broken")]);
        let repo = Repo::with_project(&project, redis_store(redis.port()))?;
        let site = Self { redis, repo, _postgres: std::sync::Arc::clone(&postgres) };
        site.configure(&postgres.create_database(database)?, &json!({}))?;
        fill(&site.repo, "v", &ROWS)?;
        Ok(site)
    }

    fn configure(&self, ledger: &str, more: &Value) -> Result<()> {
        let mut settings = configuration(PROJECT, redis_store(self.redis.port()));
        settings["tidegate"] = json!({ "metastore": ledger, "lease_ttl": "2s" });
        for (key, value) in more.as_object().into_iter().flatten() {
            settings["tidegate"][key] = value.clone();
        }
        self.repo.configure(&settings)
    }

    /// A repository whose run takes a few seconds.
    fn slow(database: &str) -> Result<Self> {
        let site = Self::new(database)?;
        let ledger = Postgres::shared()?.url(database);
        site.configure(&ledger, &json!({ "max_rows_per_second": ROWS_PER_SECOND }))?;
        fill(&site.repo, "v", &many(MANY, at(5)))?;
        Ok(site)
    }

    fn until_writing(&self) -> Result<()> {
        let none = Reply::Array(Vec::new());
        until("rows are written", || Ok(self.redis.command(&["KEYS", "[^_]*"])? != none))
    }
}

fn client(serving: &Serving) -> Result<Client> {
    Ok(Client::new(serving.url(), None, None)?)
}

/// `v` over nine hours of the new year of 2024.
fn interval(view: &str) -> RunRequest {
    RunRequest {
        start: Some(EventTime::from_micros(at(0))),
        end: Some(EventTime::from_micros(at(9))),
        views: vec![view.to_owned()],
        ..RunRequest::new(RunKind::Interval)
    }
}

/// Follows a run to its end.
async fn watch(client: &Client, run: RunId) -> Result<Vec<StreamEvent>> {
    Ok(client.events(run, None).try_collect().await?)
}

#[tokio::test]
async fn a_run_is_submitted_watched_and_lands() -> Result<()> {
    let site = Site::new("http_submit")?;
    let serving = Serving::start(&site.repo, &[])?;
    let client = client(&serving)?;
    let run = client.submit(&interval("v"), None).await?;
    let events = watch(&client, run.run_id).await?;
    assert_eq!(events.last(), Some(&StreamEvent::End));
    let detail = client.run(run.run_id).await?;
    assert_eq!(detail.run.state, RunState::Succeeded);
    assert_eq!(online::hashes(&site.redis, 0)?.len(), landed("v", &ROWS).len());
    assert_eq!(site.repo.registry().state()?.intervals("v"), [(at(0), at(9))]);
    let failed = client.submit(&interval("broken"), None).await?;
    watch(&client, failed.run_id).await?;
    let detail = client.run(failed.run_id).await?;
    assert_eq!(detail.run.state, RunState::Failed);
    let reason = detail.jobs[0].reason.as_deref().context("a reason")?;
    assert!(reason.contains("no Parquet file"), "{reason}");
    Ok(())
}

#[tokio::test]
async fn two_hundred_submissions_under_fifty_keys_are_fifty_runs() -> Result<()> {
    let site = Site::new("http_keys")?;
    let serving = Serving::start(&site.repo, &[])?;
    let client = client(&serving)?;
    let submissions = (0..200).map(|number| {
        let client = client.clone();
        async move {
            let key: IdempotencyKey = format!("key {}", number % 50).parse()?;
            loop {
                match client.submit(&interval("v"), Some(key.clone())).await {
                    // More at once than the server takes: that is what it is to say.
                    Err(error) if error.code() == Some(Code::Overloaded) => {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                    answered => return Ok::<_, anyhow::Error>(answered?.run_id.to_string()),
                }
            }
        }
    });
    let ids: BTreeSet<String> = try_join_all(submissions).await?.into_iter().collect();
    assert_eq!(ids.len(), 50);
    let key: IdempotencyKey = "key 7".parse()?;
    let other = client.submit(&interval("broken"), Some(key)).await.expect_err("another body");
    assert_eq!(other.code(), Some(Code::IdempotencyMismatch));
    let postgres = Postgres::shared()?;
    assert_eq!(postgres.psql("http_keys", "SELECT count(*) FROM tidegate.runs")?, "50");
    Ok(())
}

#[tokio::test]
async fn a_run_at_work_is_cancelled_and_ends() -> Result<()> {
    let site = Site::slow("http_cancel")?;
    let serving = Serving::start(&site.repo, &[])?;
    let client = client(&serving)?;
    let run = client.submit(&interval("v"), None).await?.run_id;
    site.until_writing()?;
    assert!(client.cancel(run).await?.cancel_requested);
    watch(&client, run).await?;
    assert_eq!(client.run(run).await?.run.state, RunState::Cancelled);
    let again = client.cancel(run).await.expect_err("it has ended");
    assert_eq!(again.code(), Some(Code::RunEnded));
    assert!(site.repo.registry().state()?.intervals("v").is_empty());
    Ok(())
}

#[tokio::test]
async fn callers_are_known_by_their_tokens_over_tls() -> Result<()> {
    let site = Site::new("http_tls")?;
    let certificates = Certificates::make()?;
    let line =
        |name: &str, role: &str| format!("{name} {role} {}\n", TokenHash::of(name.as_bytes()));
    site.repo.write("tokens", line("looker", "read") + &line("runner", "run"))?;
    let path = |path: std::path::PathBuf| path.display().to_string();
    let arguments = [
        "--tokens".to_owned(),
        path(site.repo.path("tokens")),
        "--tls-certificate".to_owned(),
        path(certificates.certificate()),
        "--tls-key".to_owned(),
        path(certificates.key()),
    ];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let serving = Serving::start(&site.repo, &arguments)?;
    assert!(serving.url().starts_with("https://127.0.0.1:"), "{}", serving.url());
    let authority = std::fs::read(certificates.authority())?;
    let caller = |token: Option<&str>| Client::new(serving.url(), token, Some(&authority));
    let nobody = caller(None)?.views().await.expect_err("no token");
    assert_eq!(nobody.code(), Some(Code::Unauthenticated));
    let stranger = caller(Some("else"))?.views().await.expect_err("no such token");
    assert_eq!(stranger.code(), Some(Code::Unauthenticated));
    let looker = caller(Some("looker"))?;
    assert_eq!(looker.views().await?.views.len(), 2);
    let refused = looker.submit(&interval("v"), None).await.expect_err("it may only look");
    assert_eq!(refused.code(), Some(Code::Forbidden));
    let run = caller(Some("runner"))?.submit(&interval("v"), None).await?;
    watch(&looker, run.run_id).await?;
    assert_eq!(looker.run(run.run_id).await?.run.state, RunState::Succeeded);
    let other = std::fs::read(certificates.other_authority())?;
    let untrusting = Client::new(serving.url(), Some("looker"), Some(&other))?;
    assert_eq!(untrusting.views().await.expect_err("another authority").code(), None);
    Ok(())
}

#[test]
fn others_are_not_let_in_without_tokens() -> Result<()> {
    let site = Site::new("http_open")?;
    let ended = site.repo.run(&["scheduler", "--listen", "0.0.0.0:0"])?.with_code(1)?;
    ended.says("callers must be known: give a token file")?;
    site.repo.run(&["scheduler", "--listen", "nowhere"])?.with_code(2)?;
    Ok(())
}

#[tokio::test]
async fn feasts_own_endpoints_answer_as_feasts_server_does() -> Result<()> {
    let site = Site::new("http_feast")?;
    let serving = Serving::start(&site.repo, &[])?;
    let http = reqwest::Client::builder().no_proxy().build()?;
    let post =
        |path: &str, body: Value| http.post(format!("{}{path}", serving.url())).json(&body).send();
    let body = json!({ "start_ts": iso(at(0)), "end_ts": iso(at(9)), "feature_views": ["v"] });
    let answer = post("/materialize", body).await?;
    assert_eq!((answer.status().as_u16(), answer.text().await?.as_str()), (200, "null"));
    let body = json!({ "end_ts": iso(at(20)), "feature_views": ["v"] });
    let answer = post("/materialize-incremental?async=true", body).await?;
    assert_eq!(answer.status().as_u16(), 202);
    assert_eq!(
        answer.json::<Value>().await?,
        json!({ "status": "accepted", "feature_views": ["v"] })
    );
    let body = json!({ "disable_event_timestamp": true, "feature_views": ["broken"] });
    let answer = post("/materialize?force=true", body).await?;
    assert_eq!(answer.status().as_u16(), 500);
    let detail: String = answer.json().await?;
    let detail: Value = serde_json::from_str(&detail)?;
    assert!(detail["message"].as_str().is_some_and(|text| text.contains("broken")), "{detail}");
    until("the second run has landed", || {
        Ok(site.repo.registry().state()?.intervals("v") == [(at(0), at(20))])
    })
}

#[tokio::test]
async fn a_server_that_is_told_to_stop_lets_runs_come_to_their_ends() -> Result<()> {
    let site = Site::slow("http_drain")?;
    let serving = Serving::start(&site.repo, &["--drain-timeout", "60s"])?;
    let client = client(&serving)?;
    let run = client.submit(&interval("v"), None).await?.run_id;
    site.until_writing()?;
    serving.terminate()?;
    let mut refused = None;
    while refused.is_none() {
        refused = client.submit(&interval("broken"), None).await.err();
    }
    assert_eq!(refused.and_then(|error| error.code()), Some(Code::Stopping));
    assert_eq!(client.run(run).await?.run.state, RunState::Running, "it still answers");
    let (status, said) = serving.wait()?;
    assert!(status.success(), "{status}\n{said}");
    assert_eq!(site.repo.registry().state()?.intervals("v"), [(at(0), at(9))]);
    Ok(())
}

#[tokio::test]
async fn what_does_not_end_in_time_is_handed_to_the_next_server() -> Result<()> {
    let site = Site::slow("http_handed")?;
    let serving = Serving::start(&site.repo, &["--drain-timeout", "0s"])?;
    let run = client(&serving)?.submit(&interval("v"), None).await?.run_id;
    site.until_writing()?;
    serving.terminate()?;
    let (status, said) = serving.wait()?;
    assert!(status.success(), "{status}\n{said}");
    assert!(site.repo.registry().state()?.intervals("v").is_empty());
    let next = Serving::start(&site.repo, &[])?;
    let client = client(&next)?;
    watch(&client, run).await?;
    assert_eq!(client.run(run).await?.run.state, RunState::Succeeded);
    assert_eq!(site.repo.registry().state()?.intervals("v"), [(at(0), at(9))]);
    Ok(())
}

#[test]
fn whatever_is_asked_is_answered_as_the_document_says() -> Result<()> {
    let schemathesis = Schemathesis::require()?;
    let site = Site::new("http_fuzz")?;
    let serving = Serving::start(&site.repo, &[])?;
    // Streams and waiting callers end with a run, not with an answer.
    let arguments = [
        "--exclude-operation-id",
        "follow_run",
        "--exclude-tag",
        "feast",
        "--request-timeout",
        "20",
        "--max-examples",
        "30",
    ];
    let asked = schemathesis.run(serving.url(), Duration::from_secs(20), &arguments)?;
    let said = String::from_utf8_lossy(&asked.stdout);
    assert!(asked.status.success(), "{said}\n{}", String::from_utf8_lossy(&asked.stderr));
    assert!(said.contains("POST /v1/runs"), "it asked nothing:\n{said}");
    Ok(())
}
