//! Instants as texts: those on Feast's command line are read, those of an answer are written.
//!
//! `materialize-incremental END` is read by Python's `datetime.fromisoformat`, `materialize START
//! END` by dateutil, which guesses. What both read the same way is read here; a text that only a
//! guess could make sense of is refused.

mod format;

use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};

pub use format::{offset_minutes, write_iso_offset, write_rfc3339};

/// A text that is no instant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no date and time; write ISO 8601, for example `2024-01-31T23:59:59` (UTC) or \
     `2024-01-31T23:59:59+02:00`"
)]
pub struct Error {
    text: String,
}

/// Reads an instant as `datetime.fromisoformat` of Python 3.11 does; no offset means UTC.
///
/// # Units
/// Microseconds since the epoch; further decimals are cut, as in Python.
/// # Errors
/// [`Error`] when the text is no ISO 8601 date and time.
pub fn parse_iso(text: &str) -> Result<i64, Error> {
    iso(text.trim()).ok_or_else(|| Error { text: text.to_owned() })
}

/// Reads an instant as dateutil does where it need not guess.
///
/// Beyond ISO 8601: `2024/01/31`, `01/31/2024` (month first), `Jan 31 2024`, `31 January 2024`,
/// each with an optional `HH:MM[:SS]`, and a time alone, which means today.
/// # Units
/// Microseconds since the epoch.
/// # Errors
/// [`Error`] for anything else.
pub fn parse_lenient(text: &str, now: DateTime<Utc>) -> Result<i64, Error> {
    let trimmed = text.trim();
    iso(trimmed)
        .or_else(|| written_out(trimmed, now))
        .ok_or_else(|| Error { text: text.to_owned() })
}

fn iso(text: &str) -> Option<i64> {
    let (date, rest) = iso_date(text)?;
    if rest.is_empty() {
        return Some(micros(date.and_time(NaiveTime::MIN), 0));
    }
    // Any one character may separate date and time.
    let mut characters = rest.chars();
    characters.next()?;
    let (time, offset_micros) = iso_time_and_offset(characters.as_str())?;
    Some(micros(date.and_time(time), offset_micros))
}

fn micros(instant: NaiveDateTime, offset_micros: i64) -> i64 {
    instant.and_utc().timestamp_micros() - offset_micros
}

fn digits(text: &str, count: usize) -> Option<(u32, &str)> {
    let head = text.get(..count)?;
    head.bytes().all(|byte| byte.is_ascii_digit()).then_some(())?;
    Some((head.parse().ok()?, &text[count..]))
}

/// `YYYY-MM-DD`, `YYYYMMDD`, `YYYY-Www[-D]` or `YYYYWww[D]`.
fn iso_date(text: &str) -> Option<(NaiveDate, &str)> {
    let (year, rest) = digits(text, 4)?;
    let year = i32::try_from(year).ok()?;
    let dashed = rest.strip_prefix('-');
    let extended = dashed.is_some();
    let rest = dashed.unwrap_or(rest);
    if let Some(rest) = rest.strip_prefix('W') {
        let (week, rest) = digits(rest, 2)?;
        let day = if extended { rest.strip_prefix('-') } else { Some(rest) };
        let (day, rest) = match day.and_then(|rest| digits(rest, 1)) {
            Some((day, rest)) => (day, rest),
            None => (1, rest),
        };
        let weekday = chrono::Weekday::try_from(u8::try_from(day.checked_sub(1)?).ok()?).ok()?;
        return Some((NaiveDate::from_isoywd_opt(year, week, weekday)?, rest));
    }
    let (month, rest) = digits(rest, 2)?;
    let rest = if extended { rest.strip_prefix('-')? } else { rest };
    let (day, rest) = digits(rest, 2)?;
    Some((NaiveDate::from_ymd_opt(year, month, day)?, rest))
}

fn iso_time_and_offset(text: &str) -> Option<(NaiveTime, i64)> {
    if let Some(time) = text.strip_suffix('Z') {
        return Some((iso_time(time)?.0, 0));
    }
    match text.find(['+', '-']) {
        None => Some((iso_time(text)?.0, 0)),
        Some(at) => {
            let sign = if text[at..].starts_with('-') { -1 } else { 1 };
            let (offset, offset_micros) = iso_time(&text[at + 1..])?;
            let seconds = i64::from(chrono::Timelike::num_seconds_from_midnight(&offset));
            Some((iso_time(&text[..at])?.0, sign * (seconds * 1_000_000 + offset_micros)))
        }
    }
}

/// `HH[:MM[:SS[.f…]]]` or without colons; the time, and its microseconds once more.
fn iso_time(text: &str) -> Option<(NaiveTime, i64)> {
    let (hour, rest) = digits(text, 2)?;
    let extended = rest.starts_with(':');
    let next = |rest: &str| -> Option<(u32, usize)> {
        let body = if extended { rest.strip_prefix(':')? } else { rest };
        let (number, tail) = digits(body, 2)?;
        Some((number, tail.len()))
    };
    let (mut minute, mut second, mut rest) = (0, 0, rest);
    if let Some((number, left)) = next(rest) {
        (minute, rest) = (number, &rest[rest.len() - left..]);
        if let Some((number, left)) = next(rest) {
            (second, rest) = (number, &rest[rest.len() - left..]);
        }
    }
    let mut fraction = 0;
    if let Some(decimals) = rest.strip_prefix(['.', ',']) {
        let all_digits = !decimals.is_empty() && decimals.bytes().all(|byte| byte.is_ascii_digit());
        all_digits.then_some(())?;
        let six: String = decimals.chars().chain("000000".chars()).take(6).collect();
        fraction = six.parse().ok()?;
    } else if !rest.is_empty() {
        return None;
    }
    Some((NaiveTime::from_hms_micro_opt(hour, minute, second, fraction)?, i64::from(fraction)))
}

