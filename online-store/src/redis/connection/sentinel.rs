//! Asks sentinels where the master is.
//!
//! Each sentinel is asked over a connection of its own, which ends with the answer: a failover is
//! rare, and a sentinel that was asked once may be gone by the next.
//!
//! # Source
//! "Guidelines for Redis clients with support for Redis Sentinel",
//! <https://redis.io/docs/latest/develop/reference/sentinel-clients/>; redis-py 7.4 `sentinel.py`:
//! neither TLS nor the servers' password is for the sentinels.

use feast::config::RedisNode;
use fred::interfaces::ClientLike;
use fred::types::config::{Config, ServerConfig};
use fred::types::{ClusterHash, CustomCommand, Value};

use super::Server;
use super::settings::{Settings, bare, server};
use crate::error::Error;
use crate::redis::reply::Failure;

/// The address of the master of this name, from the first sentinel that knows it.
pub(super) async fn master(
    settings: &Settings,
    name: &str,
    sentinels: &[RedisNode],
    password: Option<&str>,
) -> Result<Server, Failure> {
    let mut last = None;
    for sentinel in sentinels {
        match ask(settings, name, sentinel, password).await {
            Ok(Some(master)) => return Ok(master),
            Ok(None) => {}
            Err(failure) => {
                tracing::warn!(error = %failure.error, "a sentinel does not tell the master");
                last = Some(failure);
            }
        }
    }
    let unknown = || {
        let (address, master) = (settings.address.clone(), name.to_owned());
        Failure::lasting(Error::UnknownMaster { address, master })
    };
    // A sentinel that did not answer may know it, so that outweighs those that do not.
    Err(last.unwrap_or_else(unknown))
}

async fn ask(
    settings: &Settings,
    name: &str,
    sentinel: &RedisNode,
    password: Option<&str>,
) -> Result<Option<Server>, Failure> {
    let address = server(sentinel).to_string();
    let config = Config {
        password: password.map(str::to_owned),
        ..bare(ServerConfig::new_centralized(sentinel.host.as_str(), sentinel.port))
    };
    let started = settings.start(config).await;
    let (client, _task) = started.map_err(|error| Failure::of_connecting(&address, error))?;
    let command = CustomCommand::new_static("SENTINEL", ClusterHash::Random, false);
    let arguments = vec![Value::from("GET-MASTER-ADDR-BY-NAME"), Value::from(name)];
    let answer: Value = match client.custom(command, arguments).await {
        Ok(answer) => answer,
        Err(error) if error.details().starts_with("ERR unknown command") => {
            return Err(Failure::lasting(Error::NotASentinel { address }));
        }
        Err(error) => return Err(Failure::of_command(&address, error)),
    };
    if answer.is_null() {
        return Ok(None);
    }
    let unreadable = |error: fred::error::Error| {
        let what = format!("{} as the master's address", error.details());
        Failure::lasting(Error::Answer { address: address.clone(), what })
    };
    let (host, port): (String, u16) = answer.convert().map_err(unreadable)?;
    Ok(Some(Server { host, port }))
}
