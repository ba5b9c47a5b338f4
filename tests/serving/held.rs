//! Ten thousand connections at once, as many callers' pools hold them: asked once, answered, kept.
//!
//! On plain sockets, since a client library would not keep so many. Both ends are of this machine,
//! so each connection takes a file descriptor here and one of the server's.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Instant;

use ::tests::wait::until;
use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::crowd::{allow_files, connect, is_served};
use crate::server::Server;
use crate::site::{Mode, Site};

const HELD: usize = 10_000;
/// Fewer would show nothing that a thousand idle ones do not.
const HELD_MIN: usize = 1_000;
/// Whatever else either process has open.
const SPARE_FILES: usize = 500;
/// So many come at the same time.
const AT_ONCE: usize = 4;
/// One in so many asks again.
const AGAIN: usize = 10;
/// What a connection may take of the server's memory. It takes 22 KiB, optimized or not: its read
/// buffer has 8 KiB from the start, the rest are its tasks and what it last wrote. Half as much
/// again is left for another allocator; buffers that stay as large as they ever were are above it.
const BYTES_PER_CONNECTION: u64 = 32 << 10;
/// What asking again, or a second crowd, may add to what the first took: the allocator's scraps.
/// The second would take three times as much if the first had kept its memory.
const SCRAPS_BYTES: u64 = 16 << 20;
/// The second crowd is so much smaller, since it takes the time of as many requests.
const SECOND: usize = 5;
/// How many files a server may have open beside those of its callers, here and then.
const OWN_FILES: usize = 50;

/// What the machine knows of a process.
#[derive(Clone, Copy, Debug)]
struct Seen {
    resident_bytes: u64,
    files: usize,
}

fn look(server: &Server) -> Result<Seen> {
    let place = format!("/proc/{}", server.pid());
    let status = fs::read_to_string(format!("{place}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next());
    let resident_bytes = kibibytes.context("it has memory")?.parse::<u64>()? << 10;
    Ok(Seen { resident_bytes, files: fs::read_dir(format!("{place}/fd"))?.count() })
}

/// Asks for features on a connection that stays; gives the status line and the body.
fn ask(stream: &mut TcpStream, id: i64) -> Result<(String, String)> {
    let body = json!({
        "features": ["driver_stats:avg_daily_trips"], "entities": { "driver_id": [id] },
    });
    let body = body.to_string();
    let request = format!(
        "POST /get-online-features HTTP/1.1\r\nHost: localhost\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    // At once: the second part of two would wait until the first has been acknowledged.
    stream.write_all(request.as_bytes())?;
    let mut answer = BufReader::new(stream);
    let mut status = String::new();
    answer.read_line(&mut status)?;
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        answer.read_line(&mut line)?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").context("the answer has a length")?.parse()?;
    let mut body = vec![0; length];
    answer.read_exact(&mut body)?;
    ensure!(answer.buffer().is_empty(), "it says more than was asked");
    Ok((status.trim_end().to_owned(), String::from_utf8(body)?))
}

/// Asks, and holds the answer to what is stored.
fn ask_rightly(stream: &mut TcpStream) -> Result<()> {
    let (status, body) = ask(stream, 1001)?;
    ensure!(status == "HTTP/1.1 200 OK", "{status}: {body}");
    ensure!(body.contains("[10]"), "not what is stored: {body}");
    Ok(())
}

/// As many connections, each answered once; several come at the same time.
fn gather(server: &Server, count: usize) -> Result<Vec<TcpStream>> {
    let one = |at: usize| {
        let mut stream = connect(server)?;
        ask_rightly(&mut stream).with_context(|| format!("connection {at} of {count}"))?;
        Ok(stream)
    };
    thread::scope(|scope| {
        let parts = (0..AT_ONCE).map(|first| {
            let part = (first..count).step_by(AT_ONCE);
            scope.spawn(move || part.map(one).collect::<Result<Vec<_>>>())
        });
        // All are started before the first is waited for.
        let parts: Vec<_> = parts.collect();
        let mut held = Vec::with_capacity(count);
        for part in parts {
            held.extend(part.join().ok().context("a caller panicked")??);
        }
        Ok(held)
    })
}

#[expect(clippy::print_stderr, reason = "a smaller crowd must be seen, and what each takes")]
fn report(text: &str) {
    eprintln!("{text}");
}

#[test]
fn ten_thousand_held_connections_stop_nobody_and_are_given_back() -> Result<()> {
    let site = Site::recorded(Mode::Strict)?;
    let server = site.serve()?;
    // Only now, so that what the server may have open is what it has asked for itself.
    let files = allow_files(HELD + SPARE_FILES)?;
    let count = files.saturating_sub(SPARE_FILES).min(HELD);
    let needed = HELD_MIN + SPARE_FILES;
    ensure!(count >= HELD_MIN, "this machine allows {files} open files; {needed} are needed");
    if count < HELD {
        report(&format!("this machine allows {files} open files: {count} connections are held"));
    }
    is_served(&server)?;
    let before = look(&server)?;
    let begun = Instant::now();
    let mut held = gather(&server, count)?;
    let full = look(&server)?;
    let took = begun.elapsed();
    // Those who asked before may have been counted with the others.
    ensure!(full.files + OWN_FILES >= before.files + count, "not held: {before:?} {full:?}");
    let grown = full.resident_bytes.saturating_sub(before.resident_bytes);
    let each = grown / count as u64;
    report(&format!("{count} held within {took:?}: {before:?}, then {full:?}, {each} B each"));
    ensure!(each < BYTES_PER_CONNECTION, "each takes {each} B: {before:?} {full:?}");
    is_served(&server)?;
    held.iter_mut().step_by(AGAIN).try_for_each(ask_rightly)?;
    is_served(&server)?;
    let asked = look(&server)?;
    let more = asked.resident_bytes.saturating_sub(full.resident_bytes);
    ensure!(more < SCRAPS_BYTES, "asking again took {more} B: {full:?} {asked:?}");
    drop(held);
    until("they are given back", || Ok(look(&server)?.files < before.files + OWN_FILES))?;
    is_served(&server)?;
    // Memory that is free again may stay with the process; another crowd shows that it is free.
    let again = gather(&server, count / SECOND)?;
    let second = look(&server)?;
    let more = second.resident_bytes.saturating_sub(asked.resident_bytes);
    report(&format!("a second time within {:?} in all: {second:?}", begun.elapsed()));
    ensure!(more < SCRAPS_BYTES, "a second crowd took {more} B: {asked:?} {second:?}");
    drop(again);
    until("they are given back", || Ok(look(&server)?.files < before.files + OWN_FILES))
}
