//! One connection to a server, as cheap for whoever asks as HTTP can be.
//!
//! Requests are whole texts made beforehand. Of an answer's head only the status and the length
//! are looked at, because the load shares the processor with the server it measures.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Most answers fit at once; the buffer grows to the longest.
const BUFFER_BYTES: usize = 1 << 16;
/// A head that is longer is none.
const HEAD_BYTES_MAX: usize = 1 << 14;

/// A connection that is kept.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// What was answered.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: &'a [u8],
}

/// What is read of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    bytes: usize,
    body_bytes: usize,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// When the server does not listen.
    pub async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await.context("failed to connect")?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; BUFFER_BYTES] })
    }

    /// Sends a request and reads its answer.
    ///
    /// # Errors
    /// When the connection ends, or what comes is no answer of known length.
    pub async fn ask(&mut self, request: &[u8]) -> Result<Answer<'_>> {
        self.stream.write_all(request).await.context("failed to send the request")?;
        let mut filled = 0;
        let head = loop {
            filled += self.read(filled).await?;
            if let Some(head) = head(&self.buffer[..filled])? {
                break head;
            }
        };
        let end = head.bytes + head.body_bytes;
        if self.buffer.len() < end {
            self.buffer.resize(end, 0);
        }
        while filled < end {
            filled += self.read(filled).await?;
        }
        ensure!(filled == end, "the answer goes on after its length");
        Ok(Answer { status: head.status, body: &self.buffer[head.bytes..end] })
    }

    async fn read(&mut self, filled: usize) -> Result<usize> {
        let read = self.stream.read(&mut self.buffer[filled..]).await;
        let read = read.context("failed to read the answer")?;
        ensure!(read > 0, "the server closed the connection");
        Ok(read)
    }
}

/// A `POST` of JSON as it is sent.
#[must_use]
pub fn post(path: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// The head of an answer, if all of it is there.
fn head(bytes: &[u8]) -> Result<Option<Head>> {
    let Some(end) = bytes.windows(4).position(|end| end == b"\r\n\r\n") else {
        ensure!(bytes.len() < HEAD_BYTES_MAX, "the answer has no end of its head");
        return Ok(None);
    };
    let text = str::from_utf8(&bytes[..end]).context("the head is no text")?;
    let mut lines = text.split("\r\n");
    let status =
        lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok());
    let status = status.with_context(|| format!("no answer of HTTP/1.1: {text}"))?;
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    let Some(body_bytes) = length else { bail!("an answer without its length: {text}") };
    Ok(Some(Head { status, bytes: end + 4, body_bytes }))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn a_head_is_read_once_it_is_complete() -> Result<()> {
        let text = b"HTTP/1.1 503 No\r\nx: y\r\ncontent-LENGTH: 12\r\n\r\nbody";
        for end in 0..text.len() - 4 {
            assert_eq!(head(&text[..end])?, None);
        }
        let found = Head { status: 503, bytes: text.len() - 4, body_bytes: 12 };
        assert_eq!(head(text)?, Some(found));
        for bad in [b"HTTP/1.1 200 OK\r\n\r\n".as_slice(), b"SSH-2.0\r\n\r\n", &[b'a'; 1 << 14]] {
            assert!(head(bad).is_err());
        }
        Ok(())
    }

    #[tokio::test]
    async fn answers_in_pieces_and_longer_than_the_buffer_arrive_whole() -> Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let long = vec![b'x'; 3 * BUFFER_BYTES];
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await?;
            let mut request = [0; 1_024];
            for body in [b"short".as_slice(), &long] {
                anyhow::ensure!(stream.read(&mut request).await? > 0);
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                let (first, second) = head.as_bytes().split_at(9);
                stream.write_all(first).await?;
                tokio::task::yield_now().await;
                stream.write_all(second).await?;
                stream.write_all(body).await?;
            }
            Ok(())
        });
        let mut connection = Connection::open(address).await?;
        assert_eq!(connection.ask(&post("/", "{}")).await?.body, b"short");
        assert_eq!(connection.ask(&post("/", "{}")).await?.body.len(), 3 * BUFFER_BYTES);
        assert!(connection.ask(b"more").await.is_err());
        server.await?
    }
}
