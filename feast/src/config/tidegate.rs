//! Our own section, `tidegate:`, where every unknown key is refused.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use serde_norway::Value;

use super::section::Section;
use super::{Error, OnBadRow, ServeConfig, TidegateConfig, TlsPaths};
use crate::duration;

const KEYS: [&str; 17] = [
    "metastore",
    "on_bad_row",
    "parallel",
    "memory_limit",
    "max_rows_per_second",
    "latency_limit",
    "refuse_over_memory",
    "object_store",
    "lease_ttl",
    "attempts_max",
    "attempt_timeout",
    "wait_replicas",
    "window_bytes",
    "rebuild_lost",
    "auth",
    "tls",
    "serve",
];

pub(super) fn read(file: &Section<'_>) -> Result<TidegateConfig, Error> {
    let Some(section) = file.section("tidegate", "tidegate")? else {
        return Ok(TidegateConfig::default());
    };
    section.only(&KEYS)?;
    Ok(TidegateConfig {
        metastore: section.text("metastore")?.map(str::to_owned),
        on_bad_row: on_bad_row(&section)?,
        parallel: section.count("parallel")?,
        memory_limit_bytes: size(&section, "memory_limit")?,
        rows_per_second_max: rows_per_second(&section)?,
        latency_limit: limit(&section, "latency_limit")?,
        refuse_over_memory: section.flag("refuse_over_memory", false)?,
        object_store: object_store(&section)?,
        lease_ttl: limit(&section, "lease_ttl")?,
        attempts_max: section.count("attempts_max")?,
        attempt_timeout: limit(&section, "attempt_timeout")?,
        wait_replicas: section.integer("wait_replicas")?.map(replicas(&section)).transpose()?,
        window_bytes: size(&section, "window_bytes")?,
        rebuild_lost: section.flag("rebuild_lost", false)?,
        auth: path(&section, "auth", "tokens")?,
        tls: tls(&section)?,
        serve: serve(&section)?,
    })
}

fn on_bad_row(section: &Section<'_>) -> Result<OnBadRow, Error> {
    match section.text("on_bad_row")? {
        None | Some("fail") => Ok(OnBadRow::Fail),
        Some("skip") => Ok(OnBadRow::Skip),
        Some(other) => Err(section.invalid("on_bad_row", other, "it must be `fail` or `skip`")),
    }
}

fn replicas<'a>(section: &'a Section<'_>) -> impl Fn(i64) -> Result<u32, Error> + 'a {
    move |number| {
        u32::try_from(number).map_err(|_| {
            section.invalid("wait_replicas", &number.to_string(), "write 0 or a number above it")
        })
    }
}

/// A path in a subsection that holds nothing else.
fn path(
    section: &Section<'_>,
    name: &'static str,
    key: &'static str,
) -> Result<Option<PathBuf>, Error> {
    let shown = match name {
        "auth" => "tidegate.auth",
        _ => "tidegate",
    };
    let Some(inner) = section.section(name, shown)? else { return Ok(None) };
    inner.only(&[key])?;
    Ok(inner.text(key)?.map(PathBuf::from))
}

/// The files of a server's certificate and key; both or neither.
fn tls(section: &Section<'_>) -> Result<Option<TlsPaths>, Error> {
    let Some(inner) = section.section("tls", "tidegate.tls")? else { return Ok(None) };
    inner.only(&["certificate", "key"])?;
    let needed = |key: &'static str| {
        inner.text(key)?.map(PathBuf::from).ok_or_else(|| Error::Missing {
            key: format!("tidegate.tls.{key}"),
            hint: ": TLS needs the files of both, PEM-encoded",
        })
    };
    Ok(Some(TlsPaths { certificate: needed("certificate")?, key: needed("key")? }))
}

