//! The Redis connection string: `host:port,…,option=value,…`.
//!
//! No message here repeats a value: a password may stand anywhere in a malformed string.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use super::{Error, RedisNode, RedisServers, RedisTls};

/// `redis_type`: what the nodes of a connection string are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind<'a> {
    /// `redis`: servers, of which the first counts.
    One,
    /// `redis_cluster`: nodes of one cluster.
    Cluster,
    /// `redis_sentinel`: sentinels of the master of this name.
    Sentinel(&'a str),
}

/// What a connection string says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Connection {
    pub(super) servers: RedisServers,
    pub(super) db: u8,
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
    pub(super) tls: Option<RedisTls>,
}

/// Options that are obeyed.
const OBEYED: [&str; 9] = [
    "db",
    "password",
    "ssl",
    "ssl_ca_certs",
    "ssl_cert_reqs",
    "ssl_certfile",
    "ssl_check_hostname",
    "ssl_keyfile",
    "username",
];
/// Options that cannot change what is written: they are accepted and have no effect, because our
/// client has time limits, keep-alive and connections of its own.
const WITHOUT_EFFECT: [&str; 12] = [
    "client_name",
    "decode_responses",
    "health_check_interval",
    "lib_name",
    "lib_version",
    "max_connections",
    "protocol",
    "retry_on_timeout",
    "single_connection_client",
    "socket_connect_timeout",
    "socket_keepalive",
    "socket_timeout",
];
/// Options of redis-py's cluster client that cannot change what is written: they concern reads, how
/// often it tries, and where it looks for nodes.
const WITHOUT_EFFECT_IN_CLUSTER: [&str; 6] = [
    "cluster_error_retry_attempts",
    "dynamic_startup_nodes",
    "read_from_replicas",
    "reinitialize_steps",
    "require_full_coverage",
    "skip_full_coverage_check",
];
/// The option that only the sentinels' connections take.
const SENTINEL_OPTION: &str = "sentinel_kwargs";
/// Options of redis-py 7.4 that would have to be obeyed and are not.
const NOT_SUPPORTED: [&str; 19] = [
    "address_remap",
    "encoding",
    "encoding_errors",
    "force_master_ip",
    "host",
    "min_other_sentinels",
    "port",
    "socket_keepalive_options",
    "ssl_ca_data",
    "ssl_ca_path",
    "ssl_ciphers",
    "ssl_exclude_verify_flags",
    "ssl_include_verify_flags",
    "ssl_min_version",
    "ssl_ocsp_expected_cert",
    "ssl_password",
    "ssl_validate_ocsp",
    "ssl_validate_ocsp_stapled",
    "unix_socket_path",
];

type Options<'a> = BTreeMap<&'a str, Value>;

/// Reads a connection string.
///
/// # Errors
/// `Error::ConnectionString` for a node that is not `host:port`, for an option that is not
/// supported, and for a value that redis-py would not take.
/// # Source
/// Feast 0.67 `redis.py`: parts between commas; with `=` an option whose value is JSON if it can
/// be, else text; without `=` a node. Nothing is trimmed or escaped. Of several nodes the first
/// counts, unless they are nodes of a cluster or sentinels.
pub(super) fn parse(text: &str, kind: Kind<'_>) -> Result<Connection, Error> {
    let mut nodes = Vec::new();
    let mut options = Options::new();
    for (index, part) in text.split(',').enumerate() {
        match part.split_once('=') {
            Some((key, value)) => {
                check_option(key, kind, index, options.contains_key("password"))?;
                options.insert(key, decode(value));
            }
            None => nodes.push(parse_node(part, index)?),
        }
    }
    Ok(Connection {
        servers: servers(nodes, kind, &options)?,
        db: database(&options)?,
        username: credential(&options, "username")?,
        password: credential(&options, "password")?,
        tls: tls(&options)?,
    })
}

