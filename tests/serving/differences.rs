//! Where the server answers otherwise than Feast 0.67 did, and why.
//!
//! The one list of them: the replays hold every recorded pair to it from both sides, and
//! `docs/serving-differences.md` says the same for people. What is not here is answered as Feast
//! answered it.

use std::collections::BTreeSet;

use crate::site::Mode;

mod grpc;
mod http;

/// What the server answers instead.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ours {
    /// A problem document of this status and code.
    Problem(u16, &'static str),
    /// This status, whatever the body.
    Status(u16),
    /// The same rows and values with these statuses, by column; a value whose status says that
    /// there is none is null.
    Statuses(&'static [(&'static str, &'static [&'static str])]),
    /// These rows, and what that means in words.
    Answer(&'static str, &'static str),
    /// This gRPC code.
    Code(&'static str),
}

/// Some pairs that are answered otherwise, for one reason.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Difference {
    /// Names of recorded files, without the ending.
    pub(crate) pairs: &'static [&'static str],
    pub(crate) modes: &'static [Mode],
    /// What Feast did, in words.
    pub(crate) feast: &'static str,
    pub(crate) ours: Ours,
    pub(crate) why: &'static str,
}

/// Every difference.
pub(crate) fn all() -> impl Iterator<Item = &'static Difference> {
    http::LIST.iter().chain(grpc::LIST)
}

/// The difference of a pair in a mode, if there is one.
pub(crate) fn find(pair: &str, mode: Mode) -> Option<&'static Difference> {
    let is_it = |listed: &&Difference| listed.pairs.contains(&pair) && listed.modes.contains(&mode);
    all().find(is_it)
}

impl Ours {
    /// The same in words.
    fn words(self) -> String {
        match self {
            Self::Problem(status, code) => format!("`{status}`, code `{code}`"),
            Self::Status(status) => format!("`{status}`"),
            Self::Statuses(columns) => {
                let statuses: BTreeSet<_> =
                    columns.iter().flat_map(|(_, statuses)| *statuses).collect();
                let others = statuses.into_iter().filter(|status| **status != P);
                let others: Vec<_> = others.map(|status| format!("`{status}`")).collect();
                format!("{} where Feast says `{P}`", others.join(", "))
            }
            Self::Answer(_, words) => words.to_owned(),
            Self::Code(code) => format!("`{code}`"),
        }
    }
}

impl Difference {
    /// Its row in the page.
    fn row(&self) -> String {
        let short = |pair: &&str| format!("`{}`", pair.trim_start_matches("http/"));
        let pairs: Vec<_> = self.pairs.iter().map(short).collect();
        let modes = match self.modes {
            [Mode::Strict] => "default",
            [Mode::Compat] => "`compat: feast`",
            _ => "both",
        };
        let ours = self.ours.words();
        format!("| {} | {modes} | {} | {ours} | {} |", pairs.join(", "), self.feast, self.why)
    }
}

const STRICT: &[Mode] = &[Mode::Strict];
const COMPAT: &[Mode] = &[Mode::Compat];
const BOTH: &[Mode] = &Mode::BOTH;

const P: &str = "PRESENT";
const NULL: &str = "NULL_VALUE";
const GONE: &str = "NOT_FOUND";
const OLD: &str = "OUTSIDE_MAX_AGE";

/// What Feast does wherever Python raised something that it has no class for.
const FEAST_500: &str = "`500`, Python's message as a JSON text";
/// What Feast does when it has a class for it.
const FEAST_CLASS: &str = "its own class as JSON inside a JSON text";
/// What Feast says of anything that it was asked for.
const FEAST_PRESENT: &str = "`PRESENT`";
/// What FastAPI says of a body.
const FEAST_422: &str = "`422`, FastAPI's list of errors";

#[cfg(test)]
mod tests {
    use std::path::Path;

    use anyhow::Result;

    use super::*;
    use crate::recorded::{calls, pairs};

    #[test]
    fn every_difference_is_of_a_recorded_pair_and_stands_there_once() -> Result<()> {
        let mut recorded: BTreeSet<_> = pairs()?.into_iter().map(|pair| pair.name).collect();
        recorded.extend(calls()?.into_iter().map(|call| call.name));
        let mut seen = BTreeSet::new();
        for difference in all() {
            for (pair, mode) in difference
                .pairs
                .iter()
                .flat_map(|pair| difference.modes.iter().map(move |m| (pair, m)))
            {
                assert!(recorded.contains(*pair), "`{pair}` was never recorded");
                assert!(seen.insert((pair, mode)), "`{pair}` stands there twice");
            }
        }
        Ok(())
    }

    #[test]
    fn the_page_has_the_rows_of_the_list_and_no_others() -> Result<()> {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/serving-differences.md");
        let page = std::fs::read_to_string(page)?;
        let shown: Vec<_> = page.lines().filter(|line| line.starts_with("| `")).collect();
        let wanted: Vec<_> = all().map(Difference::row).collect();
        assert!(shown == wanted, "the table of the page is to be\n{}", wanted.join("\n"));
        Ok(())
    }
}
