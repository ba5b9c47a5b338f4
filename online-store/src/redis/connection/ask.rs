//! Commands on keys that are on their way from one server of a cluster to another.
//!
//! fred sends the command after an `ASK` to the old owner again, and cannot reach a server that has
//! no slot yet, which is what a new one is at first. So it follows no redirect at all, and the rare
//! command that meets one is asked again here, over connections of its own.

use fred::clients::Client;
use fred::interfaces::ClientLike;
use fred::types::{ClusterHash, CustomCommand, Value};

use super::settings::Settings;
use super::{Server, Servers};
use crate::error::Error;
use crate::redis::reply::Failure;

impl Settings {
    /// Asks the owner of a key again, and whomever it names with `ASK`. With `MOVED` the owner is
    /// another by now, and the failure asks for a new map.
    pub(super) async fn ask(
        &self,
        servers: &Servers,
        name: &'static str,
        arguments: Vec<Value>,
    ) -> Result<Value, Failure> {
        let key = arguments.first().and_then(Value::as_bytes).unwrap_or_default();
        let owner = servers.list()[servers.owner(key)].clone();
        let link = self.connect_one(owner.clone(), 0).await?;
        let failure = match link.command_on(&owner, name, arguments.clone()).await {
            Ok(answer) => return Ok(answer),
            Err(failure) => failure,
        };
        let Some(other) = named(&failure.error) else {
            return Err(failure);
        };
        let link = self.connect_one(other.clone(), 0).await?;
        let answer = after_asking(&link.client, name, arguments).await;
        answer.map_err(|error| Failure::of_command(&other.to_string(), error))
    }
}

/// Both commands in one pipeline: `ASKING` is for the next command of the connection alone.
async fn after_asking(
    client: &Client,
    name: &'static str,
    arguments: Vec<Value>,
) -> Result<Value, fred::error::Error> {
    let command = |name| CustomCommand::new_static(name, ClusterHash::Random, false);
    let pipeline = client.pipeline();
    let _: Value = pipeline.custom(command("ASKING"), Vec::<Value>::new()).await?;
    let _: Value = pipeline.custom(command(name), arguments).await?;
    pipeline.last().await
}

/// The server that an `ASK` names.
fn named(error: &Error) -> Option<Server> {
    let Error::Unavailable { source, .. } = error else { return None };
    Server::of_ask(source.details())
}
