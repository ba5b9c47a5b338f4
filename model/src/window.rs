//! From what was asked and what has landed to the interval that is to be read.
//!
//! Pure, because which rows a run reads is the one decision that must be explained afterwards.
//! Deliberately absent: cutting a large interval into several windows (see `cutting.rs`).

use std::fmt;
use std::time::Duration;

use crate::interval::Interval;
use crate::time::EventTime;
use crate::watermark::Coverage;

/// What a run asks for, of every view alike. Both ends belong to it, as in Feast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// From the watermark to an end.
    Incremental {
        /// The last instant wanted.
        end: EventTime,
    },
    /// From a start to an end, whatever has landed.
    Interval {
        /// The first instant wanted.
        start: EventTime,
        /// The last instant wanted.
        end: EventTime,
    },
}

impl Request {
    /// The last instant wanted.
    pub fn end(&self) -> EventTime {
        match *self {
            Self::Incremental { end } | Self::Interval { end, .. } => end,
        }
    }
}

/// What a view says about its windows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ViewTimes {
    /// Feast's `ttl`: decides where the first incremental interval starts.
    pub ttl: Option<Duration>,
    /// Tag `tidegate.lateness`: how far below the watermark an incremental run reads again.
    pub lateness: Duration,
}

/// The interval of a job, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Rows of this interval are to be read.
    Read {
        /// The interval.
        interval: Interval,
        /// What the operator should know.
        warnings: Vec<Warning>,
    },
    /// Nothing is to be read.
    Nothing {
        /// Why.
        reason: Warning,
    },
}

/// Something about an interval that the operator should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// The end lies in the future and was cut to now.
    EndCutToNow {
        /// The end that was asked for.
        asked: EventTime,
        /// Now.
        now: EventTime,
    },
    /// The end lies in the future and was kept because the caller insisted.
    EndInFuture {
        /// The end that was asked for.
        asked: EventTime,
    },
    /// Everything up to the end has landed already.
    UpToDate {
        /// The watermark.
        watermark: EventTime,
    },
    /// The first incremental interval would start after its end.
    EndBeforeFirst {
        /// Where the first interval starts: now less the view's ttl, or less 52 weeks.
        start: EventTime,
        /// The end that was asked for.
        end: EventTime,
    },
    /// Later intervals have landed; the rows between are read now.
    FillsGap {
        /// What has not landed.
        gap: Interval,
    },
    /// Rows of a feature that was added later are not filled in by incremental runs.
    FeatureAdded {
        /// The feature.
        feature: String,
    },
    /// Feast's registry has the view re-created: what the ledger knew of the old one is dropped.
    ViewRecreated,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EndCutToNow { asked, now } => write!(
                f,
                "end {asked} is in the future and was cut to now, {now}; --allow-future keeps it"
            ),
            Self::EndInFuture { asked } => write!(
                f,
                "end {asked} is in the future: rows that arrive before then will not be read by \
                 later incremental runs"
            ),
            Self::UpToDate { watermark } => write!(f, "everything up to {watermark} has landed"),
            Self::EndBeforeFirst { start, end } => write!(
                f,
                "end {end} is before {start}, where a first incremental run starts (now less the \
                 ttl, or less 52 weeks); use `materialize START END`"
            ),
            Self::FillsGap { gap } => {
                write!(
                    f,
                    "{gap} has not been materialized although later rows have; reading it now"
                )
            }
            Self::FeatureAdded { feature } => write!(
                f,
                "feature `{feature}` was added after earlier rows were materialized: an entity has \
                 no value for it until a newer row of it arrives, since equal event times keep \
                 what is stored"
            ),
            Self::ViewRecreated => {
                write!(
                    f,
                    "the view was deleted and created anew in Feast; its history starts afresh"
                )
            }
        }
    }
}

/// How far back the first incremental interval of a view without ttl reaches: Feast's 52 weeks.
const FIRST_INTERVAL: Duration = Duration::from_secs(52 * 7 * 86_400);

/// Cuts the interval of one view.
///
/// # Source
/// Feast 0.67 `materialize` and `materialize_incremental`: both ends belong to the interval; a
/// first incremental interval starts at now less the ttl, a later one at the last end. Ours: the
/// last end is the watermark, not the greatest end, so a gap is filled; an end in the future is
/// cut; lateness reads again below the watermark.
pub fn cut(
    request: Request,
    coverage: &Coverage,
    times: ViewTimes,
    now: EventTime,
    allow_future: bool,
) -> Cut {
    let mut warnings = Vec::new();
    let asked = request.end();
    let mut end = asked;
    if asked > now {
        if allow_future {
            warnings.push(Warning::EndInFuture { asked });
        } else {
            // Whole microseconds: that is what Feast's registry can hold.
            end = EventTime::from_micros(now.micros_floor());
            warnings.push(Warning::EndCutToNow { asked, now });
        }
    }
    let after_end = end.plus_nanos(1);
    let start = match request {
        Request::Interval { start, .. } => start,
        Request::Incremental { .. } => match coverage.watermark() {
            Some(watermark) if after_end <= watermark => {
                return Cut::Nothing {
                    reason: Warning::UpToDate { watermark: watermark.plus_nanos(-1) },
                };
            }
            Some(watermark) => {
                warnings.extend(coverage.gaps().into_iter().map(|gap| Warning::FillsGap { gap }));
                // The last instant that landed is read again, as in Feast.
                watermark.plus_nanos(-1).plus_nanos(negative_nanos(times.lateness))
            }
            None => first_start(times.ttl, now),
        },
    };
    if start > end {
        return Cut::Nothing { reason: Warning::EndBeforeFirst { start, end } };
    }
    Cut::Read { interval: Interval::new(start, after_end), warnings }
}

