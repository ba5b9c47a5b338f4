//! Redis that is gone or silent, a registry that is gone, and callers who mean no good.
//!
//! One server each, since what it lives through stays with it. Limits on time are those that a
//! caller is promised, and are far from what is measured when nothing else runs.

use std::thread;
use std::time::{Duration, Instant};

use ::tests::wait::until;
use anyhow::{Context, Result, ensure};
use harness::{Redis, Reply};
use serde_json::json;

use crate::caller::{Answer, Caller};
use crate::server::{Server, signal};
use crate::site::{Mode, Site};
use crate::svc;
use crate::table::Table;

/// Within this a caller hears that the store cannot be asked.
const REFUSED_WITHIN: Duration = Duration::from_secs(3);

/// A server that is asked at both of its doors.
struct Asked {
    site: Site,
    server: Server,
    features: Caller,
    admin: Caller,
}

impl Asked {
    fn start() -> Result<Self> {
        Self::of(Site::recorded(Mode::Strict)?)
    }

    fn of(site: Site) -> Result<Self> {
        let server = site.serve()?;
        let (features, admin) = (Caller::new(server.http())?, Caller::new(server.admin())?);
        Ok(Self { site, server, features, admin })
    }

    fn ask(&self) -> Result<Answer> {
        self.features.features(&json!({
            "feature_service": "fs_basic", "entities": { "driver_id": [1001, 1002] },
        }))
    }

    fn status(&self, path: &str) -> Result<u16> {
        Ok(self.features.get(path)?.status)
    }

    /// Asks a few times; each time it must say soon that there is no store.
    fn refuses_soon(&self) -> Result<()> {
        for _ in 0..5 {
            let begun = Instant::now();
            let answer = self.ask()?;
            let took = begun.elapsed();
            let found = answer.problem()?;
            ensure!(found == (503, "online_store_unavailable".to_owned()), "{found:?}");
            ensure!(answer.retry_after.is_some(), "when to ask again? {answer:?}");
            ensure!(took < REFUSED_WITHIN, "it took {took:?}:\n{}", self.server.log());
        }
        Ok(())
    }

    /// It answers as if nothing had been.
    fn serves_again(&self, whole: &Answer) -> Result<()> {
        until("features are served again", || Ok(self.ask()? == *whole))?;
        until("it is ready again", || Ok(self.status("/readyz")? == 200))
    }
}

#[test]
fn a_redis_that_is_gone_is_told_soon_and_found_again() -> Result<()> {
    let asked = Asked::start()?;
    let whole = asked.ask()?;
    ensure!(whole.status == 200, "{whole:?}");
    assert_eq!((asked.status("/readyz")?, asked.status("/livez")?), (200, 200));
    asked.site.redis.kill();
    asked.refuses_soon()?;
    until("it is not ready", || Ok(asked.status("/readyz")? == 503))?;
    assert_eq!(asked.status("/livez")?, 200, "the process is well");
    asked.site.redis.restart()?;
    // It keeps nothing across its end.
    svc::rows().iter().try_for_each(|row| asked.site.put(row))?;
    asked.serves_again(&whole)
}

#[test]
fn a_redis_that_says_nothing_is_told_in_time() -> Result<()> {
    let asked = Asked::start()?;
    let whole = asked.ask()?;
    let pid = asked.site.redis.pid().context("it runs")?;
    signal(pid, "STOP")?;
    let refused = asked.refuses_soon();
    let unready = until("it is not ready", || Ok(asked.status("/readyz")? == 503));
    let alive = asked.status("/livez");
    // It goes on whatever came of that, so that it can end.
    signal(pid, "CONT")?;
    refused?;
    unready?;
    assert_eq!(alive?, 200, "the process is well");
    asked.serves_again(&whole)
}

#[test]
fn a_redis_that_loads_its_data_is_told_soon_and_waited_for() -> Result<()> {
    // Redis's own tests slow a load down in this way: so long for each key, and a look at its
    // callers after so many bytes.
    const SLOWLY: [&str; 4] =
        ["--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024"];
    // Several seconds of loading.
    const KEYS: &str = "for key = 1, 5000 do redis.call('SET', 'other:' .. key, key) end";
    let redis = Redis::start_with(&SLOWLY)?;
    let site = Site::on(redis, &svc::project(), &svc::rows(), &Mode::Strict.settings())?;
    site.redis.command(&["EVAL", KEYS, "0"])?;
    let asked = Asked::of(site)?;
    let whole = asked.ask()?;
    ensure!(whole.status == 200, "{whole:?}");
    ensure!(asked.site.redis.command(&["SAVE"])? == Reply::Status("OK".to_owned()), "no dump");
    asked.site.redis.kill();
    let loads = || {
        // Before it listens it says nothing.
        let said = asked.site.redis.command(&["PING"]);
        matches!(said, Ok(Reply::Error(words)) if words.starts_with("LOADING"))
    };
    thread::scope(|scope| {
        let restarted = scope.spawn(|| asked.site.redis.restart());
        until("it loads", || Ok(loads()))?;
        asked.refuses_soon()?;
        assert_eq!((asked.status("/readyz")?, asked.status("/livez")?), (503, 200));
        ensure!(loads(), "it was ready before all had been asked");
        asked.serves_again(&whole)?;
        restarted.join().ok().context("the restart panicked")?
    })
}

