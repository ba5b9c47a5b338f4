//! What is shown of a run that another process works on, put together from what is heard of it.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use api::{Event, EventKind, JobDetail, RunDetail, ViewProgress};
use model::{JobState, WriteCounts};
use scheduler::Phase;

use crate::progress::ViewLine;

/// One line a view, in the order of the run's jobs.
#[derive(Debug, Default)]
pub struct Shown {
    lines: Mutex<Vec<ViewLine>>,
}

impl Shown {
    /// The lines now.
    pub fn lines(&self) -> Vec<ViewLine> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Shows what is known of every job.
    pub fn set(&self, detail: &RunDetail) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        for (index, job) in detail.jobs.iter().enumerate() {
            if index == lines.len() {
                lines.push(ViewLine::waiting(&job.view));
            }
            show(&mut lines[index], job);
        }
    }

    /// Shows how far the views have got.
    pub fn hear(&self, progress: &[ViewProgress]) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        for heard in progress {
            let Some(line) = lines.iter_mut().find(|line| line.view == heard.view) else {
                continue;
            };
            // What a job came to is known from its receipt.
            if matches!(line.phase, Phase::Ended(_)) {
                continue;
            }
            line.read = heard.rows_read;
            line.rows_max = heard.rows_max;
            line.counts.written = heard.written;
            go_on(line, heard.state);
        }
    }
}

/// Tells whether an event says that a job has ended.
pub fn is_end_of_job(event: &Event) -> bool {
    let state = event.state.as_deref().and_then(JobState::parse);
    event.kind == EventKind::Job && state.is_some_and(JobState::is_ended)
}

fn show(line: &mut ViewLine, job: &JobDetail) {
    if let Some(progress) = job.progress {
        line.read = progress.rows_read;
        line.rows_max = progress.rows_max;
        line.counts = WriteCounts {
            written: progress.written,
            stale: progress.stale,
            tombstoned: progress.tombstoned,
        };
    }
    if let Some(receipt) = job.receipt.filter(|_| job.state.is_ended()) {
        line.read = receipt.rows_read;
        line.counts = receipt.counts;
    }
    go_on(line, job.state);
}

fn go_on(line: &mut ViewLine, state: JobState) {
    line.phase = match state {
        JobState::Pending => Phase::Waiting,
        JobState::Running if line.read == 0 && line.rows_max == 0 => Phase::Planning,
        JobState::Running => Phase::Running,
        ended => Phase::Ended(ended),
    };
    if line.phase == Phase::Running && line.started.is_none() {
        line.started = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown() -> Shown {
        let shown = Shown::default();
        shown.lines.lock().expect("no panic").push(ViewLine::waiting("v"));
        shown
    }

    fn heard(state: JobState, rows_read: u64) -> ViewProgress {
        ViewProgress { view: "v".to_owned(), state, rows_read, rows_max: rows_read, written: 1 }
    }

    #[test]
    fn a_view_goes_from_waiting_to_its_end() {
        let shown = shown();
        for (state, rows, wanted) in [
            (JobState::Pending, 0, Phase::Waiting),
            (JobState::Running, 0, Phase::Planning),
            (JobState::Running, 7, Phase::Running),
            (JobState::Succeeded, 9, Phase::Ended(JobState::Succeeded)),
            (JobState::Running, 7, Phase::Ended(JobState::Succeeded)),
        ] {
            shown.hear(&[heard(state, rows)]);
            assert_eq!(shown.lines()[0].phase, wanted);
        }
        assert_eq!(shown.lines()[0].read, 9, "what came late changes nothing");
    }

    #[test]
    fn a_view_of_another_run_is_not_shown() {
        let shown = shown();
        shown.hear(&[ViewProgress { view: "w".to_owned(), ..heard(JobState::Running, 1) }]);
        assert_eq!(shown.lines().len(), 1);
    }
}