const DATES: [&str; 8] = [
    "%Y/%m/%d",
    "%m/%d/%Y",
    "%b %d %Y",
    "%b %d, %Y",
    "%B %d %Y",
    "%B %d, %Y",
    "%d %b %Y",
    "%d %B %Y",
];

fn written_out(text: &str, now: DateTime<Utc>) -> Option<i64> {
    let (text, offset) = split_offset(text);
    let instant = date_and_time(text).or_else(|| {
        let time = clock(text)?;
        Some(now.date_naive().and_time(time))
    })?;
    let offset = TimeDelta::seconds(i64::from(offset.map_or(0, |offset| offset.local_minus_utc())));
    Some((instant - offset).and_utc().timestamp_micros())
}

fn date_and_time(text: &str) -> Option<NaiveDateTime> {
    let date = |text: &str| DATES.iter().find_map(|f| NaiveDate::parse_from_str(text, f).ok());
    if let Some(date) = date(text) {
        return Some(date.and_time(NaiveTime::MIN));
    }
    let (day, time) = text.rsplit_once(' ')?;
    Some(date(day.trim_end())?.and_time(clock(time)?))
}

fn clock(text: &str) -> Option<NaiveTime> {
    ["%H:%M:%S%.f", "%H:%M"].iter().find_map(|f| NaiveTime::parse_from_str(text, f).ok())
}

/// A trailing `Z`, `UTC` or `±HH:MM`.
fn split_offset(text: &str) -> (&str, Option<FixedOffset>) {
    for suffix in ["Z", "UTC", "GMT"] {
        if let Some(rest) = text.strip_suffix(suffix) {
            return (rest.trim_end(), None);
        }
    }
    let Some(at) = text.rfind(['+', '-']) else { return (text, None) };
    match text[at..].parse::<FixedOffset>() {
        Ok(offset) => (text[..at].trim_end(), Some(offset)),
        Err(_) => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        DateTime::parse_from_rfc3339(text).expect("RFC 3339").timestamp_micros()
    }

    #[test]
    fn iso_forms_read_as_in_python() {
        for (text, instant) in [
            ("2024-01-02", "2024-01-02T00:00:00Z"),
            ("20240102", "2024-01-02T00:00:00Z"),
            ("2024-01-02T03", "2024-01-02T03:00:00Z"),
            ("2024-01-02 03:04", "2024-01-02T03:04:00Z"),
            ("2024-01-02T03:04:05", "2024-01-02T03:04:05Z"),
            ("20240102T030405", "2024-01-02T03:04:05Z"),
            ("2024-01-02T03:04:05.6", "2024-01-02T03:04:05.6Z"),
            ("2024-01-02T03:04:05.123456789", "2024-01-02T03:04:05.123456Z"),
            ("2024-01-02T03:04:05Z", "2024-01-02T03:04:05Z"),
            ("2024-01-02T03:04:05+05:30", "2024-01-01T21:34:05Z"),
            ("2024-01-02T03:04:05-0100", "2024-01-02T04:04:05Z"),
            ("2024-W01-2", "2024-01-02T00:00:00Z"),
            ("2024W012T03:04", "2024-01-02T03:04:00Z"),
            ("1960-01-01", "1960-01-01T00:00:00Z"),
        ] {
            assert_eq!(parse_iso(text), Ok(at(instant)), "{text}");
        }
    }

    #[test]
    fn other_forms_are_no_iso() {
        for text in [
            "",
            "2024",
            "2024-1-2",
            "2024-13-01",
            "2024-02-30",
            "Jan 1 2024",
            "2024-01-02T",
            "now",
            "2024-01-02T03:04:05.",
            "2024-01-02T25:00",
            "2024-01-02T03:04:05+",
        ] {
            assert!(parse_iso(text).is_err(), "{text}");
        }
    }

    #[test]
    fn written_out_dates_are_read() {
        let now = DateTime::from_timestamp(1_704_153_600, 0).expect("in range");
        for (text, instant) in [
            ("Jan 1 2024", "2024-01-01T00:00:00Z"),
            ("January 1, 2024", "2024-01-01T00:00:00Z"),
            ("1 Jan 2024 10:30", "2024-01-01T10:30:00Z"),
            ("01/31/2024", "2024-01-31T00:00:00Z"),
            ("2024/01/31 10:30:01 UTC", "2024-01-31T10:30:01Z"),
            ("2024/01/31 10:30:01+02:00", "2024-01-31T08:30:01Z"),
            ("10:30", "2024-01-02T10:30:00Z"),
            ("2024-01-01T00:00:00", "2024-01-01T00:00:00Z"),
        ] {
            assert_eq!(parse_lenient(text, now), Ok(at(instant)), "{text}");
        }
        assert!(parse_lenient("next tuesday", now).is_err());
        assert!(parse_lenient("2024-01", now).is_err());
    }
}
