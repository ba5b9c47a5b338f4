//! One request, one connection, one answer: an HTTP client that hides nothing.
//!
//! No retries, no pool, and a time limit on everything, because the servers asked here are killed,
//! stopped and cut off. HTTP/1.0, so that an answer ends with its connection. Deliberately absent:
//! the project's own client, which would retry what is to be seen here.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::de::DeserializeOwned;

/// Longer than a healthy server needs on a machine that compiles, shorter than a history lasts.
const TIMEOUT: Duration = Duration::from_secs(15);

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Answer {
    /// The body of a success.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T> {
        ensure!((200..300).contains(&self.status), "status {}: {}", self.status, self.body);
        serde_json::from_str(&self.body).with_context(|| format!("not expected: {}", self.body))
    }
}

/// Asks for a path.
pub(crate) fn get(port: u16, path: &str) -> Result<Answer> {
    send(port, &format!("GET {path} HTTP/1.0\r\n"), "")
}

/// Sends JSON, under an idempotency key.
pub(crate) fn post(port: u16, path: &str, key: &str, body: &str) -> Result<Answer> {
    let head = format!(
        "POST {path} HTTP/1.0\r\nContent-Type: application/json\r\nIdempotency-Key: {key}\r\n\
         Content-Length: {}\r\n",
        body.len()
    );
    send(port, &head, body)
}

fn send(port: u16, head: &str, body: &str) -> Result<Answer> {
    let mut stream =
        TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.write_all(format!("{head}Host: 127.0.0.1:{port}\r\n\r\n{body}").as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    read(&text).with_context(|| format!("no answer of HTTP: `{text}`"))
}

fn read(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    // A connection that was cut in the middle of an answer has given none.
    let is_whole = lines.all(|line| {
        let length =
            line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        length.is_none_or(|(_, length)| length.trim() == body.len().to_string())
    });
    is_whole.then(|| Answer { status, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// A server that gives one answer and tells what it was asked.
    fn server(answer: &'static str) -> Result<(u16, thread::JoinHandle<String>)> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        let asked = thread::spawn(move || {
            let (client, _) = listener.accept().expect("somebody comes");
            let mut client = BufReader::new(client);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                client.read_line(&mut head).expect("it is text");
            }
            client.get_mut().write_all(answer.as_bytes()).ok();
            head
        });
        Ok((port, asked))
    }

    #[test]
    fn an_answer_is_read_and_the_key_is_sent() -> Result<()> {
        let (port, asked) = server("HTTP/1.0 202 Accepted\r\nContent-Length: 2\r\n\r\n17")?;
        let answer = post(port, "/v1/runs", "a-key", "")?;
        assert_eq!((answer.status, answer.json::<u32>()?), (202, 17));
        let head = asked.join().expect("it does not panic");
        assert!(head.starts_with("POST /v1/runs HTTP/1.0\r\n"), "{head}");
        assert!(head.contains("Idempotency-Key: a-key\r\n"), "{head}");
        Ok(())
    }

    #[test]
    fn half_an_answer_is_none() -> Result<()> {
        for answer in ["", "HTTP/1.0 200 OK\r\n", "HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\n{}"]
        {
            let (port, _asked) = server(answer)?;
            assert!(get(port, "/v1/views").is_err(), "{answer:?}");
        }
        Ok(())
    }

    #[test]
    fn a_refusal_is_no_json() -> Result<()> {
        let (port, _asked) = server("HTTP/1.0 503 Service Unavailable\r\n\r\n{}")?;
        let answer = get(port, "/readyz")?;
        assert_eq!(answer.status, 503);
        assert!(answer.json::<serde_json::Value>().is_err());
        Ok(())
    }
}
