//! What every connection is made with, and the making of one.
//!
//! A file of its own because here one server, a cluster and sentinels differ, and nowhere else.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use feast::config::{RedisConfig, RedisNode, RedisServers};
use fred::clients::Client;
use fred::error::ErrorKind;
use fred::interfaces::{ClientLike, ClusterInterface};
use fred::types::RespVersion;
use fred::types::config::{
    Config, ConnectionConfig, PerformanceConfig, ServerConfig, TcpConfig, TlsConnector,
};

use super::{Link, Role, Server, Servers, Task, sentinel};
use crate::error::Error;
use crate::limits::WriteLimits;
use crate::redis::reply::Failure;
use crate::redis::tls;

/// What every connection is made with.
pub(super) struct Settings {
    pub(super) servers: RedisServers,
    /// The nodes of the configuration, for messages.
    pub(super) address: String,
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
    pub(super) db: u8,
    pub(super) tls: Option<TlsConnector>,
    pub(super) connect_timeout: Duration,
    command_timeout: Duration,
}

/// Without the passwords.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("servers", &self.servers).finish_non_exhaustive()
    }
}

impl Settings {
    pub(super) fn new(config: &RedisConfig, limits: &WriteLimits) -> Result<Self, Error> {
        let address = config.servers.to_string();
        let tls = config.tls.as_ref().map(|tls| tls::connector(tls, &address)).transpose()?;
        Ok(Self {
            servers: config.servers.clone(),
            address,
            username: config.username.clone(),
            password: config.password.clone(),
            db: config.db,
            tls,
            connect_timeout: limits.connect_timeout,
            command_timeout: limits.command_timeout,
        })
    }

    /// Finds the servers, connects, logs in and selects the database.
    ///
    /// `known` are the servers of the connection before; in a cluster they are asked as well as
    /// those of the configuration, which may be gone by then.
    pub(super) async fn connect(&self, known: &[Server], generation: u64) -> Result<Link, Failure> {
        match &self.servers {
            RedisServers::One(node) => self.connect_one(server(node), generation).await,
            RedisServers::Cluster(nodes) => self.connect_cluster(nodes, known, generation).await,
            RedisServers::Sentinel { master, sentinels, password } => {
                let server = sentinel::master(self, master, sentinels, password.as_deref()).await?;
                let link = self.connect_one(server, generation).await?;
                // Sentinels may be late to know.
                link.check_writable().await?;
                Ok(link)
            }
        }
    }

    pub(super) async fn connect_one(
        &self,
        server: Server,
        generation: u64,
    ) -> Result<Link, Failure> {
        let config = self.config(ServerConfig::new_centralized(server.host.as_str(), server.port));
        let (client, task) = match self.start(config).await {
            Ok(started) => started,
            Err(error) => return Err(self.explain(&server.to_string(), &server, error).await),
        };
        Ok(Link { client, servers: Arc::new(Servers::one(generation, server)), _task: task })
    }

    async fn connect_cluster(
        &self,
        nodes: &[RedisNode],
        known: &[Server],
        generation: u64,
    ) -> Result<Link, Failure> {
        let mut hosts: Vec<(String, u16)> =
            nodes.iter().map(|node| (node.host.clone(), node.port)).collect();
        hosts.extend(known.iter().map(|server| (server.host.clone(), server.port)));
        let config = self.config(ServerConfig::new_clustered(hosts));
        let (client, task) = match self.start(config).await {
            Ok(started) => started,
            Err(error) if error.details().contains("cluster support disabled") => {
                let address = self.address.clone();
                return Err(Failure::lasting(Error::NotACluster { address }));
            }
            Err(error) => return Err(self.explain(&self.address, &server(&nodes[0]), error).await),
        };
        let map = client.cached_cluster_state();
        match Servers::of_cluster(generation, map.as_ref().map_or(&[], |map| map.slots())) {
            Some(servers) => Ok(Link { client, servers: Arc::new(servers), _task: task }),
            None => {
                let words = "CLUSTERDOWN no slot has a server";
                let error = fred::error::Error::new(ErrorKind::Cluster, words);
                Err(Failure::of_command(&self.address, error))
            }
        }
    }

    fn config(&self, server: ServerConfig) -> Config {
        Config {
            username: self.username.clone(),
            password: self.password.clone(),
            database: (self.db != 0).then_some(self.db),
            tls: self.tls.clone().map(Into::into),
            ..bare(server)
        }
    }

    /// Starts fred on a configuration.
    pub(super) async fn start(
        &self,
        config: Config,
    ) -> Result<(Client, Arc<Task>), fred::error::Error> {
        let performance = PerformanceConfig {
            default_command_timeout: self.command_timeout,
            ..PerformanceConfig::default()
        };
        let connection = ConnectionConfig {
            connection_timeout: self.connect_timeout,
            internal_command_timeout: self.command_timeout,
            // One: what is in flight when the connection is lost fails, and we decide.
            max_command_attempts: 1,
            // None: see `ask`.
            max_redirections: 0,
            // A cluster that is down says so to the first command, in words that we know.
            disable_cluster_health_check: true,
            tcp: TcpConfig { nodelay: Some(true), ..TcpConfig::default() },
            ..ConnectionConfig::default()
        };
        let client = Client::new(config, Some(performance), Some(connection), None);
        let task = client.init().await?;
        Ok((client, Arc::new(Task(task.abort_handle()))))
    }

    /// Tells why a connection could not be made. fred keeps little of what went wrong with TLS, so
    /// that is tried again by hand, on one server.
    async fn explain(&self, address: &str, server: &Server, error: fred::error::Error) -> Failure {
        let error = match error.kind() {
            ErrorKind::IO if self.tls.is_some() => match self.dial(server, Role::Primary).await {
                Ok(_) => error,
                Err(failure) => return failure,
            },
            ErrorKind::Timeout => self.silence(),
            _ => error,
        };
        Failure::of_connecting(address, error)
    }
}

/// A configuration without credentials.
pub(super) fn bare(server: ServerConfig) -> Config {
    Config {
        fail_fast: true,
        server,
        // Every Redis since 2.6 speaks it, and no answer of ours needs more.
        version: RespVersion::RESP2,
        ..Config::default()
    }
}

pub(super) fn server(node: &RedisNode) -> Server {
    Server { host: node.host.clone(), port: node.port }
}
