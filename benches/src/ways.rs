//! The ways to write a row that `bench redis` compares, as commands and the replies they must get.

use std::fmt::Write as _;

use anyhow::{Result, ensure};
use harness::Reply;

use crate::dataset::{Day, FEATURES};
use crate::hash::Pair;
use crate::replay::{Connection, Stream};
use crate::tap::Command;

/// What is sent for a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Does {
    /// `HSET`.
    Hset,
    /// `RESTORE` without `REPLACE`.
    Restore,
    /// `HGET` of the event time; nothing is written.
    Look,
    /// The view's script, so many rows a call.
    Script(usize),
    /// The same as a function.
    Function(usize),
    /// `HGET`, then a script that writes where the event time is still what was read.
    LookAndRecheck(usize),
    /// `HGET`, then the view's script.
    LookAndScript(usize),
    /// `WATCH` and `HGET`, then `MULTI`, `HSET` and `EXEC`, so many rows a transaction.
    Watch(usize),
}

/// A way to write a row, and what it meets.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// Its name.
    pub name: &'static str,
    /// What is sent.
    pub does: Does,
    /// The day whose rows are stored before; `None`: none are.
    pub stored: Option<Day>,
    /// The day whose rows are sent.
    pub sent: Day,
    /// The constant of `online-store`'s `route` that this is.
    pub constant: Option<&'static str>,
}

impl Way {
    /// The day whose rows are stored afterwards.
    #[must_use]
    pub fn left(&self) -> Day {
        match (self.does, self.stored) {
            (Does::Restore | Does::Look, Some(stored)) => stored,
            (Does::Script(_) | Does::Function(_), Some(Day::Second)) => Day::Second,
            _ => self.sent,
        }
    }
}

/// Every way, in the order of the table.
#[must_use]
pub fn ways() -> Vec<Way> {
    use Day::{First, Second};
    use Does::{Function, Hset, Look, LookAndRecheck, LookAndScript, Restore, Script, Watch};
    let way = |name, does, stored, sent, constant| Way { name, does, stored, sent, constant };
    let some = |name, does, stored, sent, constant| way(name, does, stored, sent, Some(constant));
    let (none, first, second) = (None, Some(First), Some(Second));
    vec![
        way("HSET, new key", Hset, none, First, None),
        way("HSET, existing key", Hset, first, Second, None),
        some("RESTORE, new key", Restore, none, First, "CREATE"),
        some("RESTORE, refused", Restore, first, First, "CREATE_REFUSED"),
        some("HGET of the event time", Look, first, First, "LOOK"),
        some("script, 50 rows, new key", Script(50), none, First, "JUDGE_UNSET"),
        way("script, 25 rows, newer", Script(25), first, Second, None),
        some("script, 50 rows, newer", Script(50), first, Second, "JUDGE_NEWER"),
        way("script, 100 rows, newer", Script(100), first, Second, None),
        way("script, 25 rows, stale", Script(25), second, First, None),
        some("script, 50 rows, stale", Script(50), second, First, "JUDGE_STALE"),
        way("script, 100 rows, stale", Script(100), second, First, None),
        way("script, 25 rows, equal", Script(25), first, First, None),
        way("script, 50 rows, equal", Script(50), first, First, None),
        way("script, 100 rows, equal", Script(100), first, First, None),
        way("function, 50 rows, newer", Function(50), first, Second, None),
        way("function, 50 rows, stale", Function(50), second, First, None),
        way("function, 50 rows, equal", Function(50), first, First, None),
        way("HGET, script, 50 rows, newer", LookAndScript(50), first, Second, None),
        way("HGET, check in a script, 50 rows", LookAndRecheck(50), first, Second, None),
        way("WATCH, HGET, MULTI, HSET, 50 rows", Watch(50), first, Second, None),
    ]
}