#[test]
fn a_server_starts_without_redis_and_is_ready_when_it_comes() -> Result<()> {
    let site = Site::recorded(Mode::Strict)?;
    site.redis.kill();
    let asked = Asked::of(site)?;
    assert_eq!((asked.status("/readyz")?, asked.status("/livez")?), (503, 200));
    asked.refuses_soon()?;
    asked.site.redis.restart()?;
    svc::rows().iter().try_for_each(|row| asked.site.put(row))?;
    until("it is ready", || Ok(asked.status("/readyz")? == 200))?;
    ensure!(asked.ask()?.status == 200, "{:?}", asked.ask()?);
    Ok(())
}

#[test]
fn answers_go_on_without_the_registry_and_a_metric_tells() -> Result<()> {
    let site = Site::recorded(Mode::Strict)?;
    site.read_registry_often()?;
    let asked = Asked::of(site)?;
    let whole = asked.ask()?;
    ensure!(whole.status == 200, "{whole:?}");
    let file = asked.site.repo.path("data/registry.db");
    let registry = std::fs::read(&file)?;
    // Gone, and as a reader sees it who comes while it is being written.
    for left in [None, Some(registry.len() / 2)] {
        let before = failures(&asked.admin)?;
        match left {
            None => std::fs::remove_file(&file)?,
            Some(bytes) => asked.site.repo.write("data/registry.db", &registry[..bytes])?,
        }
        until("a metric tells that the registry cannot be read", || {
            let answer = asked.ask()?;
            ensure!(answer == whole, "the old registry is not good enough: {answer:?}");
            Ok(failures(&asked.admin)? > before)
        })?;
        assert_eq!(asked.status("/livez")?, 200);
    }
    asked.site.repo.write("data/registry.db", registry)?;
    ensure!(asked.ask()? == whole, "{:?}", asked.ask()?);
    Ok(())
}

/// The sum of all counts of failures to read the registry.
fn failures(admin: &Caller) -> Result<f64> {
    let answer = admin.get("/metrics")?;
    ensure!(answer.status == 200, "{answer:?}");
    let is_meant = |line: &&str| {
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        name.contains("registry") && (name.contains("fail") || name.contains("error"))
    };
    let lines: Vec<_> = answer.body.lines().filter(is_meant).collect();
    ensure!(!lines.is_empty(), "no metric counts failures of the registry:\n{}", answer.body);
    let value = |line: &&str| line.rsplit(' ').next().and_then(|text| text.parse::<f64>().ok());
    Ok(lines.iter().filter_map(value).sum())
}

#[test]
fn a_service_whose_view_is_not_there_yet_is_refused_alone() -> Result<()> {
    let site = Site::recorded(Mode::Strict)?;
    site.read_registry_often()?;
    let asked = Asked::of(site)?;
    let whole = asked.ask()?;
    let project = svc::project().service("fs_half", &[("still_to_come", &["f"])]);
    asked.site.repo.registry().apply(&project)?;
    let body = json!({ "feature_service": "fs_half", "entities": { "driver_id": [1001] } });
    until("the service is known and its view is not", || {
        let (status, code) = asked.features.features(&body)?.problem()?;
        ensure!(status == 404, "{status} {code}");
        Ok(code == "unknown_view")
    })?;
    ensure!(asked.ask()? == whole, "{:?}", asked.ask()?);
    Ok(())
}

#[test]
fn a_registry_that_changes_is_served_without_a_restart() -> Result<()> {
    let site = Site::recorded(Mode::Strict)?;
    site.read_registry_often()?;
    let asked = Asked::of(site)?;
    let body = json!({ "feature_service": "fs_new", "entities": { "driver_id": [1001] } });
    let found = asked.features.features(&body)?.problem()?;
    assert_eq!(found, (404, "unknown_feature_service".to_owned()));
    let project = svc::project().service("fs_new", &[("driver_stats", &["acc_rate"])]);
    asked.site.repo.registry().apply(&project)?;
    until("the new service is served", || Ok(asked.features.features(&body)?.status == 200))?;
    let table = Table::read(&asked.features.features(&body)?.body)?;
    assert_eq!(table.names(), ["driver_id", "acc_rate"]);
    Ok(())
}
