//! Both doors over TLS: what is answered there, to whom, and what becomes of those who do not speak
//! it.
//!
//! Deliberately absent: the renewal of a certificate, which is looked for every minute (see
//! `daemon`).

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use ::tests::session::Session;
use anyhow::{Context, Result, ensure};
use harness::Certificates;
use reqwest::{Certificate, Client, ClientBuilder, tls};
use serde_json::{Value, json};

use crate::caller::{Answer, Caller};
use crate::grpc::{PYTHON, call, call_securely, python_directory};
use crate::recorded::calls;
use crate::server::Server;
use crate::site::{Mode, Site};

/// Far above what a refusal takes, and below the time that a handshake has.
const SOON: Duration = Duration::from_secs(5);
/// How the connection of a client of gRPC begins.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// The kind of record by which TLS says what is wrong.
const ALERT: u8 = 21;

/// A server that speaks TLS, and one that does not, of the same site.
struct Both {
    site: Site,
    made: Certificates,
    secure: Server,
    plain: Server,
}

impl Both {
    fn start() -> Result<Self> {
        let (site, made) = (Site::recorded(Mode::Strict)?, Certificates::make()?);
        let path = |path: &Path| path.display().to_string();
        let (certificate, key) = (path(&made.certificate()), path(&made.key()));
        let flags = ["--tls-certificate", &certificate, "--tls-key", &key];
        let (secure, plain) = (site.serve_with(&flags)?, site.serve()?);
        Ok(Self { site, made, secure, plain })
    }

    /// One who trusts an authority, and nobody else.
    fn caller(
        &self,
        authority: &Path,
        more: impl FnOnce(ClientBuilder) -> ClientBuilder,
    ) -> Result<Caller> {
        let authority = Certificate::from_pem(&std::fs::read(authority)?)?;
        let builder = Client::builder().tls_built_in_root_certs(false);
        let builder = more(builder.add_root_certificate(authority));
        Caller::of(builder, format!("https://localhost:{}", self.secure.http()))
    }

    /// Features are answered over TLS as without.
    fn is_served(&self, caller: &Caller) -> Result<()> {
        let wanted = ask(&Caller::new(self.plain.http())?)?;
        ensure!(wanted.status == 200, "{wanted:?}");
        assert_eq!(ask(caller)?, wanted);
        Ok(())
    }
}

fn ask(caller: &Caller) -> Result<Answer> {
    caller.features(&json!({
        "feature_service": "fs_basic", "entities": { "driver_id": [1001, 1002] },
    }))
}

#[test]
fn features_come_by_https_as_by_http_to_whoever_trusts_the_authority() -> Result<()> {
    let both = Both::start()?;
    let authority = both.made.authority();
    ensure!(both.secure.log().contains("listening on https://"), "{}", both.secure.log());
    for more in [ClientBuilder::http1_only, ClientBuilder::http2_prior_knowledge] {
        both.is_served(&both.caller(&authority, more)?)?;
    }
    let stranger = both.caller(&both.made.other_authority(), |builder| builder)?;
    let refused = format!("{:#}", ask(&stranger).err().context("it was trusted")?);
    ensure!(refused.contains("certificate"), "{refused}");
    let old = both.caller(&authority, |builder| builder.max_tls_version(tls::Version::TLS_1_2))?;
    both.is_served(&old)
}

#[test]
fn recorded_calls_are_answered_over_tls_as_without() -> Result<()> {
    let mut session = Session::start(python_directory())?;
    let both = Both::start()?;
    ensure!(both.secure.log().contains("listening on grpcs://"), "{}", both.secure.log());
    let mut asked: Vec<(&str, &str, Value)> =
        calls()?.into_iter().map(|call| (PYTHON, "GetOnlineFeatures", call.request)).collect();
    asked.push(("health", "Check", json!({})));
    let plain = call(&mut session, &both.site, &both.plain, &asked)?;
    let authority = both.made.authority();
    let secure = call_securely(&mut session, &both.site, &both.secure, &asked, &authority)?;
    assert_eq!(secure, plain);
    ensure!(secure.iter().any(Result::is_ok), "nothing is answered: {secure:?}");
    // Whoever trusts somebody else does not get there, and neither does who speaks plainly.
    let last = &asked[asked.len() - 1..];
    let other = both.made.other_authority();
    let stranger = call_securely(&mut session, &both.site, &both.secure, last, &other)?;
    let plainly = call(&mut session, &both.site, &both.secure, last)?;
    for refused in [stranger, plainly] {
        assert_eq!(refused, [Err("UNAVAILABLE".to_owned())]);
    }
    Ok(())
}

/// All that a server says to the end, to one who speaks as if there were no TLS.
fn said_to(port: u16, words: &[u8]) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(SOON))?;
    stream.write_all(words)?;
    let mut said = Vec::new();
    match stream.read_to_end(&mut said) {
        Ok(_) => Ok(said),
        // It has closed its end before it had read all that was sent.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(said),
        Err(error) => Err(error).context("it is not hung up on"),
    }
}

#[test]
fn whoever_does_not_speak_tls_is_told_nothing_and_harms_nobody() -> Result<()> {
    let mut both = Both::start()?;
    let caller = both.caller(&both.made.authority(), |builder| builder)?;
    let features = b"GET /get-online-features?features=driver_stats:conv_rate&driver_id=1001 \
        HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let doors = [both.secure.http(), both.secure.grpc()];
    for port in doors {
        for words in [&features[..], PREFACE, b"\0\0\0\0\0\0\0\0"] {
            let begun = Instant::now();
            let said = said_to(port, words)?;
            ensure!(begun.elapsed() < SOON, "it took {:?}", begun.elapsed());
            // An alert is all there may be.
            ensure!(said.first().is_none_or(|kind| *kind == ALERT), "{said:?}");
            ensure!(said.len() <= 7, "{said:?}");
        }
    }
    // Some stay in the middle of a handshake, and others are served.
    let hello = [22, 3, 1, 2, 0, 1, 0];
    let waiting: Vec<TcpStream> = doors
        .into_iter()
        .flat_map(|port| [(port, &[][..]), (port, &hello[..])])
        .cycle()
        .take(200)
        .map(|(port, words)| {
            let mut stream = TcpStream::connect(("127.0.0.1", port))?;
            stream.write_all(words)?;
            Ok(stream)
        })
        .collect::<Result<_>>()?;
    let begun = Instant::now();
    both.is_served(&caller)?;
    ensure!(begun.elapsed() < SOON, "it took {:?}", begun.elapsed());
    for stream in waiting {
        // One that was given up meanwhile is as good.
        stream.shutdown(Shutdown::Both).ok();
    }
    both.is_served(&caller)?;
    ensure!(both.secure.is_alive(), "{}", both.secure.log());
    // What is meant for machines beside it stays plain.
    ensure!(Caller::new(both.secure.admin())?.get("/metrics")?.status == 200, "no metrics");
    Ok(())
}
