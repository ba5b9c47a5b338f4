//! What a run was asked to do, resolved: the defaults filled in, the texts read.

use std::time::Duration;

use api::{Rerun, RerunState, RunRequest};
use model::{EventTime, Interval, Request, RunKind};

use crate::error::Error;

/// One trigger: the views and the interval that are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trigger {
    /// What of each view.
    pub ask: Ask,
    /// The views; empty for all that Feast would materialize.
    pub views: Vec<String>,
    /// The version of the one view that is asked for.
    pub version: Option<Version>,
    /// Lets recomputed rows replace stored ones of the same interval.
    pub correct: bool,
    /// Writes what has landed once more.
    pub rebuild: bool,
    /// Takes the newest windows first.
    pub newest_first: bool,
    /// How long a window is at most; cut by bytes without it.
    pub window: Option<Duration>,
    /// Keeps an end in the future.
    pub allow_future: bool,
    /// Takes it for success when there is no view.
    pub allow_empty: bool,
    /// Refuses to write anything where it may not fit into the online store's memory.
    pub refuse_over_memory: bool,
    /// Jobs side by side.
    pub parallel: usize,
    /// When the run was triggered.
    pub now: EventTime,
}

/// What of each view is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// From the watermark, or from where one says, to an end.
    Interval(Request),
    /// What lies in an interval and is in a state.
    State(RerunState, Interval),
    /// What did not land of a run.
    Run(model::RunId),
    /// A window.
    Window(model::WindowId),
}

/// What a run does where its request does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// Jobs side by side.
    pub parallel: usize,
    /// Refuses to write anything where it may not fit into the online store's memory.
    pub refuse_over_memory: bool,
}

/// `--version`: which stored definition of a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// The active one.
    Latest,
    /// Number N of the history.
    Number(u32),
}

impl Version {
    /// Reads `latest`, `vN` or `versionN`, in any case.
    ///
    /// # Errors
    /// [`Error::Version`] for anything else.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let lower = text.to_ascii_lowercase();
        if lower == "latest" {
            return Ok(Self::Latest);
        }
        let number = lower.strip_prefix("version").or_else(|| lower.strip_prefix('v'));
        number
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|digits| digits.parse().ok())
            .map(Self::Number)
            .ok_or_else(|| Error::Version {
                what: format!("`{text}` is no version; write `latest`, `v2` or `version2`"),
            })
    }
}

impl Trigger {
    /// Resolves a request that was made at `now`.
    ///
    /// # Errors
    /// What is wrong with the request, before anything is read.
    pub fn of(request: &RunRequest, defaults: Defaults, now: EventTime) -> Result<Self, Error> {
        request.check()?;
        let trigger = Self {
            ask: ask(request, now),
            views: request.views.clone(),
            version: request.version.as_deref().map(Version::parse).transpose()?,
            correct: request.correct,
            rebuild: request.rebuild,
            newest_first: request.newest_first,
            window: request.window.as_deref().map(window).transpose()?,
            allow_future: request.allow_future,
            allow_empty: request.allow_empty,
            refuse_over_memory: request.refuse_over_memory || defaults.refuse_over_memory,
            parallel: request.parallel.map_or(defaults.parallel, usize::from).max(1),
            now,
        };
        trigger.check()?;
        Ok(trigger)
    }

    /// Tells whether each view is to go on from its watermark.
    pub fn is_incremental(&self) -> bool {
        matches!(self.ask, Ask::Interval(Request::Incremental { .. }))
    }

    /// Checks what can be checked before anything is read.
    fn check(&self) -> Result<(), Error> {
        if let Ask::Interval(Request::Interval { start, end }) = self.ask {
            if start > end {
                return Err(Error::Reversed { start, end });
            }
            if start > self.now && !self.allow_future {
                return Err(Error::StartInFuture { start });
            }
        }
        if self.version.is_some() && self.views.len() != 1 {
            return Err(Error::Version {
                what: format!("needs exactly one --views, got {}", self.views.len()),
            });
        }
        Ok(())
    }
}

/// `RunRequest::check` has made sure that what is needed is there.
fn ask(request: &RunRequest, now: EventTime) -> Ask {
    let start = request.start.unwrap_or(EventTime::EPOCH);
    let end = request.end.unwrap_or(now);
    match (request.kind, request.rerun) {
        (RunKind::Rerun, Some(Rerun::RunId(run))) => Ask::Run(run),
        (RunKind::Rerun, Some(Rerun::WindowId(window))) => Ask::Window(window),
        (RunKind::Rerun, Some(Rerun::State(state))) => {
            Ask::State(state, Interval::new(start, end.plus_nanos(1)))
        }
        (RunKind::Incremental, _) => Ask::Interval(Request::Incremental { end }),
        (RunKind::Interval | RunKind::Rerun, _) => Ask::Interval(Request::Interval { start, end }),
    }
}

fn window(text: &str) -> Result<Duration, Error> {
    let length = model::duration::parse(text).ok().filter(|length| !length.is_zero());
    length.ok_or_else(|| Error::WindowLength { text: text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULTS: Defaults = Defaults { parallel: 2, refuse_over_memory: false };

    #[test]
    fn versions_read_in_any_case() {
        for (text, version) in [
            ("latest", Version::Latest),
            ("Latest", Version::Latest),
            ("v0", Version::Number(0)),
            ("V12", Version::Number(12)),
            ("version3", Version::Number(3)),
        ] {
            assert_eq!(Version::parse(text).ok(), Some(version), "{text}");
        }
        for text in ["", "3", "v", "v-1", "v+1", "version", "v1.0"] {
            assert!(Version::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_incremental_run_without_an_end_goes_up_to_now() {
        let now = EventTime::from_nanos(7);
        let request = RunRequest::new(RunKind::Incremental);
        let trigger = Trigger::of(&request, DEFAULTS, now).expect("it is valid");
        assert_eq!(trigger.ask, Ask::Interval(Request::Incremental { end: now }));
        assert!(trigger.is_incremental());
    }

    #[test]
    fn a_window_needs_a_length() {
        let mut request = RunRequest::new(RunKind::Incremental);
        request.window = Some("1d".to_owned());
        let trigger = Trigger::of(&request, DEFAULTS, EventTime::EPOCH).expect("a day");
        assert_eq!(trigger.window, Some(Duration::from_secs(86_400)));
        for text in ["0s", "soon", "-1d"] {
            request.window = Some(text.to_owned());
            assert!(Trigger::of(&request, DEFAULTS, EventTime::EPOCH).is_err(), "{text}");
        }
    }
}