/// A row as sent and as stored: key and fields, the event time first.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// The key.
    pub key: &'a [u8],
    /// What is sent.
    pub sent: &'a [Pair],
    /// What is stored, where anything is.
    pub stored: Option<&'a [Pair]>,
    /// The `RESTORE` of what is sent.
    pub restore: &'a Command,
}

/// The scripts by their SHA-1.
#[derive(Clone, Debug)]
pub struct Scripts {
    /// The view's own.
    pub newer_wins: Vec<u8>,
    /// That of [`recheck_script`].
    pub recheck: Vec<u8>,
}

/// Commands and their replies.
#[derive(Debug, Default)]
pub struct Exchange {
    /// The commands.
    pub stream: Stream,
    /// The replies that must come.
    pub replies: Vec<Reply>,
}

impl Exchange {
    /// Sends the commands.
    ///
    /// # Errors
    /// When a reply is another than it must be.
    pub fn run(&self, connection: &mut Connection) -> Result<()> {
        connection.send(&self.stream, |number, reply| {
            let expected = &self.replies[number];
            ensure!(reply == *expected, "command {number} got {reply:?}, not {expected:?}");
            Ok(())
        })
    }

    /// Adds what a way sends for some rows, except transactions.
    pub fn push(&mut self, way: &Way, rows: &[Row<'_>], scripts: &Scripts) {
        match way.does {
            Does::Hset => rows.iter().for_each(|row| self.hset(row)),
            Does::Restore => rows.iter().for_each(|row| self.restore(row)),
            Does::Look => rows.iter().for_each(|row| self.look(row)),
            Does::Script(_) => self.script(b"EVALSHA", &scripts.newer_wins, way, rows),
            Does::Function(_) => self.script(b"FCALL", FUNCTION, way, rows),
            Does::LookAndRecheck(_) => {
                rows.iter().for_each(|row| self.look(row));
                self.recheck(&scripts.recheck, rows);
            }
            Does::LookAndScript(_) => {
                rows.iter().for_each(|row| self.look(row));
                self.script(b"EVALSHA", &scripts.newer_wins, way, rows);
            }
            Does::Watch(_) => unreachable!("a transaction waits for answers in the middle"),
        }
    }

    /// Adds the first half of a transaction.
    pub fn watch(&mut self, rows: &[Row<'_>]) {
        let keys = rows.iter().map(|row| row.key);
        self.add([b"WATCH".as_slice()].into_iter().chain(keys), Reply::Status("OK".to_owned()));
        rows.iter().for_each(|row| self.look(row));
    }

    /// Adds the second half of a transaction.
    pub fn transact(&mut self, rows: &[Row<'_>]) {
        self.add([b"MULTI".as_slice()], Reply::Status("OK".to_owned()));
        for row in rows {
            self.stream.hset(row.key, row.sent);
            self.replies.push(Reply::Status("QUEUED".to_owned()));
        }
        let changed = rows.iter().map(|row| Reply::Integer(added(row)));
        self.add([b"EXEC".as_slice()], Reply::Array(changed.collect()));
    }

    fn add<'a>(
        &mut self,
        parts: impl IntoIterator<Item = &'a [u8], IntoIter: Clone>,
        reply: Reply,
    ) {
        self.stream.push(parts);
        self.replies.push(reply);
    }

    fn hset(&mut self, row: &Row<'_>) {
        self.stream.hset(row.key, row.sent);
        self.replies.push(Reply::Integer(added(row)));
    }

    fn restore(&mut self, row: &Row<'_>) {
        let reply = match row.stored {
            None => Reply::Status("OK".to_owned()),
            Some(_) => Reply::Error("BUSYKEY Target key name already exists.".to_owned()),
        };
        self.add(row.restore.iter().map(Vec::as_slice), reply);
    }

    fn look(&mut self, row: &Row<'_>) {
        let stored = row.stored.map_or(Reply::Nil, |stored| Reply::Bulk(stored[0].1.clone()));
        self.add([b"HGET".as_slice(), row.key, &row.sent[0].0], stored);
    }

    fn script(&mut self, command: &[u8], name: &[u8], way: &Way, rows: &[Row<'_>]) {
        let count = rows.len().to_string();
        let keys = rows.iter().map(|row| row.key);
        let values = rows.iter().flat_map(|row| row.sent.iter().map(|(_, value)| value.as_slice()));
        let head = [command, name, count.as_bytes()];
        // No tombstones.
        let none: [&[u8]; 1] = [b""];
        let parts = head.into_iter().chain(keys).chain(none).chain(values);
        let rows = rows.len() as i64;
        let tally = match way.stored {
            None => [rows, 0, 0, 0, 0, rows],
            Some(stored) if stored == way.sent => [0, 0, rows, 0, 0, 0],
            Some(Day::First) => [rows, 0, 0, 0, 0, 0],
            Some(Day::Second) => [0, rows, 0, 0, 0, 0],
        };
        self.add(parts, Reply::Array(tally.map(Reply::Integer).into()));
    }

    fn recheck(&mut self, sha: &[u8], rows: &[Row<'_>]) {
        let count = rows.len().to_string();
        let head = [b"EVALSHA".as_slice(), sha, count.as_bytes()];
        let keys = rows.iter().map(|row| row.key);
        let arguments = rows.iter().flat_map(|row| {
            let expected = row.stored.map_or(b"".as_slice(), |stored| &stored[0].1);
            [expected].into_iter().chain(row.sent.iter().map(|(_, value)| value.as_slice()))
        });
        let parts = head.into_iter().chain(keys).chain(arguments);
        self.add(parts, Reply::Integer(rows.len() as i64));
    }
}

/// The name of the view's script as a function.
pub const FUNCTION: &[u8] = b"newer_wins";

/// Fields that `HSET` adds to what is stored.
fn added(row: &Row<'_>) -> i64 {
    if row.stored.is_some() { 0 } else { 1 + FEATURES.len() as i64 }
}

/// A script that writes rows whose stored event time is still what the caller has read. `fields`
/// are those of any row.
///
/// ARGV: for each row the event time that was read, the new one, and the values.
#[must_use]
pub fn recheck_script(fields: &[Pair]) -> String {
    let mut set = String::new();
    for (index, (field, _)) in fields.iter().enumerate() {
        let _ = write!(set, ", {}, ARGV[at + {}]", literal(field), index + 2);
    }
    format!(
        "local at, written = 0, 0\n\
         for i = 1, #KEYS do\n\
         \x20 if redis.call('HGET', KEYS[i], {}) == ARGV[at + 1] then\n\
         \x20   redis.call('HSET', KEYS[i]{set})\n\
         \x20   written = written + 1\n\
         \x20 end\n\
         \x20 at = at + {}\n\
         end\n\
         return written",
        literal(&fields[0].0),
        fields.len() + 1
    )
}

/// Bytes as Lua writes them, every one by its number.
fn literal(bytes: &[u8]) -> String {
    bytes.iter().fold("'".to_owned(), |text, byte| format!("{text}\\{byte:03}")) + "'"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cost_of_the_routes_is_measured_once() {
        let mut constants: Vec<_> = ways().iter().filter_map(|way| way.constant).collect();
        constants.sort_unstable();
        let costs =
            ["CREATE", "CREATE_REFUSED", "JUDGE_NEWER", "JUDGE_STALE", "JUDGE_UNSET", "LOOK"];
        assert_eq!(constants, costs);
    }

    #[test]
    fn a_stale_row_changes_nothing_and_a_newer_one_stays() {
        let left = |does, stored, sent| Way { name: "", does, stored, sent, constant: None }.left();
        assert_eq!(left(Does::Script(1), Some(Day::Second), Day::First), Day::Second);
        assert_eq!(left(Does::Script(1), Some(Day::First), Day::Second), Day::Second);
        assert_eq!(left(Does::Restore, Some(Day::First), Day::Second), Day::First);
        assert_eq!(left(Does::Restore, None, Day::Second), Day::Second);
    }
}