fn first_start(ttl: Option<Duration>, now: EventTime) -> EventTime {
    let back = ttl.filter(|ttl| !ttl.is_zero()).unwrap_or(FIRST_INTERVAL);
    let start = now.plus_nanos(negative_nanos(back));
    EventTime::from_micros(start.micros_floor())
}

fn negative_nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).map_or(i64::MIN, |nanos| -nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000_000;

    fn at(hours: i64) -> EventTime {
        EventTime::from_nanos(hours * HOUR)
    }

    fn landed(intervals: &[(i64, i64)]) -> Coverage {
        let mut coverage = Coverage::default();
        coverage.cover(intervals.iter().map(|&(a, b)| Interval::new(at(a), at(b).plus_nanos(1))));
        coverage
    }

    fn incremental(end: i64, coverage: &Coverage, times: ViewTimes) -> Cut {
        cut(Request::Incremental { end: at(end) }, coverage, times, at(100), false)
    }

    fn read(cut: Cut) -> (Interval, Vec<Warning>) {
        match cut {
            Cut::Read { interval, warnings } => (interval, warnings),
            Cut::Nothing { reason } => panic!("nothing to read: {reason}"),
        }
    }

    #[test]
    fn both_ends_belong_to_an_interval() {
        let request = Request::Interval { start: at(1), end: at(2) };
        let cut = cut(request, &Coverage::default(), ViewTimes::default(), at(100), false);
        let (interval, warnings) = read(cut);
        assert!(interval.contains(at(1)) && interval.contains(at(2)));
        assert!(!interval.contains(at(2).plus_nanos(1)));
        assert!(warnings.is_empty());
    }

    #[test]
    fn the_first_interval_reaches_back_by_the_ttl_from_now() {
        let times = ViewTimes { ttl: Some(Duration::from_secs(10 * 3_600)), ..Default::default() };
        let (interval, _) = read(incremental(95, &Coverage::default(), times));
        assert_eq!(interval.start, at(90));
        let (interval, _) = read(incremental(95, &Coverage::default(), ViewTimes::default()));
        assert_eq!(interval.start, at(100 - 52 * 7 * 24));
    }

    #[test]
    fn a_first_interval_that_would_be_reversed_is_told() {
        let times = ViewTimes { ttl: Some(Duration::from_secs(3_600)), ..Default::default() };
        let cut = incremental(50, &Coverage::default(), times);
        assert!(matches!(cut, Cut::Nothing { reason: Warning::EndBeforeFirst { .. } }));
    }

    #[test]
    fn a_later_interval_starts_where_the_last_ended() {
        let (interval, _) = read(incremental(60, &landed(&[(10, 50)]), ViewTimes::default()));
        assert_eq!(interval, Interval::new(at(50), at(60).plus_nanos(1)));
    }

    #[test]
    fn an_end_at_or_before_the_watermark_does_nothing() {
        for end in [50, 49] {
            let cut = incremental(end, &landed(&[(10, 50)]), ViewTimes::default());
            assert_eq!(cut, Cut::Nothing { reason: Warning::UpToDate { watermark: at(50) } });
        }
    }

    #[test]
    fn lateness_reads_again_below_the_watermark() {
        let times = ViewTimes { lateness: Duration::from_secs(2 * 3_600), ..Default::default() };
        let (interval, _) = read(incremental(60, &landed(&[(10, 50)]), times));
        assert_eq!(interval.start, at(48));
    }

    #[test]
    fn a_gap_is_filled_rather_than_skipped() {
        let coverage = landed(&[(10, 50), (70, 80)]);
        let (interval, warnings) = read(incremental(90, &coverage, ViewTimes::default()));
        assert_eq!(interval.start, at(50));
        assert!(matches!(warnings[..], [Warning::FillsGap { .. }]));
    }

    #[test]
    fn an_end_in_the_future_is_cut_unless_asked_for() {
        let (interval, warnings) = read(incremental(200, &landed(&[(1, 2)]), ViewTimes::default()));
        assert_eq!(interval.end, at(100).plus_nanos(1));
        assert!(matches!(warnings[..], [Warning::EndCutToNow { .. }]));
        let request = Request::Incremental { end: at(200) };
        let kept = cut(request, &landed(&[(1, 2)]), ViewTimes::default(), at(100), true);
        assert_eq!(read(kept).0.end, at(200).plus_nanos(1));
    }
}
