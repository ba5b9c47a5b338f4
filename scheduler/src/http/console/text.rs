//! How times, spans, counts and states are written for people.

use maud::{Markup, html};
use model::{EventTime, Interval, JobState, RunState, WindowState};

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// A moment to the second, with all its digits for machines.
pub(super) fn time(at: EventTime) -> Markup {
    html! { time datetime=(at) { (short(at)) } }
}

/// A moment to the second.
pub(super) fn short(at: EventTime) -> String {
    at.to_utc().format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// A moment, if there is one.
pub(super) fn time_or_none(at: Option<EventTime>) -> Markup {
    html! { @match at { Some(at) => (time(at)), None => span.quiet { "–" } } }
}

/// An interval; its end does not belong to it.
pub(super) fn interval(interval: Interval) -> Markup {
    html! { (time(interval.start)) " to " (time(interval.end)) }
}

/// A span in its two largest units.
pub(super) fn span(seconds: i64) -> String {
    let (sign, seconds) =
        if seconds < 0 { ("−", seconds.saturating_neg()) } else { ("", seconds) };
    let two = |large: i64, one: &str, small: i64, other: &str| {
        let (whole, rest) = (seconds / large, seconds % large / small);
        if rest == 0 {
            format!("{sign}{whole} {one}")
        } else {
            format!("{sign}{whole} {one} {rest} {other}")
        }
    };
    match seconds {
        0..MINUTE => format!("{sign}{seconds} s"),
        MINUTE..HOUR => two(MINUTE, "min", 1, "s"),
        HOUR..DAY => two(HOUR, "h", MINUTE, "min"),
        _ => two(DAY, "d", HOUR, "h"),
    }
}

/// A number in groups of three.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// A size in its largest unit.
pub(super) fn size(bytes: u64) -> String {
    let (mut number, mut unit) = (bytes as f64, "B");
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if number < 1024.0 {
            break;
        }
        (number, unit) = (number / 1024.0, larger);
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{number:.1} {unit}") }
}

/// A state: a sign, a word, and a colour that says nothing that they do not.
fn state(class: &str, sign: &str, word: &str) -> Markup {
    html! { span class={ "state " (class) } { span aria-hidden="true" { (sign) } " " (word) } }
}

/// The state of a run.
pub(super) fn run_state(of: RunState) -> Markup {
    match of {
        RunState::Pending => state("idle", "○", "pending"),
        RunState::Running => state("busy", "●", "running"),
        RunState::Succeeded => state("good", "✓", "succeeded"),
        RunState::Failed => state("bad", "✗", "failed"),
        RunState::Cancelled => state("warn", "■", "cancelled"),
        RunState::Interrupted => state("warn", "!", "interrupted"),
    }
}

/// The state of a job.
pub(super) fn job_state(of: JobState) -> Markup {
    match of {
        JobState::Pending => state("idle", "○", "pending"),
        JobState::Running => state("busy", "●", "running"),
        JobState::Succeeded => state("good", "✓", "succeeded"),
        JobState::UpToDate => state("good", "✓", "up to date"),
        JobState::Failed => state("bad", "✗", "failed"),
        JobState::Refused => state("bad", "✗", "refused"),
        JobState::Cancelled => state("warn", "■", "cancelled"),
        JobState::Interrupted => state("warn", "!", "interrupted"),
    }
}

/// The state of a window.
pub(super) fn window_state(of: WindowState) -> Markup {
    match of {
        WindowState::Pending => state("idle", "○", "pending"),
        WindowState::Open => state("busy", "●", "open"),
        WindowState::Committed => state("good", "✓", "committed"),
        WindowState::Failed => state("bad", "✗", "failed"),
        WindowState::Interrupted => state("warn", "!", "interrupted"),
    }
}

/// A state of a view that no job has.
pub(super) fn view_state(word: &str, is_bad: bool) -> Markup {
    if is_bad { state("bad", "✗", word) } else { state("idle", "○", word) }
}

/// Somebody is writing the view.
pub(super) fn writing() -> Markup {
    state("busy", "●", "writing")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_two_units_at_most() {
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3_725, "1 h 2 min"),
            (90_000, "1 d 1 h"),
            (-61, "−1 min 1 s"),
            (i64::MIN, "−106751991167300 d 15 h"),
        ] {
            assert_eq!(span(seconds), text);
        }
    }

    #[test]
    fn numbers_are_grouped_and_sizes_have_units() {
        assert_eq!(count(0), "0");
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(count(123), "123");
        assert_eq!((size(1_023), size(1_536)), ("1023 B".to_owned(), "1.5 KiB".to_owned()));
        assert_eq!(size(u64::MAX), "16777216.0 TiB");
    }
}
