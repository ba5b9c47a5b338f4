//! Recorded instruction counts: their file, and how new ones compare.
//!
//! Pure. One line a case, so that a change shows in a diff.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context, Result};

/// How far a count may grow. Compilers and libraries move it by a few percent; a copy of every
/// value or a check of every byte moves it by more than this.
pub const TOLERANCE_PERCENT: f64 = 10.0;

const HEAD: &str = "\
# Instructions a row, counted by valgrind in the profile `instructions`, x86-64.
# Written by `cargo xtask bench instructions --update`; compared by `cargo xtask test`.
";

/// Instructions a row by case.
#[derive(Clone, Debug, PartialEq)]
pub struct Baseline {
    /// The counts.
    pub counts: BTreeMap<String, f64>,
}

impl Baseline {
    /// Reads the file's text.
    ///
    /// # Errors
    /// When a line is not a name and a number.
    pub fn parse(text: &str) -> Result<Self> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let counts = lines.map(|line| {
            let (name, count) = line
                .rsplit_once(' ')
                .and_then(|(name, count)| Some((name.trim().to_owned(), count.parse().ok()?)))
                .with_context(|| format!("`{line}` is not a name and a number"))?;
            Ok((name, count))
        });
        Ok(Self { counts: counts.collect::<Result<_>>()? })
    }

    /// The file's text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = HEAD.to_owned();
        for (name, count) in &self.counts {
            let _ = writeln!(text, "{name:<24} {count:>8.0}");
        }
        text
    }

    /// A table of these counts and new ones; and the cases that have grown by more than
    /// [`TOLERANCE_PERCENT`] or that only one of the two has.
    #[must_use]
    pub fn compare(&self, now: &Self) -> (String, Vec<String>) {
        let mut table = format!("{:<24} {:>8} {:>8} {:>8}", "case", "recorded", "now", "change");
        let mut grown = Vec::new();
        let mut names: Vec<&String> = self.counts.keys().chain(now.counts.keys()).collect();
        names.sort();
        names.dedup();
        for name in names {
            let (then, now) = (self.counts.get(name), now.counts.get(name));
            let percent = then.zip(now).map(|(then, now)| (now / then - 1.0) * 100.0);
            // Nothing compares with a recorded zero or with no number.
            if !percent.is_some_and(|percent| percent <= TOLERANCE_PERCENT) {
                grown.push(format!("`{name}`"));
            }
            let cell = |count: Option<&f64>| count.map_or("–".to_owned(), |n| format!("{n:.0}"));
            let change = percent.map_or("–".to_owned(), |percent| format!("{percent:+.1} %"));
            let _ = write!(table, "\n{name:<24} {:>8} {:>8} {change:>8}", cell(then), cell(now));
        }
        (table, grown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn baseline(counts: &[(&str, f64)]) -> Baseline {
        let counts = counts.iter().map(|&(name, count)| (name.to_owned(), count));
        Baseline { counts: counts.collect() }
    }

    #[test]
    fn what_is_written_is_read() -> Result<()> {
        let counts = baseline(&[("encode", 12.0), ("a-name-longer-than-its-column", 1e6)]);
        assert_eq!(Baseline::parse(&counts.to_text())?, counts);
        assert!(Baseline::parse("encode many\n").is_err());
        Ok(())
    }

    #[test]
    fn growth_is_told_and_less_is_not() {
        let then = baseline(&[("a", 100.0), ("b", 100.0), ("c", 100.0)]);
        let now = baseline(&[("a", 111.0), ("b", 109.0), ("c", 50.0)]);
        let (table, grown) = then.compare(&now);
        assert_eq!(grown, ["`a`"]);
        assert!(table.contains("+11.0 %") && table.contains("-50.0 %"), "{table}");
    }

    #[test]
    fn a_case_that_one_side_lacks_is_told() {
        let (_, grown) = baseline(&[("a", 1.0)]).compare(&baseline(&[("b", 1.0)]));
        assert_eq!(grown, ["`a`", "`b`"]);
        assert_eq!(baseline(&[("a", 0.0)]).compare(&baseline(&[("a", 1.0)])).1, ["`a`"]);
    }
}
