//! `google.protobuf.Timestamp`, which both the registry and the serving messages carry.
//!
//! Deliberately absent: times as text (see `datetime.rs`).

/// An instant: seconds since the epoch and the nanoseconds above them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct Timestamp {
    /// Seconds since the epoch, rounded down.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// Nanoseconds above the second, also before the epoch.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

const MICROS_PER_SECOND: i64 = 1_000_000;
const NANOS_PER_MICRO: i32 = 1_000;

impl Timestamp {
    /// Makes a timestamp from microseconds since the epoch.
    pub fn from_micros(micros: i64) -> Self {
        let above = i32::try_from(micros.rem_euclid(MICROS_PER_SECOND))
            .expect("a remainder below a million fits");
        Self { seconds: micros.div_euclid(MICROS_PER_SECOND), nanos: above * NANOS_PER_MICRO }
    }

    /// Microseconds since the epoch, rounded down; out of range saturates.
    pub fn micros(self) -> i64 {
        let above = i64::from(self.nanos.div_euclid(NANOS_PER_MICRO));
        self.seconds.saturating_mul(MICROS_PER_SECOND).saturating_add(above)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn microseconds_read_back_on_both_sides_of_the_epoch() {
        for micros in [0, 1, -1, 1_795_427_747_131_218, -62_135_596_800_000_000] {
            assert_eq!(Timestamp::from_micros(micros).micros(), micros);
        }
        assert_eq!(Timestamp::from_micros(-1), Timestamp { seconds: -1, nanos: 999_999_000 });
        assert_eq!(Timestamp { seconds: i64::MAX, nanos: 0 }.micros(), i64::MAX);
    }
}
