//! The script of a view: `newer_wins.lua` with the view's own fields put in.
//!
//! Pure. Constants in the script, instead of arguments and tables of them, take a third off what a
//! row costs Redis.

use std::fmt::Write as _;

use bytes::Bytes;

const TEMPLATE: &str = include_str!("newer_wins.lua");

/// Features up to which one call of `HSET` stands in the script word for word. Lua has 250
/// registers for the arguments of a call, and each feature takes two.
const INLINE_FEATURES_MAX: usize = 100;

/// The script that writes rows of a view.
pub(super) fn newer_wins(
    time_field: &[u8],
    fields: &[Bytes],
    key_ttl_seconds: u64,
    compares: bool,
) -> String {
    let fields: Vec<String> = fields.iter().map(|field| literal(field)).collect();
    let (tables, set) = if fields.len() <= INLINE_FEATURES_MAX {
        (String::new(), inline(&fields))
    } else {
        (WIDE_TABLE.to_owned(), WIDE_SET.to_owned())
    };
    let tables = format!("local PIECE = 4000\nlocal fields = {{{}}}\n{tables}", fields.join(", "));
    TEMPLATE
        .replace("@stamp", &literal(time_field))
        .replace("@ttl", &key_ttl_seconds.to_string())
        .replace("@features", &fields.len().to_string())
        .replace("@tables", &tables)
        .replace("@compares", if compares { "true" } else { "false" })
        .replace("@set", &set)
}

/// Values and event time in one command. The timestamp is last, as everywhere.
fn inline(fields: &[String]) -> String {
    let mut set = "problem = run('HSET', key, ".to_owned();
    for (index, field) in fields.iter().enumerate() {
        let _ = write!(set, "{field}, ARGV[at + {}], ", index + 2);
    }
    set + "stamp, time)"
}

/// Fields and values in turn, the timestamp last: where a row takes several commands, its event
/// time must not stand before all its values do. Lua's C stack holds 8000 values.
const WIDE_TABLE: &str = "local row = {}
for j = 1, features do row[2 * j - 1] = fields[j] end
row[2 * features + 1] = stamp
";
const WIDE_SET: &str = "for j = 1, features do row[2 * j] = ARGV[at + 1 + j] end
      row[2 * features + 2] = time
      problem = in_pieces('HSET', key, row, 2 * features + 2)";

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
    fn a_wide_view_is_set_in_pieces() {
        let fields = vec![Bytes::from_static(b"f"); INLINE_FEATURES_MAX + 1];
        let script = newer_wins(b"t", &fields, 0, false);
        assert!(script.contains("in_pieces('HSET', key, row") && script.contains("if false then"));
    }
}
