//! Event time: when a fact became true, in UTC nanoseconds.
//!
//! A type of its own because a bare `i64` has been seconds, micros and nanos in three systems.
//! Deliberately absent: a clock. Processing time is read at the edge and passed in.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

/// Nanoseconds since 1970-01-01T00:00:00Z; negative before it. Serialized as RFC 3339 text.
///
/// # Units
/// Nanoseconds. Covers the years 1677 to 2262, as Arrow's and pandas' nanosecond timestamps do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventTime(i64);

const NANOS_PER_MICRO: i64 = 1_000;
const NANOS_PER_SECOND: i64 = 1_000_000_000;

impl EventTime {
    /// The earliest event time that can be told.
    pub const MIN: Self = Self(i64::MIN);
    /// The latest event time that can be told.
    pub const MAX: Self = Self(i64::MAX);
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);

    /// Makes an event time from nanoseconds since the epoch.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// Makes an event time from microseconds since the epoch; out of range saturates.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros.saturating_mul(NANOS_PER_MICRO))
    }

    /// Makes an event time from a chrono instant; `None` outside the years 1677 to 2262.
    pub fn from_utc(instant: DateTime<Utc>) -> Option<Self> {
        instant.timestamp_nanos_opt().map(Self)
    }

    /// Nanoseconds since the epoch.
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// Microseconds since the epoch, rounded down, which is what Feast stores.
    pub const fn micros_floor(self) -> i64 {
        self.0.div_euclid(NANOS_PER_MICRO)
    }

    /// Whole seconds since the epoch, rounded down, and the nanoseconds above them.
    pub const fn seconds_and_nanos(self) -> (i64, u32) {
        (self.0.div_euclid(NANOS_PER_SECOND), self.0.rem_euclid(NANOS_PER_SECOND) as u32)
    }

    /// This event time moved by a number of nanoseconds; out of range saturates.
    #[must_use]
    pub const fn plus_nanos(self, nanos: i64) -> Self {
        Self(self.0.saturating_add(nanos))
    }

    /// As a chrono instant.
    pub const fn to_utc(self) -> DateTime<Utc> {
        DateTime::from_timestamp_nanos(self.0)
    }
}

/// RFC 3339 in UTC with the offset written out, and as many decimals as it takes.
impl fmt::Display for EventTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_utc().to_rfc3339_opts(SecondsFormat::AutoSi, false))
    }
}

impl Serialize for EventTime {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EventTime {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        let instant = DateTime::parse_from_rfc3339(&text).map_err(serde::de::Error::custom)?;
        Self::from_utc(instant.to_utc())
            .ok_or_else(|| serde::de::Error::custom("the year is not within 1677 to 2262"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn before_the_epoch_seconds_are_floored() {
        assert_eq!(EventTime::from_nanos(-1).seconds_and_nanos(), (-1, 999_999_999));
        assert_eq!(EventTime::from_nanos(-1).micros_floor(), -1);
    }

    #[test]
    fn serialized_text_reads_back() {
        for nanos in [0, -1, i64::MIN, i64::MAX, 1_704_067_200_000_001_000] {
            let time = EventTime::from_nanos(nanos);
            let text = serde_json::to_string(&time).expect("text");
            assert_eq!(serde_json::from_str::<EventTime>(&text).expect("time"), time);
        }
    }

    #[test]
    fn text_carries_the_offset() {
        assert_eq!(EventTime::EPOCH.to_string(), "1970-01-01T00:00:00+00:00");
        assert_eq!(EventTime::from_nanos(1).to_string(), "1970-01-01T00:00:00.000000001+00:00");
    }
}
