//! Durations as people write them: `90s`, `1h`, `1d12h`.
//!
//! Not Feast's, but needed by the one key of its file that is ours; `model` hands it on.

use std::time::Duration;

/// A duration that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no duration; write for example `30s`, `15m`, `1h`, `2d` or `1d12h`")]
pub struct ParseError {
    text: String,
}

/// Reads a duration: one or more whole numbers, each with a unit.
///
/// # Units
/// `ms`, `s`, `m`, `h`, `d` (24 h), `w` (7 d).
/// # Errors
/// [`ParseError`] for anything else, an empty text and a number without a unit included.
pub fn parse(text: &str) -> Result<Duration, ParseError> {
    let refused = || ParseError { text: text.to_owned() };
    let mut rest = text.trim();
    let mut sum = Duration::ZERO;
    if rest.is_empty() {
        return Err(refused());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(refused)?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let number: u64 = number.parse().map_err(|_| refused())?;
        let millis = number.checked_mul(millis_per(unit).ok_or_else(refused)?);
        let part = Duration::from_millis(millis.ok_or_else(refused)?);
        sum = sum.checked_add(part).ok_or_else(refused)?;
        rest = tail.trim_start();
    }
    Ok(sum)
}

fn millis_per(unit: &str) -> Option<u64> {
    Some(match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "w" => 7 * 86_400_000,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_add_up() {
        assert_eq!(parse("1d12h"), Ok(Duration::from_secs(36 * 3_600)));
        assert_eq!(parse(" 90s "), Ok(Duration::from_secs(90)));
        assert_eq!(parse("250ms"), Ok(Duration::from_millis(250)));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "1", "h", "1 hour", "-1h", "1.5h", "99999999999999999999s", "1h x"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
