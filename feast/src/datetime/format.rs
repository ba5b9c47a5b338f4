//! Instants as the texts of a feature server's answers.
//!
//! Written digit by digit into the response, because there is one an entity and feature.
//! Deliberately absent: numpy's and Python's `str()` of times (see `text.rs`).

use crate::text::civil_from_days;

const SECONDS_PER_DAY: i64 = 86_400;

/// 0001-01-01T00:00:00Z, the first second of protobuf's JSON.
const SECONDS_MIN: i64 = -62_135_596_800;
/// 9999-12-31T23:59:59Z, the last second of protobuf's JSON.
const SECONDS_MAX: i64 = 253_402_300_799;
const NANOS_MAX: u32 = 999_999_999;

/// Appends an instant as RFC 3339 in UTC, `2026-11-23T08:03:42.123Z`, with as few decimals of 0, 3,
/// 6 and 9 as hold it.
///
/// An instant outside the years 1 to 9999 is written as the nearest one inside.
///
/// # Units
/// Seconds since the epoch, and the nanoseconds above them.
///
/// # Source
/// Protobuf's JSON of a `Timestamp`.
pub fn write_rfc3339(seconds: i64, nanos: u32, out: &mut Vec<u8>) {
    let (seconds, nanos) = match seconds {
        ..SECONDS_MIN => (SECONDS_MIN, 0),
        SECONDS_MIN..=SECONDS_MAX => (seconds, nanos.min(NANOS_MAX)),
        _ => (SECONDS_MAX, NANOS_MAX),
    };
    write_second(seconds, out);
    let (fraction, places) = match nanos {
        0 => (0, 0),
        nanos if nanos % 1_000_000 == 0 => (nanos / 1_000_000, 3),
        nanos if nanos % 1_000 == 0 => (nanos / 1_000, 6),
        nanos => (nanos, 9),
    };
    if places > 0 {
        out.push(b'.');
        write_digits(fraction, places, out);
    }
    out.push(b'Z');
}

/// Appends an instant as ISO 8601 at an offset from UTC, `2026-11-23T01:03:42-07:00`.
///
/// An instant outside the years 1 to 9999 is written as the nearest one inside.
///
/// # Units
/// Seconds since the epoch, and minutes east of UTC.
///
/// # Source
/// Python's `datetime.isoformat`.
pub fn write_iso_offset(seconds: i64, east_minutes: i32, out: &mut Vec<u8>) {
    let local = seconds.saturating_add(i64::from(east_minutes) * 60);
    write_second(local.clamp(SECONDS_MIN, SECONDS_MAX), out);
    out.push(if east_minutes < 0 { b'-' } else { b'+' });
    let minutes = east_minutes.unsigned_abs();
    write_digits(minutes / 60, 2, out);
    out.push(b':');
    write_digits(minutes % 60, 2, out);
}

/// Minutes east of UTC of a zone written `±HH:MM`; `None` for the name of a zone.
pub fn offset_minutes(zone: &str) -> Option<i32> {
    let (sign, rest) = match zone.as_bytes() {
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let &[h1, h2, b':', m1, m2] = rest else { return None };
    let digit = |byte: u8| byte.is_ascii_digit().then(|| i32::from(byte - b'0'));
    let (hours, minutes) = (digit(h1)? * 10 + digit(h2)?, digit(m1)? * 10 + digit(m2)?);
    // Python's offsets stay below a day.
    (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes))
}

/// Writes `YYYY-MM-DDTHH:MM:SS`; the year has four digits.
fn write_second(seconds: i64, out: &mut Vec<u8>) {
    let (year, month, day) = civil_from_days(seconds.div_euclid(SECONDS_PER_DAY));
    let of_day = seconds.rem_euclid(SECONDS_PER_DAY);
    let parts = [
        (year, 4, b'-'),
        (month, 2, b'-'),
        (day, 2, b'T'),
        (of_day / 3600, 2, b':'),
        (of_day / 60 % 60, 2, b':'),
    ];
    for (number, places, behind) in parts {
        write_digits(number as u32, places, out);
        out.push(behind);
    }
    write_digits((of_day % 60) as u32, 2, out);
}

