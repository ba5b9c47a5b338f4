//! Feast's closed microsecond intervals and our half-open nanosecond ones.
//!
//! Feast compares at full source precision, so its end includes the instant itself and not the
//! nanosecond after it. This is the only place where the two are converted.

const NANOS_PER_MICRO: i64 = 1_000;

/// Turns Feast's `[start, end]` into half-open `[start, end + 1 ns)`.
///
/// # Units
/// In: microseconds since the epoch. Out: nanoseconds. What nanoseconds cannot tell saturates;
/// an end beyond them includes all instants but the very last.
/// # Source
/// Feast 0.67 filters `start <= ts <= end` on nanoseconds: `end + 1 ns` is out.
pub const fn half_open_nanos(start_micros: i64, end_micros: i64) -> (i64, i64) {
    let start = start_micros.saturating_mul(NANOS_PER_MICRO);
    let end = end_micros.saturating_mul(NANOS_PER_MICRO).saturating_add(1);
    (start, end)
}

/// Turns half-open `[start, end)` into the closed interval that Feast's registry holds.
///
/// The end is rounded down, so that Feast never takes for done what is not. The start is rounded
/// down too: of two windows that touch, the later one then starts in the microsecond in which the
/// earlier one ends, as Feast's own intervals do. What came from [`half_open_nanos`] comes back.
///
/// # Units
/// In: nanoseconds since the epoch. Out: microseconds.
pub const fn closed_micros(start_nanos: i64, end_nanos: i64) -> (i64, i64) {
    let start = start_nanos.div_euclid(NANOS_PER_MICRO);
    let last = end_nanos.saturating_sub(1);
    (start, last.div_euclid(NANOS_PER_MICRO))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest microsecond of which nanoseconds can tell the end.
    const LAST: i64 = i64::MAX / NANOS_PER_MICRO;
    const FIRST: i64 = i64::MIN / NANOS_PER_MICRO;

    #[test]
    fn the_end_is_inside_and_the_nanosecond_after_it_is_not() {
        assert_eq!(half_open_nanos(1, 2), (1_000, 2_001));
    }

    #[test]
    fn a_zero_length_interval_holds_one_instant() {
        assert_eq!(half_open_nanos(5, 5), (5_000, 5_001));
    }

    #[test]
    fn intervals_come_back_as_they_were() {
        let instants = [FIRST, -1_000_001, -1, 0, 1, 999, 1_704_110_400_000_000, LAST];
        for start in instants {
            for end in instants {
                let (from, to) = half_open_nanos(start, end);
                assert_eq!(closed_micros(from, to), (start, end));
            }
        }
    }

    #[test]
    fn what_nanoseconds_cannot_tell_saturates() {
        assert_eq!(half_open_nanos(i64::MIN, i64::MAX), (i64::MIN, i64::MAX));
        assert_eq!(half_open_nanos(LAST + 1, LAST + 1), (i64::MAX, i64::MAX));
    }

    #[test]
    fn an_end_between_microseconds_is_rounded_down() {
        assert_eq!(closed_micros(0, 1_500), (0, 1));
        assert_eq!(closed_micros(-1, 0), (-1, -1));
    }
}