fn servers(
    nodes: Vec<RedisNode>,
    kind: Kind<'_>,
    options: &Options<'_>,
) -> Result<RedisServers, Error> {
    let first =
        nodes.first().cloned().ok_or_else(|| refuse("it names no `host:port`".to_owned()))?;
    match kind {
        Kind::One => Ok(RedisServers::One(first)),
        // redis-py refuses the option even when it is 0.
        Kind::Cluster if options.contains_key("db") => {
            Err(refuse("a cluster has one database; leave `db` out".to_owned()))
        }
        Kind::Cluster => Ok(RedisServers::Cluster(nodes)),
        Kind::Sentinel(master) => Ok(RedisServers::Sentinel {
            master: master.to_owned(),
            sentinels: nodes,
            password: sentinel_password(options)?,
        }),
    }
}

/// The sentinels' password. redis-py shows them neither the servers' password nor TLS; what they
/// want must stand in `sentinel_kwargs`, in which a comma cannot stand.
fn sentinel_password(options: &Options<'_>) -> Result<Option<String>, Error> {
    let password = match options.get(SENTINEL_OPTION) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Object(pairs)) if pairs.is_empty() => return Ok(None),
        Some(Value::Object(pairs)) if pairs.len() == 1 => pairs.get("password"),
        Some(_) => None,
    };
    match password {
        Some(Value::String(password)) => Ok(Some(password.clone())),
        _ => Err(refuse(format!(
            "`{SENTINEL_OPTION}` is supported as `{SENTINEL_OPTION}={{\"password\": \"…\"}}` only"
        ))),
    }
}

fn refuse(why: String) -> Error {
    Error::ConnectionString(why)
}

fn parse_node(part: &str, index: usize) -> Result<RedisNode, Error> {
    let node = part.split_once(':').and_then(|(host, port)| {
        let port = port.parse::<u16>().ok().filter(|port| *port > 0)?;
        (!host.is_empty()).then(|| RedisNode { host: host.to_owned(), port })
    });
    node.ok_or_else(|| {
        refuse(format!(
            "part {} between the commas is neither `host:port` nor `option=value`; a URL, an \
             IPv6 address, a node without a port and a password with a comma do not work in Feast \
             either",
            index + 1
        ))
    })
}

/// Refuses an option by its name. After a password an unknown name may be a piece of it, so only
/// its place is told.
fn check_option(
    key: &str,
    kind: Kind<'_>,
    index: usize,
    after_password: bool,
) -> Result<(), Error> {
    let of_cluster = WITHOUT_EFFECT_IN_CLUSTER.contains(&key);
    let is_taken = match kind {
        Kind::One => false,
        Kind::Cluster => of_cluster,
        Kind::Sentinel(_) => key == SENTINEL_OPTION,
    };
    if is_taken || OBEYED.contains(&key) || WITHOUT_EFFECT.contains(&key) {
        return Ok(());
    }
    let is_known = of_cluster || key == SENTINEL_OPTION || NOT_SUPPORTED.contains(&key);
    if is_known || !after_password {
        return Err(refuse(format!("the option `{key}` is not supported; leave it out")));
    }
    Err(refuse(format!(
        "part {} between the commas is no option of redis-py; a password cannot hold a comma",
        index + 1
    )))
}

/// JSON when it parses, else the text itself. Integers keep their digits whatever their size.
fn decode(text: &str) -> Value {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_integer = digits.bytes().all(|byte| byte.is_ascii_digit())
        && !digits.is_empty()
        && (digits == "0" || !digits.starts_with('0'));
    if is_integer && text.parse::<i64>().is_err() {
        return Value::String(text.to_owned());
    }
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

fn database(options: &Options<'_>) -> Result<u8, Error> {
    let number = match options.get("db") {
        None | Some(Value::Null) => return Ok(0),
        Some(Value::Number(number)) => number.as_u64(),
        Some(Value::String(text)) => text.parse().ok(),
        Some(_) => None,
    };
    number
        .and_then(|number| u8::try_from(number).ok())
        .ok_or_else(|| refuse("`db` must be a number from 0 to 255".to_owned()))
}

/// User or password. redis-py sends numbers by their digits, and takes empty text, zero and null
/// for "none".
fn credential(options: &Options<'_>, key: &str) -> Result<Option<String>, Error> {
    match options.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
        Some(Value::Number(number)) if number.is_i64() || number.is_u64() => {
            Ok(Some(number.to_string()).filter(|digits| digits != "0"))
        }
        Some(_) => Err(refuse(format!(
            "`{key}` reads as JSON that is neither text nor an integer; put it in double quotes, \
             as `{key}=\"…\"`"
        ))),
    }
}

