//! Sockets of our own: credentials, the database, TLS, and servers that do not answer.

use std::time::Instant;

use super::*;
use crate::limits::WriteLimits;

async fn dial(config: &RedisConfig) -> Result<Socket, Error> {
    let connection = open(config).await?;
    let server = connection.servers().list()[0].clone();
    connection.dial(&server, Role::Primary).await.map_err(|failure| failure.error)
}

fn at(host: &str, port: u16) -> RedisServers {
    RedisServers::One(RedisNode { host: host.to_owned(), port })
}

#[tokio::test]
async fn the_user_and_the_database_are_those_of_the_configuration() {
    let server = Redis::start_with(&["--requirepass", "right"]).expect("a Redis server");
    let user = ["ACL", "SETUSER", "tide", "on", ">sesame", "~*", "+@all"];
    let added = server.command_as(Some("right"), &user).expect("an answer");
    assert_eq!(added, Reply::Status("OK".to_owned()));
    let plain = config(RedisServers::One(node(server.port())));
    let default = RedisConfig { password: Some("right".to_owned()), ..plain.clone() };
    let mut socket = dial(&default).await.expect("the password is right");
    assert_eq!(say(&mut socket, "ACL WHOAMI").await, "$7\r\ndefault");
    let named = RedisConfig {
        db: 3,
        username: Some("tide".to_owned()),
        password: Some("sesame".to_owned()),
        ..plain.clone()
    };
    let mut socket = dial(&named).await.expect("the password is right");
    assert_eq!(say(&mut socket, "ACL WHOAMI").await, "$4\r\ntide");
    assert_eq!(say(&mut socket, "SET k 1").await, "+OK");
    let info = server.command_as(Some("right"), &["INFO", "keyspace"]).expect("an answer");
    let info = String::from_utf8_lossy(info.bytes().expect("a text")).into_owned();
    assert!(info.contains("db3:keys=1"), "{info}");
}

#[tokio::test]
async fn a_password_that_has_changed_is_told_and_never_shown() {
    let server = Redis::start_with(&["--requirepass", "r1ght"]).expect("a Redis server");
    let plain = config(RedisServers::One(node(server.port())));
    let config = RedisConfig { password: Some("r1ght".to_owned()), ..plain };
    let connection = open(&config).await.expect("open");
    let change = ["CONFIG", "SET", "requirepass", "other"];
    let changed = server.command_as(Some("r1ght"), &change).expect("an answer");
    assert_eq!(changed, Reply::Status("OK".to_owned()));
    let server = connection.servers().list()[0].clone();
    let Err(failure) = connection.dial(&server, Role::Primary).await else {
        panic!("it let us in")
    };
    assert!(matches!(failure.error, Error::Access { .. }), "{:?}", failure.error);
    assert_eq!(failure.remedy, Remedy::GiveUp);
    assert!(!format!("{:?} {connection:?}", failure.error).contains("r1ght"));
}

#[tokio::test]
async fn a_replica_is_only_taken_while_it_follows_its_primary() {
    let primary = Redis::start_with(&["--repl-diskless-sync-delay", "0"]).expect("a primary");
    let link = Link::start(primary.port()).expect("a link");
    link.hold();
    let port = link.port().to_string();
    let replica = Redis::start_with(&["--replicaof", "127.0.0.1", &port]).expect("a replica");
    let connection = open(&config(RedisServers::One(node(primary.port())))).await.expect("open");
    let server = Server { host: "127.0.0.1".to_owned(), port: replica.port() };
    let Err(failure) = connection.dial(&server, Role::Replica).await else {
        panic!("it has nothing")
    };
    let trouble = match &failure.error {
        Error::Unavailable { trouble, .. } => *trouble,
        other => panic!("{other:?}"),
    };
    assert_eq!((trouble, failure.remedy), (Trouble::MasterDown, Remedy::Reconnect));
    primary.command(&["SET", "k", "1"]).expect("an answer");
    link.release();
    let begun = Instant::now();
    while replica.command(&["GET", "k"]).expect("an answer") != Reply::Bulk(b"1".to_vec()) {
        assert!(begun.elapsed() < Duration::from_secs(20), "the replica never follows");
    }
    let mut socket = connection.dial(&server, Role::Replica).await.expect("it follows");
    assert_eq!(say(&mut socket, "GET k").await, "$1\r\n1", "nothing else is left to read");
    // A primary is not what was expected either.
    let followed = connection.servers().list()[0].clone();
    assert!(connection.dial(&followed, Role::Replica).await.is_err(), "it follows nobody");
    primary.kill();
    let begun = Instant::now();
    let info = || match replica.command(&["INFO", "replication"]) {
        Ok(Reply::Bulk(text)) => String::from_utf8_lossy(&text).into_owned(),
        other => panic!("it answers with a text: {other:?}"),
    };
    while !info().contains("master_link_status:down") {
        assert!(begun.elapsed() < Duration::from_secs(20), "the replica does not notice");
    }
    connection.dial(&server, Role::Replica).await.expect("it has all that there was");
}

