//! The coverage of a view over time, drawn: what has landed, is being written, failed, is missing.
//!
//! Each piece has its own pattern and says in words what it is, so that nothing hangs on colours.

use api::IntervalsReport;
use maud::{Markup, html};
use model::{EventTime, Interval};

use super::text;

/// The drawing's own units from left to right.
const WIDTH: f64 = 1000.0;

/// A piece that would be thinner than this cannot be seen.
const PIECE_MIN: f64 = 2.0;

/// What a piece shows, in the order in which they are drawn over each other.
const KINDS: [&str; 4] = ["missing", "landed", "failed", "running"];

/// The patterns of pieces, once a page.
pub(super) fn patterns() -> Markup {
    html! {
        svg width="0" height="0" aria-hidden="true" focusable="false" {
            defs {
                pattern #hatch width="8" height="8" patternUnits="userSpaceOnUse"
                    patternTransform="rotate(45)" {
                    rect width="8" height="8" {}
                    path d="M2 0V8" {}
                }
                pattern #dots width="8" height="8" patternUnits="userSpaceOnUse" {
                    rect width="8" height="8" {}
                    circle cx="4" cy="4" r="2.5" {}
                }
            }
        }
    }
}

/// What the patterns mean.
pub(super) fn legend() -> Markup {
    html! {
        ul.legend aria-label="What the strips show" {
            @for kind in ["landed", "running", "failed", "missing"] {
                li {
                    svg viewBox="0 0 18 12" aria-hidden="true" {
                        rect.(kind) width="18" height="12" {}
                    }
                    (kind)
                }
            }
        }
    }
}

/// Draws the coverage of a view.
pub(super) fn strip(report: &IntervalsReport, is_tall: bool) -> Markup {
    let Some(whole) = hull(report) else {
        return html! { span.quiet { "nothing has landed" } };
    };
    html! {
        svg.strip.tall[is_tall] viewBox={ "0 0 " (WIDTH) " 10" } preserveAspectRatio="none"
            role="img" aria-label=(summary(report)) {
            @for kind in KINDS {
                @for &interval in of_kind(report, kind) {
                    @let (from, width) = place(interval, whole);
                    rect.(kind) x=(from) y="0" width=(width) height="10" {
                        title {
                            (kind) ": " (text::short(interval.start)) " to "
                            (text::short(interval.end))
                        }
                    }
                }
            }
        }
        div.ends { (text::time(whole.start)) (text::time(whole.end)) }
    }
}

/// The coverage in a few words: `2 landed, 1 missing`.
pub(super) fn summary(report: &IntervalsReport) -> String {
    let parts =
        ["landed", "running", "failed", "missing"].map(|kind| (of_kind(report, kind).len(), kind));
    let parts: Vec<String> = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, kind)| format!("{count} {kind}"))
        .collect();
    parts.join(", ")
}

fn of_kind<'a>(report: &'a IntervalsReport, kind: &str) -> &'a [Interval] {
    match kind {
        "missing" => &report.gaps,
        "landed" => &report.landed,
        "failed" => &report.failed,
        _ => &report.running,
    }
}

/// From the first instant of which anything is known to the last.
fn hull(report: &IntervalsReport) -> Option<Interval> {
    let all = || KINDS.iter().flat_map(|kind| of_kind(report, kind));
    let start = all().map(|interval| interval.start).min()?;
    let end = all().map(|interval| interval.end).max()?;
    Some(Interval::new(start, end))
}

/// Where a piece begins, and how wide it is.
fn place(piece: Interval, whole: Interval) -> (f64, f64) {
    let length = (whole.end.nanos() as f64 - whole.start.nanos() as f64).max(1.0);
    let at = |instant: EventTime| {
        let share = (instant.nanos() as f64 - whole.start.nanos() as f64) / length;
        (share * WIDTH * 100.0).round() / 100.0
    };
    let (from, to) = (at(piece.start), at(piece.end));
    let width = (to - from).max(PIECE_MIN);
    (from.min(WIDTH - width), width)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(start: i64, end: i64) -> Interval {
        Interval::new(EventTime::from_nanos(start), EventTime::from_nanos(end))
    }

    fn report() -> IntervalsReport {
        IntervalsReport {
            project: "p".to_owned(),
            view: "v".to_owned(),
            landed: vec![interval(0, 50), interval(75, 100)],
            gaps: vec![interval(50, 75)],
            running: Vec::new(),
            failed: vec![interval(50, 60)],
            watermark: None,
        }
    }

    #[test]
    fn pieces_lie_where_their_intervals_do() {
        let whole = hull(&report()).expect("something landed");
        assert_eq!(whole, interval(0, 100));
        assert_eq!(place(interval(50, 75), whole), (500.0, 250.0));
        assert_eq!(place(interval(100, 100), whole), (998.0, 2.0), "it stays inside, and is seen");
        assert_eq!(place(whole, whole), (0.0, 1000.0));
    }

    #[test]
    fn a_strip_says_in_words_what_it_shows() {
        let drawn = strip(&report(), false).into_string();
        assert!(drawn.contains("aria-label=\"2 landed, 1 failed, 1 missing\""), "{drawn}");
        assert!(drawn.contains("<title>missing: 1970-01-01"), "{drawn}");
        let nothing = IntervalsReport { landed: vec![], gaps: vec![], failed: vec![], ..report() };
        assert!(strip(&nothing, false).into_string().contains("nothing has landed"));
    }
}