/// How features are served.
fn serve(section: &Section<'_>) -> Result<ServeConfig, Error> {
    let Some(inner) = section.section("serve", "tidegate.serve")? else {
        return Ok(ServeConfig::default());
    };
    inner.only(&["compat", "expired", "on_demand", "read_from"])?;
    let word = |key: &'static str, [plain, other]: [&str; 2]| match inner.text(key)? {
        None => Ok(false),
        Some(text) if text == plain => Ok(false),
        Some(text) if text == other => Ok(true),
        Some(text) => Err(inner.invalid(key, text, &format!("it must be `{plain}` or `{other}`"))),
    };
    // YAML has a null where somebody writes the word.
    let is_null = inner.is_null("expired");
    Ok(ServeConfig {
        compat_feast: word("compat", ["strict", "feast"])?,
        expired_null: is_null || word("expired", ["keep", "null"])?,
        on_demand_refused: word("on_demand", ["null", "refuse"])?,
        read_from_replicas: word("read_from", ["primary", "replica"])?,
    })
}

fn rows_per_second(section: &Section<'_>) -> Result<Option<NonZeroU64>, Error> {
    let rows = section.count("max_rows_per_second")?;
    Ok(rows.and_then(|rows| NonZeroU64::new(rows as u64)))
}

/// A duration above zero, as text with a unit (`500ms`).
fn limit(section: &Section<'_>, key: &str) -> Result<Option<Duration>, Error> {
    let text = match section.value(key) {
        None => return Ok(None),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => return Err(section.wrong_type(key, "a duration such as `500ms`", other)),
    };
    match duration::parse(&text) {
        Ok(limit) if !limit.is_zero() => Ok(Some(limit)),
        _ => Err(section.invalid(key, &text, "write a duration above 0 such as `500ms` or `2s`")),
    }
}

/// A size as text with a unit (`512MiB`), or a number of bytes.
fn size(section: &Section<'_>, key: &str) -> Result<Option<u64>, Error> {
    let text = match section.value(key) {
        None => return Ok(None),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => return Err(section.wrong_type(key, "a size such as `512MiB`", other)),
    };
    match bytes(&text) {
        Some(bytes) if bytes > 0 => Ok(Some(bytes)),
        _ => Err(section.invalid(key, &text, "write a size above 0 such as `512MiB` or `2GiB`")),
    }
}

/// The bytes of a size; `None` when it is none or too large.
fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let unit: u64 = match text[digits..].trim_start() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return None,
    };
    number.checked_mul(unit)
}

