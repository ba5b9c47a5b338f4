//! What a Redis server's answer means: counts, values, or a failure and its remedy.
//!
//! Pure. A file of its own because the words of Redis's errors are nobody else's business.
//! Deliberately absent: the loop that applies the remedy (see `redis`).

use std::time::Duration;

use bytes::Bytes;
use fred::error::ErrorKind;
use fred::types::Value;
use model::{FencingToken, RetryPolicy, ViewRef, WriteCounts};

use super::lane::Reply;
use crate::error::{Error, Trouble, hex};

/// What to do before the next try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Wait: the server says that its state will pass.
    Wait,
    /// Wait and connect anew: the connection is lost, or the name may lead elsewhere by now.
    Reconnect,
    /// Load the script again, at once.
    LoadScript,
    /// Nothing helps.
    GiveUp,
}

/// A failed command.
#[derive(Debug)]
pub(super) struct Failure {
    pub error: Error,
    pub remedy: Remedy,
    /// The row of the call at which the script stopped.
    row: Option<usize>,
}

/// Server errors by their first word, with the state they mean and whether another server may
/// answer to the same name.
const TROUBLES: [(&str, Trouble, Remedy); 12] = [
    ("OOM", Trouble::OutOfMemory, Remedy::Wait),
    ("READONLY", Trouble::ReadOnly, Remedy::Reconnect),
    // A primary that became a replica while it was asked to wait for its own.
    ("UNBLOCKED", Trouble::ReadOnly, Remedy::Reconnect),
    ("LOADING", Trouble::Loading, Remedy::Wait),
    ("BUSY", Trouble::Busy, Remedy::Wait),
    ("MASTERDOWN", Trouble::MasterDown, Remedy::Reconnect),
    ("CLUSTERDOWN", Trouble::ClusterDown, Remedy::Reconnect),
    ("MOVED", Trouble::Moved, Remedy::Reconnect),
    ("ASK", Trouble::Moved, Remedy::Reconnect),
    ("TRYAGAIN", Trouble::TryAgain, Remedy::Wait),
    ("MISCONF", Trouble::CannotPersist, Remedy::Wait),
    ("NOREPLICAS", Trouble::TooFewReplicas, Remedy::Wait),
];

impl Failure {
    /// A failure that no further try can mend.
    pub(super) fn lasting(error: Error) -> Self {
        Self { error, remedy: Remedy::GiveUp, row: None }
    }

    /// Tells what a command's failure means.
    pub(super) fn of_command(address: &str, source: fred::error::Error) -> Self {
        let address = address.to_owned();
        let word = first_word(source.details()).to_owned();
        let row = row_of(source.details());
        let trouble = TROUBLES.iter().find(|(name, ..)| *name == word);
        let (error, remedy) = match (word.as_str(), trouble) {
            (_, Some(&(_, trouble, remedy))) => {
                (Error::Unavailable { address, trouble, source }, remedy)
            }
            ("NOSCRIPT", _) => (Error::ScriptMissing { address, source }, Remedy::LoadScript),
            ("NOAUTH" | "WRONGPASS" | "NOPERM", _) => {
                (Error::Access { address, source }, Remedy::GiveUp)
            }
            (word, _) if is_server_word(word) => {
                (Error::Refused { address, source }, Remedy::GiveUp)
            }
            // What is left is said by the client: a closed connection, a timeout, a broken frame.
            _ => (Error::Lost { address, source }, Remedy::Reconnect),
        };
        Self { error, remedy, row }
    }

    /// Tells what a failure to connect means.
    pub(super) fn of_connecting(address: &str, source: fred::error::Error) -> Self {
        let is_lost = source.details().is_empty() || !is_server_word(first_word(source.details()));
        if !is_lost || *source.kind() == ErrorKind::Auth {
            let mut failure = Self::of_command(address, source);
            // `ERR AUTH … without any password configured` and the like.
            failure.error = match failure.error {
                Error::Refused { address, source } => Error::Access { address, source },
                other => other,
            };
            return failure;
        }
        let error = Error::Connect { address: address.to_owned(), source };
        let remedy = if error.is_retryable() { Remedy::Reconnect } else { Remedy::GiveUp };
        Self { error, remedy, row: None }
    }

    /// Tells whether the script stopped at a row, with those before it written.
    pub(super) fn stopped_half_way(&self) -> bool {
        self.row.is_some()
    }

