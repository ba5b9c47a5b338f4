//! The connection to Redis: made, checked, and made anew when it is lost.
//!
//! fred keeps the socket; it neither repeats a command nor reconnects by itself, because a repeat
//! that we do not see would be counted wrongly and would have no end.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use feast::config::RedisConfig;
use fred::clients::Client;
use fred::interfaces::ClientLike;
use fred::types::config::{Config, ConnectionConfig, PerformanceConfig, ServerConfig, TcpConfig};
use fred::types::{ClusterHash, CustomCommand, InfoKind, RespVersion, Value};
use tokio::sync::Mutex;
use tokio::task::AbortHandle;

use super::reply::{Failure, Remedy};
use super::tls;
use crate::error::{Error, Trouble};
use crate::limits::WriteLimits;

/// The script; see its own head.
const NEWER_WINS: &str = include_str!("newer_wins.lua");

/// A connection that is replaced when it is lost.
#[derive(Debug)]
pub(super) struct Connection {
    address: String,
    settings: Settings,
    script: Bytes,
    current: Mutex<Link>,
}

/// One connection, for as long as it holds.
#[derive(Clone, Debug)]
pub(super) struct Link {
    client: Client,
    generation: u64,
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

struct Settings {
    config: Config,
    connect_timeout: Duration,
    command_timeout: Duration,
}

/// Without fred's configuration, which shows the password.
impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings").field("server", &self.config.server).finish_non_exhaustive()
    }
}

impl Connection {
    /// Connects and loads the script. A server that is still loading its data is waited for.
    pub(super) async fn open(config: &RedisConfig, limits: &WriteLimits) -> Result<Self, Error> {
        let address = format!("{}:{}", config.host, config.port);
        let settings = Settings::new(config, &address, limits)?;
        let mut failed = 0;
        loop {
            let failure = match settings.connect(&address).await {
                Ok((link, script)) => {
                    let current = Mutex::new(link);
                    return Ok(Self { address, settings, script, current });
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

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// The script's SHA-1, as the server told it.
    pub(super) fn script(&self) -> &Bytes {
        &self.script
    }

    /// The connection as it is now.
    pub(super) async fn link(&self) -> Link {
        self.current.lock().await.clone()
    }

    /// Runs one command.
    pub(super) async fn command(
        &self,
        link: &Link,
        name: &'static str,
        arguments: Vec<Value>,
    ) -> Result<Value, Failure> {
        // fred's own EVALSHA would cost a second list of the arguments.
        let command = CustomCommand::new_static(name, ClusterHash::FirstKey, false);
        let answer = link.client.custom(command, arguments).await;
        answer.map_err(|error| Failure::of_command(&self.address, error))
    }

    /// Loads the script again.
    pub(super) async fn load_script(&self, link: &Link) -> Result<(), Failure> {
        load(&link.client, &self.address).await.map(drop)
    }

    /// Makes a new connection in place of a lost one, unless somebody else just did.
    pub(super) async fn replace(&self, lost: &Link) -> Result<(), Failure> {
        let mut current = self.current.lock().await;
        if current.generation == lost.generation {
            let (mut link, _) = self.settings.connect(&self.address).await?;
            link.generation = lost.generation + 1;
            *current = link;
        }
        Ok(())
    }

    /// The server's run id, drawn anew at each of its starts; `None` when we may not ask.
    pub(super) async fn run_id(&self, link: &Link) -> Result<Option<String>, Failure> {
        let info: Result<String, _> = link.client.info(Some(InfoKind::Server)).await;
        match info.map_err(|error| Failure::of_command(&self.address, error)) {
            Ok(info) => Ok(info
                .lines()
                .find_map(|line| line.strip_prefix("run_id:"))
                .map(|run_id| run_id.trim().to_owned())),
            Err(Failure { error: Error::Access { .. }, .. }) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Refuses a replica: its rows would vanish with the next synchronization, if it takes any.
    pub(super) async fn check_writable(&self, link: &Link) -> Result<(), Failure> {
        let info: Result<String, _> = link.client.info(Some(InfoKind::Replication)).await;
        match info.map_err(|error| Failure::of_command(&self.address, error)) {
            Ok(info) if info.lines().any(|line| line == "role:slave") => {
                Err(Failure::lasting(Error::Unavailable {
                    address: self.address.clone(),
                    trouble: Trouble::ReadOnly,
                    source: fred::error::Error::new(
                        fred::error::ErrorKind::Unknown,
                        "INFO replication says `role:slave`",
                    ),
                }))
            }
            // A user without the right to ask may still write; a replica would say READONLY.
            Err(Failure { error: Error::Access { .. }, .. }) | Ok(_) => Ok(()),
            Err(failure) => Err(failure),
        }
    }
}

impl Settings {
    fn new(config: &RedisConfig, address: &str, limits: &WriteLimits) -> Result<Self, Error> {
        let tls = config.tls.as_ref().map(|tls| tls::connector(tls, address)).transpose()?;
        let config = Config {
            fail_fast: true,
            username: config.username.clone(),
            password: config.password.clone(),
            server: ServerConfig::new_centralized(config.host.as_str(), config.port),
            // Every Redis since 2.6 speaks it, and no answer of ours needs more.
            version: RespVersion::RESP2,
            database: (config.db != 0).then_some(config.db),
            tls: tls.map(Into::into),
            ..Config::default()
        };
        Ok(Self {
            config,
            connect_timeout: limits.connect_timeout,
            command_timeout: limits.command_timeout,
        })
    }

    /// Connects, logs in, selects the database and loads the script.
    async fn connect(&self, address: &str) -> Result<(Link, Bytes), Failure> {
        let performance = PerformanceConfig {
            default_command_timeout: self.command_timeout,
            ..PerformanceConfig::default()
        };
        let connection = ConnectionConfig {
            connection_timeout: self.connect_timeout,
            internal_command_timeout: self.command_timeout,
            // One: what is in flight when the connection is lost fails, and we decide.
            max_command_attempts: 1,
            tcp: TcpConfig { nodelay: Some(true), ..TcpConfig::default() },
            ..ConnectionConfig::default()
        };
        let client = Client::new(self.config.clone(), Some(performance), Some(connection), None);
        let connected = client.init().await;
        let task = connected.map_err(|error| Failure::of_connecting(address, error))?;
        let task = Arc::new(Task(task.abort_handle()));
        let script = load(&client, address).await?;
        Ok((Link { client, generation: 0, _task: task }, script))
    }
}

async fn load(client: &Client, address: &str) -> Result<Bytes, Failure> {
    let command = CustomCommand::new_static("SCRIPT", ClusterHash::FirstKey, false);
    let arguments = vec![Value::from("LOAD"), Value::from(NEWER_WINS)];
    let sha: Result<String, _> = client.custom(command, arguments).await;
    match sha {
        Ok(sha) => Ok(sha.into()),
        Err(error) => {
            let mut failure = Failure::of_command(address, error);
            // A server that is down for the script is down for all: wait as for any command.
            if failure.remedy == Remedy::LoadScript {
                failure.remedy = Remedy::Wait;
            }
            Err(failure)
        }
    }
}
