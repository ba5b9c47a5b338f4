//! The connection to Redis: made, checked, and made anew when it is lost or leads elsewhere.
//!
//! fred keeps the sockets of discovery, control and reads; it neither repeats a command nor
//! reconnects by itself, because a repeat that we do not see would be counted wrongly and would
//! have no end. Deliberately absent: which server has which slot (see `servers`), keys between two
//! servers (see `ask`), sentinels (see `sentinel`), and sockets for bulk writes (see `socket`).

mod ask;
mod sentinel;
mod servers;
mod settings;
mod socket;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use feast::config::{RedisConfig, RedisServers};
use fred::clients::Client;
use fred::interfaces::ClientLike;
use fred::types::{ClusterHash, CustomCommand, Value};
use tokio::sync::Mutex;
use tokio::task::AbortHandle;

use super::reply::{Failure, Remedy};
use crate::error::{Error, Trouble};
use crate::limits::WriteLimits;
pub(super) use servers::{Server, Servers};
use settings::Settings;
pub(super) use socket::{Role, Socket};

/// A connection that is replaced when it is lost.
#[derive(Debug)]
pub(super) struct Connection {
    settings: Settings,
    current: RwLock<Link>,
    /// Held while `current` is being replaced, so that one does it and the others wait.
    refreshing: Arc<Mutex<()>>,
}

/// One connection, for as long as it holds.
#[derive(Clone, Debug)]
pub(super) struct Link {
    client: Client,
    servers: Arc<Servers>,
    _task: Arc<Task>,
}

/// fred's task of one connection; ends with the last user of the connection.
#[derive(Debug)]
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Connection {
    /// Connects. A server that is still loading its data is waited for.
    pub(super) async fn open(config: &RedisConfig, limits: &WriteLimits) -> Result<Self, Error> {
        let settings = Settings::new(config, limits)?;
        let mut failed = 0;
        loop {
            let failure = match settings.connect(&[], 0).await {
                Ok(link) => {
                    let (current, refreshing) = (RwLock::new(link), Arc::default());
                    return Ok(Self { settings, current, refreshing });
                }
                Err(failure) => failure,
            };
            failed += 1;
            // A server that does not answer at all is more likely a wrong address.
            let Error::Unavailable { .. } = &failure.error else {
                return Err(failure.error);
            };
            let Some(pause) = failure.pause(limits.retry, failed) else {
                return Err(failure.give_up(failed));
            };
            tracing::warn!(error = %failure.error, failed, "waiting for the online store");
            tokio::time::sleep(pause).await;
        }
    }

    /// The nodes that the configuration names, for messages about no server in particular.
    pub(super) fn address(&self) -> &str {
        &self.settings.address
    }

    /// The connection as it is now.
    pub(super) fn link(&self) -> Link {
        // A panic elsewhere leaves nothing half done here, so a poisoned lock is as good as any.
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The servers as they were when the connection was last made.
    pub(super) fn servers(&self) -> Arc<Servers> {
        self.link().servers
    }

    /// Runs one command. In a cluster its first argument is a key and it goes to the key's server.
    pub(super) async fn command(
        &self,
        link: &Link,
        name: &'static str,
        arguments: Vec<Value>,
    ) -> Result<Value, Failure> {
        // fred's own EVALSHA would cost a second list of the arguments.
        let command = CustomCommand::new_static(name, ClusterHash::FirstKey, false);
        let again = link.servers.is_cluster().then(|| arguments.clone());
        let error = match link.client.custom(command, arguments).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        match again {
            Some(arguments) if is_redirect(&error) => {
                self.settings.ask(&link.servers, name, arguments).await
            }
            _ => Err(Failure::of_command(self.address(), error)),
        }
    }

    /// Runs one command on one server, whatever its arguments are.
    ///
    /// `server` is an index into `servers`; when these are superseded and the server is not among
    /// the present ones, the failure asks for a new connection.
    pub(super) async fn command_on(
        &self,
        servers: &Servers,
        server: usize,
        name: &'static str,
        arguments: Vec<Value>,
    ) -> Result<Value, Failure> {
        let server = &servers.list()[server];
        let link = self.link();
        if !link.servers.list().contains(server) {
            return Err(Failure::of_command(&server.to_string(), gone()));
        }
        link.command_on(server, name, arguments).await
    }

    /// Loads a script on every primary; gives its SHA-1, as the servers tell it.
    pub(super) async fn load(&self, script: &Bytes) -> Result<Bytes, Failure> {
        let link = self.link();
        let mut sha = Bytes::new();
        for server in link.servers.list() {
            let arguments = vec![Value::from("LOAD"), Value::Bytes(script.clone())];
            let answer = link.command_on(server, "SCRIPT", arguments).await;
            let answer = answer.map_err(|mut failure| {
                // A server that is down for the script is down for all: wait as for any command.
                if failure.remedy == Remedy::LoadScript {
                    failure.remedy = Remedy::Wait;
                }
                failure
            })?;
            sha = answer.into_bytes().unwrap_or_default();
        }
        Ok(sha)
    }

    /// Looks anew for the servers after a redirect, a failover or a lost connection, unless
    /// somebody else did so since `seen` was the map.
    ///
    /// # Cancel safety
    /// When the future is dropped, what was begun goes on: a reader whose time is up would take the
    /// new connection with it otherwise, and the next one begin anew, for ever.
    pub(super) async fn refresh(self: &Arc<Self>, seen: &Servers) -> Result<(), Failure> {
        let alone = Arc::clone(&self.refreshing).lock_owned().await;
        let known = self.servers();
        if known.generation() != seen.generation() {
            return Ok(());
        }
        let this = Arc::clone(self);
        let refreshed = tokio::spawn(async move {
            let link = this.settings.connect(known.list(), known.generation() + 1).await?;
            *this.current.write().unwrap_or_else(PoisonError::into_inner) = link;
            drop(alone);
            Ok(())
        });
        match refreshed.await {
            Ok(refreshed) => refreshed,
            Err(ended) => match ended.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The whole process ends.
                Err(_) => Ok(()),
            },
        }
    }

    /// Opens a socket of its own to one server, logged in and with the database selected; a replica
    /// is told that it will be read.
    ///
    /// # Cancel safety
    /// A socket that is dropped half-way is closed.
    pub(super) async fn dial(&self, server: &Server, role: Role) -> Result<Socket, Failure> {
        self.settings.dial(server, role).await
    }

    /// The replicas that a primary says are connected to it.
    pub(super) async fn replicas(
        &self,
        servers: &Servers,
        primary: usize,
    ) -> Result<Vec<Server>, Failure> {
        let role = self.command_on(servers, primary, "ROLE", Vec::new()).await?;
        Ok(servers::replicas(role))
    }

    /// The run id of every primary, drawn anew at each start of a server, by address; by the
    /// master's name where sentinels may put another server in its place. Without those that we
    /// may not ask.
    pub(super) async fn identities(&self) -> Result<BTreeMap<String, String>, Failure> {
        let link = self.link();
        let mut identities = BTreeMap::new();
        for server in link.servers.list() {
            let run_id = link.info(server, "server", "run_id:").await?;
            let name = match &self.settings.servers {
                RedisServers::Sentinel { master, .. } => master.clone(),
                RedisServers::One(_) | RedisServers::Cluster(_) => server.to_string(),
            };
            identities.extend(run_id.map(|run_id| (name, run_id)));
        }
        Ok(identities)
    }

    /// One line of the first server's `INFO`; `None` when there is none or we may not ask.
    pub(super) async fn info(
        &self,
        section: &'static str,
        prefix: &str,
    ) -> Result<Option<String>, Failure> {
        let link = self.link();
        link.info(&link.servers.list()[0], section, prefix).await
    }

    /// A section of every primary's `INFO`, by address; without those that we may not ask.
    pub(super) async fn infos(
        &self,
        section: &'static str,
    ) -> Result<Vec<(String, String)>, Failure> {
        let link = self.link();
        let mut infos = Vec::with_capacity(link.servers.list().len());
        for server in link.servers.list() {
            let info = link.section(server, section).await?;
            infos.extend(info.map(|info| (server.to_string(), info)));
        }
        Ok(infos)
    }

    /// Refuses a replica: its rows would vanish with the next synchronization, if it takes any.
    pub(super) async fn check_writable(&self) -> Result<(), Failure> {
        self.link().check_writable().await.map_err(|failure| {
            let is_replica =
                matches!(failure.error, Error::Unavailable { trouble: Trouble::ReadOnly, .. });
            match &self.settings.servers {
                // Nobody puts another server in the place of this one. A lost connection is made
                // anew all the same.
                RedisServers::One(_) if is_replica => Failure::lasting(failure.error),
                _ => failure,
            }
        })
    }
}