    /// Names the key of the row at which the script stopped, where that is what failed.
    pub(super) fn with_key<'a>(
        self,
        view: &ViewRef,
        key_of: impl FnOnce(usize) -> &'a [u8],
    ) -> Self {
        match self.row {
            Some(row) => self.of_key(view, key_of(row)),
            None => self,
        }
    }

    /// Names the key, where it is the key that failed.
    pub(super) fn of_key(mut self, view: &ViewRef, key: &[u8]) -> Self {
        if let Error::Refused { address, source } = &self.error {
            match first_word(source.details()) {
                "WRONGTYPE" => {
                    self.error = Error::WrongType { address: address.clone(), key: hex(key) };
                }
                "BADTIME" => {
                    self.error = Error::StoredTime { view: view.to_string(), key: hex(key) };
                }
                _ => {}
            }
        }
        self
    }

    /// Names whose fence it was, where that is what refused.
    pub(super) fn of_fence(mut self, view: &ViewRef, token: FencingToken) -> Self {
        if let Error::Refused { source, .. } = &self.error
            && let Some(stored) = after_word(source.details(), "FENCED")
        {
            let stored = stored.parse().ok().map(FencingToken);
            self.error = Error::Superseded { view: view.to_string(), token, stored };
        }
        self
    }

    /// Names what a marker met, where that is what refused.
    pub(super) fn of_marker(mut self, view: &ViewRef, sequence: u64) -> Self {
        if let Error::Refused { address, source } = &self.error {
            let (address, details) = (address.clone(), source.details());
            if let Some(stored) = after_word(details, "AHEAD") {
                let stored = stored.split(' ').next().and_then(|number| number.parse().ok());
                let (view, stored) = (view.to_string(), stored.unwrap_or(u64::MAX));
                self.error = Error::MarkerAhead { view, sequence, stored };
            } else if after_word(details, "REPLACED").is_some() {
                self.error = Error::Restarted { address };
            } else if after_word(details, "EMPTIED").is_some() {
                self.error = Error::Emptied { store: address };
            }
        }
        self
    }

    /// The pause before the next try; `None` when there is none.
    pub(super) fn pause(&self, policy: RetryPolicy, failed: u32) -> Option<Duration> {
        let pause = policy.pause_after(failed)?;
        match self.remedy {
            Remedy::GiveUp => None,
            Remedy::LoadScript => Some(Duration::ZERO),
            Remedy::Wait | Remedy::Reconnect => Some(pause),
        }
    }

    /// The error of the last try.
    pub(super) fn give_up(self, attempts: u32) -> Error {
        match self.remedy {
            Remedy::GiveUp => self.error,
            _ => Error::Exhausted { attempts, source: Box::new(self.error) },
        }
    }
}

/// The failure of a read that found an event time of another make.
pub(super) fn bad_time(view: &ViewRef, key: &[u8]) -> Failure {
    Failure::lasting(Error::StoredTime { view: view.to_string(), key: hex(key) })
}

/// What `newer_wins.lua` returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tally {
    written: u64,
    older: u64,
    equal: u64,
    tombstoned: u64,
    equal_tombstones: u64,
    unset: u64,
}

impl Tally {
    /// Rows that were not newer than what is stored.
    pub(super) fn stale(self) -> usize {
        (self.older + self.equal + self.equal_tombstones) as usize
    }

    /// Rows without a stored event time.
    pub(super) fn unset(self) -> usize {
        self.unset as usize
    }

    /// The counts of a call.
    ///
    /// When an earlier try of the same call may have been carried out (`repeated`), rows found
    /// equal in time are most likely its own and count as written. A row that was already there
    /// before that try is then counted as written too: the counts of a broken connection may be
    /// off by that, the stored rows are not.
    pub(super) fn counts(self, repeated: bool) -> WriteCounts {
        let equal = self.equal + self.equal_tombstones;
        if repeated {
            return WriteCounts {
                written: self.written + self.equal,
                stale: self.older,
                tombstoned: self.tombstoned + self.equal_tombstones,
            };
        }
        WriteCounts {
            written: self.written,
            stale: self.older + equal,
            tombstoned: self.tombstoned,
        }
    }
}

/// Reads the script's answer.
pub(super) fn tally(address: &str, answer: Reply<'_>) -> Result<Tally, Failure> {
    let Reply::Array(items) = answer else {
        return Err(unreadable(address, format!("{answer:?} instead of counts")));
    };
    let mut counts = [0; 6];
    if items.iter().len() != counts.len() {
        let what = format!("{} counts instead of {}", items.iter().len(), counts.len());
        return Err(unreadable(address, what));
    }
    for (count, item) in counts.iter_mut().zip(items.iter()) {
        *count = match item {
            Reply::Integer(number) if number >= 0 => number as u64,
            other => return Err(unreadable(address, format!("{other:?} in place of a count"))),
        };
    }
    let [written, older, equal, tombstoned, equal_tombstones, unset] = counts;
    Ok(Tally { written, older, equal, tombstoned, equal_tombstones, unset })
}

/// Reads an answer that says no more than that it was done.
pub(super) fn status(address: &str, answer: Reply<'_>) -> Result<(), Failure> {
    match answer {
        Reply::Status => Ok(()),
        other => Err(unexpected(address, other)),
    }
}

/// A failure in the server's words.
pub(super) fn said(address: &str, text: &str) -> Failure {
    Failure::of_command(address, fred::error::Error::new(ErrorKind::Unknown, text.to_owned()))
}

/// The failure of an answer of another kind than was asked for.
pub(super) fn unexpected(address: &str, answer: Reply<'_>) -> Failure {
    match answer {
        Reply::Error(text) => said(address, text),
        other => unreadable(address, format!("{other:?} in place of an answer")),
    }
}