#[tokio::test]
async fn a_server_that_takes_connections_and_says_nothing_is_given_up() {
    let server = Redis::start().expect("a Redis server");
    let limits = WriteLimits { connect_timeout: Duration::from_millis(300), ..impatient() };
    let plain = config(RedisServers::One(node(server.port())));
    let connection = Connection::open(&plain, &limits).await.expect("open");
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = silent.local_addr().expect("an address").port();
    let started = Instant::now();
    let silent = Server { host: "127.0.0.1".to_owned(), port };
    let Err(failure) = connection.dial(&silent, Role::Primary).await else {
        panic!("nobody answers")
    };
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!(failure.remedy, Remedy::Reconnect);
    let text = chain(&failure.error);
    assert!(text.contains("no answer within 0.3 s") && text.contains(&port.to_string()), "{text}");
}

#[tokio::test]
async fn certificates_are_checked_and_the_way_out_is_named() {
    let made = Certificates::make().expect("certificates");
    let server = Redis::start_tls(&made, false, &[]).expect("a Redis server with TLS");
    let port = server.tls_port().expect("a port for TLS");
    let with = |host: &str, tls: RedisTls| RedisConfig { tls: Some(tls), ..config(at(host, port)) };
    for host in ["localhost", "127.0.0.1"] {
        let config = with(host, certificate_of(&made));
        let mut socket = dial(&config).await.expect("name and authority are right");
        assert_eq!(say(&mut socket, "PING").await, "+PONG");
    }
    let other = RedisTls { ca_certs: Some(made.other_authority()), ..certificate_of(&made) };
    let error = dial(&with("localhost", other)).await.err().expect("not that authority");
    let text = chain(&error);
    assert!(text.contains("UnknownIssuer") && text.contains("`ssl_ca_certs`"), "{text}");
    assert!(!error.is_retryable(), "{text}");
    // This leads to the same server, and is no name of the certificate.
    let error = dial(&with("0.0.0.0", certificate_of(&made))).await.err().expect("not that name");
    let text = chain(&error);
    assert!(text.contains("not valid for name") && text.contains("0.0.0.0"), "{text}");
    let any = RedisTls { verify_hostname: false, ..certificate_of(&made) };
    dial(&with("0.0.0.0", any)).await.expect("any name will do");
}

#[tokio::test]
async fn a_server_that_wants_our_certificate_says_so() {
    let made = Certificates::make().expect("certificates");
    let server = Redis::start_tls(&made, true, &[]).expect("a Redis server with TLS");
    let port = server.tls_port().expect("a port for TLS");
    let with = |tls: RedisTls| RedisConfig { tls: Some(tls), ..config(at("localhost", port)) };
    let error = dial(&with(certificate_of(&made))).await.err().expect("we show none");
    let text = chain(&error);
    assert!(text.contains("`ssl_certfile`") && !error.is_retryable(), "{text}");
    let ours = RedisTls {
        certfile: Some(made.certificate()),
        keyfile: Some(made.key()),
        ..certificate_of(&made)
    };
    let mut socket = dial(&with(ours)).await.expect("the certificate is accepted");
    assert_eq!(say(&mut socket, "PING").await, "+PONG");
}

#[tokio::test]
async fn a_server_that_does_not_speak_tls_is_asked_about() {
    let made = Certificates::make().expect("certificates");
    let server = Redis::start().expect("a Redis server");
    let plain = at("localhost", server.port());
    let config = RedisConfig { tls: Some(certificate_of(&made)), ..config(plain) };
    let limits = WriteLimits { connect_timeout: Duration::from_millis(300), ..impatient() };
    let error = Connection::open(&config, &limits).await.expect_err("it does not speak TLS");
    let text = chain(&error);
    assert!(matches!(error, Error::Connect { .. }) && text.contains("listen for TLS"), "{text}");
}

#[tokio::test]
async fn nothing_is_checked_where_the_options_say_so() {
    let made = Certificates::make().expect("certificates");
    let server = Redis::start_tls(&made, false, &[]).expect("a Redis server with TLS");
    let port = server.tls_port().expect("a port for TLS");
    let anything = RedisTls {
        verify: false,
        verify_hostname: false,
        ca_certs: Some(made.other_authority()),
        ..certificate_of(&made)
    };
    let config = RedisConfig { tls: Some(anything), ..config(at("0.0.0.0", port)) };
    let mut socket = dial(&config).await.expect("nothing is checked");
    assert_eq!(say(&mut socket, "PING").await, "+PONG");
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_named() {
    let made = Certificates::make().expect("certificates");
    let with = |tls: RedisTls| RedisConfig { tls: Some(tls), ..config(at("localhost", 1)) };
    let missing = RedisTls { ca_certs: Some("/missing.pem".into()), ..certificate_of(&made) };
    let error = open(&with(missing)).await.expect_err("no such file");
    let text = error.to_string();
    assert!(text.contains("ssl_ca_certs") && text.contains("/missing.pem"), "{text}");
    let alone = RedisTls { keyfile: Some(made.key()), ..certificate_of(&made) };
    let error = open(&with(alone)).await.expect_err("half a pair");
    assert!(error.to_string().contains("ssl_certfile"), "{error}");
}