impl Link {
    async fn command_on(
        &self,
        server: &Server,
        name: &'static str,
        arguments: Vec<Value>,
    ) -> Result<Value, Failure> {
        // Whatever the first argument is, it is no key: the server is named.
        let command = CustomCommand::new_static(name, ClusterHash::Random, false);
        let answer = if self.servers.is_cluster() {
            let server = fred::types::config::Server::new(server.host.as_str(), server.port);
            self.client.with_cluster_node(server).custom(command, arguments).await
        } else {
            self.client.custom(command, arguments).await
        };
        answer.map_err(|error| Failure::of_command(&server.to_string(), error))
    }

    /// Refuses replicas; the remedy is to look for the primary anew.
    async fn check_writable(&self) -> Result<(), Failure> {
        for server in self.servers.list() {
            // A user without the right to ask may still write; a replica would say READONLY.
            if self.info(server, "replication", "role:").await?.as_deref() == Some("slave") {
                let kind = fred::error::ErrorKind::Unknown;
                let words = "READONLY INFO replication says `role:slave`";
                let error = fred::error::Error::new(kind, words);
                return Err(Failure::of_command(&server.to_string(), error));
            }
        }
        Ok(())
    }

    /// One line of `INFO`; `None` when there is none or we may not ask.
    async fn info(
        &self,
        server: &Server,
        section: &'static str,
        prefix: &str,
    ) -> Result<Option<String>, Failure> {
        let info = self.section(server, section).await?.unwrap_or_default();
        let line = info.lines().find_map(|line| line.strip_prefix(prefix));
        Ok(line.map(|value| value.trim().to_owned()))
    }

    /// A section of `INFO`; `None` when we may not ask.
    async fn section(
        &self,
        server: &Server,
        section: &'static str,
    ) -> Result<Option<String>, Failure> {
        match self.command_on(server, "INFO", vec![section.into()]).await {
            Ok(info) => Ok(Some(info.into_string().unwrap_or_default())),
            Err(Failure { error: Error::Access { .. }, .. }) => Ok(None),
            Err(failure) => Err(failure),
        }
    }
}

/// Tells whether the server has sent us to another one, which fred does not do.
fn is_redirect(error: &fred::error::Error) -> bool {
    *error.kind() == fred::error::ErrorKind::Routing
}

/// What a command to a server that is no longer known fails with.
fn gone() -> fred::error::Error {
    let kind = fred::error::ErrorKind::Routing;
    fred::error::Error::new(kind, "the server is no longer a primary that we know")
}
