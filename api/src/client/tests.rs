//! The client against a server that says what each test tells it to, byte for byte.

use std::sync::{Arc, Mutex};

use futures::{StreamExt, TryStreamExt};
use model::RunKind;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use uuid::Uuid;

use super::*;
use crate::error::Code;
use crate::sample;

/// A server that gives one answer a connection, in order, and keeps what it was asked.
struct Script {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Script {
    async fn start(answers: Vec<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/base", listener.local_addr().expect("an address"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&asked);
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                let request = read(&mut stream).await;
                kept.lock().expect("no panic").push(request);
                stream.write_all(answer.as_bytes()).await.expect("written");
            }
        });
        Self { url, asked }
    }

    fn client(&self) -> Client {
        client(&self.url)
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no panic").clone()
    }
}

/// Tries as often as the real one, nearly, and does not wait.
const HASTY: RetryPolicy = RetryPolicy {
    attempts_max: 3,
    backoff_first: Duration::from_millis(1),
    backoff_max: Duration::from_millis(2),
};

fn client(url: &str) -> Client {
    Client::new(url, Some("secret-token"), None).expect("a client").with_retry(HASTY)
}

/// Reads a request with the body that its length promises.
async fn read(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).await.expect("readable");
        bytes.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.parse().expect("a number"));
            if body.len() >= length {
                return text;
            }
        }
        assert!(count > 0, "the request broke off: {text}");
    }
}

fn answer(status: &str, kind: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n{body}"
    )
}

fn summary() -> String {
    let body = serde_json::to_string(&sample::run_summary()).expect("JSON");
    answer("202 Accepted", JSON, &body)
}

fn problem(problem: &Problem) -> String {
    let body = serde_json::to_string(problem).expect("JSON");
    answer(&format!("{} No", problem.status), PROBLEM_JSON, &body)
}

fn id() -> RunId {
    RunId::from_uuid(Uuid::from_u128(1))
}

#[tokio::test]
async fn a_run_is_submitted_under_a_key_even_when_the_connection_breaks() {
    // The first connection is closed without an answer: the request may have arrived.
    let script = Script::start(vec![String::new(), summary()]).await;
    let request = RunRequest::new(RunKind::Incremental);
    let run = script.client().submit(&request, None).await.expect("a run");
    assert_eq!(run, sample::run_summary());
    let asked = script.asked();
    let key = |request: &String| {
        let line = request.lines().find(|line| line.starts_with("idempotency-key: "));
        line.expect("a key").to_owned()
    };
    assert_eq!(asked.len(), 2);
    assert_eq!(key(&asked[0]), key(&asked[1]));
    assert!(asked[0].starts_with("POST /base/v1/runs HTTP/1.1\r\n"), "{}", asked[0]);
    assert!(asked[0].contains("authorization: Bearer secret-token\r\n"), "{}", asked[0]);
    assert!(asked[0].ends_with("\r\n\r\n{\"kind\":\"incremental\"}"), "{}", asked[0]);
}

#[tokio::test]
async fn cancelling_is_not_sent_again_once_it_may_have_arrived() {
    let script = Script::start(vec![String::new(), summary()]).await;
    let error = script.client().cancel(id()).await.expect_err("no answer");
    assert!(matches!(error, Error::Transport { operation: "cancel a run", .. }), "{error}");
    assert!(error.is_retryable());
    let asked = script.asked();
    assert_eq!(asked.len(), 1);
    assert!(asked[0].starts_with(&format!("POST /base/v1/runs/{}:cancel HTTP", id())), "{asked:?}");
}

#[tokio::test]
async fn what_a_list_is_asked_for_is_escaped() {
    let page = json!({ "runs": [sample::run_summary()], "next": "c" }).to_string();
    let script = Script::start(vec![answer("200 OK", JSON, &page)]).await;
    let query = RunQuery {
        view: Some("a&b".to_owned()),
        state: Some(model::RunState::Failed),
        since: Some(model::EventTime::EPOCH),
        limit: Some(5),
        ..RunQuery::default()
    };
    let page = script.client().runs(&query).await.expect("a page");
    assert_eq!((page.runs.len(), page.next.as_deref()), (1, Some("c")));
    let line = script.asked()[0].lines().next().expect("a line").to_owned();
    assert_eq!(
        line,
        "GET /base/v1/runs?view=a%26b&state=failed&since=1970-01-01T00%3A00%3A00%2B00%3A00&limit=5 \
         HTTP/1.1"
    );
}

