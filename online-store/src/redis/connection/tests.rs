//! Connections to real servers: one, a cluster, sentinels; plain and with TLS.

mod cluster;
mod sentinel;
mod socket;

use std::sync::Arc;
use std::time::Duration;

use feast::config::{RedisConfig, RedisNode, RedisServers, RedisTls};
use fred::types::Value;
use harness::{Certificates, Link, Redis, Reply};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Connection, Role, Server, Socket};
use crate::error::{Error, Trouble};
use crate::redis::reply::Remedy;
use crate::redis::tests::{config_of as config, impatient};

fn node(port: u16) -> RedisNode {
    RedisNode { host: "127.0.0.1".to_owned(), port }
}

fn nodes(ports: impl IntoIterator<Item = u16>) -> Vec<RedisNode> {
    ports.into_iter().map(node).collect()
}

async fn open(config: &RedisConfig) -> Result<Arc<Connection>, Error> {
    Connection::open(config, &impatient()).await.map(Arc::new)
}

/// An error with all its causes.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

/// Sends an inline command over a socket of our own, and reads its short answer.
async fn say(socket: &mut Socket, words: &str) -> String {
    socket.write_all(format!("{words}\r\n").as_bytes()).await.expect("the server reads");
    let mut answer = vec![0; 256];
    let length = socket.read(&mut answer).await.expect("the server answers");
    String::from_utf8_lossy(&answer[..length]).trim_end().to_owned()
}

fn certificate_of(made: &Certificates) -> RedisTls {
    RedisTls {
        verify: true,
        verify_hostname: true,
        ca_certs: Some(made.authority()),
        certfile: None,
        keyfile: None,
    }
}

#[tokio::test]
async fn one_server_is_known_by_its_address_and_run_id() {
    let server = Redis::start().expect("a Redis server");
    let connection = open(&config(RedisServers::One(node(server.port())))).await.expect("open");
    let servers = connection.servers();
    let address = format!("127.0.0.1:{}", server.port());
    assert_eq!(servers.list()[0].to_string(), address);
    let before = connection.identities().await.expect("it may be asked");
    assert_eq!(before.keys().collect::<Vec<_>>(), [&address]);
    server.restart().expect("it comes up again");
    connection.refresh(&servers).await.expect("it is there again");
    let after = connection.identities().await.expect("it may be asked");
    assert_eq!(after.keys().collect::<Vec<_>>(), [&address]);
    assert_ne!(after, before);
}

#[tokio::test]
async fn a_user_that_may_not_ask_has_no_identities_and_is_let_through() {
    let server = Redis::start().expect("a Redis server");
    let user = ["ACL", "SETUSER", "tide", "on", ">sesame", "~*", "+@all", "-info"];
    assert_eq!(server.command(&user).expect("an answer"), Reply::Status("OK".to_owned()));
    let config = RedisConfig {
        username: Some("tide".to_owned()),
        password: Some("sesame".to_owned()),
        ..config(RedisServers::One(node(server.port())))
    };
    let connection = open(&config).await.expect("open");
    assert!(connection.identities().await.expect("none is no failure").is_empty());
    connection.check_writable().await.expect("it cannot be refused unasked");
}

#[tokio::test]
async fn refreshes_at_the_same_time_make_one_connection() {
    let server = Redis::start().expect("a Redis server");
    let connection = open(&config(RedisServers::One(node(server.port())))).await.expect("open");
    let seen = connection.servers();
    let made = |server: &Redis| {
        let Reply::Bulk(info) = server.command(&["INFO", "stats"]).expect("an answer") else {
            panic!("a text")
        };
        let info = String::from_utf8_lossy(&info).into_owned();
        let line = info.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
        line.and_then(|number| number.parse::<u32>().ok()).expect("a number")
    };
    let before = made(&server);
    let refresh = || connection.refresh(&seen);
    let (one, two, three) = tokio::join!(refresh(), refresh(), refresh());
    one.and(two).and(three).expect("the server is there");
    assert_eq!(connection.servers().generation(), seen.generation() + 1);
    // Ours, and that of the second question.
    assert_eq!(made(&server), before + 2);
}