/// Options of object stores; numbers and booleans are as good as text.
fn object_store(section: &Section<'_>) -> Result<BTreeMap<String, String>, Error> {
    let Some(options) = section.section("object_store", "tidegate.object_store")? else {
        return Ok(BTreeMap::new());
    };
    let text = |key: String| {
        let value = match options.value(&key) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Bool(flag)) => flag.to_string(),
            Some(Value::Number(number)) => number.to_string(),
            Some(other) => return Err(options.wrong_type(&key, "text", other)),
            None => return Err(options.wrong_type(&key, "text", &Value::Null)),
        };
        Ok((key, value))
    };
    options.keys().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<TidegateConfig, Error> {
        let value: Value = serde_norway::from_str(text).expect("the test's YAML is well formed");
        read(&Section::new("", value.as_mapping().expect("it is a mapping")))
    }

    #[test]
    fn every_key_is_read() {
        let config = parse(
            "tidegate:\n  metastore: sqlite:///ledger.db\n  on_bad_row: skip\n  parallel: 4\n  \
             memory_limit: 512MiB\n  max_rows_per_second: 20000\n  latency_limit: 1s500ms\n  \
             refuse_over_memory: yes\n  lease_ttl: 20s\n  attempts_max: 5\n  \
             attempt_timeout: 1h\n  wait_replicas: 1\n  window_bytes: 1GiB\n  \
             rebuild_lost: true\n  auth: {tokens: /etc/tokens}\n  \
             tls: {certificate: /c.pem, key: /k.pem}\n  \
             serve: {compat: feast, expired: null, on_demand: refuse, read_from: replica}\n  \
             object_store: {aws_endpoint: h, aws_allow_http: true}\n",
        );
        let config = config.expect("all keys are known");
        assert_eq!(config.metastore.as_deref(), Some("sqlite:///ledger.db"));
        assert_eq!(config.on_bad_row, OnBadRow::Skip);
        assert_eq!(config.parallel, Some(4));
        assert_eq!(config.memory_limit_bytes, Some(512 << 20));
        assert_eq!(config.rows_per_second_max, NonZeroU64::new(20_000));
        assert_eq!(config.latency_limit, Some(Duration::from_millis(1_500)));
        assert!(config.refuse_over_memory);
        assert_eq!(config.object_store["aws_allow_http"], "true");
        assert_eq!(config.lease_ttl, Some(Duration::from_secs(20)));
        assert_eq!((config.attempts_max, config.wait_replicas), (Some(5), Some(1)));
        assert_eq!(config.attempt_timeout, Some(Duration::from_secs(3_600)));
        assert_eq!((config.window_bytes, config.rebuild_lost), (Some(1 << 30), true));
        assert_eq!(config.auth, Some("/etc/tokens".into()));
        assert_eq!(config.tls.map(|tls| tls.key), Some("/k.pem".into()));
        let serve = ServeConfig {
            compat_feast: true,
            expired_null: true,
            on_demand_refused: true,
            read_from_replicas: true,
        };
        assert_eq!(config.serve, serve);
    }

    #[test]
    fn half_a_certificate_is_refused_by_name() {
        let error = parse("tidegate: {tls: {certificate: /c.pem}}").expect_err("no key");
        assert!(error.to_string().contains("`tidegate.tls.key`"), "{error}");
        let error = parse("tidegate: {auth: {token: x}}").expect_err("it is misspelt");
        assert!(error.to_string().contains("token"), "{error}");
    }

    #[test]
    fn without_the_section_all_is_default() {
        assert_eq!(parse("project: p").expect("it is optional"), TidegateConfig::default());
    }

    #[test]
    fn sizes_have_units() {
        for (text, size) in [
            ("1", Some(1)),
            ("512MiB", Some(512 << 20)),
            ("2 GiB", Some(2 << 30)),
            ("3kB", Some(3_000)),
            ("1TiB", Some(1 << 40)),
            ("MiB", None),
            ("1.5GiB", None),
            ("-1", None),
            ("1XB", None),
            ("99999999999TiB", None),
        ] {
            assert_eq!(bytes(text), size, "{text}");
        }
    }

    #[test]
    fn wrong_settings_are_named() {
        for (text, names) in [
            ("tidegate: {paralel: 2}", "unknown key `paralel`"),
            ("tidegate: {parallel: 0}", "`tidegate.parallel: 0`"),
            ("tidegate: {on_bad_row: drop}", "`tidegate.on_bad_row: drop`"),
            ("tidegate: {memory_limit: lots}", "`tidegate.memory_limit: lots`"),
            ("tidegate: {memory_limit: 0}", "above 0"),
            ("tidegate: {max_rows_per_second: 0}", "`tidegate.max_rows_per_second: 0`"),
            ("tidegate: {max_rows_per_second: fast}", "`tidegate.max_rows_per_second`"),
            ("tidegate: {latency_limit: 500}", "`tidegate.latency_limit: 500`"),
            ("tidegate: {latency_limit: 0s}", "above 0"),
            ("tidegate: {latency_limit: [1s]}", "`tidegate.latency_limit`"),
            ("tidegate: {refuse_over_memory: maybe}", "`tidegate.refuse_over_memory`"),
            ("tidegate: {object_store: {a: [1]}}", "`tidegate.object_store.a`"),
            ("tidegate: {serve: {compat: fest}}", "`tidegate.serve.compat: fest`"),
            ("tidegate: {serve: {expire: null}}", "unknown key `expire`"),
            ("tidegate: 1", "`tidegate`"),
        ] {
            let message = parse(text).expect_err(text).to_string();
            assert!(message.contains(names), "{message}");
        }
    }
}
