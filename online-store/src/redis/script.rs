//! The script of a view: `newer_wins.lua` with the view's own fields put in.
//!
//! Pure. Constants in the script, instead of arguments and tables of them, take a third off what a
//! row costs Redis.

use std::fmt::Write as _;

use bytes::Bytes;

const TEMPLATE: &str = include_str!("newer_wins.lua");

/// Features of one `HSET`. Lua has 250 registers for the arguments of a call, and each feature
/// takes two.
const FEATURES_PER_COMMAND: usize = 100;

/// The script that writes rows of a view.
pub(super) fn newer_wins(
    time_field: &[u8],
    fields: &[Bytes],
    key_ttl_seconds: u64,
    compares: bool,
) -> String {
    let fields: Vec<String> = fields.iter().map(|field| literal(field)).collect();
    TEMPLATE
        .replace("@stamp", &literal(time_field))
        .replace("@ttl", &key_ttl_seconds.to_string())
        .replace("@features", &fields.len().to_string())
        .replace("@fields", &fields.join(", "))
        .replace("@compares", if compares { "true" } else { "false" })
        .replace("@set", &set(&fields))
}

/// The commands that set a row's values, word for word. The timestamp comes with the last: where a
/// row takes several, its event time must not stand before all its values do.
fn set(fields: &[String]) -> String {
    let mut set = String::new();
    for (index, field) in fields.iter().enumerate() {
        if index > 0 && index % FEATURES_PER_COMMAND == 0 {
            set.truncate(set.len() - ", ".len());
            set.push_str(
                ")\n      if type(problem) == 'table' then return failed(i, problem) end\n",
            );
        }
        if index % FEATURES_PER_COMMAND == 0 {
            set.push_str("      problem = run('HSET', key, ");
        }
        let _ = write!(set, "{field}, ARGV[at + {}], ", index + 2);
    }
    if fields.is_empty() {
        set.push_str("      problem = run('HSET', key, ");
    }
    set.trim_start().to_owned() + "stamp, time)"
}

/// Bytes as Lua writes them, every one by its number.
fn literal(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 + 4 * bytes.len());
    text.push('\'');
    for byte in bytes {
        let _ = write!(text, "\\{byte:03}");
    }
    text.push('\'');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_every_kind_are_put_in_by_number() {
        let script = newer_wins(b"_ts:v'\n", &[Bytes::from_static(b"\x00\xff")], 60, true);
        assert!(
            script.contains(r"local stamp, ttl, features = '\095\116\115\058\118\039\010', 60, 1")
        );
        assert!(script.contains(r"run('HSET', key, '\000\255', ARGV[at + 2], stamp, time)"));
        assert!(!script.contains('@'), "{script}");
    }

    #[test]
    fn a_wide_view_is_set_in_several_commands_and_its_time_last() {
        for (features, commands) in [(0, 1), (1, 1), (100, 1), (101, 2), (250, 3)] {
            let fields = vec![Bytes::from_static(b"f"); features];
            let set = set(&fields.iter().map(|field| literal(field)).collect::<Vec<_>>());
            assert_eq!(set.matches("run('HSET', key, ").count(), commands, "{features}");
            assert_eq!(set.matches("ARGV[at").count(), features);
            assert_eq!(set.matches("stamp, time)").count(), 1);
            assert!(set.starts_with("problem") && set.ends_with("stamp, time)"), "{set}");
        }
    }
}
