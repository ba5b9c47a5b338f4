//! Cuts a job's interval into windows, each a unit of commit.
//!
//! Pure, because where a window ends must be explained afterwards, and its cost can be bounded
//! here. Deliberately absent: in which order windows are run.

use std::time::Duration;

use crate::interval::Interval;
use crate::time::EventTime;

/// Windows of one job at most: each costs the ledger a few transactions, and an operator a line.
pub const WINDOWS_MAX: usize = 1_000;

/// A cut may have this part of what is new to its window read again by the next ones, one byte in
/// so many: however the source is laid out, cutting it reads half as much again at most.
const AGAIN_SHARE: u64 = 2;

/// Cuts an interval into at most [`WINDOWS_MAX`] windows: ascending, none empty, and together the
/// interval exactly. An empty interval has none.
///
/// With a fixed length, cuts are at its multiples from the Unix epoch, so that `1d` means days of
/// UTC; of a length that makes too many windows, at multiples of its multiples. The last instant
/// that was asked for makes no window of its own.
///
/// Else each window reads about so many bytes. `spans` are the row groups: of which times they can
/// hold rows, and their bytes. Cuts are where row groups begin or end, in whole microseconds, and
/// only where little lies on both sides: a source in no order of event time is not cut, since each
/// window would read all of it. Times without rows belong to a neighbour.
///
/// # Units
/// Bytes as the scan counts them: compressed, of the columns that are read.
pub fn cut_windows(
    interval: Interval,
    spans: &[(Interval, u64)],
    target_bytes: u64,
    fixed: Option<Duration>,
) -> Vec<Interval> {
    if interval.is_empty() {
        return Vec::new();
    }
    let cuts = match fixed {
        Some(length) => multiples(interval, length),
        None => by_bytes(interval, spans, target_bytes),
    };
    let starts = std::iter::once(interval.start).chain(cuts.iter().copied());
    let ends = cuts.iter().copied().chain([interval.end]);
    starts.zip(ends).map(|(start, end)| Interval::new(start, end)).collect()
}

/// Tells whether a cut leaves something before it and more than one instant after it. The end of an
/// interval is the instant after the last one that was asked for, so what is asked for up to
/// midnight has one instant of the next day.
fn is_inside(interval: Interval, cut: EventTime) -> bool {
    interval.start < cut && cut.plus_nanos(1) < interval.end
}

fn multiples(interval: Interval, length: Duration) -> Vec<EventTime> {
    let nanos = |time: EventTime| i128::from(time.nanos());
    let (start, end) = (nanos(interval.start), nanos(interval.end));
    let length = i128::try_from(length.as_nanos()).unwrap_or(i128::MAX).min(i128::from(u64::MAX));
    if length == 0 {
        return Vec::new();
    }
    // Both ends may lie inside a multiple, which takes two windows more than fit in between.
    let fitting = WINDOWS_MAX as i128 - 2;
    let step = length * ((end - start + length * fitting - 1) / (length * fitting)).max(1);
    let first = (start.div_euclid(step) + 1) * step;
    let cuts = (0..).map(|n| first + n * step).take_while(|&cut| cut < end);
    let cuts = cuts.filter_map(|cut| i64::try_from(cut).ok().map(EventTime::from_nanos));
    cuts.filter(|&cut| is_inside(interval, cut)).collect()
}

fn by_bytes(interval: Interval, spans: &[(Interval, u64)], target_bytes: u64) -> Vec<EventTime> {
    let mut begins: Vec<(EventTime, u64)> = Vec::with_capacity(spans.len());
    let mut ends: Vec<(EventTime, u64)> = Vec::with_capacity(spans.len());
    for &(span, bytes) in spans.iter().filter(|(span, _)| !span.is_empty()) {
        begins.push((EventTime::from_micros(span.start.micros_floor()), bytes));
        // The first whole microsecond after the last row.
        let last = span.end.plus_nanos(-1).micros_floor();
        ends.push((EventTime::from_micros(last.saturating_add(1)), bytes));
    }
    let total = begins.iter().fold(0_u64, |sum, &(_, bytes)| sum.saturating_add(bytes));
    let target = target_bytes.max(total.div_ceil(WINDOWS_MAX as u64 - 1)).max(1);
    let mut places: Vec<EventTime> = begins.iter().chain(&ends).map(|&(at, _)| at).collect();
    places.retain(|&place| is_inside(interval, place));
    for times in [&mut begins, &mut ends] {
        times.sort_unstable();
    }
    places.sort_unstable();
    places.dedup();
    let (mut begun, mut ended) = (Running::new(&begins), Running::new(&ends));
    let (mut cuts, mut cut_off) = (Vec::new(), 0);
    for place in places {
        let before = begun.up_to(|at| at < place);
        let new = before.saturating_sub(cut_off);
        let again = before.saturating_sub(ended.up_to(|at| at <= place));
        let rest = total.saturating_sub(before);
        if new >= target && again <= new / AGAIN_SHARE && rest >= target.div_ceil(2) {
            cuts.push(place);
            cut_off = before;
        }
    }
    cuts
}

