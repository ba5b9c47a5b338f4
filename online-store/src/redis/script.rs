//! The scripts: of a view, with the view's own fields put in, and of fences and markers.
//!
//! Pure. Constants in the script, instead of arguments and tables of them, take a third off what a
//! row costs Redis. What changes from attempt to attempt is an argument all the same: a server
//! keeps every script that it was ever given.

use std::fmt::Write as _;

use bytes::Bytes;

use super::wire;

const NEWER_WINS: &str = include_str!("newer_wins.lua");
const REMOVE: &str = include_str!("remove.lua");
const FENCE: &str = include_str!("fence.lua");
const MARKER: &str = include_str!("marker.lua");
/// Pieces that several of them have.
const TIME: &str = include_str!("time.lua");
const INSIDE: &str = include_str!("inside.lua");
const GUARD: &str = include_str!("guard.lua");
const ABOVE: &str = include_str!("above.lua");

/// Features of one `HSET`. Lua has 250 registers for the arguments of a call, and each feature
/// takes two.
const FEATURES_PER_COMMAND: usize = 100;

/// What a correcting call does with a row that is not newer.
const CORRECT: &str =
    "if verdict < 1 and (verdict == 0 or inside(decode(stored))) then verdict = 1 end";

/// By which rules rows of a view are written.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rules {
    pub key_ttl_seconds: u64,
    /// Tells whether a row is compared with what is stored.
    pub compares: bool,
    pub is_fenced: bool,
    pub corrects: bool,
}

/// A script that the servers were given.
#[derive(Clone, Debug)]
pub(super) struct Loaded {
    pub text: Bytes,
    pub sha: Bytes,
}

/// How a call names its script.
#[derive(Clone, Copy, Debug)]
pub(super) enum Script<'a> {
    /// By its SHA-1: the server has it.
    Sha(&'a Bytes),
    /// By its text.
    Text(&'a Bytes),
}

impl Loaded {
    /// The script's name for a call. A server that only takes the call after `ASKING` is about to
    /// get its first slot, maybe, and has not been given the script.
    pub(super) fn call(&self, is_asking: bool) -> Script<'_> {
        if is_asking { Script::Text(&self.text) } else { Script::Sha(&self.sha) }
    }
}

impl Script<'_> {
    /// Appends the head of a call: its name, the script and the number of keys. `arguments` are
    /// those that follow, keys included.
    pub(super) fn start(self, buffer: &mut Vec<u8>, keys: usize, arguments: usize) {
        wire::command(buffer, 3 + arguments);
        let (name, script) = match self {
            Script::Sha(sha) => ("EVALSHA", sha),
            Script::Text(text) => ("EVAL", text),
        };
        wire::argument(buffer, name.as_bytes());
        wire::argument(buffer, script);
        wire::number(buffer, keys as u64);
    }
}

/// The script that writes rows of a view.
pub(super) fn newer_wins(time_field: &[u8], fields: &[Bytes], rules: Rules) -> String {
    let fields: Vec<String> = fields.iter().map(|field| literal(field)).collect();
    NEWER_WINS
        .replace("@guard", if rules.is_fenced { GUARD } else { "" })
        .replace("@time", TIME)
        .replace("@inside", if rules.corrects { INSIDE } else { "" })
        .replace("@correct", if rules.corrects { CORRECT } else { "" })
        .replace(" - @extra", if rules.is_fenced { " - 1" } else { "" })
        .replace("@stamp", &literal(time_field))
        .replace("@ttl", &rules.key_ttl_seconds.to_string())
        .replace("@features", &fields.len().to_string())
        .replace("@fields", &fields.join(", "))
        .replace("@compares", if rules.compares { "true" } else { "false" })
        .replace("@set", &set(&fields))
}

/// The script that removes what a view has of an entity.
pub(super) fn remove(time_field: &[u8], fields: &[Bytes]) -> String {
    let fields: Vec<String> = fields.iter().map(|field| literal(field)).collect();
    REMOVE
        .replace("@guard", GUARD)
        .replace("@time", TIME)
        .replace("@inside", INSIDE)
        .replace("@stamp", &literal(time_field))
        .replace("@fields", &fields.join(", "))
}

/// The script that puts a fence up.
pub(super) fn fence() -> String {
    FENCE.replace("@above", ABOVE)
}

/// The script that notes a commit.
pub(super) fn marker(is_fenced: bool) -> String {
    MARKER.replace("@guard", if is_fenced { GUARD } else { "" }).replace("@above", ABOVE)
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

    fn plain() -> Rules {
        Rules { key_ttl_seconds: 60, compares: true, ..Rules::default() }
    }

    #[test]
    fn bytes_of_every_kind_are_put_in_by_number() {
        let script = newer_wins(b"_ts:v'\n", &[Bytes::from_static(b"\x00\xff")], plain());
        assert!(
            script.contains(r"local stamp, ttl, features = '\095\116\115\058\118\039\010', 60, 1")
        );
        assert!(script.contains(r"run('HSET', key, '\000\255', ARGV[at + 2], stamp, time)"));
    }

    #[test]
    fn no_mark_is_left_in_any_script() {
        let (stamp, fields) = (b"_ts:v", [Bytes::from_static(b"f")]);
        let mut scripts = vec![remove(stamp, &fields), fence(), marker(false), marker(true)];
        for (is_fenced, corrects) in [(false, false), (true, false), (true, true)] {
            scripts.push(newer_wins(stamp, &fields, Rules { is_fenced, corrects, ..plain() }));
        }
        for script in scripts {
            assert!(!script.contains('@'), "{script}");
        }
    }

    #[test]
    fn a_view_without_a_fence_pays_for_none() {
        let script = newer_wins(b"_ts:v", &[], plain());
        assert!(script.contains("for i = 1, #KEYS do"));
        assert!(!script.contains("FENCED") && !script.contains("inside"), "{script}");
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
