//! What any ledger must do, on PostgreSQL: the claims of `metastore`, each in its own database.

use std::sync::Arc;

use harness::Postgres;
use metastore::LedgerUrl;

/// An empty database, and the server that must outlive it.
struct Place {
    url: LedgerUrl,
    _server: Arc<Postgres>,
}

impl Place {
    fn url(&self) -> &LedgerUrl {
        &self.url
    }
}

async fn fresh() -> Place {
    let server = Postgres::shared().expect("PostgreSQL is installed");
    let name = std::thread::current().name().unwrap_or("ledger").replace("::", "_");
    let database = server.create_database(&name).expect("each test has a database of its own");
    Place { url: LedgerUrl::parse(&database).expect("it is a URL"), _server: server }
}

metastore::conformance_tests!(fresh);
