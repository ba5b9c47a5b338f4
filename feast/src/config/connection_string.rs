//! The Redis connection string: `host:port,option=value,…`.
//!
//! No message here repeats a value: a password may stand anywhere in a malformed string.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use super::{Error, RedisTls};

/// What a connection string says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Connection {
    pub(super) host: String,
    pub(super) port: u16,
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
/// Options of redis-py 7.4 that would have to be obeyed and are not.
const NOT_SUPPORTED: [&str; 17] = [
    "encoding",
    "encoding_errors",
    "host",
    "port",
    "skip_full_coverage_check",
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
/// be, else text; without `=` a node, of which the first counts. Nothing is trimmed or escaped.
pub(super) fn parse(text: &str) -> Result<Connection, Error> {
    let mut node = None;
    let mut options = Options::new();
    for (index, part) in text.split(',').enumerate() {
        match part.split_once('=') {
            Some((key, value)) => {
                check_option(key, index, options.contains_key("password"))?;
                options.insert(key, decode(value));
            }
            None => {
                let parsed = parse_node(part, index)?;
                node.get_or_insert(parsed);
            }
        }
    }
    let (host, port) = node.ok_or_else(|| refuse("it names no `host:port`".to_owned()))?;
    Ok(Connection {
        host,
        port,
        db: database(&options)?,
        username: credential(&options, "username")?,
        password: credential(&options, "password")?,
        tls: tls(&options)?,
    })
}

fn refuse(why: String) -> Error {
    Error::ConnectionString(why)
}

fn parse_node(part: &str, index: usize) -> Result<(String, u16), Error> {
    let node = part.split_once(':').and_then(|(host, port)| {
        let port = port.parse::<u16>().ok().filter(|port| *port > 0)?;
        (!host.is_empty()).then(|| (host.to_owned(), port))
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
fn check_option(key: &str, index: usize, after_password: bool) -> Result<(), Error> {
    if OBEYED.contains(&key) || WITHOUT_EFFECT.contains(&key) {
        return Ok(());
    }
    if NOT_SUPPORTED.contains(&key) || !after_password {
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
        parse(text).expect(text)
    }

    #[test]
    fn the_first_node_counts() {
        let connection = parsed("a.example:6380,b.example:6381,db=3");
        assert_eq!((connection.host.as_str(), connection.port), ("a.example", 6380));
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
            let message = parse(&format!("h:1,{option}=5")).expect_err(option).to_string();
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
            let message = parse(text).expect_err(text).to_string();
            assert!(message.contains(names), "{text}: {message}");
        }
    }

    #[test]
    fn pieces_of_a_password_are_not_repeated() {
        for text in
            ["h:1,password=abc,hunter2=x", "h:1,password=abc,hunter2", "h:1,password=hunter2,x"]
        {
            let message = parse(text).expect_err(text).to_string();
            assert!(!message.contains("hunter2"), "{message}");
        }
    }
}
