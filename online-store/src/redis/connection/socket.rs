//! A socket to one server for whoever speaks to it directly: opened, encrypted, logged in.
//!
//! Bulk writes go over these, past fred, whose bookkeeping of each command costs more than the
//! write itself. Deliberately absent: what is sent then, and what the answers mean.

use std::io;

use feast::config::RedisServers;
use fred::error::ErrorKind;
use fred::rustls;
use fred::rustls::pki_types::ServerName;
use fred::types::config::TlsConnector;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::Server;
use super::settings::Settings;
use crate::redis::reply::Failure;
use crate::redis::wire;

/// How long a replica may have been without its primary. A failover takes a few seconds, in which
/// replicas are as good as before; Redis itself gives up a link that is silent for so long.
const LINK_DOWN_SECONDS_MAX: i64 = 60;

/// A stream of bytes in both directions, plain or encrypted.
pub(in crate::redis) type Socket = Box<dyn Stream>;

/// What a socket can do, whatever it is made of.
pub(in crate::redis) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Why a socket could not be had.
enum Refusal {
    /// Below Redis: the network, or TLS.
    Io(io::Error),
    /// Redis's own words.
    Said(String),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// What is expected of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::redis) enum Role {
    /// It takes writes.
    Primary,
    /// It is read.
    Replica,
}

impl Settings {
    /// Opens a socket, logged in and with the database selected.
    pub(super) async fn dial(&self, server: &Server, role: Role) -> Result<Socket, Failure> {
        // A socket that is dropped half-way is closed, and nothing was asked of the server yet.
        let dialled = tokio::time::timeout(self.connect_timeout, self.greet(server, role)).await;
        let address = server.to_string();
        let error = match dialled {
            Ok(Ok(socket)) => return Ok(socket),
            Ok(Err(Refusal::Io(error))) => of_io(&error),
            Ok(Err(Refusal::Said(words))) => fred::error::Error::new(ErrorKind::Unknown, words),
            Err(_) => self.silence(),
        };
        Err(Failure::of_connecting(&address, error))
    }

    /// What a server that takes the connection and says nothing means.
    pub(super) fn silence(&self) -> fred::error::Error {
        let way_out = match self.tls {
            Some(_) => "; does the server listen for TLS on that port?",
            None => "",
        };
        let words = format!("no answer within {} s{way_out}", self.connect_timeout.as_secs_f32());
        fred::error::Error::new(ErrorKind::Timeout, words)
    }

    async fn greet(&self, server: &Server, role: Role) -> Result<Socket, Refusal> {
        let plain = TcpStream::connect((server.host.as_str(), server.port)).await?;
        plain.set_nodelay(true)?;
        let mut socket: Socket = match &self.tls {
            None => Box::new(plain),
            Some(TlsConnector::Rustls(connector)) => {
                let name = ServerName::try_from(server.host.clone()).map_err(io::Error::other)?;
                Box::new(connector.connect(name, plain).await?)
            }
        };
        let commands = self.greeting(role);
        let mut sent = Vec::new();
        for words in &commands {
            wire::command(&mut sent, words.len());
            words.iter().for_each(|word| wire::argument(&mut sent, word.as_bytes()));
        }
        socket.write_all(&sent).await?;
        socket.flush().await?;
        // Nothing else has been asked, so the buffer cannot read past these answers.
        let mut answers = BufReader::new(&mut socket);
        let mut line = String::new();
        for _ in &commands {
            line.clear();
            if answers.read_line(&mut line).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            if let Some(words) = line.strip_prefix('-') {
                return Err(Refusal::Said(words.trim_end().to_owned()));
            }
        }
        if role == Role::Replica {
            check_follows(&mut answers, &line).await?;
        }
        Ok(socket)
    }

    /// What is said first. At least one command, because a server that does not take our
    /// certificate, or wants a password, says so only in answer to one.
    fn greeting(&self, role: Role) -> Vec<Vec<String>> {
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        let mut commands: Vec<Vec<String>> = Vec::new();
        if let Some(password) = &self.password {
            let user = self.username.as_deref();
            let credentials = user.into_iter().chain([password.as_str()]);
            commands.push(words(&std::iter::once("AUTH").chain(credentials).collect::<Vec<_>>()));
        }
        if self.db != 0 {
            commands.push(words(&["SELECT", &self.db.to_string()]));
        }
        if role == Role::Replica && matches!(self.servers, RedisServers::Cluster(_)) {
            // Without it a replica sends every reader to its primary.
            commands.push(words(&["READONLY"]));
        }
        if role == Role::Replica {
            commands.push(words(&["INFO", "replication"]));
        }
        if commands.is_empty() {
            commands.push(words(&["PING"]));
        }
        commands
    }
}

/// Refuses a replica that has not followed its primary since it started: it answers before it has
/// any data, or with that of another day, as if the rest were not there. `head` is the first line
/// of what it tells of its replication.
async fn check_follows(answers: &mut (impl AsyncRead + Unpin), head: &str) -> Result<(), Refusal> {
    let length = head.trim_end().strip_prefix('$').and_then(|text| text.parse::<usize>().ok());
    if let Some(length) = length {
        // The end of the line is not counted.
        let mut text = vec![0; length + b"\r\n".len()];
        answers.read_exact(&mut text).await?;
        if follows(&String::from_utf8_lossy(&text)) {
            return Ok(());
        }
    }
    let words = "MASTERDOWN INFO replication says of no primary that it was followed just now";
    Err(Refusal::Said(words.to_owned()))
}

/// Tells whether a replica has its primary's data as of now, or as of when that went away just now.
///
/// # Source
/// Redis 7.0, `INFO`: `master_link_down_since_seconds` is -1 when there never was a link; before
/// 7.0 it was the time since 1970 then.
fn follows(replication: &str) -> bool {
    let value = |name: &str| {
        replication.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
    };
    let down_for = value("master_link_down_since_seconds").and_then(|text| text.parse().ok());
    value("master_link_status") == Some("up")
        || down_for.is_some_and(|seconds: i64| (0..=LINK_DOWN_SECONDS_MAX).contains(&seconds))
}

/// What a failure below Redis means. Trying again does not mend a certificate.
fn of_io(error: &io::Error) -> fred::error::Error {
    use rustls::Error::{AlertReceived, InvalidCertificate};
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    let (kind, way_out) = match cause {
        Some(InvalidCertificate(_)) => (
            ErrorKind::Tls,
            "; name the server's authority in `ssl_ca_certs` and connect by a name of the \
             certificate",
        ),
        Some(AlertReceived(_)) => (
            ErrorKind::Tls,
            "; the server does not accept our side of TLS: check `ssl_certfile` and `ssl_keyfile`",
        ),
        _ => (ErrorKind::IO, ""),
    };
    fred::error::Error::new(kind, format!("{error}{way_out}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_follows_while_it_has_a_link_and_a_while_after() {
        let up = "# Replication\r\nrole:slave\r\nmaster_link_status:up\r\nslave_repl_offset:50\r\n";
        let down = |seconds: i64| {
            format!(
                "role:slave\r\nmaster_link_status:down\r\n\
                 master_link_down_since_seconds:{seconds}\r\n"
            )
        };
        assert!(follows(up));
        assert!(follows(&down(0)) && follows(&down(60)));
        assert!(!follows(&down(61)), "too long ago");
        assert!(!follows(&down(-1)) && !follows(&down(1_795_421_022)), "never");
        assert!(!follows("role:master\r\nconnected_slaves:0\r\n"), "it is no replica");
    }
}
