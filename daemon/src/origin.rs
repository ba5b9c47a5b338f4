//! Where a request comes from, as far as a browser tells: a page of others must not use what this
//! machine, or a stored password, is let in for.

use axum::extract::Request;
use axum::http::HeaderName;
use axum::http::header::{HOST, ORIGIN};

/// How a browser says where a request comes from.
///
/// # Source
/// W3C Fetch Metadata: <https://www.w3.org/TR/fetch-metadata/>.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The name that a request was sent to: HTTP/2 has it in its target, HTTP/1.1 in a header.
fn host(request: &Request) -> Option<&str> {
    match request.uri().authority() {
        Some(authority) => Some(authority.as_str()),
        None => Some(request.headers().get(HOST)?.to_str().unwrap_or_default()),
    }
}

/// Tells whether a request may have been meant for us: a site of others can have its name stand
/// for this machine, and then a browser lets it read what we answer.
pub fn is_local(request: &Request) -> bool {
    // What has no name is older than browsers that could be led astray.
    let Some(host) = host(request) else { return true };
    let name = without_port(host).trim_matches(['[', ']']);
    let address = name.parse::<std::net::IpAddr>();
    name.eq_ignore_ascii_case("localhost")
        || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Tells whether a request that changes something comes from a page of ours, or from no page.
/// A browser adds a password by itself, whoever wrote the page that sends the form.
pub fn is_own_site(request: &Request) -> bool {
    let headers = request.headers();
    if let Some(site) = headers.get(FETCH_SITE) {
        return site == "same-origin" || site == "none";
    }
    let Some(origin) = headers.get(ORIGIN) else { return true };
    let origin = origin.to_str().unwrap_or_default();
    let name = origin.split_once("://").map(|(_, name)| name);
    name.is_some() && name == host(request)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn request(uri: &str, pairs: &[(&'static str, &'static str)]) -> Request {
        let mut request = Request::builder().uri(uri);
        for (name, value) in pairs {
            request = request.header(*name, *value);
        }
        request.body(Body::empty()).expect("a request")
    }

    #[test]
    fn a_form_of_another_site_is_told_by_its_headers() {
        for (pairs, is_own) in [
            (&[][..], true),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "none")], true),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "same-site"), ("origin", "http://h:1"), ("host", "h:1")], false),
            (&[("origin", "http://h:1"), ("host", "h:1")], true),
            (&[("origin", "http://h:2"), ("host", "h:1")], false),
            (&[("origin", "null"), ("host", "h:1")], false),
            (&[("origin", "https://evil.example"), ("host", "h:1")], false),
        ] {
            assert_eq!(is_own_site(&request("/", pairs)), is_own, "{pairs:?}");
        }
        let second = request("https://h:1/", &[("origin", "https://h:1")]);
        assert!(is_own_site(&second), "HTTP/2 has the name in its target");
    }

    #[test]
    fn a_name_of_others_for_this_machine_is_not_ours() {
        for (host, is_ours) in [
            ("localhost:6580", true),
            ("LOCALHOST", true),
            ("127.0.0.1:6580", true),
            ("[::1]:6580", true),
            ("[::1]", true),
            ("evil.example:6580", false),
            ("127.0.0.1.evil.example", false),
            ("10.0.0.1", false),
            ("", false),
        ] {
            let request = request("/", &[("host", host)]);
            assert_eq!(is_local(&request), is_ours, "{host}");
        }
    }
}
