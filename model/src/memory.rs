//! Memory of the online store's servers, and whether a run fits into it.
//!
//! Pure, so that what an operator is warned of can be worked out again. Deliberately absent: how a
//! server is asked and what a row takes there (see `online-store`).

use std::fmt;

use crate::byte_size::ByteSize;

/// Memory of one server that has a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryState {
    /// Host and port.
    pub address: String,
    /// Bytes in use.
    pub used_bytes: u64,
    /// The limit in bytes, `maxmemory`; `None` where there is none.
    pub limit_bytes: Option<u64>,
    /// What the server does at the limit, `maxmemory-policy`.
    pub policy: String,
}

/// The size of one row on its way to the online store, as far as a plan can tell.
///
/// # Units
/// Bytes; of columns of varying width, the mean.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowSize {
    /// The store's key.
    pub key: u64,
    /// One entry a feature, in the order of the view.
    pub values: Vec<u64>,
}

/// What a run may add to the store: an upper bound, since rows that are there already add nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Rows.
    pub rows: u64,
    /// Bytes that they take in the store.
    pub bytes: u64,
}

impl Load {
    /// Adds another view's load.
    pub fn add(&mut self, other: Self) {
        self.rows += other.rows;
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// A server whose limit a run may cross.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortage {
    state: MemoryState,
    limit_bytes: u64,
    servers: usize,
    load: Load,
}

/// The servers whose limit a load may cross. Keys spread evenly over the servers of a cluster.
pub fn shortages(states: &[MemoryState], load: Load) -> Vec<Shortage> {
    let servers = states.len().max(1);
    let share = servers as u64;
    let load = Load { rows: load.rows.div_ceil(share), bytes: load.bytes.div_ceil(share) };
    let short = |state: &MemoryState| {
        let limit_bytes = state.limit_bytes?;
        let is_short = state.used_bytes.saturating_add(load.bytes) > limit_bytes;
        is_short.then(|| Shortage { state: state.clone(), limit_bytes, servers, load })
    };
    states.iter().filter_map(short).collect()
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MemoryState { address, used_bytes, policy, .. } = &self.state;
        write!(
            f,
            "Redis at `{address}` uses {} of its `maxmemory` of {}, and this run may add {}",
            ByteSize(*used_bytes),
            ByteSize(self.limit_bytes),
            ByteSize(self.load.bytes),
        )?;
        write!(f, " ({} rows", self.load.rows)?;
        if self.servers > 1 {
            write!(f, " on each of {} servers", self.servers)?;
        }
        write!(f, "; an estimate from above: rows that are stored already add nothing). ")?;
        match policy.as_str() {
            "noeviction" => write!(f, "At the limit it refuses to write (`noeviction`)")?,
            _ => write!(f, "At the limit it evicts keys (`{policy}`), which fails the run")?,
        }
        write!(f, "; raise `maxmemory`, or materialize fewer views or a shorter interval")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(used_bytes: u64, limit_bytes: Option<u64>) -> MemoryState {
        MemoryState {
            address: "h:1".to_owned(),
            used_bytes,
            limit_bytes,
            policy: "noeviction".to_owned(),
        }
    }

    #[test]
    fn a_load_up_to_the_limit_fits() {
        let states = [state(600, Some(1_000))];
        assert!(shortages(&states, Load { rows: 4, bytes: 400 }).is_empty());
        assert_eq!(shortages(&states, Load { rows: 4, bytes: 401 }).len(), 1);
    }

    #[test]
    fn without_a_limit_everything_fits() {
        let load = Load { rows: 1, bytes: u64::MAX };
        assert!(shortages(&[state(1, None)], load).is_empty());
        assert!(shortages(&[], load).is_empty());
    }

    #[test]
    fn servers_share_the_load_and_the_short_one_is_named() {
        let full = MemoryState { address: "h:2".to_owned(), ..state(950, Some(1_000)) };
        let states = [state(0, Some(1_000)), full, state(990, None)];
        let short = shortages(&states, Load { rows: 300, bytes: 300 });
        assert_eq!(short.len(), 1);
        let text = short[0].to_string();
        assert!(
            text.contains("`h:2`") && text.contains("(100 rows on each of 3 servers"),
            "{text}"
        );
    }

    #[test]
    fn a_shortage_names_the_numbers_the_policy_and_the_way_out() {
        let mut full = state(3 << 20, Some(4 << 20));
        let load = Load { rows: 10_000, bytes: 2_621_440 };
        let text = shortages(std::slice::from_ref(&full), load)[0].to_string();
        for words in
            ["3.0 MiB", "4.0 MiB", "2.5 MiB", "10000 rows", "refuses to write", "raise `maxmemory`"]
        {
            assert!(text.contains(words), "{words}: {text}");
        }
        full.policy = "allkeys-lru".to_owned();
        let text = shortages(&[full], load)[0].to_string();
        assert!(text.contains("evicts keys (`allkeys-lru`)"), "{text}");
    }
}
