//! The process: work on runs and answer requests side by side, and stop both in good order.
//!
//! Told to stop, it takes no new runs and no new jobs, lets attempts come to their ends until the
//! time is up, hands back what is left so that another process goes on with it, and only then stops
//! answering.

use std::sync::Arc;
use std::time::Duration;

use daemon::{Auth, Drained};
use jobs::FeatureSinks;
use tokio_util::sync::CancellationToken;

use super::{Limits, Server, router};
use crate::Scheduler;
use crate::work::Stop;

/// How long handing back may take: a few statements for each job.
const HAND_BACK: Duration = Duration::from_secs(10);

/// A scheduler that is to be served.
#[derive(Debug)]
pub struct Serving {
    /// The scheduler.
    pub scheduler: Arc<Scheduler>,
    /// Where rows go.
    pub sinks: Arc<dyn FeatureSinks>,
    /// The socket that listens already.
    pub socket: daemon::Server,
    /// Whom it knows.
    pub auth: Auth,
    /// How much it takes at once.
    pub limits: Limits,
    /// How long attempts may go on once it has been told to stop.
    pub drain_timeout: Duration,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Whether every attempt came to its end, or was handed back.
    pub is_handed_back: bool,
    /// Whether every request was answered.
    pub requests: Drained,
}

impl Serving {
    /// Works and answers until told to stop.
    ///
    /// # Cancel safety
    /// Stop it by the token. Dropping the future is as safe as killing the process.
    pub async fn run(self, told: &CancellationToken) -> Stopped {
        let Self { scheduler, sinks, socket, auth, limits, drain_timeout } = self;
        let stop = Stop::default();
        let server =
            Server::new(Arc::clone(&scheduler), Arc::clone(&sinks), auth, limits, stop.clone());
        let server = Arc::new(server);
        let ending = server.ending.clone();
        let work = async {
            let is_handed_back = work(scheduler, sinks, &stop, told, drain_timeout).await;
            // Nothing changes any more, so there is nothing left to tell.
            ending.cancel();
            is_handed_back
        };
        let (is_handed_back, requests) = tokio::join!(work, socket.serve(router(server), &ending));
        Stopped { is_handed_back, requests }
    }
}

/// Works on runs until told to stop; gives whether everything ended or was handed back by then.
async fn work(
    scheduler: Arc<Scheduler>,
    sinks: Arc<dyn FeatureSinks>,
    stop: &Stop,
    told: &CancellationToken,
    drain_timeout: Duration,
) -> bool {
    let mut working = std::pin::pin!(scheduler.serve(sinks, stop.clone()));
    tokio::select! {
        () = &mut working => return true,
        () = told.cancelled() => stop.leases.cancel(),
    }
    tracing::info!("taking no more runs; what is at work comes to its end");
    if tokio::time::timeout(drain_timeout, &mut working).await.is_ok() {
        return true;
    }
    tracing::warn!("the time is up; what is at work is handed back");
    stop.attempts.cancel();
    // What is not given back by then is found by its lease, which ends by itself.
    tokio::time::timeout(HAND_BACK, working).await.is_ok()
}
