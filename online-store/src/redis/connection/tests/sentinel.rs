//! Sentinels: who is asked, and what a failover changes.

use std::time::Instant;

use harness::RedisSentinel;

use super::*;

fn watched(sentinels: &[Redis]) -> RedisServers {
    RedisServers::Sentinel {
        master: "mymaster".to_owned(),
        sentinels: nodes(sentinels.iter().map(Redis::port)),
        password: None,
    }
}

#[tokio::test]
async fn a_failover_changes_the_address_and_the_run_id_but_not_the_name() {
    let made = RedisSentinel::start_with(3, None).expect("servers and sentinels");
    let [primary, replica] = made.servers();
    let connection = open(&config(watched(made.sentinels()))).await.expect("open");
    let seen = connection.servers();
    assert_eq!(seen.list(), [Server { host: "127.0.0.1".to_owned(), port: primary.port() }]);
    let before = connection.identities().await.expect("it may be asked");
    assert_eq!(before.keys().collect::<Vec<_>>(), ["mymaster"]);
    // A refresh while nobody is in the primary's place fails, and may be repeated.
    primary.kill();
    let failure = connection.refresh(&seen).await.expect_err("the primary is gone");
    assert_eq!(failure.remedy, Remedy::Reconnect, "{}", chain(&failure.error));
    assert!(failure.error.to_string().contains(&primary.port().to_string()));
    assert_eq!(connection.servers(), seen);
    made.fail_over().expect("the replica takes over");
    connection.refresh(&seen).await.expect("the sentinels know by now");
    assert_eq!(connection.servers().list()[0].port, replica.port());
    let after = connection.identities().await.expect("it may be asked");
    assert_eq!(after.keys().collect::<Vec<_>>(), ["mymaster"]);
    assert_ne!(before, after);
    let server = connection.servers().list()[0].clone();
    let mut socket = connection.dial(&server, Role::Primary).await.expect("it is there");
    assert_eq!(say(&mut socket, "SET k 1").await, "+OK");
}

#[tokio::test]
async fn a_primary_that_became_a_replica_is_left() {
    let made = RedisSentinel::start().expect("servers and sentinels");
    let [primary, replica] = made.servers();
    let connection = open(&config(watched(made.sentinels()))).await.expect("open");
    let seen = connection.servers();
    let mut socket = connection.dial(&seen.list()[0], Role::Primary).await.expect("it is there");
    assert_eq!(say(&mut socket, "SET k 1").await, "+OK");
    made.switch_over().expect("the replica takes over");
    // The old one still answers, and only its refusal tells.
    let mut socket = connection.dial(&seen.list()[0], Role::Primary).await.expect("it is there");
    assert!(say(&mut socket, "SET k 2").await.starts_with("-READONLY"));
    let failure = connection.check_writable().await.expect_err("it is a replica");
    assert!(failure.error.to_string().contains(&primary.port().to_string()), "{}", failure.error);
    connection.refresh(&seen).await.expect("the sentinels know");
    assert_eq!(connection.servers().list()[0].port, replica.port());
    connection.check_writable().await.expect("it is the primary");
}

#[tokio::test]
async fn sentinels_that_do_not_answer_are_passed_over() {
    let made = RedisSentinel::start().expect("servers and sentinels");
    let gone = Redis::start().expect("a Redis server");
    gone.kill();
    let mut servers = watched(made.sentinels());
    let RedisServers::Sentinel { sentinels, .. } = &mut servers else { panic!("sentinels") };
    sentinels.insert(0, node(gone.port()));
    let connection = open(&config(servers)).await.expect("the second one tells");
    assert_eq!(connection.servers().list()[0].port, made.servers()[0].port());
    let started = Instant::now();
    let error = open(&config(watched(&[gone]))).await.expect_err("nobody answers");
    assert!(matches!(error, Error::Connect { .. }) && error.is_retryable(), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_wrong_name_and_a_wrong_server_are_told_apart() {
    let made = RedisSentinel::start().expect("servers and sentinels");
    let servers = RedisServers::Sentinel {
        master: "other".to_owned(),
        sentinels: nodes(made.sentinels().iter().map(Redis::port)),
        password: None,
    };
    let error = open(&config(servers)).await.expect_err("no such master");
    assert!(matches!(error, Error::UnknownMaster { .. }) && !error.is_retryable(), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("`other`") && text.contains("`sentinel_master`"), "{text}");
    let error = open(&config(watched(&made.servers()[..1]))).await.expect_err("no sentinel");
    assert!(matches!(error, Error::NotASentinel { .. }) && !error.is_retryable(), "{error:?}");
}

#[tokio::test]
async fn servers_and_sentinels_have_passwords_of_their_own() {
    let made = RedisSentinel::start_with(1, Some("sesame")).expect("servers and sentinels");
    let with = |server: Option<&str>, sentinel: Option<&str>| {
        let servers = RedisServers::Sentinel {
            master: "mymaster".to_owned(),
            sentinels: nodes(made.sentinels().iter().map(Redis::port)),
            password: sentinel.map(str::to_owned),
        };
        RedisConfig { password: server.map(str::to_owned), ..config(servers) }
    };
    let connection = open(&with(Some("sesame"), Some("sesame"))).await.expect("open");
    let server = connection.servers().list()[0].clone();
    connection.dial(&server, Role::Primary).await.expect("the password is right");
    for (server, sentinel) in [(Some("sesame"), None), (None, Some("sesame"))] {
        let error = open(&with(server, sentinel)).await.expect_err("one password is missing");
        assert!(matches!(error, Error::Access { .. }), "{error:?}");
        let asked = sentinel.map_or(made.sentinels()[0].port(), |_| made.servers()[0].port());
        assert!(error.to_string().contains(&asked.to_string()), "{error}");
    }
}

#[tokio::test]
async fn tls_is_for_the_servers_and_not_for_the_sentinels() {
    let certificates = Certificates::make().expect("certificates");
    let made = RedisSentinel::start_tls(&certificates).expect("servers and sentinels");
    let tls = Some(certificate_of(&certificates));
    let config = RedisConfig { tls, ..config(watched(made.sentinels())) };
    let connection = open(&config).await.expect("open");
    let [primary, replica] = made.servers();
    assert_eq!(Some(connection.servers().list()[0].port), primary.tls_port());
    let seen = connection.servers();
    made.fail_over().expect("the replica takes over");
    connection.refresh(&seen).await.expect("the sentinels know by now");
    let server = connection.servers().list()[0].clone();
    assert_eq!(Some(server.port), replica.tls_port());
    let mut socket = connection.dial(&server, Role::Primary).await.expect("it speaks TLS");
    assert_eq!(say(&mut socket, "SET k 1").await, "+OK");
}
