//! Lanes that are open and free, server by server, and how many there may be.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connection::{Connection, Role, Server};
use super::lane::{self, Lane};
use super::reply::Failure;

/// The lanes of all servers.
#[derive(Debug)]
pub(super) struct Lanes {
    per_server: usize,
    command_timeout: Duration,
    role: Role,
    servers: Mutex<HashMap<Server, Arc<Shelf>>>,
}

/// The lanes of one server.
#[derive(Debug)]
struct Shelf {
    free: Mutex<Vec<Lane>>,
    permits: Arc<Semaphore>,
}

/// A lane that is in use; another may be taken in its place when it is dropped.
pub(super) struct Taken {
    pub lane: Lane,
    shelf: Arc<Shelf>,
    _permit: OwnedSemaphorePermit,
}

impl Taken {
    /// Puts the lane back, for which no reply may be outstanding.
    pub(super) fn put_back(self) {
        lock(&self.shelf.free).push(self.lane);
    }
}

impl Lanes {
    pub(super) fn new(per_server: usize, command_timeout: Duration, role: Role) -> Self {
        Self { per_server: per_server.max(1), command_timeout, role, servers: Mutex::default() }
    }

    /// Takes a free lane, or opens one; waits while as many as there may be are in use.
    pub(super) async fn take(
        &self,
        connection: &Connection,
        server: &Server,
    ) -> Result<Taken, Failure> {
        let shelf = self.shelf(server);
        let permits = Arc::clone(&shelf.permits);
        let permit = permits.acquire_owned().await.expect("the semaphore is never closed");
        // A statement of its own, so that the lock is free again before anything is waited for.
        let free = lock(&shelf.free).pop();
        let lane = match free {
            Some(lane) => lane,
            None => {
                // Boxed: most of the time there is a free one, and a read is small then.
                let dial = Box::pin(connection.dial(server, self.role));
                // Whoever wants to send a command has no more time than that takes, and should
                // see the failure: it has the servers looked for anew.
                let dialled = tokio::time::timeout(self.command_timeout, dial).await;
                let address = server.to_string();
                let silent = |_| Err(lane::lost(&address, io::ErrorKind::TimedOut.into()));
                let socket = dialled.unwrap_or_else(silent)?;
                Lane::new(address, socket, self.command_timeout)
            }
        };
        Ok(Taken { lane, shelf, _permit: permit })
    }

    /// Closes all free lanes: after a failure they may be as dead as the one that failed.
    pub(super) fn close_free(&self) {
        for shelf in lock(&self.servers).values() {
            lock(&shelf.free).clear();
        }
    }

    fn shelf(&self, server: &Server) -> Arc<Shelf> {
        let mut servers = lock(&self.servers);
        if let Some(shelf) = servers.get(server) {
            return Arc::clone(shelf);
        }
        let permits = Arc::new(Semaphore::new(self.per_server));
        let shelf = Arc::new(Shelf { free: Mutex::default(), permits });
        servers.insert(server.clone(), Arc::clone(&shelf));
        shelf
    }
}

/// A panic elsewhere leaves nothing half done here, so a poisoned lock is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
