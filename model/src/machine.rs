//! What follows from the end of an attempt: the states of window, job and run, and what is to be
//! done next.
//!
//! State and event in, state and action out; the ledger stores each step in one transaction, and
//! the scheduler acts on the answer.

use std::time::Duration;

use crate::retry::RetryPolicy;
use crate::run::{AttemptState, JobState, RunState, WindowState};

/// How an attempt ended without a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptEnd {
    /// Something on the way was wrong that may be right the next time.
    Transient,
    /// Trying again would fail again.
    Permanent,
    /// Another process has taken over the view.
    Superseded,
    /// The run was cancelled.
    Cancelled,
    /// The process is about to stop, and hands its work back.
    HandedBack,
}

/// What follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next {
    /// The attempt's state.
    pub attempt: AttemptState,
    /// The window's state.
    pub window: WindowState,
    /// The job's state.
    pub job: JobState,
    /// When to try again; `None` when this process does not.
    pub again_after: Option<Duration>,
}

impl AttemptEnd {
    /// Decides what follows from the end of attempt `number`, counted from 1.
    pub fn next(self, number: u32, policy: &RetryPolicy) -> Next {
        let stays = |attempt| Next {
            attempt,
            window: WindowState::Open,
            job: JobState::Running,
            again_after: None,
        };
        match self {
            Self::Transient => match policy.pause_after(number) {
                Some(pause) => Next { again_after: Some(pause), ..stays(AttemptState::Failed) },
                None => Self::Permanent.next(number, policy),
            },
            Self::Permanent => Next {
                attempt: AttemptState::Failed,
                window: WindowState::Failed,
                job: JobState::Failed,
                again_after: None,
            },
            Self::Superseded | Self::HandedBack => stays(AttemptState::Interrupted),
            Self::Cancelled => Next {
                attempt: AttemptState::Interrupted,
                window: WindowState::Interrupted,
                job: JobState::Cancelled,
                again_after: None,
            },
        }
    }
}

/// The state of a run from those of its jobs; `None` while one of them has not ended.
pub fn run_state(jobs: impl IntoIterator<Item = JobState>, is_cancelled: bool) -> Option<RunState> {
    let mut state = RunState::Succeeded;
    for job in jobs {
        match job {
            JobState::Pending | JobState::Running => return None,
            JobState::Succeeded | JobState::UpToDate => {}
            JobState::Cancelled => state = RunState::Cancelled,
            JobState::Interrupted if state != RunState::Cancelled => state = RunState::Interrupted,
            JobState::Failed | JobState::Refused if state == RunState::Succeeded => {
                state = RunState::Failed;
            }
            JobState::Failed | JobState::Refused | JobState::Interrupted => {}
        }
    }
    // A job that landed before the wish was heard has landed; a run that did all it was asked for
    // was not cancelled.
    Some(if is_cancelled && state == RunState::Failed { RunState::Cancelled } else { state })
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy {
        attempts_max: 2,
        backoff_first: Duration::from_secs(1),
        backoff_max: Duration::from_secs(8),
    };

    #[test]
    fn the_last_attempt_fails_its_window_and_job() {
        let next = AttemptEnd::Transient.next(1, &POLICY);
        assert_eq!(next.again_after, Some(Duration::from_secs(1)));
        assert_eq!((next.window, next.job), (WindowState::Open, JobState::Running));
        let last = AttemptEnd::Transient.next(2, &POLICY);
        assert_eq!(last, AttemptEnd::Permanent.next(1, &POLICY));
        assert_eq!((last.window, last.job), (WindowState::Failed, JobState::Failed));
    }

    #[test]
    fn what_is_handed_back_or_taken_over_stays_open_for_another() {
        for end in [AttemptEnd::Superseded, AttemptEnd::HandedBack] {
            let next = end.next(1, &POLICY);
            assert_eq!((next.window, next.job), (WindowState::Open, JobState::Running));
            assert_eq!((next.attempt, next.again_after), (AttemptState::Interrupted, None));
        }
    }

    #[test]
    fn a_run_ends_with_its_last_job_and_is_no_better_than_its_worst() {
        use JobState::{Cancelled, Failed, Interrupted, Pending, Refused, Succeeded, UpToDate};
        let of = |jobs: &[JobState]| run_state(jobs.iter().copied(), false);
        assert_eq!(of(&[]), Some(RunState::Succeeded));
        assert_eq!(of(&[Succeeded, UpToDate]), Some(RunState::Succeeded));
        assert_eq!(of(&[Succeeded, Pending]), None);
        assert_eq!(of(&[Failed, Succeeded]), Some(RunState::Failed));
        assert_eq!(of(&[Refused, Interrupted]), Some(RunState::Interrupted));
        assert_eq!(of(&[Interrupted, Cancelled, Failed]), Some(RunState::Cancelled));
        assert_eq!(run_state([Failed], true), Some(RunState::Cancelled));
        assert_eq!(run_state([Succeeded], true), Some(RunState::Succeeded));
    }
}