/// A sum that grows along ascending times.
struct Running<'a> {
    left: std::slice::Iter<'a, (EventTime, u64)>,
    sum: u64,
}

impl<'a> Running<'a> {
    fn new(times: &'a [(EventTime, u64)]) -> Self {
        Self { left: times.iter(), sum: 0 }
    }

    /// The bytes of the times so far.
    fn up_to(&mut self, is_so_far: impl Fn(EventTime) -> bool) -> u64 {
        while let Some((at, bytes)) = self.left.as_slice().first()
            && is_so_far(*at)
        {
            self.sum = self.sum.saturating_add(*bytes);
            self.left.next();
        }
        self.sum
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: i64 = 86_400_000_000_000;
    const MICRO: i64 = 1_000;

    fn interval(start: i64, end: i64) -> Interval {
        Interval::new(EventTime::from_nanos(start), EventTime::from_nanos(end))
    }

    fn days(windows: &[Interval]) -> Vec<(i64, i64)> {
        windows
            .iter()
            .map(|window| (window.start.nanos() / DAY, window.end.nanos() / DAY))
            .collect()
    }

    /// Bytes that a window reads.
    fn read(window: Interval, spans: &[(Interval, u64)]) -> u64 {
        let overlaps = |span: &Interval| span.start < window.end && window.start < span.end;
        spans.iter().filter(|(span, _)| overlaps(span)).map(|(_, bytes)| bytes).sum()
    }

    fn assert_exact(whole: Interval, windows: &[Interval]) {
        assert!(windows.len() <= WINDOWS_MAX && windows.iter().all(|window| !window.is_empty()));
        assert_eq!(windows.first().map(|window| window.start), Some(whole.start));
        assert_eq!(windows.last().map(|window| window.end), Some(whole.end));
        assert!(windows.windows(2).all(|pair| pair[0].end == pair[1].start));
    }

    #[test]
    fn fixed_windows_are_days_of_utc_and_midnight_makes_none_of_its_own() {
        let asked = interval(DAY / 2, 3 * DAY + 1);
        let windows = cut_windows(asked, &[], 1, Some(Duration::from_secs(86_400)));
        assert_eq!(days(&windows), [(0, 1), (1, 2), (2, 3)]);
        assert_exact(asked, &windows);
    }

    #[test]
    fn an_empty_interval_has_no_window_and_one_without_rows_has_one() {
        assert_eq!(cut_windows(interval(5, 5), &[], 1, None), []);
        assert_eq!(cut_windows(interval(5, 9), &[], 1, None), [interval(5, 9)]);
    }

    #[test]
    fn times_without_rows_make_no_window() {
        let spans = [(interval(0, DAY), 100), (interval(300 * DAY, 301 * DAY), 100)];
        let windows = cut_windows(interval(0, 400 * DAY), &spans, 100, None);
        assert_eq!(days(&windows), [(0, 1), (1, 400)]);
    }

    #[test]
    fn a_source_in_no_order_is_not_cut() {
        let whole = interval(0, DAY);
        assert_eq!(cut_windows(whole, &vec![(whole, 100); 50], 100, None), [whole]);
        // A day's files begin at about the same time: days are cut, and not the seconds between.
        let file = |n: i64| (interval(n / 10 * DAY + n % 10 * MICRO, (n / 10 + 1) * DAY), 100);
        let spans: Vec<_> = (0..100).map(file).collect();
        let windows = cut_windows(interval(0, 10 * DAY), &spans, 100, None);
        assert_eq!(windows.len(), 10);
        assert!(windows.iter().all(|&window| read(window, &spans) == 1_000));
    }

    #[test]
    fn too_many_windows_become_fewer_and_larger() {
        let whole = interval(0, 50_000 * DAY);
        let spans: Vec<_> = (0..50_000).map(|n| (interval(n * DAY, (n + 1) * DAY), 1)).collect();
        for fixed in [None, Some(Duration::from_secs(86_400))] {
            let windows = cut_windows(whole, &spans, 1, fixed);
            assert_exact(whole, &windows);
            assert!(windows.len() > WINDOWS_MAX * 9 / 10, "{}", windows.len());
            assert!(windows.iter().all(|window| window.start.nanos() % DAY == 0));
        }
    }

    #[test]
    fn the_ends_of_time_are_cut_as_well() {
        let whole = Interval::new(EventTime::MIN, EventTime::MAX);
        for length in [Duration::from_secs(86_400), Duration::MAX, Duration::ZERO] {
            assert_exact(whole, &cut_windows(whole, &[], 1, Some(length)));
        }
        assert_exact(whole, &cut_windows(whole, &[(whole, u64::MAX), (whole, 7)], 0, None));
    }

    proptest! {
        #[test]
        fn windows_by_bytes_are_worth_it_and_read_little_twice(
            spans in prop::collection::vec((0_i64..2_000, 1_i64..400, 1_u64..50), 0..80),
            (start, length) in (-100_i64..500, 1_i64..3_000),
            target in 1_u64..400,
        ) {
            let whole = interval(start * MICRO, (start + length) * MICRO + 1);
            let clip = |at: i64| (at * MICRO).clamp(whole.start.nanos(), whole.end.nanos());
            let spans: Vec<_> = spans
                .into_iter()
                .map(|(from, long, bytes)| (interval(clip(from), clip(from + long)), bytes))
                .filter(|(span, _)| !span.is_empty())
                .collect();
            let windows = cut_windows(whole, &spans, target, None);
            assert_exact(whole, &windows);
            let reads: Vec<u64> = windows.iter().map(|&window| read(window, &spans)).collect();
            let total: u64 = spans.iter().map(|(_, bytes)| bytes).sum();
            prop_assert!(reads.iter().sum::<u64>() <= total + total / AGAIN_SHARE);
            if windows.len() > 1 {
                prop_assert!(reads.iter().all(|&bytes| bytes >= target.div_ceil(2)));
            }
            for cut in windows.iter().skip(1).map(|window| window.start) {
                let is_edge = |span: &Interval| span.start == cut || span.end == cut;
                prop_assert!(spans.iter().any(|(span, _)| is_edge(span)));
            }
        }

        #[test]
        fn ordered_row_groups_make_windows_of_about_the_target(
            bytes in prop::collection::vec(1_u64..20, 1..200),
            target in 20_u64..200,
        ) {
            // The last row of a group and the first of the next have the same time.
            let group = |(n, bytes): (usize, &u64)| {
                let n = n as i64 * 1_000;
                (interval(n * MICRO, (n + 1_000) * MICRO + 1), *bytes)
            };
            let spans: Vec<_> = bytes.iter().enumerate().map(group).collect();
            let whole = interval(0, bytes.len() as i64 * 1_000 * MICRO + 1);
            let windows = cut_windows(whole, &spans, target, None);
            assert_exact(whole, &windows);
            // A group of 19 bytes is read again by the next window only where 38 are new.
            let worth_it = target.max(19 * AGAIN_SHARE);
            for &window in &windows {
                // A group too many, another that is shared, and the rest of the whole.
                prop_assert!(read(window, &spans) <= worth_it + 2 * 19 + target / 2);
            }
        }

        #[test]
        fn fixed_windows_are_cut_at_multiples(
            start in -5_000_i64..5_000,
            length in 1_i64..50_000,
            step in 1_u64..700,
        ) {
            let whole = interval(start, start + length);
            let windows = cut_windows(whole, &[], 1, Some(Duration::from_nanos(step)));
            assert_exact(whole, &windows);
            let step = i64::try_from(step).expect("below 700");
            for window in windows.iter().skip(1) {
                prop_assert_eq!(window.start.nanos() % step, 0);
            }
            if length / step + 2 < WINDOWS_MAX as i64 {
                // The last instant may go with the window before.
                let longest = windows.iter().map(|w| w.end.nanos() - w.start.nanos()).max();
                prop_assert!(longest <= Some(step + 1));
            }
        }
    }
}
