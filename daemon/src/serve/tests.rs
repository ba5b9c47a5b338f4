//! A server on a real socket: what it answers, what it refuses, and how it ends.

use std::sync::Mutex;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;
use crate::auth::{Auth, Denied, Role, TokenHash};
use crate::metrics::{HttpMetrics, Metrics, count};

mod secure;

/// Far longer than anything here takes, so that only what hangs meets it.
const LONG: Duration = Duration::from_secs(60);
/// Short enough to be waited for, and what is waited for must not come sooner by itself.
const SHORT: Duration = Duration::from_millis(100);

const HELLO: &str = "GET /hello HTTP/1.1\r\nhost: h\r\n\r\n";

fn limits() -> Limits {
    Limits {
        handshake_timeout: LONG,
        header_timeout: LONG,
        drain_timeout: LONG,
        ..Limits::default()
    }
}

/// A server at work.
struct Running {
    address: SocketAddr,
    stop: CancellationToken,
    ended: JoinHandle<Drained>,
}

impl Running {
    async fn start(router: Router, tls: Option<Tls>, limits: Limits) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = Server::bind(any, tls, limits).await.expect("a free port");
        let address = server.address().expect("an address");
        let stop = CancellationToken::new();
        let token = stop.clone();
        let ended = tokio::spawn(async move { server.serve(router, &token).await });
        Self { address, stop, ended }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("the server listens")
    }

    async fn stop(self) -> Drained {
        self.stop.cancel();
        timeout(LONG, self.ended).await.expect("it ends").expect("no panic")
    }
}

/// `/hello` answers at once, and names the caller's address.
fn hello() -> Router {
    let answer = |Extension(peer): Extension<Peer>| async move { format!("hello {}", peer.0) };
    Router::new().route("/hello", get(answer))
}

async fn say(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.expect("written");
}

/// Reads until the text is there.
async fn hear(stream: &mut TcpStream, text: &str) -> String {
    let mut heard = String::new();
    while !heard.contains(text) {
        let mut piece = [0; 1024];
        let read = timeout(LONG, stream.read(&mut piece)).await.expect("in time");
        let count = read.expect("readable");
        assert!(count > 0, "`{text}` never came, only: {heard}");
        heard.push_str(&String::from_utf8_lossy(&piece[..count]));
    }
    heard
}

