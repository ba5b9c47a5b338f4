//! Redis's memory: what a server says of it, and what a row takes there.
//!
//! Pure, and apart from the connection because two questions need it: whether a run fits, and
//! whether keys were evicted while it wrote.

use feast::redis_layout::timestamp_field;
use model::{MemoryState, OnlineView, RowSize};

/// Longest value of a listpack, `hash-max-listpack-value` as Redis comes.
const LISTPACK_VALUE_MAX: u64 = 64;
/// Most fields of a listpack, `hash-max-listpack-entries` of Redis 7; 128 in Redis 8.
const LISTPACK_FIELDS_MAX: usize = 512;
/// A listpack's own header and end mark.
const LISTPACK_FRAME: u64 = 7;
/// A hash field of ours, a murmur3 hash.
const FIELD_BYTES: u64 = 4;
/// A serialized timestamp of our time: tags, seconds and nanoseconds.
const TIMESTAMP_BYTES: u64 = 12;
/// An entry of a hash table: key, value and next, rounded up.
const TABLE_ENTRY: u64 = 32;
/// The share of an entry in its table's array: two pointers in one that has just grown, and one in
/// the array before, which stays until all entries have moved.
const TABLE_SLOT: u64 = 24;
/// The object that stands between a key and its value.
const OBJECT: u64 = 16;
/// The head of a hash table, which a hash that is no listpack has for itself.
const TABLE: u64 = 64;

/// Reads `INFO memory`; `None` when it does not say how much is used.
///
/// # Source
/// Redis 7.0 `INFO`: `maxmemory:0` means no limit.
pub(crate) fn memory_state(address: &str, info: &str) -> Option<MemoryState> {
    let limit = number(info, "maxmemory").filter(|&limit| limit > 0);
    Some(MemoryState {
        address: address.to_owned(),
        used_bytes: number(info, "used_memory")?,
        limit_bytes: limit,
        policy: entry(info, "maxmemory_policy").unwrap_or("noeviction").to_owned(),
    })
}

/// Reads the keys evicted since the server's start from `INFO stats`.
pub(crate) fn evicted_keys(info: &str) -> Option<u64> {
    number(info, "evicted_keys")
}

/// Keys evicted between two readings. A count that has fallen was reset in between
/// (`CONFIG RESETSTAT`), so what it says now is the least.
pub(crate) fn evicted_between(before: u64, after: u64) -> u64 {
    after.checked_sub(before).unwrap_or(after)
}

fn number(info: &str, name: &str) -> Option<u64> {
    entry(info, name)?.parse().ok()
}

fn entry<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    let value = |line: &'a str| line.strip_prefix(name)?.strip_prefix(':');
    info.lines().find_map(value).map(str::trim)
}

/// Bytes that a new row takes: its key with all that Redis keeps beside it, and its hash.
///
/// A row of an entity that another view has stored already shares its key and takes less.
///
/// # Source
/// Redis 7.0 on 64 bits: `dict.c`, `object.c`, `sds.h`, `listpack.c`, each allocation rounded up
/// to jemalloc's size classes as distributions build it; Redis's own build has finer ones.
pub(crate) fn row_bytes(view: &OnlineView, size: &RowSize, expires: bool) -> u64 {
    let time_field = timestamp_field(&view.view.storage_name).len() as u64;
    let fields = size.values.iter().map(|&value| (FIELD_BYTES, value));
    let pairs: Vec<(u64, u64)> = fields.chain([(time_field, TIMESTAMP_BYTES)]).collect();
    let longest = pairs.iter().map(|&(field, value)| field.max(value)).max().unwrap_or(0);
    let hash = if longest <= LISTPACK_VALUE_MAX && pairs.len() <= LISTPACK_FIELDS_MAX {
        let entries = pairs.iter().map(|&(field, value)| packed(field) + packed(value));
        allocated(LISTPACK_FRAME + entries.sum::<u64>())
    } else {
        let entry =
            |&(field, value): &(u64, u64)| TABLE_ENTRY + TABLE_SLOT + text(field) + text(value);
        TABLE + pairs.iter().map(entry).sum::<u64>()
    };
    let expiry = if expires { TABLE_ENTRY + TABLE_SLOT } else { 0 };
    TABLE_ENTRY + TABLE_SLOT + OBJECT + text(size.key) + hash + expiry
}

/// A byte string as an entry of a listpack: head, bytes, and their length again for the way back.
fn packed(bytes: u64) -> u64 {
    let head = match bytes {
        0..64 => 1,
        64..4_096 => 2,
        _ => 5,
    };
    let back = if head + bytes < 128 { 1 } else { 2 };
    head + bytes + back
}

/// A byte string by itself: head, bytes and a final zero.
fn text(bytes: u64) -> u64 {
    let head = match bytes {
        0..32 => 1,
        32..256 => 3,
        256..65_536 => 5,
        _ => 9,
    };
    allocated(head + bytes + 1)
}

