//! Who asks the server over HTTP: one request, one answer, and a limit on the time of both.
//!
//! Blocking, since these tests do one thing after another. Deliberately absent: retries, which
//! would hide what is to be seen.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, ClientBuilder, Method};
use serde_json::Value;
use tokio::runtime::{self, Runtime};

/// Longer than any answer takes here, of a server that hangs the test will fail.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The kind of body that the API takes.
pub(crate) const JSON: &str = "application/json";
/// The kind of body of a refusal.
pub(crate) const PROBLEM: &str = "application/problem+json";

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    /// The body, and what kind it is said to be.
    pub(crate) body: Option<(&'static str, String)>,
}

impl Request {
    /// A request without a body.
    pub(crate) fn get(path: &str) -> Self {
        Self { method: "GET".to_owned(), path: path.to_owned(), body: None }
    }

    /// A request with JSON.
    pub(crate) fn post(path: &str, body: &Value) -> Self {
        let body = Some((JSON, body.to_string()));
        Self { method: "POST".to_owned(), path: path.to_owned(), body }
    }

    /// A request for features.
    pub(crate) fn features(body: &Value) -> Self {
        Self::post("/get-online-features", body)
    }
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The kind of body, without parameters; none where there is none.
    pub(crate) media_type: Option<String>,
    /// After how many seconds to ask again, where that is said.
    pub(crate) retry_after: Option<String>,
    pub(crate) body: String,
}

impl Answer {
    /// The body of a success.
    pub(crate) fn success(&self) -> Result<Value> {
        ensure!((200..300).contains(&self.status), "status {}: {}", self.status, self.body);
        serde_json::from_str(&self.body).with_context(|| format!("no JSON: {}", self.body))
    }

    /// Status and code of a refusal, whose form is checked.
    pub(crate) fn problem(&self) -> Result<(u16, String)> {
        let shown = || format!("no problem document: {self:?}");
        ensure!(self.media_type.as_deref() == Some(PROBLEM), "{}", shown());
        let body: Value = serde_json::from_str(&self.body).with_context(shown)?;
        for member in ["type", "title", "detail", "code"] {
            ensure!(body[member].as_str().is_some_and(|text| !text.is_empty()), "{}", shown());
        }
        ensure!(body["status"] == self.status, "{}", shown());
        let code = body["code"].as_str().with_context(shown)?;
        Ok((self.status, code.to_owned()))
    }
}

/// Asks.
#[derive(Debug)]
pub(crate) struct Caller {
    client: Client,
    runtime: Runtime,
    url: String,
}

impl Caller {
    /// One who asks at a port.
    pub(crate) fn new(port: u16) -> Result<Self> {
        // A connection each, so that no answer depends on what was asked before.
        let builder = Client::builder().pool_max_idle_per_host(0);
        Self::of(builder, format!("http://127.0.0.1:{port}"))
    }

    /// One who keeps connections for what is asked next.
    pub(crate) fn staying(port: u16) -> Result<Self> {
        Self::of(Client::builder(), format!("http://127.0.0.1:{port}"))
    }

    /// One with a client of their own, who asks at a URL without a path.
    pub(crate) fn of(builder: ClientBuilder, url: String) -> Result<Self> {
        let client = builder.no_proxy().timeout(TIMEOUT).build()?;
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { client, runtime, url })
    }

    /// Waits for whatever is asked with [`Self::send`].
    pub(crate) fn wait<T>(&self, asked: impl Future<Output = T>) -> T {
        self.runtime.block_on(asked)
    }

    /// Asks, and waits for the answer.
    pub(crate) fn ask(&self, request: &Request) -> Result<Answer> {
        let asked = self.wait(self.send(request));
        asked.with_context(|| format!("{} {}", request.method, request.path))
    }

    /// Asks for a path.
    pub(crate) fn get(&self, path: &str) -> Result<Answer> {
        self.ask(&Request::get(path))
    }

    /// Asks for features.
    pub(crate) fn features(&self, body: &Value) -> Result<Answer> {
        self.ask(&Request::features(body))
    }

    /// Asks, beside whatever else is asked.
    pub(crate) async fn send(&self, request: &Request) -> Result<Answer> {
        let url = format!("{}{}", self.url, request.path);
        let method = Method::from_bytes(request.method.as_bytes())?;
        let mut sent = self.client.request(method, url);
        if let Some((kind, body)) = &request.body {
            sent = sent.header(CONTENT_TYPE, *kind).body(body.clone());
        }
        let answer = sent.send().await?;
        let status = answer.status().as_u16();
        let header = |name| answer.headers().get(name).and_then(|text| text.to_str().ok());
        let media_type = header(CONTENT_TYPE).and_then(|text| text.split(';').next());
        let media_type = media_type.map(|text| text.trim().to_owned());
        let length = header(CONTENT_LENGTH).map(str::to_owned);
        let retry_after = header(RETRY_AFTER).map(str::to_owned);
        let body = answer.text().await?;
        let is_whole = length.is_none_or(|length| length == body.len().to_string());
        ensure!(is_whole, "the answer was cut: `{body}`");
        let media_type = media_type.filter(|_| !body.is_empty());
        Ok(Answer { status, media_type, retry_after, body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_must_have_every_member_of_a_problem() -> Result<()> {
        let whole = serde_json::json!({
            "type": "about:blank",
            "title": "No such view",
            "status": 404,
            "detail": "there is no feature view `nope`",
            "code": "unknown_view",
        });
        let answer = |body: &Value, kind: &str| Answer {
            status: 404,
            media_type: Some(kind.to_owned()),
            retry_after: None,
            body: body.to_string(),
        };
        let (status, code) = answer(&whole, PROBLEM).problem()?;
        assert_eq!((status, code.as_str()), (404, "unknown_view"));
        assert!(answer(&whole, JSON).problem().is_err());
        for member in ["type", "title", "status", "detail", "code"] {
            let mut cut = whole.clone();
            cut.as_object_mut().context("it is an object")?.remove(member);
            assert!(answer(&cut, PROBLEM).problem().is_err(), "{member}");
        }
        Ok(())
    }
}
