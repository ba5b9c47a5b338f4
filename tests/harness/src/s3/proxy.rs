//! A proxy that counts what an S3 server sends, and misbehaves when told to.
//!
//! One request a connection and one thread each: slow, but nothing is left to chance.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};

/// How S3 asks for patience.
const SLOW_DOWN: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>SlowDown</Code>\
                         <Message>Please reduce your request rate.</Message></Error>";

/// A request as a rule sees it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// Its method.
    pub method: String,
    /// Its path and query.
    pub target: String,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The server answers.
    Pass,
    /// 503 with S3's error `SlowDown`.
    SlowDown,
    /// Nothing, until the client gives up or the proxy ends.
    Hang,
}

type Rule = Box<dyn FnMut(&Request) -> Answer + Send>;

/// A proxy on a loopback port.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
}

struct Shared {
    server: u16,
    rule: Mutex<Rule>,
    requests: AtomicU64,
    bytes: AtomicU64,
    ended: AtomicBool,
    hung: (Mutex<()>, Condvar),
}

impl Proxy {
    /// Starts a proxy in front of a server's port. Every request passes until there is a rule.
    ///
    /// # Errors
    /// When the system has no port left.
    pub fn start(server: u16) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("failed to start a proxy")?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            server,
            rule: Mutex::new(Box::new(|_| Answer::Pass)),
            requests: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            hung: (Mutex::default(), Condvar::new()),
        });
        let listening = Arc::clone(&shared);
        let listener = thread::spawn(move || listening.listen(&listener));
        Ok(Self { port, shared, listener: Some(listener) })
    }

    /// The loopback port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Asks a rule what becomes of each request from now on.
    pub fn rule(&self, rule: impl FnMut(&Request) -> Answer + Send + 'static) {
        *self.shared.rule.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(rule);
    }

    /// How many requests have come.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// How many bytes of content the server has sent, heads not counted.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("port", &self.port).finish_non_exhaustive()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        self.shared.hung.1.notify_all();
        // The listener sees that it has ended when the next connection comes.
        TcpStream::connect(("127.0.0.1", self.port)).ok();
        if let Some(listener) = self.listener.take() {
            listener.join().ok();
        }
    }
}

impl Shared {
    fn listen(self: &Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming().flatten() {
            if self.ended.load(Ordering::Relaxed) {
                return;
            }
            let shared = Arc::clone(self);
            // A client that goes away in the middle is its own affair.
            thread::spawn(move || shared.serve(client).ok());
        }
    }

    fn serve(&self, client: TcpStream) -> io::Result<()> {
        let mut client = BufReader::new(client);
        let head = read_head(&mut client)?;
        let mut words = head.split(' ').map(str::to_owned);
        let (method, target) = (words.next(), words.next());
        let request =
            Request { method: method.unwrap_or_default(), target: target.unwrap_or_default() };
        self.requests.fetch_add(1, Ordering::Relaxed);
        let answer = (self.rule.lock().unwrap_or_else(PoisonError::into_inner))(&request);
        match answer {
            Answer::Pass => self.pass(client, &head),
            Answer::SlowDown => {
                let length = SLOW_DOWN.len();
                let text = format!(
                    "HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nContent-Length: \
                     {length}\r\nConnection: close\r\n\r\n{SLOW_DOWN}"
                );
                client.get_mut().write_all(text.as_bytes())
            }
            Answer::Hang => {
                self.hang();
                client.get_mut().shutdown(Shutdown::Both)
            }
        }
    }

    /// Waits for the end of the proxy.
    fn hang(&self) {
        let (lock, ended) = &self.hung;
        let held = lock.lock().unwrap_or_else(PoisonError::into_inner);
        let hangs = |_: &mut ()| !self.ended.load(Ordering::Relaxed);
        drop(ended.wait_while(held, hangs).unwrap_or_else(PoisonError::into_inner));
    }

    /// Sends a request on, on a connection that the server closes behind its answer.
    fn pass(&self, mut client: BufReader<TcpStream>, head: &str) -> io::Result<()> {
        let mut server = TcpStream::connect(("127.0.0.1", self.server))?;
        let (first, rest) = head.split_once("\r\n").unwrap_or((head, ""));
        write!(server, "{first}\r\nConnection: close\r\n{rest}")?;
        let length = header(head, "content-length").and_then(|text| text.parse().ok());
        io::copy(&mut client.by_ref().take(length.unwrap_or(0)), &mut server)?;
        let mut server = BufReader::with_capacity(1 << 18, server);
        let mut client = client.into_inner();
        client.write_all(read_head(&mut server)?.as_bytes())?;
        loop {
            let content = server.fill_buf()?;
            if content.is_empty() {
                return client.shutdown(Shutdown::Write);
            }
            client.write_all(content)?;
            let length = content.len();
            self.bytes.fetch_add(length as u64, Ordering::Relaxed);
            server.consume(length);
        }
    }
}

/// Everything up to the empty line, with it.
fn read_head(stream: &mut impl BufRead) -> io::Result<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(head)
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// Gets a path without a signature: the head of the answer, and its content.
#[cfg(test)]
pub(super) fn get(port: u16, path: &str) -> Result<(String, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n")?;
    let mut stream = BufReader::new(stream);
    let head = read_head(&mut stream)?;
    let mut content = String::new();
    stream.read_to_string(&mut content)?;
    Ok((head, content))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that gives every client the same answer and counts them.
    fn server() -> Result<u16> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let mut client = BufReader::new(client);
                let head = read_head(&mut client).unwrap_or_default();
                assert_eq!(header(&head, "connection"), Some("close"), "{head}");
                let answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
                client.get_mut().write_all(answer.as_bytes()).ok();
            }
        });
        Ok(port)
    }

    #[test]
    fn what_passes_is_counted() -> Result<()> {
        let proxy = Proxy::start(server()?)?;
        let (head, content) = get(proxy.port(), "/a")?;
        assert!(head.starts_with("HTTP/1.1 200") && content == "hello", "{head}{content}");
        assert_eq!((proxy.requests(), proxy.bytes()), (1, 5));
        Ok(())
    }

    #[test]
    fn a_rule_says_what_becomes_of_a_request() -> Result<()> {
        let proxy = Proxy::start(server()?)?;
        proxy.rule(|request| if request.target == "/b" { Answer::SlowDown } else { Answer::Pass });
        assert!(get(proxy.port(), "/a")?.0.starts_with("HTTP/1.1 200"));
        let (head, content) = get(proxy.port(), "/b")?;
        assert!(head.starts_with("HTTP/1.1 503"), "{head}");
        assert!(content.contains("<Code>SlowDown</Code>"), "{content}");
        Ok(())
    }

    #[test]
    fn a_request_hangs_until_the_proxy_ends() -> Result<()> {
        let proxy = Proxy::start(server()?)?;
        proxy.rule(|_| Answer::Hang);
        let port = proxy.port();
        let client = thread::spawn(move || get(port, "/a"));
        while proxy.requests() == 0 {
            thread::yield_now();
        }
        assert!(!client.is_finished());
        drop(proxy);
        assert!(client.join().expect("it does not panic").is_err());
        Ok(())
    }
}
