//! What a client says to Redis: a connection passes through here and its commands are kept.
//!
//! So that a benchmark can repeat exactly what our online store sends, without a door into it.

use std::io::{Read, Write, copy};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result, ensure};
use harness::Redis;

/// As much as is passed on at once.
const BUFFER_BYTES: usize = 1 << 16;

/// A command: its name and its arguments.
pub type Command = Vec<Vec<u8>>;

/// Calls `run` with the port of a tap before a Redis, and gives all commands that came through, in
/// the order of each connection. Every connection must be closed when `run` returns.
///
/// # Errors
/// What `run` gives; when a connection cannot be passed on or carries no commands.
pub fn record(redis: &Redis, run: impl FnOnce(u16) -> Result<()>) -> Result<Vec<Command>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let (done, said) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        let passing = scope.spawn(|| -> Result<()> {
            for client in listener.incoming() {
                if done.load(Ordering::Acquire) {
                    break;
                }
                let (client, server) = (client?, TcpStream::connect(("127.0.0.1", redis.port()))?);
                server.set_nodelay(true)?;
                client.set_nodelay(true)?;
                let (replies, answered) = (server.try_clone()?, client.try_clone()?);
                scope.spawn(move || pass_back(replies, answered));
                let said = &said;
                scope.spawn(move || {
                    let bytes = pass(client, server);
                    said.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
                });
            }
            Ok(())
        });
        let ran = run(address.port());
        done.store(true, Ordering::Release);
        // Wakes the listener, which then finds that it is done.
        drop(TcpStream::connect(address));
        passing.join().expect("passing connections on does not panic")?;
        ran
    })?;
    let mut commands = Vec::new();
    for connection in said.into_inner().unwrap_or_else(PoisonError::into_inner) {
        let mut rest = connection.as_slice();
        while !rest.is_empty() {
            let command = command(&mut rest).context("the client sent no command")?;
            commands.push(command);
        }
    }
    ensure!(!commands.is_empty(), "the client sent nothing");
    Ok(commands)
}

/// Passes commands on until the client or the server is gone, and keeps them.
fn pass(mut client: TcpStream, mut server: TcpStream) -> Vec<u8> {
    let (mut said, mut buffer) = (Vec::new(), vec![0; BUFFER_BYTES]);
    while let Ok(read @ 1..) = client.read(&mut buffer) {
        said.extend_from_slice(&buffer[..read]);
        if server.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    // Whoever has gone already needs no goodbye.
    server.shutdown(Shutdown::Both).ok();
    said
}

fn pass_back(mut replies: TcpStream, mut client: TcpStream) {
    // Ends with either side; what came through is judged by the client.
    copy(&mut replies, &mut client).ok();
    client.shutdown(Shutdown::Both).ok();
}

/// Takes one command off the front.
fn command(rest: &mut &[u8]) -> Option<Command> {
    let parts = number(rest, b'*')?;
    (0..parts).map(|_| part(rest)).collect()
}

fn part(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let length = number(rest, b'$')?;
    let (part, after) = rest.split_at_checked(length)?;
    *rest = after.strip_prefix(b"\r\n")?;
    Some(part.to_vec())
}

fn number(rest: &mut &[u8], kind: u8) -> Option<usize> {
    let end = rest.iter().position(|&byte| byte == b'\r')?;
    let line = std::str::from_utf8(rest.get(..end)?.strip_prefix(&[kind])?).ok()?;
    *rest = rest.get(end + 2..)?;
    line.parse().ok()
}

#[cfg(test)]
mod tests {
    use harness::receive;

    use super::*;

    #[test]
    fn what_a_client_says_is_answered_and_kept() -> Result<()> {
        let redis = Redis::start()?;
        let commands = record(&redis, |port| {
            let mut stream = TcpStream::connect(("127.0.0.1", port))?;
            stream
                .write_all(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\na\r\nb\r\n*1\r\n$4\r\nPING\r\n")?;
            let mut replies = std::io::BufReader::new(stream.try_clone()?);
            for _ in 0..2 {
                receive(&mut replies)?;
            }
            Ok(())
        })?;
        let part = |text: &str| text.as_bytes().to_vec();
        let set = vec![part("SET"), part("k"), part("a\r\nb")];
        assert_eq!(commands, [set, vec![part("PING")]]);
        assert_eq!(redis.command(&["GET", "k"])?.bytes(), Some(b"a\r\nb".as_slice()));
        Ok(())
    }

    #[test]
    fn half_a_command_is_none() {
        assert_eq!(command(&mut &b"*2\r\n$1\r\na\r\n"[..]), None);
        assert_eq!(command(&mut &b"PING\r\n"[..]), None);
    }
}