/// Waits for the server to hang up, and returns what it said before.
async fn last_words(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // A connection that is reset is closed as well.
    let _ = timeout(LONG, stream.read_to_end(&mut bytes)).await.expect("it hangs up in time");
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn a_connection_is_kept_for_the_next_request() {
    let server = Running::start(hello(), None, limits()).await;
    let mut stream = server.connect().await;
    let local = stream.local_addr().expect("an address");
    for _ in 0..2 {
        say(&mut stream, HELLO).await;
        let heard = hear(&mut stream, &format!("hello {local}")).await;
        assert!(heard.starts_with("HTTP/1.1 200 OK\r\n"), "{heard}");
    }
    assert_eq!(server.stop().await, Drained::All);
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let server = Running::start(hello(), None, limits()).await;
    let error = Server::bind(server.address, None, limits()).await.expect_err("taken");
    assert_eq!(error.to_string(), format!("failed to listen on `{}`", server.address));
    assert_eq!(server.stop().await, Drained::All);
}

#[tokio::test]
async fn a_connection_above_the_limit_waits_for_another_to_close() {
    let one = Limits { connections_max: 1, ..limits() };
    let server = Running::start(hello(), None, one).await;
    let mut first = server.connect().await;
    say(&mut first, HELLO).await;
    hear(&mut first, "hello").await;
    let mut second = server.connect().await;
    say(&mut second, HELLO).await;
    let early = timeout(SHORT, second.read(&mut [0; 1])).await;
    assert!(early.is_err(), "the second was answered beside the first");
    drop(first);
    hear(&mut second, "hello").await;
    assert_eq!(server.stop().await, Drained::All);
}

#[tokio::test]
async fn whoever_does_not_finish_a_request_is_hung_up_on() {
    let hasty = Limits { header_timeout: SHORT, ..limits() };
    let server = Running::start(hello(), None, hasty).await;
    let mut silent = server.connect().await;
    let mut slow = server.connect().await;
    say(&mut slow, "GET /hello HTTP/1.1\r\nhost:").await;
    let mut idle = server.connect().await;
    say(&mut idle, HELLO).await;
    hear(&mut idle, "hello").await;
    for stream in [&mut silent, &mut slow, &mut idle] {
        let words = last_words(stream).await;
        assert!(!words.contains("200 OK"), "{words}");
    }
    assert_eq!(server.stop().await, Drained::All);
}

#[tokio::test]
async fn headers_without_end_are_refused() {
    let small = Limits { header_bytes_max: 16 << 10, ..limits() };
    let server = Running::start(hello(), None, small).await;
    let mut stream = server.connect().await;
    let long = "x".repeat(32 << 10);
    say(&mut stream, &format!("GET /hello HTTP/1.1\r\nhost: h\r\ncookie: {long}\r\n\r\n")).await;
    hear(&mut stream, "HTTP/1.1 431").await;
    assert_eq!(server.stop().await, Drained::All);
}

/// `/slow` says when it has begun, and answers when it is told to.
fn slow() -> (Router, oneshot::Receiver<()>, oneshot::Sender<()>) {
    let (begun, has_begun) = oneshot::channel();
    let (go, may_go) = oneshot::channel::<()>();
    let once = Arc::new(Mutex::new(Some((begun, may_go))));
    let answer = move || async move {
        let taken = once.lock().expect("no panic").take();
        let (begun, may_go) = taken.expect("asked once");
        begun.send(()).expect("the test waits");
        // A test that never tells leaves this waiting.
        let _ = may_go.await;
        "done"
    };
    (Router::new().route("/slow", get(answer)), has_begun, go)
}

#[tokio::test]
async fn a_request_at_work_is_finished_and_nobody_else_is_let_in() {
    let (router, has_begun, go) = slow();
    let server = Running::start(router, None, limits()).await;
    let mut idle = server.connect().await;
    let mut stream = server.connect().await;
    say(&mut stream, "GET /slow HTTP/1.1\r\nhost: h\r\n\r\n").await;
    has_begun.await.expect("the request is at work");
    server.stop.cancel();
    // The idle one is closed first, so the server knows by now.
    last_words(&mut idle).await;
    let refused = TcpStream::connect(server.address).await;
    assert!(refused.is_err(), "a stopping server took a connection");
    assert!(!server.ended.is_finished());
    go.send(()).expect("the request waits");
    let words = last_words(&mut stream).await;
    assert!(words.contains("connection: close") && words.ends_with("done"), "{words}");
    assert_eq!(server.stop().await, Drained::All);
}

#[tokio::test]
async fn a_request_that_does_not_end_is_cut_off_when_the_time_is_up() {
    let (router, has_begun, go) = slow();
    let hasty = Limits { drain_timeout: SHORT, ..limits() };
    let server = Running::start(router, None, hasty).await;
    let mut stream = server.connect().await;
    say(&mut stream, "GET /slow HTTP/1.1\r\nhost: h\r\n\r\n").await;
    has_begun.await.expect("the request is at work");
    assert_eq!(server.stop().await, Drained::Cut { left: 1 });
    assert_eq!(last_words(&mut stream).await, "");
    drop(go);
}

#[tokio::test]
async fn a_panic_ends_its_own_connection_alone() {
    let broken = || async {
        if true {
            panic!("a handler's bug")
        }
    };
    let server = Running::start(hello().route("/broken", get(broken)), None, limits()).await;
    let mut stream = server.connect().await;
    say(&mut stream, "GET /broken HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(last_words(&mut stream).await, "");
    let mut other = server.connect().await;
    say(&mut other, HELLO).await;
    hear(&mut other, "hello").await;
    assert_eq!(server.stop().await, Drained::All);
}

/// Only who may start runs is told the caller's name.
async fn guarded(State(auth): State<Arc<Auth>>, headers: HeaderMap) -> (StatusCode, String) {
    let header = headers.get("authorization").map(|value| value.as_bytes());
    match auth.require(header, Role::Run) {
        Ok(caller) => (StatusCode::OK, caller.name),
        Err(denied @ Denied::Role { .. }) => (StatusCode::FORBIDDEN, denied.to_string()),
        Err(denied) => (StatusCode::UNAUTHORIZED, denied.to_string()),
    }
}

#[tokio::test]
async fn a_caller_is_known_by_its_token() {
    let tokens = format!(
        "eve read {}\nci run {}\n",
        TokenHash::of(b"token-of-eve"),
        TokenHash::of(b"token-of-ci")
    );
    let auth = Arc::new(Auth::from_text(&tokens).expect("two tokens"));
    let router = Router::new().route("/", get(guarded)).with_state(auth);
    let server = Running::start(router, None, limits()).await;
    let mut stream = server.connect().await;
    for (header, answer, words) in [
        ("", "401 Unauthorized", "a token is needed"),
        ("authorization: Bearer other\r\n", "401 Unauthorized", "not known"),
        ("authorization: Bearer token-of-eve\r\n", "403 Forbidden", "`eve` has the role `read`"),
        ("authorization: Bearer token-of-ci\r\n", "200 OK", "ci"),
    ] {
        say(&mut stream, &format!("GET / HTTP/1.1\r\nhost: h\r\n{header}\r\n")).await;
        let heard = hear(&mut stream, words).await;
        assert!(heard.starts_with(&format!("HTTP/1.1 {answer}\r\n")), "{heard}");
    }
    assert_eq!(server.stop().await, Drained::All);
}

#[tokio::test]
async fn requests_are_counted_by_route_and_never_by_path() {
    let mut metrics = Metrics::new("1.2.3");
    let counted = HttpMetrics::register(&mut metrics);
    let metrics = Arc::new(metrics);
    let numbers = |State(metrics): State<Arc<Metrics>>| async move { metrics.exposition() };
    let router = Router::new()
        .route("/metrics", get(numbers))
        .with_state(metrics)
        .route("/v1/runs/{id}", get(|| async { StatusCode::NO_CONTENT }))
        .layer(from_fn_with_state(counted, count));
    let server = Running::start(router, None, limits()).await;
    let mut stream = server.connect().await;
    for (path, answer) in [("/v1/runs/1", "204"), ("/v1/runs/2", "204"), ("/guess", "404")] {
        say(&mut stream, &format!("GET {path} HTTP/1.1\r\nhost: h\r\n\r\n")).await;
        hear(&mut stream, answer).await;
    }
    say(&mut stream, "GET /metrics HTTP/1.1\r\nhost: h\r\n\r\n").await;
    let heard = hear(&mut stream, "# EOF").await;
    for line in [
        "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8",
        "tidegate_http_requests_total{method=\"GET\",route=\"/v1/runs/{id}\",status=\"204\"} 2",
        "tidegate_http_requests_total{method=\"GET\",route=\"unmatched\",status=\"404\"} 1",
        "tidegate_http_request_seconds_count\
         {method=\"GET\",route=\"/v1/runs/{id}\",status=\"204\"} 2",
        "tidegate_http_requests_at_work 1",
    ] {
        assert!(heard.lines().any(|have| have == line), "`{line}` is not in:\n{heard}");
    }
    assert_eq!(server.stop().await, Drained::All);
}