/// TLS, by redis-py's defaults: certificate and host name are checked.
fn tls(options: &Options<'_>) -> Result<Option<RedisTls>, Error> {
    if !flag(options, "ssl", false)? {
        return Ok(None);
    }
    let verify = match options.get("ssl_cert_reqs") {
        None => true,
        Some(Value::Null) => false,
        Some(Value::String(word)) => match word.as_str() {
            "none" => false,
            // A client that asks for a certificate "optionally" gets and checks one.
            "optional" | "required" => true,
            _ => return Err(cert_reqs()),
        },
        Some(_) => return Err(cert_reqs()),
    };
    Ok(Some(RedisTls {
        verify,
        verify_hostname: verify && flag(options, "ssl_check_hostname", true)?,
        ca_certs: path(options, "ssl_ca_certs")?,
        certfile: path(options, "ssl_certfile")?,
        keyfile: path(options, "ssl_keyfile")?,
    }))
}

fn cert_reqs() -> Error {
    refuse("`ssl_cert_reqs` must be `none`, `optional` or `required`".to_owned())
}

/// A switch. Python takes any text for true, `False` included, which nobody means.
fn flag(options: &Options<'_>, key: &str, default: bool) -> Result<bool, Error> {
    match options.get(key) {
        None => Ok(default),
        Some(Value::Null) => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(Value::Number(number)) => Ok(number.as_f64() != Some(0.0)),
        Some(Value::String(word)) if word == "True" => Ok(true),
        Some(_) => Err(refuse(format!("`{key}` must be `true` or `false`, in lower case"))),
    }
}

