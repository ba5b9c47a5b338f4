//! Callers who send too much, too slowly, or nothing at all; others are served meanwhile.
//!
//! On plain sockets, since no client library would do any of this.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::caller::Caller;
use crate::server::Server;
use crate::site::{Mode, Site};

/// A body that nobody needs.
const HUGE_BYTES: usize = 100_000_000;
const CHUNK_BYTES: usize = 1 << 16;
/// Far below what it takes to read such a body slowly, far above a busy machine's delays.
const SOON: Duration = Duration::from_secs(5);
/// What one that is served beside a crowd may wait.
const SERVED_WITHIN: Duration = Duration::from_secs(2);
const IDLE_CONNECTIONS: usize = 1_000;
/// Sockets of both ends, and whatever else the two processes have open.
const OPEN_FILES: usize = 4_096;

/// A connection whose other end must not be too slow.
pub(crate) fn connect(server: &Server) -> Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", server.http()))?;
    stream.set_read_timeout(Some(SOON))?;
    stream.set_write_timeout(Some(SOON))?;
    Ok(stream)
}

/// Features are served, and soon.
pub(crate) fn is_served(server: &Server) -> Result<()> {
    // A connection of its own, as a caller who comes now has.
    let caller = Caller::new(server.http())?;
    for _ in 0..5 {
        let begun = Instant::now();
        let answer = caller.features(&json!({
            "feature_service": "fs_basic", "entities": { "driver_id": [1001] },
        }))?;
        let took = begun.elapsed();
        ensure!(answer.status == 200, "{answer:?}");
        ensure!(took < SERVED_WITHIN, "it took {took:?}:\n{}", server.log());
    }
    Ok(())
}

/// Sends a head and then so much of a body as is taken; gives the status line.
fn status_of_huge(server: &Server, length: &str, chunk: &'static [u8]) -> Result<String> {
    let mut stream = connect(server)?;
    write!(
        stream,
        "POST /get-online-features HTTP/1.1\r\nHost: localhost\r\n\
         Content-Type: application/json\r\n{length}\r\n\r\n"
    )?;
    let mut sending = stream.try_clone()?;
    let sender = thread::spawn(move || {
        // The server may have had enough, and close its end; that is not ours to mind.
        for _ in 0..HUGE_BYTES / CHUNK_BYTES {
            if sending.write_all(chunk).is_err() {
                break;
            }
        }
    });
    let mut head = [0; 12];
    let read = stream.read_exact(&mut head);
    stream.shutdown(Shutdown::Both).ok();
    sender.join().ok().context("the sender panicked")?;
    read.context("it gave no answer")?;
    Ok(String::from_utf8_lossy(&head).into_owned())
}

#[test]
fn a_body_of_a_hundred_megabytes_is_refused_at_once() -> Result<()> {
    static PLAIN: [u8; CHUNK_BYTES] = [b' '; CHUNK_BYTES];
    let site = Site::recorded(Mode::Strict)?;
    let mut server = site.serve()?;
    let chunk: &'static [u8] = [b"10000\r\n", &PLAIN[..], b"\r\n"].concat().leak();
    let said = format!("Content-Length: {HUGE_BYTES}");
    for (length, chunk) in [(said.as_str(), &PLAIN[..]), ("Transfer-Encoding: chunked", chunk)] {
        let begun = Instant::now();
        let status = status_of_huge(&server, length, chunk).with_context(|| length.to_owned())?;
        let took = begun.elapsed();
        assert_eq!(status, "HTTP/1.1 413", "{length}");
        ensure!(took < SOON, "{length}: it took {took:?}");
    }
    ensure!(server.is_alive(), "{}", server.log());
    is_served(&server)
}

#[test]
fn callers_who_never_finish_do_not_stop_others() -> Result<()> {
    const SLOW: usize = 64;
    let site = Site::recorded(Mode::Strict)?;
    let server = site.serve()?;
    let mut slow = Vec::new();
    for begun in [
        "POST /get-online-features HTT",
        "POST /get-online-features HTTP/1.1\r\nHost: localhost\r\nX-",
        "POST /get-online-features HTTP/1.1\r\nHost: localhost\r\n\
         Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{\"ent",
    ] {
        for _ in 0..SLOW {
            let mut stream = connect(&server)?;
            stream.write_all(begun.as_bytes())?;
            slow.push(stream);
        }
    }
    is_served(&server)?;
    for stream in &mut slow {
        // A byte more keeps it going; one that was shut out meanwhile is as good.
        stream.write_all(b"a").ok();
    }
    is_served(&server)
}

#[test]
fn a_thousand_idle_connections_do_not_stop_others() -> Result<()> {
    let site = Site::recorded(Mode::Strict)?;
    let files = allow_files(OPEN_FILES)?;
    ensure!(files > IDLE_CONNECTIONS, "this machine allows only {files} open files");
    let server = site.serve()?;
    let idle: Vec<TcpStream> =
        (0..IDLE_CONNECTIONS).map(|_| connect(&server)).collect::<Result<_>>()?;
    is_served(&server)?;
    // Those who were there first may still ask.
    let mut first = idle.first().context("there are some")?;
    write!(first, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let mut head = [0; 12];
    first.read_exact(&mut head)?;
    assert_eq!(&head, b"HTTP/1.1 200");
    Ok(())
}

/// Raises this process's limit on open files, and so that of the servers that it starts from now
/// on; tells how many there may be, at most those that are wanted.
pub(crate) fn allow_files(wanted: usize) -> Result<usize> {
    let limits = std::fs::read_to_string("/proc/self/limits")?;
    let line = limits.lines().find(|line| line.starts_with("Max open files"));
    let mut numbers = line.context("there is a limit")?.split_whitespace().skip(3);
    let mut next = || match numbers.next().context("it has a number")? {
        "unlimited" => Ok(usize::MAX),
        number => number.parse::<usize>().context("it is a number"),
    };
    let (soft, hard) = (next()?, next()?);
    let granted = wanted.min(hard);
    if soft < granted {
        let (pid, nofile) = (std::process::id().to_string(), format!("--nofile={granted}:"));
        let set = Command::new("prlimit").args(["--pid", &pid, &nofile]).status();
        let set = set.context("`prlimit` of util-linux is needed")?;
        ensure!(set.success(), "the system does not allow {granted} open files");
    }
    Ok(granted)
}