/// Rounds up to a size class: 8, multiples of 16 up to 128, then four to a doubling.
fn allocated(bytes: u64) -> u64 {
    let step = match bytes {
        0..=8 => 8,
        9..=128 => 16,
        _ => bytes.next_power_of_two() / 8,
    };
    bytes.next_multiple_of(step).max(8)
}

#[cfg(test)]
mod tests {
    use harness::{Redis, Reply};
    use model::{FeatureColumn, ViewRef};

    use super::*;

    const INFO: &str = "# Memory\r\nused_memory:1048576\r\nused_memory_human:1.00M\r\n\
                        maxmemory:4194304\r\nmaxmemory_human:4.00M\r\n\
                        maxmemory_policy:allkeys-lru\r\n";

    #[test]
    fn memory_is_read_by_whole_names() {
        let state = memory_state("h:1", INFO).expect("it says what is used");
        assert_eq!((state.used_bytes, state.limit_bytes), (1 << 20, Some(4 << 20)));
        assert_eq!((state.address.as_str(), state.policy.as_str()), ("h:1", "allkeys-lru"));
        let unlimited = memory_state("h:1", "used_memory:1\r\nmaxmemory:0\r\n");
        assert_eq!(unlimited.and_then(|state| state.limit_bytes), None);
        assert_eq!(memory_state("h:1", "# Memory\r\n"), None);
    }

    #[test]
    fn evictions_are_counted_across_a_reset() {
        assert_eq!(evicted_keys("# Stats\r\nevicted_keys:17\r\n"), Some(17));
        assert_eq!(evicted_keys("evicted_clients:17\r\n"), None);
        for (before, after, evicted) in [(5, 5, 0), (5, 9, 4), (5, 0, 0), (5, 2, 2)] {
            assert_eq!(evicted_between(before, after), evicted, "{before} to {after}");
        }
    }

    #[test]
    fn sizes_are_rounded_up_to_classes() {
        for (bytes, class) in [
            (0, 8),
            (8, 8),
            (9, 16),
            (57, 64),
            (65, 80),
            (128, 128),
            (129, 160),
            (161, 192),
            (257, 320),
            (321, 384),
            (513, 640),
        ] {
            assert_eq!(allocated(bytes), class, "{bytes}");
        }
    }

    fn view(features: usize) -> OnlineView {
        let feature = |index| FeatureColumn { name: format!("f{index}"), value_type: 4 };
        let storage_name = "driver_hourly_stats".to_owned();
        OnlineView {
            view: ViewRef { project: "p".to_owned(), storage_name },
            features: (0..features).map(feature).collect(),
        }
    }

    fn used(server: &Redis) -> u64 {
        let info = server.command(&["INFO", "memory"]).expect("the server answers");
        let info = String::from_utf8_lossy(info.bytes().expect("it is text")).into_owned();
        memory_state("", &info).expect("it says what is used").used_bytes
    }

    /// Fills a server by a script: hashes as a run leaves them, of random bytes.
    fn fill(server: &Redis, rows: u64, size: &RowSize, ttl: u64) {
        const FILL: &str = "local function text(n, i) return string.rep('k', n - 8) .. \
            struct.pack('>I8', i) end \
            for i = 1, ARGV[1] do local hash = {'_ts:driver_hourly_stats', string.rep('t', 12)} \
            for f = 5, #ARGV do hash[#hash + 1] = struct.pack('>I4', f + 4000000000) \
            hash[#hash + 1] = string.rep('v', ARGV[f]) end \
            local key = text(tonumber(ARGV[2]), i) redis.call('HSET', key, unpack(hash)) \
            if ARGV[3] ~= '0' then redis.call('EXPIRE', key, ARGV[3]) end end";
        let mut arguments = ["EVAL", FILL, "0"].map(str::to_owned).to_vec();
        arguments.extend([rows, size.key, ttl, 0].map(|number| number.to_string()));
        arguments.extend(size.values.iter().map(ToString::to_string));
        let reply = server.command(&arguments).expect("the server answers");
        assert_eq!(reply, Reply::Nil);
    }

    #[test]
    fn the_estimate_is_what_redis_takes_or_a_little_more() {
        // Of entries in a table that has just grown and in one that is full.
        for rows in [17_000, 32_000] {
            for (values, ttl) in
                [(vec![5; 6], 0), (vec![11; 6], 600), (vec![40; 20], 0), (vec![9, 300], 0)]
            {
                let server = Redis::start().expect("`redis-server` is installed");
                let size = RowSize { key: 41, values };
                let before = used(&server);
                fill(&server, rows, &size, ttl);
                let taken = (used(&server) - before) as f64 / rows as f64;
                let estimate = row_bytes(&view(size.values.len()), &size, ttl > 0) as f64;
                let shown = format!("{size:?}, {rows} rows: {estimate} for {taken:.1}");
                assert!(estimate >= taken * 0.98 && estimate <= taken * 1.25, "{shown}");
            }
        }
    }
}