/// Writes the last `places` decimal digits of a number, of nine at most.
fn write_digits(number: u32, places: usize, out: &mut Vec<u8>) {
    const PLACES_MAX: usize = 9;
    let mut digits = [b'0'; PLACES_MAX];
    let mut number = number;
    for digit in digits[PLACES_MAX - places..].iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    out.extend_from_slice(&digits[PLACES_MAX - places..]);
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, FixedOffset, SecondsFormat};

    use super::*;

    fn rfc3339(seconds: i64, nanos: u32) -> String {
        let mut out = Vec::new();
        write_rfc3339(seconds, nanos, &mut out);
        String::from_utf8(out).expect("it is ASCII")
    }

    #[test]
    fn recorded_times_are_written_as_feast_answers_them() {
        for (seconds, nanos, text) in [
            (0, 0, "1970-01-01T00:00:00Z"),
            (1_795_421_022, 0, "2026-11-23T08:03:42Z"),
            (1_795_421_022, 123_000_000, "2026-11-23T08:03:42.123Z"),
            (1_795_424_920, 211_502_000, "2026-11-23T09:08:40.211502Z"),
            (-1, 1, "1969-12-31T23:59:59.000000001Z"),
        ] {
            assert_eq!(rfc3339(seconds, nanos), text);
        }
    }

    #[test]
    fn every_year_from_1_to_9999_is_written_as_chrono_does() {
        // A step of 40 days and some hours meets each month of each year.
        for (place, seconds) in (SECONDS_MIN..=SECONDS_MAX).step_by(3_476_543).enumerate() {
            let nanos = [0, 5_000_000, 7_000, 9][place % 4];
            let form = [
                SecondsFormat::Secs,
                SecondsFormat::Millis,
                SecondsFormat::Micros,
                SecondsFormat::Nanos,
            ][place % 4];
            let expected = DateTime::from_timestamp(seconds, nanos).expect("it is in range");
            assert_eq!(rfc3339(seconds, nanos), expected.to_rfc3339_opts(form, true));
        }
    }

    #[test]
    fn times_outside_the_range_are_written_as_its_ends() {
        for seconds in [i64::MIN, SECONDS_MIN - 1] {
            assert_eq!(rfc3339(seconds, 7), "0001-01-01T00:00:00Z");
        }
        for (seconds, nanos) in [(i64::MAX, 0), (SECONDS_MAX + 1, 0), (SECONDS_MAX, u32::MAX)] {
            assert_eq!(rfc3339(seconds, nanos), "9999-12-31T23:59:59.999999999Z");
        }
        assert_eq!(rfc3339(SECONDS_MIN, 0), "0001-01-01T00:00:00Z");
        assert_eq!(rfc3339(SECONDS_MAX, 0), "9999-12-31T23:59:59Z");
    }

    #[test]
    fn zones_are_offsets_or_none() {
        for (zone, minutes) in [("+00:00", 0), ("-07:00", -420), ("+05:30", 330)] {
            assert_eq!(offset_minutes(zone), Some(minutes), "{zone}");
            let zone: FixedOffset = zone.parse().expect("it is an offset");
            let at = DateTime::from_timestamp(1_795_421_022, 0).expect("it is in range");
            let mut out = Vec::new();
            write_iso_offset(at.timestamp(), minutes, &mut out);
            assert_eq!(String::from_utf8(out), Ok(at.with_timezone(&zone).to_rfc3339()));
        }
        for zone in ["", "UTC", "Europe/Berlin", "+7", "+07", "+24:00", "+07:60", "+0a:00", "+é0:0"]
        {
            assert_eq!(offset_minutes(zone), None, "{zone}");
        }
    }
}