#[tokio::test]
async fn names_in_a_path_cannot_leave_their_place() {
    let report = json!({
        "project": "p", "view": "v", "landed": [], "gaps": [], "running": [], "failed": [],
        "watermark": null,
    });
    let script = Script::start(vec![answer("200 OK", JSON, &report.to_string())]).await;
    script.client().intervals("p", "../a?b/c").await.expect("a report");
    let line = script.asked()[0].lines().next().expect("a line").to_owned();
    assert_eq!(line, "GET /base/v1/views/p/..%2Fa%3Fb%2Fc/intervals HTTP/1.1");
}

#[tokio::test]
async fn a_refusal_is_the_servers_problem() {
    let refused = Problem::new(Code::Overloaded, "8 runs are at work").with_instance("/v1/runs");
    let text = problem(&refused).replacen("\r\n", "\r\nretry-after: 7\r\n", 1);
    let script = Script::start(vec![text]).await;
    let error = script.client().run(id()).await.expect_err("refused");
    assert_eq!(error.problem(), Some(&refused));
    assert!(error.is_retryable());
    assert_eq!(error.to_string(), "8 runs are at work (overloaded)");
    let Error::Problem { retry_after, .. } = error else { panic!("{error}") };
    assert_eq!(retry_after, Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn somebody_elses_answer_is_told_from_ours() {
    let script = Script::start(vec![
        answer("502 Bad Gateway", "text/html", "<h1>upstream is gone</h1>"),
        answer("302 Found", "text/html", ""),
        answer("200 OK", JSON, "{\"run_id\": 1}"),
    ])
    .await;
    let client = script.client();
    let gateway = client.views().await.expect_err("no answer of ours");
    assert!(matches!(&gateway, Error::Stranger { status: 502, text, .. } if text.contains("gone")));
    assert!(gateway.is_retryable());
    let moved = client.views().await.expect_err("redirects are not followed");
    assert!(matches!(moved, Error::Stranger { status: 302, .. }), "{moved}");
    let other = client.run(id()).await.expect_err("another version");
    assert!(matches!(other, Error::Answer { .. }), "{other}");
    assert_eq!(script.asked().len(), 3);
}

#[tokio::test]
async fn nobody_there_is_an_error_that_names_the_address() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let error = client(&format!("http://{address}")).views().await.expect_err("nobody is there");
    assert_eq!(
        error.to_string(),
        format!("failed to read the views at `http://{address}/v1/views`")
    );
    assert!(error.is_retryable());
}

#[test]
fn what_cannot_be_used_is_refused_and_not_shown() {
    for url in
        ["ftp://h", "h:8080", "http://u:hunter2@h", "http://h/?a=b", "http://h/#a", "http://"]
    {
        let error = Client::new(url, None, None).expect_err(url);
        assert!(matches!(error, Error::Address { .. }), "{url}: {error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
    for token in ["", " ", "a b", "a\nb"] {
        let error = Client::new("http://h", Some(token), None).expect_err(token);
        assert!(matches!(error, Error::Token), "{token}: {error}");
    }
    let none = Client::new("https://h", None, Some(b"no PEM at all")).expect_err("no certificate");
    assert!(matches!(none, Error::NoAuthority | Error::Authority(_)), "{none}");
    let shown = format!("{:?}", Client::new("http://h", Some("hunter2"), None).expect("a client"));
    assert!(!shown.contains("hunter2"), "{shown}");
}

/// Answers one caller over TLS, if the caller trusts it.
async fn answer_over_tls(listener: TcpListener, made: &harness::Certificates, text: String) {
    let chain = CertificateDer::pem_file_iter(made.certificate()).expect("a certificate");
    let chain = chain.collect::<Result<Vec<_>, _>>().expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(made.key()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has the suites of both versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("they belong together");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            // Who does not trust the authority hangs up.
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            read(&mut stream).await;
            stream.write_all(text.as_bytes()).await.expect("written");
            stream.shutdown().await.expect("closed in good order");
        }
    });
}

#[tokio::test]
async fn only_the_given_authority_is_trusted() {
    let made = harness::Certificates::make().expect("certificates");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("https://{}", listener.local_addr().expect("an address"));
    let report = json!({ "project": "p", "views": [] }).to_string();
    answer_over_tls(listener, &made, answer("200 OK", JSON, &report)).await;
    let pem = |path| std::fs::read(path).expect("a certificate");
    let trusts = |authority: &[u8]| Client::new(&url, None, Some(authority)).expect("a client");
    let report = trusts(&pem(made.authority())).views().await.expect("a report");
    assert_eq!(report.project, "p");
    for client in
        [trusts(&pem(made.other_authority())), Client::new(&url, None, None).expect("a client")]
    {
        let error = client.with_retry(HASTY).views().await.expect_err("nobody known signed it");
        assert!(matches!(error, Error::Transport { .. }), "{error}");
    }
}

fn event(number: u64) -> String {
    let data = json!({
        "id": number, "run_id": id(), "at": "1970-01-01T00:00:00Z", "kind": "job",
        "subject": "j", "view": "v", "state": "running", "text": null,
    });
    format!("id: {number}\nevent: job\ndata: {data}\n\n")
}

fn events(text: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n{text}")
}

const PROGRESS: &str = "event: progress\ndata: [{\"view\":\"v\",\"state\":\"running\",\
                        \"rows_read\":1,\"rows_max\":2,\"written\":1}]\n\n";

#[tokio::test]
async fn events_go_on_after_the_last_one_when_the_connection_breaks() {
    let script = Script::start(vec![
        events(&format!("{}{PROGRESS}{}event: run\ndata: {{\"cut", event(4), event(5))),
        problem(&Problem::new(Code::Stopping, "the server is stopping")),
        events(&format!(
            "{}{}event: later\ndata: x\n\nevent: end\ndata: {{}}\n\n",
            event(5),
            event(6)
        )),
    ])
    .await;
    let stream = script.client().events(id(), Some(3));
    let all: Vec<StreamEvent> = stream.try_collect().await.expect("the whole run");
    let ids: Vec<u64> = all
        .iter()
        .filter_map(|event| match event {
            StreamEvent::Event(event) => Some(event.id),
            StreamEvent::Progress(_) | StreamEvent::End => None,
        })
        .collect();
    assert_eq!(ids, [4, 5, 6]);
    assert!(matches!(&all[1], StreamEvent::Progress(views) if views[0].rows_max == 2));
    assert_eq!(all.last(), Some(&StreamEvent::End));
    let last_ids: Vec<String> = script
        .asked()
        .iter()
        .map(|asked| {
            let line = asked.lines().find_map(|line| line.strip_prefix("last-event-id: "));
            line.expect("an id").to_owned()
        })
        .collect();
    assert_eq!(last_ids, ["3", "5", "5"]);
}

#[tokio::test]
async fn events_that_keep_breaking_off_end_with_an_error() {
    let script = Script::start(vec![events(""), events(": alive\n\n"), events("")]).await;
    let mut stream = Box::pin(script.client().events(id(), None));
    let error = stream.next().await.expect("an item").expect_err("no event ever comes");
    assert!(matches!(error, Error::BrokenOff { failed: 3, .. }), "{error}");
    assert!(stream.next().await.is_none());
    let unknown = Problem::new(Code::UnknownRun, "there is no such run");
    let script = Script::start(vec![problem(&unknown)]).await;
    let mut stream = Box::pin(script.client().events(id(), None));
    let error = stream.next().await.expect("an item").expect_err("refused");
    assert_eq!(error.code(), Some(Code::UnknownRun));
}
