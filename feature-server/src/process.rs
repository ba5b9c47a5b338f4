//! The process: three doors side by side, the registry kept fresh behind them, and a good end.
//!
//! Told to stop, it is not ready at once, takes no new connections, and answers what is at work.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use daemon::{Auth, Drained, Health, Metrics};
use tokio_util::sync::CancellationToken;

use crate::http::{self, Door};
use crate::server::FeatureServer;

/// How long the store has for its answer to a probe: shorter than a probe waits.
const DEADLINE: Duration = Duration::from_secs(2);
/// How often a registry's file is looked at.
const FILE_LOOK: Duration = Duration::from_secs(1);

/// The sockets, which listen already.
#[derive(Debug)]
pub struct Sockets {
    /// For HTTP clients.
    pub http: daemon::Server,
    /// For gRPC clients.
    pub grpc: Option<daemon::Server>,
    /// For health and metrics.
    pub admin: Option<daemon::Server>,
}

/// Where the registry is looked at, and how often.
#[derive(Clone, Debug, Default)]
pub struct Freshness {
    /// Read anew each time so much has passed; `None` for never.
    pub every: Option<Duration>,
    /// Read anew when this file changes.
    pub file: Option<PathBuf>,
}

/// A feature server that is to be served.
#[derive(Debug)]
pub struct Serving {
    /// The server.
    pub server: Arc<FeatureServer>,
    /// Where it listens.
    pub sockets: Sockets,
    /// Whom it knows.
    pub auth: Auth,
    /// The process's counters, the server's among them.
    pub metrics: Metrics,
    /// How the registry is kept fresh.
    pub freshness: Freshness,
    /// Whether each request is logged.
    pub logs_access: bool,
    /// How old the registry may be for the process to be ready; `None` for any age.
    pub registry_age_max: Option<Duration>,
}

impl Serving {
    /// Answers until told to stop.
    ///
    /// # Cancel safety
    /// Stop it by the token. Dropping the future cuts requests off.
    pub async fn run(self, stop: &CancellationToken) -> Drained {
        let Self { server, sockets, auth, metrics, freshness, logs_access, registry_age_max } =
            self;
        let health = health(&server, registry_age_max, stop.clone());
        let door = Arc::new(Door::new(Arc::clone(&server), auth, health, metrics, logs_access));
        let fresh = server.catalog().keep_fresh(freshness.every, stop);
        let watched = watch(&server, freshness.file, stop);
        let http = sockets.http.serve(http::router(Arc::clone(&door)), stop);
        let grpc = async {
            let Some(socket) = sockets.grpc else { return Drained::All };
            socket.serve(crate::grpc::router(Arc::clone(&door)).await, stop).await
        };
        let admin = async {
            let Some(socket) = sockets.admin else { return Drained::All };
            socket.serve(http::admin_router(Arc::clone(&door)), stop).await
        };
        let (http, grpc, _, (), ()) = tokio::join!(http, grpc, admin, fresh, watched);
        match (http, grpc) {
            (Drained::Cut { left }, Drained::Cut { left: more }) => {
                Drained::Cut { left: left + more }
            }
            (Drained::All, other) | (other, Drained::All) => other,
        }
    }
}

/// Whether the store answers, and the registry is known.
fn health(
    server: &Arc<FeatureServer>,
    registry_age_max: Option<Duration>,
    stop: CancellationToken,
) -> Health {
    let (store, catalog) = (Arc::clone(server), Arc::clone(server));
    Health::new(stop)
        .with_check("online_store", DEADLINE, move || {
            let server = Arc::clone(&store);
            // The cause may name machines; it is logged by whoever meets it.
            async move {
                let answered = server.store().ping().await;
                answered.map_err(|_| "the online store does not answer")
            }
        })
        .with_check("registry", DEADLINE, move || {
            let age = catalog.catalog().age();
            let answer = match (age, registry_age_max) {
                (None, _) => Err("the registry has not been read yet"),
                (Some(age), Some(max)) if age > max => Err("the registry's copy is too old"),
                _ => Ok(()),
            };
            std::future::ready(answer)
        })
}

/// Has the registry read again when its file changes.
async fn watch(server: &FeatureServer, file: Option<PathBuf>, stop: &CancellationToken) {
    let Some(file) = file else { return };
    let mut seen = changed_at(&file).await;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(FILE_LOOK) => {}
        }
        let now = changed_at(&file).await;
        if now != seen {
            seen = now;
            server.catalog().nudge();
        }
    }
}

async fn changed_at(file: &PathBuf) -> Option<SystemTime> {
    tokio::fs::metadata(file).await.ok()?.modified().ok()
}
