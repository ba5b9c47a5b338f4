//! What all pages share: the frame, the style, the script, and what a browser may load.

use std::time::Duration;

use api::Problem;
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use uuid::Uuid;

use super::{strip, text};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("live.js");

/// A page without its frame.
#[derive(Debug)]
pub(in crate::http) struct Page {
    /// The heading, which is the window's title too.
    pub(super) title: String,
    /// How often it looks for news; never without.
    pub(super) every: Option<Duration>,
    pub(super) content: Markup,
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        // Drawn for each page, so that nothing that slipped into one can run.
        let nonce = Uuid::new_v4().simple().to_string();
        let policy = format!(
            "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; \
             connect-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; \
             frame-ancestors 'none'"
        );
        let policy = HeaderValue::try_from(policy).expect("it is ASCII");
        let headers = [
            (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
            (CONTENT_SECURITY_POLICY, policy),
            (REFERRER_POLICY, HeaderValue::from_static("same-origin")),
        ];
        (headers, self.frame(&nonce).into_string()).into_response()
    }
}

impl Page {
    fn frame(&self, nonce: &str) -> Markup {
        let every = self.every.map_or(0, |every| every.as_secs());
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.title) " – Tidegate" }
                    link rel="icon" href="data:,";
                    style nonce=(nonce) { (PreEscaped(STYLE)) }
                }
                body data-every=(every) {
                    a.skip href="#content" { "Skip to the content" }
                    header {
                        nav aria-label="Pages" {
                            strong { "Tidegate" }
                            a href="/" { "Views" }
                            a href="/runs" { "Runs" }
                        }
                        p #clock { "As of " (text::time(crate::now())) }
                    }
                    (strip::patterns())
                    main #content {
                        h1 { (self.title) }
                        (self.content)
                    }
                    @if self.every.is_some() {
                        noscript {
                            p { "Without scripts this page stays as it is; load it again." }
                        }
                        script nonce=(nonce) { (PreEscaped(SCRIPT)) }
                    }
                }
            }
        }
    }
}

/// The page of what went wrong.
pub(super) fn failure(problem: &Problem) -> Page {
    let content = html! {
        p { (problem.detail) }
        p.quiet { "Status " (problem.status) ", code " code { (problem.code) } "." }
        p { a href="/" { "Back to the views" } }
    };
    Page { title: problem.title.clone(), every: None, content }
}
