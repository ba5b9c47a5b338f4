//! SQLAlchemy's PostgreSQL URL as one that libpq's rules and URL parsers accept.

/// Parameters that our client understands as libpq does.
const KNOWN: [&str; 12] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "user",
];
/// Parameters that say how a connection is kept, not what is read or written over it.
const HARMLESS: [&str; 9] = [
    "client_encoding",
    "connect_timeout",
    "fallback_application_name",
    "gssencmode",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "tcp_user_timeout",
];

/// Makes a URL of what follows SQLAlchemy's `postgresql…://`.
///
/// SQLAlchemy takes characters raw in a password that elsewhere end it; they are escaped here.
///
/// # Errors
/// Names a parameter that our client would have to ignore.
pub(super) fn normalize(rest: &str) -> Result<String, String> {
    let (user_info, place) = split_user_info(rest);
    let (place, query) = place.split_once('?').unwrap_or((place, ""));
    let mut kept = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let key = pair.split('=').next().unwrap_or(pair);
        if KNOWN.contains(&key) {
            kept.push(pair);
        } else if !HARMLESS.contains(&key) {
            return Err(format!("the parameter `{key}` is not supported; leave it out"));
        }
    }
    let user_info = match user_info {
        None => String::new(),
        Some((user, None)) => format!("{}@", escape(user)),
        Some((user, Some(password))) => format!("{}:{}@", escape(user), escape(password)),
    };
    let query = if kept.is_empty() { String::new() } else { format!("?{}", kept.join("&")) };
    Ok(format!("postgresql://{user_info}{place}{query}"))
}

type UserInfo<'a> = (&'a str, Option<&'a str>);

/// The user, the password, and what follows the `@`.
///
/// # Source
/// SQLAlchemy 2.0 `engine/url.py`: a user holds neither `:` nor `/`, a password no `@`.
fn split_user_info(rest: &str) -> (Option<UserInfo<'_>>, &str) {
    let user_end = rest.find([':', '/', '@']).unwrap_or(rest.len());
    let (user, tail) = rest.split_at(user_end);
    if let Some(place) = tail.strip_prefix('@') {
        return (Some((user, None)), place);
    }
    match tail.strip_prefix(':').and_then(|tail| tail.split_once('@')) {
        Some((password, place)) => (Some((user, Some(password))), place),
        None => (None, rest),
    }
}

/// Escapes what a URL cannot hold in user and password; escapes that are there already stay.
fn escape(text: &str) -> String {
    let bytes = text.as_bytes();
    let is_escape = |at: usize| {
        bytes.get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    let mut out = String::with_capacity(text.len());
    for (at, byte) in bytes.iter().enumerate() {
        let is_plain = byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
        if is_plain || (*byte == b'%' && is_escape(at)) {
            out.push(char::from(*byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_sqlalchemy_become_urls_of_libpq() {
        for (rest, url) in [
            ("u:p@h:5432/d", "postgresql://u:p@h:5432/d"),
            ("u@h/d", "postgresql://u@h/d"),
            ("h:5432/d", "postgresql://h:5432/d"),
            ("@h/d", "postgresql://@h/d"),
            ("/d?host=/var/run/postgresql", "postgresql:///d?host=/var/run/postgresql"),
            ("u:a/b#c?d@h/d", "postgresql://u:a%2Fb%23c%3Fd@h/d"),
            ("u:a%40b%zz@h/d", "postgresql://u:a%40b%25zz@h/d"),
            ("u:ü@h/d", "postgresql://u:%C3%BC@h/d"),
            (
                "u@h/d?sslmode=require&connect_timeout=5&options=-csearch_path%3Dx",
                "postgresql://u@h/d?sslmode=require&options=-csearch_path%3Dx",
            ),
        ] {
            assert_eq!(normalize(rest).as_deref(), Ok(url));
        }
    }

    #[test]
    fn a_parameter_that_would_be_ignored_is_refused() {
        let message = normalize("u@h/d?target_session_attrs=read-write").expect_err("not known");
        assert!(message.contains("`target_session_attrs`"), "{message}");
    }
}
