//! Which servers there are, and which of them holds a key.
//!
//! Pure. A snapshot: when it turns out to be wrong, `Connection::refresh` makes the next one.

use std::fmt;

use fred::types::Value;
use fred::types::cluster::SlotRange;
use fred::util::redis_keyslot;

/// Slots of a cluster.
const SLOTS: usize = 16_384;

/// A server that takes writes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::redis) struct Server {
    /// Name or address, as the configuration, the cluster or a sentinel tells it.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl Server {
    /// The server that an error names to which a key is on its way: `ASK slot host:port`.
    pub(in crate::redis) fn of_ask(words: &str) -> Option<Self> {
        Self::parse(words.strip_prefix("ASK ")?.split(' ').nth(1)?)
    }

    fn parse(address: &str) -> Option<Self> {
        let (host, port) = address.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        (!host.is_empty()).then_some(())?;
        Some(Self { host: host.to_owned(), port: port.parse().ok()? })
    }
}

/// As in a URL: an IPv6 address stands in brackets.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// All servers that take writes, and the slots of each.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::redis) struct Servers {
    generation: u64,
    list: Vec<Server>,
    /// The place in `list` of each slot's owner; empty when there are no slots.
    owners: Vec<u16>,
}

/// Without a line for each slot.
impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Servers")
            .field("generation", &self.generation)
            .field("list", &self.list)
            .field("is_cluster", &self.is_cluster())
            .finish_non_exhaustive()
    }
}

impl Servers {
    /// One server, which holds every key.
    pub(super) fn one(generation: u64, server: Server) -> Self {
        Self { generation, list: vec![server], owners: Vec::new() }
    }

    /// The primaries of a cluster; `None` when no slot has one.
    pub(super) fn of_cluster(generation: u64, ranges: &[SlotRange]) -> Option<Self> {
        let primary = |range: &SlotRange| Server {
            host: range.primary.host.to_string(),
            port: range.primary.port,
        };
        let mut list: Vec<Server> = ranges.iter().map(primary).collect();
        list.sort();
        list.dedup();
        if list.is_empty() {
            return None;
        }
        // A slot that nobody has goes to the first server, which then says that it has no owner.
        let mut owners = vec![0; SLOTS];
        for range in ranges {
            let place = list.binary_search(&primary(range)).unwrap_or_default();
            let slots = usize::from(range.start)..=usize::from(range.end).min(SLOTS - 1);
            if let (Ok(place), Some(owned)) = (u16::try_from(place), owners.get_mut(slots)) {
                owned.fill(place);
            }
        }
        Some(Self { generation, list, owners })
    }

    /// The same slots at other servers, one for each of the list.
    pub(in crate::redis) fn instead(&self, list: Vec<Server>) -> Self {
        Self { list, ..self.clone() }
    }

    /// Grows with every refresh.
    pub(in crate::redis) fn generation(&self) -> u64 {
        self.generation
    }

    /// The servers, at least one.
    pub(in crate::redis) fn list(&self) -> &[Server] {
        &self.list
    }

    /// Tells whether keys are spread by slot.
    pub(in crate::redis) fn is_cluster(&self) -> bool {
        !self.owners.is_empty()
    }

    /// The place in the list of the server that holds a key.
    pub(in crate::redis) fn owner(&self, key: &[u8]) -> usize {
        if self.is_cluster() { self.owner_of_slot(Self::slot(key)) } else { 0 }
    }

    /// The place in the list of the server that holds a slot.
    pub(in crate::redis) fn owner_of_slot(&self, slot: u16) -> usize {
        self.owners.get(usize::from(slot)).copied().map_or(0, usize::from)
    }

    /// Tells whether the same servers hold the same slots in both maps, whenever they were made.
    pub(in crate::redis) fn is_same_map(&self, other: &Self) -> bool {
        self.list == other.list && self.owners == other.owners
    }

    /// A key's slot: of what stands in its first `{…}`, or of the whole key.
    ///
    /// # Source
    /// Redis Cluster specification, "Hash tags",
    /// <https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/>.
    pub(in crate::redis) fn slot(key: &[u8]) -> u16 {
        redis_keyslot(key)
    }
}

/// The replicas in a primary's answer to `ROLE`; none when it is no primary.
///
/// # Source
/// Redis, `ROLE`: `master`, an offset, and a list of address, port and offset for each replica.
pub(super) fn replicas(role: Value) -> Vec<Server> {
    let Value::Array(role) = role else { return Vec::new() };
    let (Some("master"), Some(Value::Array(replicas))) =
        (role.first().and_then(Value::as_str).as_deref(), role.get(2))
    else {
        return Vec::new();
    };
    let replica = |told: &Value| match told {
        Value::Array(told) => Some(Server {
            host: told.first()?.as_string()?,
            port: told.get(1)?.as_string()?.parse().ok()?,
        }),
        _ => None,
    };
    replicas.iter().filter_map(replica).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u16, end: u16, port: u16) -> SlotRange {
        let primary = fred::types::config::Server::new("h", port);
        SlotRange { start, end, primary, id: "id".into() }
    }

    #[test]
    fn every_slot_has_the_owner_of_its_range() {
        let ranges = [range(0, 99, 3), range(100, 16_382, 1), range(16_383, 16_383, 3)];
        let servers = Servers::of_cluster(7, &ranges).expect("there are slots");
        assert_eq!(servers.generation(), 7);
        let ports: Vec<u16> = servers.list().iter().map(|server| server.port).collect();
        assert_eq!(ports, [1, 3]);
        for (slot, owner) in [(0, 1), (99, 1), (100, 0), (16_382, 0), (16_383, 1)] {
            assert_eq!(servers.owners[slot], owner, "slot {slot}");
        }
        // `foo` is slot 12182 of the specification's own table.
        assert_eq!(Servers::slot(b"foo"), 12_182);
        assert_eq!(servers.owner(b"foo"), 0);
        assert_eq!(Servers::of_cluster(0, &[]), None);
    }

    #[test]
    fn keys_of_one_tag_share_a_slot() {
        let slot = Servers::slot;
        assert_eq!(slot(b"{user}.a"), slot(b"user"));
        assert_eq!(slot(b"x{user}{other}"), slot(b"user"));
        assert_ne!(slot(b"{}user"), slot(b""), "an empty tag is none");
    }

    #[test]
    fn one_server_holds_every_key() {
        let server = Server { host: "::1".to_owned(), port: 5 };
        assert_eq!(server.to_string(), "[::1]:5");
        assert_eq!(Server::parse("[::1]:5").as_ref(), Some(&server));
        assert_eq!(Server::parse("::1:5").as_ref(), Some(&server), "as Redis writes it");
        assert_eq!(Server::parse(":5"), None);
        assert_eq!(Server::of_ask("ASK 7 ::1:5").as_ref(), Some(&server));
        assert_eq!(Server::of_ask("MOVED 7 ::1:5"), None);
        let servers = Servers::one(0, server);
        assert!(!servers.is_cluster());
        assert_eq!(servers.owner(b"foo"), 0);
    }
}
