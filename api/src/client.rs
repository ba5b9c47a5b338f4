//! The typed client: one method for each route, and the retries that are safe.
//!
//! Apart from the bodies because it does I/O. What went wrong is in `client/error.rs`, and the
//! stream of events in `client/stream.rs`.

mod error;
mod frame;
mod stream;

use std::time::Duration;

use model::{RetryPolicy, RunId};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::{Method, Response, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{PROBLEM_JSON, Problem};
use crate::plan::PlanReport;
use crate::request::{IdempotencyKey, RunQuery, RunRequest};
use crate::run::{RunDetail, RunPage, RunSummary};
use crate::view::{IntervalsReport, StatusReport};

pub use error::Error;
pub use stream::StreamEvent;

const JSON: &str = "application/json";

/// A machine that is there answers within a round trip; what is silent for so long is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The server looks into a ledger and a registry; more than this is no answer worth waiting for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// A plan reads the footers of every file of its interval.
const PLAN_TIMEOUT: Duration = Duration::from_secs(600);
/// Enough of a stranger's answer to see who answered.
const STRANGER_CHARS_MAX: usize = 200;

/// Long enough for a server that is being replaced, short enough for whoever waits.
const RETRY: RetryPolicy = RetryPolicy {
    attempts_max: 4,
    backoff_first: Duration::from_millis(200),
    backoff_max: Duration::from_secs(2),
};

/// A caller of one server.
///
/// What could not be sent at all is sent again a few times. So is what may have arrived, where
/// that is harmless: everything that only reads, and runs, which carry an idempotency key.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    /// `Bearer` and the token, marked so that nothing prints it.
    authorization: Option<HeaderValue>,
    retry: RetryPolicy,
}

/// One request, in pieces, because it may be sent more than once.
struct Ask {
    /// What it is for, after "failed to".
    operation: &'static str,
    method: Method,
    url: Url,
    query: Option<RunQuery>,
    accept: &'static str,
    body: Option<Vec<u8>>,
    key: Option<IdempotencyKey>,
    last_event: Option<u64>,
    /// `None` for an answer that goes on for as long as a run does.
    timeout: Option<Duration>,
    /// Whether it is harmless when it arrives twice.
    is_repeatable: bool,
}

impl Client {
    /// Makes a client of the server at `url`, which may have a path before ours.
    ///
    /// `authority` holds PEM certificates that are trusted in place of the machine's own.
    ///
    /// # Errors
    /// When the URL is none of HTTP, or carries credentials; when the token or the certificates
    /// cannot be used. Nothing is sent yet.
    pub fn new(url: &str, token: Option<&str>, authority: Option<&[u8]>) -> Result<Self, Error> {
        let base = parse_base(url)?;
        let authorization = token.map(bearer).transpose()?;
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            // A redirect would turn a POST into a GET, and might lead the token elsewhere.
            .redirect(reqwest::redirect::Policy::none());
        if is_loopback(&base) {
            // Whatever proxy the machine has, this server is on this side of it.
            builder = builder.no_proxy();
        }
        if let Some(pem) = authority {
            let certificates =
                reqwest::Certificate::from_pem_bundle(pem).map_err(Error::Authority)?;
            if certificates.is_empty() {
                return Err(Error::NoAuthority);
            }
            builder = builder.tls_built_in_root_certs(false);
            builder = certificates.into_iter().fold(builder, |b, one| b.add_root_certificate(one));
        }
        let http = builder.build().map_err(Error::Build)?;
        Ok(Self { http, base, authorization, retry: RETRY })
    }

    /// The same with another policy for what failed in transport.
    #[must_use]
    pub fn with_retry(self, retry: RetryPolicy) -> Self {
        Self { retry, ..self }
    }

    /// The server's address as given.
    pub fn url(&self) -> &str {
        self.base.as_str()
    }

