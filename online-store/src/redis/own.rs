//! The keys that are ours and not Feast's: fences, markers and nonces.
//!
//! Pure. A file of its own because their names are a contract with every other program at the same
//! Redis. A name begins with [`OWN_KEY_PREFIX`], which no entity key does, and ends with a colon,
//! which no project does, so that Feast's deletions by `*<project>` pass them over.

use std::sync::LazyLock;

use model::ViewRef;

use super::connection::Servers;

/// With what every key of ours in Redis begins; a key of Feast's begins with a number of join keys
/// or with a type, neither of which reaches so far.
pub const OWN_KEY_PREFIX: &[u8] = b"__tidegate__:";

/// Slots that have a marker and a nonce in a cluster. Few enough to be asked within one pipeline a
/// server, and close enough together that servers with a fair share of the slots have some.
const MARKED_SLOTS: usize = 64;

/// Slots of a cluster.
const SLOTS: usize = 16_384;

/// For each slot a number that, as a hash tag, leads to it.
static TAGS: LazyLock<Vec<u32>> = LazyLock::new(|| {
    let mut tags = vec![None; SLOTS];
    let mut missing = SLOTS;
    for tag in 0_u32.. {
        let mut digits = itoa::Buffer::new();
        let slot = usize::from(Servers::slot(digits.format(tag).as_bytes()));
        if tags[slot].is_none() {
            tags[slot] = Some(tag);
            missing -= 1;
        }
        if missing == 0 {
            break;
        }
    }
    tags.into_iter().flatten().collect()
});

/// The names of a view's keys.
#[derive(Clone, Debug)]
pub(super) struct Own {
    view: ViewRef,
}

impl Own {
    pub(super) fn new(view: &ViewRef) -> Self {
        Self { view: view.clone() }
    }

    /// The fence beside the keys of a slot.
    pub(super) fn fence(&self, slot: u16) -> Vec<u8> {
        self.of_view(slot, "fence")
    }

    /// The fence that guards a key.
    pub(super) fn fence_of(&self, key: &[u8], is_cluster: bool) -> Vec<u8> {
        self.fence(if is_cluster { Servers::slot(key) } else { 0 })
    }

    pub(super) fn marker(&self, slot: u16) -> Vec<u8> {
        self.of_view(slot, "marker")
    }

    /// One for all views of a project: whatever empties a server empties it of all.
    pub(super) fn nonce(&self, slot: u16) -> Vec<u8> {
        name(slot, "nonce", &self.view.project)
    }

    fn of_view(&self, slot: u16, kind: &str) -> Vec<u8> {
        name(slot, kind, &format!("{}:{}", self.view.project, self.view.storage_name))
    }
}

fn name(slot: u16, kind: &str, of: &str) -> Vec<u8> {
    let tag = TAGS[usize::from(slot)];
    let mut name = OWN_KEY_PREFIX.to_vec();
    name.extend(format!("{{{tag}}}:{kind}:{of}:").into_bytes());
    name
}

/// Every slot that has a fence: all there are, or the one that stands for a single server.
pub(super) fn fenced_slots(servers: &Servers) -> Vec<u16> {
    if servers.is_cluster() { (0..SLOTS as u16).collect() } else { vec![0] }
}

/// The slots whose markers are read.
pub(super) fn marked_slots(servers: &Servers) -> Vec<u16> {
    let step = SLOTS / MARKED_SLOTS;
    if servers.is_cluster() { (0..SLOTS as u16).step_by(step).collect() } else { vec![0] }
}

/// The slots in which something is kept of every server: those of [`marked_slots`], and one of
/// each server that has none of them.
pub(super) fn slots_of_all(servers: &Servers) -> Vec<u16> {
    let mut slots = marked_slots(servers);
    let has = |slots: &[u16], server: usize| {
        slots.iter().any(|&slot| servers.owner_of_slot(slot) == server)
    };
    for server in 0..servers.list().len() {
        if !has(&slots, server) {
            slots.extend((0..SLOTS as u16).find(|&slot| servers.owner_of_slot(slot) == server));
        }
    }
    slots
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(project: &str, name: &str) -> Own {
        Own::new(&ViewRef { project: project.to_owned(), storage_name: name.to_owned() })
    }

    #[test]
    fn every_slot_has_a_tag_that_leads_to_it() {
        let own = own("project", "a{b}c");
        for slot in 0..SLOTS as u16 {
            for key in [own.fence(slot), own.marker(slot), own.nonce(slot)] {
                assert_eq!(Servers::slot(&key), slot, "{}", String::from_utf8_lossy(&key));
            }
        }
        let key = b"\x01\0\0\0some entity";
        assert_eq!(Servers::slot(&own.fence_of(key, true)), Servers::slot(key));
        assert_eq!(own.fence_of(key, false), own.fence(0));
    }

    #[test]
    fn names_are_told_apart_and_end_with_no_project() {
        let (one, two) = (own("a", "b"), own("a", "c"));
        assert_eq!(one.nonce(5), two.nonce(5));
        assert_ne!(one.marker(5), two.marker(5));
        assert_ne!(one.marker(5), one.fence(5));
        for key in [one.nonce(5), one.marker(5), one.fence(5)] {
            assert!(key.starts_with(OWN_KEY_PREFIX) && key.ends_with(b":"));
        }
        let words = String::from_utf8(one.fence(0)).expect("a text");
        assert_eq!(words, format!("__tidegate__:{{{}}}:fence:a:b:", TAGS[0]));
    }
}
