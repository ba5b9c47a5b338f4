//! Whatever the server's own document allows, and more, asked by Schemathesis.

use std::time::Duration;

use anyhow::Result;
use harness::Schemathesis;

use crate::site::{Mode, Site};

#[test]
fn whatever_is_asked_is_answered_as_the_document_says() -> Result<()> {
    let schemathesis = Schemathesis::require()?;
    let site = Site::recorded(Mode::Strict)?;
    let server = site.serve()?;
    let url = format!("http://127.0.0.1:{}", server.http());
    let arguments = ["--request-timeout", "20", "--max-examples", "30"];
    let asked = schemathesis.run(&url, Duration::from_secs(15), &arguments)?;
    let said = String::from_utf8_lossy(&asked.stdout);
    let error = String::from_utf8_lossy(&asked.stderr);
    assert!(asked.status.success(), "{said}\n{error}\n{}", server.log());
    assert!(said.contains("POST /get-online-features"), "it asked nothing:\n{said}");
    Ok(())
}