fn path(options: &Options<'_>, key: &str) -> Result<Option<PathBuf>, Error> {
    match options.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(path)) => Ok(Some(path.into())),
        Some(_) => Err(refuse(format!("`{key}` must be the path of a PEM file"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Connection {
        parse(text, Kind::One).expect(text)
    }

    fn refused(text: &str, kind: Kind<'_>) -> String {
        parse(text, kind).expect_err(text).to_string()
    }

    #[test]
    fn of_servers_the_first_counts() {
        let connection = parsed("a.example:6380,b.example:6381,db=3");
        assert_eq!(connection.servers.to_string(), "a.example:6380");
        assert_eq!(connection.db, 3);
        assert_eq!(connection.tls, None);
    }

    #[test]
    fn values_are_json_when_they_parse() {
        for (value, password) in [
            ("secret", Some("secret")),
            ("a=b", Some("a=b")),
            ("12345", Some("12345")),
            ("007", Some("007")),
            ("123456789012345678901234567890", Some("123456789012345678901234567890")),
            ("\"q\"", Some("q")),
            ("\"12\"", Some("12")),
            (" blank ", Some(" blank ")),
            ("null", None),
            ("", None),
            ("0", None),
        ] {
            let connection = parsed(&format!("h:1,password={value}"));
            assert_eq!(connection.password.as_deref(), password, "{value}");
        }
        assert_eq!(parsed("h:1,db=\"4\",username=u").db, 4);
        assert_eq!(parsed("h:1,db=4,username=u,db=5").db, 5);
    }

    #[test]
    fn tls_is_checked_unless_told_otherwise() {
        let tls = |text: &str| parsed(&format!("h:1,{text}")).tls;
        let checked = RedisTls {
            verify: true,
            verify_hostname: true,
            ca_certs: None,
            certfile: None,
            keyfile: None,
        };
        assert_eq!(tls("ssl=true"), Some(checked.clone()));
        assert_eq!(tls("ssl=1"), Some(checked.clone()));
        assert_eq!(tls("ssl=false"), None);
        assert_eq!(tls("ssl=null"), None);
        let unchecked = RedisTls { verify: false, verify_hostname: false, ..checked.clone() };
        assert_eq!(tls("ssl=true,ssl_cert_reqs=none"), Some(unchecked.clone()));
        assert_eq!(tls("ssl=true,ssl_cert_reqs=null"), Some(unchecked));
        let files = tls(
            "ssl=true,ssl_check_hostname=false,ssl_ca_certs=/ca,ssl_certfile=/c,ssl_keyfile=/k",
        );
        let expected = RedisTls {
            verify_hostname: false,
            ca_certs: Some("/ca".into()),
            certfile: Some("/c".into()),
            keyfile: Some("/k".into()),
            ..checked
        };
        assert_eq!(files, Some(expected));
    }

    #[test]
    fn options_that_cannot_change_the_data_are_accepted() {
        for option in WITHOUT_EFFECT {
            assert_eq!(parsed(&format!("h:1,{option}=5")), parsed("h:1"));
        }
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        for option in NOT_SUPPORTED {
            let message = refused(&format!("h:1,{option}=5"), Kind::One);
            assert!(message.contains(&format!("`{option}`")), "{message}");
        }
        for (text, names) in [
            ("h:1,frobnicate=1", "`frobnicate`"),
            ("h:1, db=1", "` db`"),
            ("h:1,db=300", "`db`"),
            ("h:1,db=x", "`db`"),
            ("h:1,password=true", "`password`"),
            ("h:1,password=1.5", "`password`"),
            ("h:1,ssl=False", "`ssl`"),
            ("h:1,ssl=true,ssl_cert_reqs=maybe", "`ssl_cert_reqs`"),
            ("h:1,ssl=true,ssl_ca_certs=1", "`ssl_ca_certs`"),
            ("localhost", "part 1"),
            ("redis://localhost:6379", "part 1"),
            ("::1:6379", "part 1"),
            ("db=1", "no `host:port`"),
            ("", "part 1"),
        ] {
            let message = refused(text, Kind::One);
            assert!(message.contains(names), "{text}: {message}");
        }
    }

    #[test]
    fn nodes_of_a_cluster_and_sentinels_all_count() {
        let text = "a:1,b:2,ssl=true,password=p";
        let cluster = parse(text, Kind::Cluster).expect(text);
        assert_eq!(cluster.servers.nodes().len(), 2);
        assert_eq!(cluster.servers.to_string(), "a:1,b:2");
        assert!(cluster.tls.is_some());
        let sentinel = parse(text, Kind::Sentinel("m")).expect(text);
        assert_eq!(sentinel.servers.to_string(), "a:1,b:2 (m)");
        let RedisServers::Sentinel { password, .. } = sentinel.servers else {
            panic!("not of sentinels")
        };
        assert_eq!(password, None, "the servers' password is not the sentinels'");
    }

    #[test]
    fn options_of_clusters_and_sentinels_are_theirs_alone() {
        for option in WITHOUT_EFFECT_IN_CLUSTER {
            let text = format!("h:1,{option}=true");
            let plain = parse("h:1", Kind::Cluster).expect("one node will do");
            assert_eq!(parse(&text, Kind::Cluster).expect(option), plain);
            for kind in [Kind::One, Kind::Sentinel("m")] {
                assert!(refused(&text, kind).contains(&format!("`{option}`")));
            }
        }
        assert!(refused("h:1,db=0", Kind::Cluster).contains("`db`"));
        let text = "h:1,db=2,password=p,sentinel_kwargs={\"password\": \"s\"}";
        let sentinel = parse(text, Kind::Sentinel("m")).expect(text);
        assert_eq!(sentinel.db, 2);
        let RedisServers::Sentinel { password, .. } = sentinel.servers else {
            panic!("not of sentinels")
        };
        assert_eq!(password.as_deref(), Some("s"));
        for kind in [Kind::One, Kind::Cluster] {
            assert!(refused(text, kind).contains("`sentinel_kwargs`"));
        }
        for value in ["{\"ssl\": true}", "{\"password\": 5}", "5", "x"] {
            let message = refused(&format!("h:1,sentinel_kwargs={value}"), Kind::Sentinel("m"));
            assert!(message.contains("`sentinel_kwargs`"), "{message}");
        }
    }

    #[test]
    fn pieces_of_a_password_are_not_repeated() {
        for text in
            ["h:1,password=abc,hunter2=x", "h:1,password=abc,hunter2", "h:1,password=hunter2,x"]
        {
            let message = refused(text, Kind::One);
            assert!(!message.contains("hunter2"), "{message}");
        }
    }
}