    /// Asks for a run; under the same key it is made once, however often it is asked for.
    ///
    /// Without a key one is drawn, so that a broken connection cannot make two runs.
    ///
    /// # Errors
    /// What the server refuses, and what failed in transport.
    pub async fn submit(
        &self,
        request: &RunRequest,
        key: Option<IdempotencyKey>,
    ) -> Result<RunSummary, Error> {
        let key = Some(key.unwrap_or_else(IdempotencyKey::draw));
        let ask = self.post("submit a run", &["v1", "runs"], ANSWER_TIMEOUT);
        self.answer(Ask { key, is_repeatable: true, ..with_body(ask, request) }).await
    }

    /// Tells all that is known of a run.
    ///
    /// # Errors
    /// What the server refuses, and what failed in transport.
    pub async fn run(&self, id: RunId) -> Result<RunDetail, Error> {
        self.answer(self.get("read a run", &["v1", "runs", &id.to_string()])).await
    }

    /// Lists runs, newest first.
    ///
    /// # Errors
    /// What the server refuses, and what failed in transport.
    pub async fn runs(&self, query: &RunQuery) -> Result<RunPage, Error> {
        let ask = self.get("list runs", &["v1", "runs"]);
        self.answer(Ask { query: Some(query.clone()), ..ask }).await
    }

    /// Asks a run to stop; what has landed by then stays.
    ///
    /// # Errors
    /// What the server refuses, and what failed in transport.
    pub async fn cancel(&self, id: RunId) -> Result<RunSummary, Error> {
        let path = ["v1", "runs", &format!("{id}:cancel")];
        self.answer(self.post("cancel a run", &path, ANSWER_TIMEOUT)).await
    }

    /// Tells what a run would do.
    ///
    /// # Errors
    /// What the server refuses, and what failed in transport.
    pub async fn plan(&self, request: &RunRequest) -> Result<PlanReport, Error> {
        let ask = self.post("plan a run", &["v1", "plan"], PLAN_TIMEOUT);
        self.answer(Ask { is_repeatable: true, ..with_body(ask, request) }).await
    }

    /// Tells how far every view has got.
    ///
    /// # Errors
    /// What the server refuses, and what failed in transport.
    pub async fn views(&self) -> Result<StatusReport, Error> {
        self.answer(self.get("read the views", &["v1", "views"])).await
    }

    /// Tells which intervals of a view have landed.
    ///
    /// # Errors
    /// What the server refuses, and what failed in transport.
    pub async fn intervals(&self, project: &str, view: &str) -> Result<IntervalsReport, Error> {
        let path = ["v1", "views", project, view, "intervals"];
        self.answer(self.get("read a view's intervals", &path)).await
    }

    /// Asks a feature server for the features of some entities; body and answer are Feast's.
    ///
    /// # Errors
    /// What the server refuses, and what failed in transport.
    pub async fn get_online_features(
        &self,
        body: &serde_json::Value,
    ) -> Result<serde_json::Value, Error> {
        let ask = self.post("read features", &["get-online-features"], ANSWER_TIMEOUT);
        self.answer(Ask { is_repeatable: true, ..with_body(ask, body) }).await
    }

    fn get(&self, operation: &'static str, path: &[&str]) -> Ask {
        Ask {
            operation,
            method: Method::GET,
            url: self.address(path),
            query: None,
            accept: JSON,
            body: None,
            key: None,
            last_event: None,
            timeout: Some(ANSWER_TIMEOUT),
            is_repeatable: true,
        }
    }

    fn post(&self, operation: &'static str, path: &[&str], timeout: Duration) -> Ask {
        let ask = self.get(operation, path);
        Ask { method: Method::POST, timeout: Some(timeout), is_repeatable: false, ..ask }
    }

    fn address(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        url.path_segments_mut().expect("an HTTP URL has a path").pop_if_empty().extend(path);
        url
    }

    async fn answer<T: DeserializeOwned>(&self, ask: Ask) -> Result<T, Error> {
        let response = self.send(&ask).await?;
        let body = response.bytes().await.map_err(|error| transport(&ask, error))?;
        serde_json::from_slice(&body)
            .map_err(|source| Error::Answer { url: ask.url.to_string(), source })
    }

