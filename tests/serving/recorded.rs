//! What the real Feast 0.67 was asked, and what it answered.
//!
//! Recorded once by scripts that asked a running `feast serve` and `feast listen`; read here as
//! they were written. Deliberately absent: any judgement of the answers (see `differences`).

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::caller::{Answer, JSON, Request};

/// The media type that `curl -d` gives a body.
const FORM: &str = "application/x-www-form-urlencoded";

/// One request over HTTP, and Feast's answer.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    /// Its file without the ending, such as `http/health`.
    pub(crate) name: String,
    pub(crate) request: Request,
    pub(crate) answer: Answer,
}

/// One call over gRPC, and Feast's answer, both as JSON.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// Its file without the ending, such as `grpc/basic`.
    pub(crate) name: String,
    pub(crate) request: Value,
    /// The message; or the code where there is none.
    pub(crate) answer: std::result::Result<Value, String>,
}

/// Every pair, by name. Writes come before the reads that look for them.
pub(crate) fn pairs() -> Result<Vec<Pair>> {
    files("http")?.iter().map(|path| pair(path)).collect()
}

/// Every call, by name.
pub(crate) fn calls() -> Result<Vec<Call>> {
    files("grpc")?.iter().map(|path| call(path)).collect()
}

fn files(kind: &str) -> Result<Vec<PathBuf>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("serving/recorded").join(kind);
    let entries = fs::read_dir(directory)?.map(|entry| Ok(entry?.path()));
    let mut files: Vec<_> = entries.collect::<Result<_>>()?;
    files.sort_unstable();
    Ok(files)
}

fn name(path: &Path) -> Option<String> {
    let kind = path.parent()?.file_name()?.to_str()?;
    Some(format!("{kind}/{}", path.file_stem()?.to_str()?))
}

fn pair(path: &Path) -> Result<Pair> {
    let name = name(path).context("a file has a name")?;
    let text = fs::read_to_string(path)?;
    if path.extension().is_some_and(|ending| ending == "txt") {
        return form_pair(name, &text);
    }
    let recorded: Value = serde_json::from_str(&text)?;
    let (asked, answered) = (&recorded["request"], &recorded["response"]);
    let member =
        |of: &Value, member: &str| of[member].as_str().map(str::to_owned).context("it is a text");
    let body = match &asked["body"] {
        Value::Null => None,
        // What is no JSON was recorded as it was sent.
        Value::String(text) => Some((JSON, text.clone())),
        json => Some((JSON, json.to_string())),
    };
    let request = Request { method: member(asked, "method")?, path: member(asked, "path")?, body };
    let answer = Answer {
        status: u16::try_from(answered["status"].as_u64().context("it is a number")?)?,
        media_type: answered["content_type"].as_str().map(str::to_owned),
        retry_after: None,
        body: member(answered, "body_raw")?,
    };
    Ok(Pair { name, request, answer })
}

/// What Feast's documentation says to send with `curl -d`: the body, then the status.
fn form_pair(name: String, text: &str) -> Result<Pair> {
    let (body, status) = text.trim_end().split_once("\nHTTP ").context("body and status")?;
    let answered: Value = serde_json::from_str(body)?;
    let sent = answered["detail"][0]["input"].as_str().context("Feast shows what it was sent")?;
    let request = Request {
        method: "POST".to_owned(),
        path: "/get-online-features".to_owned(),
        body: Some((FORM, sent.to_owned())),
    };
    let (media_type, body) = (Some(JSON.to_owned()), body.to_owned());
    let answer = Answer { status: status.parse()?, media_type, retry_after: None, body };
    Ok(Pair { name, request, answer })
}

fn call(path: &Path) -> Result<Call> {
    let name = name(path).context("a file has a name")?;
    let recorded: Value = serde_json::from_str(&fs::read_to_string(path)?)?;
    let code = recorded["code"].as_str().map(str::to_owned);
    let answer = match code {
        Some(code) => Err(code),
        None => Ok(recorded["response"].clone()),
    };
    ensure!(recorded["ok"].as_bool() == Some(answer.is_ok()), "`{name}` is neither");
    Ok(Call { name, request: recorded["request"].clone(), answer })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recorded_file_is_read() -> Result<()> {
        let (pairs, calls) = (pairs()?, calls()?);
        assert_eq!((pairs.len(), calls.len()), (files("http")?.len(), files("grpc")?.len()));
        assert!(pairs.len() > 70 && calls.len() >= 10, "{} and {}", pairs.len(), calls.len());
        let find = |name: &str| pairs.iter().find(|pair| pair.name == name).expect("it is there");
        assert_eq!(find("http/health").answer.media_type, None);
        assert_eq!(find("http/err_bad_json").request.body, Some((JSON, "{bad".to_owned())));
        let curl = find("http/doc_curl_no_content_type");
        assert_eq!(curl.answer.status, 422);
        assert!(matches!(&curl.request.body, Some((FORM, body)) if body.starts_with('{')));
        Ok(())
    }

    #[test]
    fn a_row_is_written_before_it_is_read() -> Result<()> {
        let pairs = pairs()?;
        let place = |name: &str| pairs.iter().position(|pair| pair.name == name);
        for (write, read) in [("push_ok", "push_then_read"), ("wtos_ok", "wtos_read")] {
            let (write, read) = (format!("http/{write}"), format!("http/{read}"));
            assert!(place(&write) < place(&read) && place(&write).is_some(), "{read}");
        }
        Ok(())
    }
}