/// The failure of an answer that no Redis gives.
pub(super) fn unreadable(address: &str, what: String) -> Failure {
    Failure::lasting(Error::Answer { address: address.to_owned(), what })
}

/// Reads an array of byte strings and nils.
pub(super) fn values(
    address: &str,
    answer: Value,
    expected: usize,
) -> Result<Vec<Option<Bytes>>, Failure> {
    let Value::Array(items) = answer else {
        return Err(unreadable(address, "no array".to_owned()));
    };
    if items.len() != expected {
        return Err(unreadable(address, format!("{} values instead of {expected}", items.len())));
    }
    let item = |item| match item {
        Value::Null => Ok(None),
        Value::Bytes(bytes) => Ok(Some(bytes)),
        Value::String(text) => Ok(Some(text.into_inner())),
        other => Err(unreadable(address, format!("{:?} in place of a value", other.kind()))),
    };
    items.into_iter().map(item).collect()
}

/// The error's code.
///
/// Redis before 7 wraps a script's error: `ERR Error running script (…): @user_script:1: -OOM`.
fn first_word(details: &str) -> &str {
    let wrapped = details.strip_prefix("ERR Error running script");
    let text = wrapped.and_then(|text| text.split_once(": -")).map_or(details, |(_, text)| text);
    text.split([' ', '\r', '\n']).next().unwrap_or_default()
}

/// What a script of ours says after its code.
fn after_word<'a>(details: &'a str, word: &str) -> Option<&'a str> {
    (first_word(details) == word).then(|| details.split_once(' ').map_or("", |(_, rest)| rest))
}

/// Errors of the server begin with a code in capitals; errors of the client do not.
fn is_server_word(word: &str) -> bool {
    word.len() > 1 && word.bytes().all(|byte| byte.is_ascii_uppercase())
}

/// The row that `newer_wins.lua` puts at the end of an error.
fn row_of(details: &str) -> Option<usize> {
    let (_, rest) = details.rsplit_once("[row ")?;
    rest.split_once(']')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(details: &str) -> Failure {
        let source = fred::error::Error::new(ErrorKind::Unknown, details.to_owned());
        Failure::of_command("host:1", source)
    }

    fn view() -> ViewRef {
        ViewRef { project: "p".to_owned(), storage_name: "v".to_owned() }
    }

    #[test]
    fn passing_states_are_retried_and_named() {
        for (word, trouble, remedy) in TROUBLES {
            let failure = failure(&format!("{word} whatever the server says"));
            assert_eq!(failure.remedy, remedy, "{word}");
            assert!(failure.error.is_retryable(), "{word}");
            let text = failure.error.to_string();
            assert!(text.contains("host:1") && text.contains(&trouble.to_string()), "{text}");
        }
    }

    #[test]
    fn refusals_that_last_are_not_retried() {
        for details in ["WRONGPASS no", "NOAUTH no", "NOPERM no", "ERR unknown command", "XYZ a"] {
            let failure = failure(details);
            assert_eq!(failure.remedy, Remedy::GiveUp, "{details}");
            assert!(!failure.error.is_retryable(), "{details}");
        }
    }

    #[test]
    fn what_the_client_says_means_a_lost_connection() {
        for details in ["Request timed out.", "Too many failed write attempts.", "Canceled", ""] {
            let failure = failure(details);
            assert_eq!(failure.remedy, Remedy::Reconnect, "{details}");
        }
    }

    #[test]
    fn a_missing_script_has_run_nothing_and_is_loaded_at_once() {
        let failure = failure("NOSCRIPT No matching script. Please use EVAL.");
        assert!(!failure.stopped_half_way());
        let policy = crate::WriteLimits::default().retry;
        assert_eq!(failure.pause(policy, 1), Some(Duration::ZERO));
        assert_eq!(failure.pause(policy, policy.attempts_max), None);
    }

    #[test]
    fn errors_inside_a_script_are_unwrapped() {
        let old = "ERR Error running script (call to f_ab): @user_script:1: -OOM command not";
        assert_eq!(first_word(old), "OOM");
        assert_eq!(first_word("OOM command not allowed [row 3]"), "OOM");
    }

    #[test]
    fn a_key_that_is_no_hash_is_named() {
        let failure = failure("WRONGTYPE Operation against a key [row 2]");
        assert!(failure.stopped_half_way());
        let error = failure.with_key(&view(), |row| [&b"a"[..], b"b", b"\x01\xff"][row]).error;
        assert!(matches!(&error, Error::WrongType { key, .. } if key == "01ff"), "{error}");
    }

    #[test]
    fn equal_rows_of_a_repeated_call_are_its_own() {
        let tally =
            Tally { written: 1, older: 2, equal: 3, tombstoned: 4, equal_tombstones: 5, unset: 0 };
        let first = WriteCounts { written: 1, stale: 10, tombstoned: 4 };
        assert_eq!(tally.counts(false), first);
        let repeated = WriteCounts { written: 4, stale: 2, tombstoned: 9 };
        assert_eq!(tally.counts(true), repeated);
    }
}
