//! The same over TLS: which callers trust it, how a certificate is renewed, and what is refused.

use std::fs;
use std::path::Path;

use harness::Certificates;
use reqwest::{Certificate, Client, ClientBuilder, Version};

use super::*;
use crate::config::TlsFiles;

fn files(made: &Certificates) -> TlsFiles {
    TlsFiles { certificate: made.certificate(), key: made.key() }
}

fn caller(authority: &Path, more: fn(ClientBuilder) -> ClientBuilder) -> Client {
    let pem = fs::read(authority).expect("a certificate");
    let authority = Certificate::from_pem(&pem).expect("a certificate");
    let builder = Client::builder().no_proxy().tls_built_in_root_certs(false);
    more(builder.add_root_certificate(authority)).build().expect("a client")
}

async fn start(made: &Certificates, limits: Limits) -> Running {
    let tls = Tls::load(files(made)).await.expect("the certificate fits its key");
    Running::start(hello(), Some(tls), limits).await
}

#[tokio::test]
async fn both_versions_of_http_are_spoken_to_whoever_trusts_the_authority() {
    let made = Certificates::make().expect("certificates");
    let server = start(&made, limits()).await;
    let url = format!("https://{}/hello", server.address);
    for (more, version) in [
        ((|builder| builder) as fn(ClientBuilder) -> ClientBuilder, Version::HTTP_2),
        (ClientBuilder::http1_only, Version::HTTP_11),
    ] {
        let client = caller(&made.authority(), more);
        let response = client.get(&url).send().await.expect("an answer");
        assert_eq!(response.version(), version);
        let words = response.text().await.expect("text");
        assert!(words.starts_with("hello 127.0.0.1:"), "{words}");
    }
    let wary = caller(&made.other_authority(), |builder| builder);
    let error = wary.get(&url).send().await.expect_err("another authority");
    assert!(error.is_connect(), "{error:?}");
    assert_eq!(server.stop().await, Drained::All);
}

#[tokio::test]
async fn a_handshake_has_its_time_and_is_not_waited_for_in_the_end() {
    let made = Certificates::make().expect("certificates");
    let hasty = Limits { handshake_timeout: SHORT, ..limits() };
    let server = start(&made, hasty).await;
    let mut silent = server.connect().await;
    assert_eq!(last_words(&mut silent).await, "");
    let mut plain = server.connect().await;
    say(&mut plain, HELLO).await;
    let words = last_words(&mut plain).await;
    assert!(!words.contains("HTTP/1.1"), "{words}");
    assert_eq!(server.stop().await, Drained::All);

    let server = start(&made, limits()).await;
    let mut silent = server.connect().await;
    let mut other = server.connect().await;
    assert_eq!(server.stop().await, Drained::All);
    assert_eq!(last_words(&mut silent).await, "");
    assert_eq!(last_words(&mut other).await, "");
}

#[tokio::test]
async fn a_renewed_certificate_is_served_and_half_of_one_is_not() {
    let (old, new) =
        (Certificates::make().expect("certificates"), Certificates::make().expect("certificates"));
    let directory = tempfile::tempdir().expect("a directory");
    let paths = TlsFiles {
        certificate: directory.path().join("tls.crt"),
        key: directory.path().join("tls.key"),
    };
    let copy = |from: &Path, to: &Path| {
        fs::copy(from, to).expect("copied");
    };
    copy(&old.certificate(), &paths.certificate);
    copy(&old.key(), &paths.key);
    let tls = Tls::load(paths.clone()).await.expect("it fits");
    assert!(!tls.reload().await.expect("as before"));
    copy(&new.certificate(), &paths.certificate);
    let error = tls.reload().await.expect_err("the key is still the old one");
    assert!(matches!(error, Error::Certificate { .. }), "{error}");
    copy(&new.key(), &paths.key);
    assert!(tls.reload().await.expect("it fits again"));

    let server = Running::start(hello(), Some(tls), limits()).await;
    let url = format!("https://{}/hello", server.address);
    let client = caller(&new.authority(), |builder| builder);
    assert!(client.get(&url).send().await.expect("an answer").status().is_success());
    let client = caller(&old.authority(), |builder| builder);
    assert!(client.get(&url).send().await.is_err());
    assert_eq!(server.stop().await, Drained::All);
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_named() {
    let made = Certificates::make().expect("certificates");
    let other = Certificates::make().expect("certificates");
    let directory = tempfile::tempdir().expect("a directory");
    let empty = directory.path().join("empty.pem");
    fs::write(&empty, "").expect("written");
    let absent = directory.path().join("absent.pem");
    for (certificate, key, why) in [
        (absent.clone(), made.key(), "failed to read"),
        (made.certificate(), absent, "failed to read"),
        (empty.clone(), made.key(), "holds no certificate in PEM"),
        (made.certificate(), empty, "holds no private key in PEM"),
        (made.certificate(), other.key(), "cannot be served with its key"),
    ] {
        let error = Tls::load(TlsFiles { certificate, key }).await.expect_err(why).to_string();
        assert!(error.contains(why), "{error}");
    }
}
