//! `migrate`: creates or upgrades the ledger.

use metastore::{Ledger, LedgerUrl};

use super::Context;
use crate::{EXIT_LANDED, output};

/// Opens the ledger, which applies what is missing.
pub async fn run(context: &Context) -> anyhow::Result<u8> {
    let url = LedgerUrl::parse(&context.repo("migrate")?.ledger)?;
    Ledger::open(&url).await?.close().await;
    let version = Ledger::schema_version();
    output::value(
        context.args.output,
        &serde_json::json!({ "ledger": url.to_string(), "schema_version": version }),
        || format!("ledger {url} is at schema version {version}"),
    )?;
    Ok(EXIT_LANDED)
}
