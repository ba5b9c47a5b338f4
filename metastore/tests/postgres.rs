//! The ledger on PostgreSQL: every claim of the conformance suite, each in its own database.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use harness::Postgres;
use metastore::LedgerUrl;

/// The number of the next database of this process, whose server no other process knows.
static NEXT: AtomicU32 = AtomicU32::new(0);

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
    // Not the test's name: PostgreSQL cuts long ones, and two of one beginning would be one.
    let name = format!("ledger_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let database = server.create_database(&name).expect("each test has a database of its own");
    Place { url: LedgerUrl::parse(&database).expect("it is a URL"), _server: server }
}

metastore::conformance_tests!(fresh);