    /// Sends until there is an answer, and takes it when it is a success.
    async fn send(&self, ask: &Ask) -> Result<Response, Error> {
        let mut failed = 0;
        loop {
            let error = match self.request(ask).send().await {
                Ok(response) if response.status().is_success() => return Ok(response),
                Ok(response) => return Err(refusal(ask, response).await),
                Err(error) => error,
            };
            failed += 1;
            match self.retry.pause_after(failed).filter(|_| may_repeat(ask, &error)) {
                Some(pause) => {
                    tracing::debug!(url = %ask.url, %error, "no answer, trying again");
                    tokio::time::sleep(pause).await;
                }
                None => return Err(transport(ask, error)),
            }
        }
    }

    fn request(&self, ask: &Ask) -> reqwest::RequestBuilder {
        let mut request =
            self.http.request(ask.method.clone(), ask.url.clone()).header(ACCEPT, ask.accept);
        if let Some(query) = &ask.query {
            request = request.query(query);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        if let Some(key) = &ask.key {
            request = request.header(IdempotencyKey::HEADER, key.as_str());
        }
        if let Some(id) = ask.last_event {
            request = request.header("last-event-id", id);
        }
        if let Some(body) = &ask.body {
            request = request.header(CONTENT_TYPE, JSON).body(body.clone());
        }
        match ask.timeout {
            Some(timeout) => request.timeout(timeout),
            None => request,
        }
    }
}

fn with_body<T: Serialize>(ask: Ask, body: &T) -> Ask {
    let body = serde_json::to_vec(body).expect("our bodies have text for keys, so they are JSON");
    Ask { body: Some(body), ..ask }
}

fn parse_base(url: &str) -> Result<Url, Error> {
    let refused = |why: &str| Error::Address { why: why.to_owned() };
    let base = Url::parse(url).map_err(|error| refused(&format!("cannot be read: {error}")))?;
    if !matches!(base.scheme(), "http" | "https") {
        return Err(refused("must begin with `http://` or `https://`"));
    }
    if !base.username().is_empty() || base.password().is_some() {
        return Err(refused("must not carry credentials; give a token instead"));
    }
    if base.query().is_some() || base.fragment().is_some() {
        return Err(refused("must end with its path"));
    }
    Ok(base)
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn bearer(token: &str) -> Result<HeaderValue, Error> {
    let token = token.trim();
    let text = format!("Bearer {token}");
    let mut value = HeaderValue::from_str(&text).map_err(|_| Error::Token)?;
    if token.is_empty() || token.contains(char::is_whitespace) {
        return Err(Error::Token);
    }
    value.set_sensitive(true);
    Ok(value)
}

/// What did not reach the server may be sent again; what may have reached it, only if it is
/// harmless. After a timeout the caller has waited long enough.
fn may_repeat(ask: &Ask, error: &reqwest::Error) -> bool {
    error.is_connect() || (ask.is_repeatable && error.is_request() && !error.is_timeout())
}

fn transport(ask: &Ask, error: reqwest::Error) -> Error {
    let (operation, url) = (ask.operation, ask.url.to_string());
    Error::Transport { operation, url, source: error.without_url() }
}

/// What an answer that is no success says.
async fn refusal(ask: &Ask, response: Response) -> Error {
    let status = response.status();
    let is_problem = response
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| kind.starts_with(PROBLEM_JSON));
    let retry_after = retry_after(&response);
    let body = match response.bytes().await {
        Ok(body) => body,
        Err(error) => return transport(ask, error),
    };
    match serde_json::from_slice::<Problem>(&body) {
        Ok(problem) if is_problem => Error::Problem { problem: Box::new(problem), retry_after },
        _ => stranger(ask, status, &body),
    }
}

fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn stranger(ask: &Ask, status: StatusCode, body: &[u8]) -> Error {
    let text = String::from_utf8_lossy(body);
    let text = text.trim().chars().take(STRANGER_CHARS_MAX).collect();
    Error::Stranger { url: ask.url.to_string(), status: status.as_u16(), text }
}

#[cfg(test)]
mod tests;
