//! Passwords taken out of what is printed.

/// What stands for a password.
pub(super) const HIDDEN: &str = "***";

/// Replaces the password of a URL by `***`, whether it stands before the `@` or in the query.
///
/// Text that is no URL comes back as it is.
pub fn redact(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    // A raw password may itself hold `/`, `?` or `@`: all up to the last `@` counts as one.
    let rest = match rest.rsplit_once('@') {
        Some((user_info, host)) => match user_info.split_once(':') {
            Some((user, _)) => format!("{user}:{HIDDEN}@{host}"),
            None => rest.to_owned(),
        },
        None => rest.to_owned(),
    };
    format!("{scheme}://{}", redact_query(&rest))
}

fn redact_query(rest: &str) -> String {
    let Some((place, query)) = rest.split_once('?') else {
        return rest.to_owned();
    };
    let pairs: Vec<String> = query.split('&').map(redact_pair).collect();
    format!("{place}?{}", pairs.join("&"))
}

fn redact_pair(pair: &str) -> String {
    match pair.split_once('=') {
        Some((key, _)) if key.to_ascii_lowercase().contains("password") => {
            format!("{key}={HIDDEN}")
        }
        _ => pair.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_hidden_wherever_they_stand() {
        for (url, shown) in [
            ("postgresql://u:p@h:5432/d", "postgresql://u:***@h:5432/d"),
            ("postgresql://u:a/b?c@d@h/d", "postgresql://u:***@h/d"),
            ("postgresql://u@h/d", "postgresql://u@h/d"),
            ("postgresql://h/d?user=u&password=p", "postgresql://h/d?user=u&password=***"),
            ("postgresql://h/d?sslPassword=p", "postgresql://h/d?sslPassword=***"),
            ("s3://bucket/key", "s3://bucket/key"),
            ("data/registry.db", "data/registry.db"),
        ] {
            assert_eq!(redact(url), shown);
        }
    }
}
