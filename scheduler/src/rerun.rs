//! What of a view a rerun means: the intervals of windows and runs that did not land, or all of
//! an interval.

use api::RerunState;
use metastore::{JobDetail, WindowDetail};
use model::{Coverage, Interval, IntervalSet, JobState, Request, RunId, ViewRef, WindowState};

use crate::Scheduler;
use crate::error::Error;
use crate::trigger::{Ask, Trigger};

impl Scheduler {
    /// The views that a rerun means where its request names none: those of the window, or those of
    /// the run that did not land.
    pub(crate) async fn views_of_rerun(&self, trigger: &Trigger) -> Result<Vec<String>, Error> {
        match trigger.ask {
            Ask::Run(run) => {
                let jobs = self.jobs_of(run).await?;
                let left = jobs.iter().filter(|detail| !detail.job.state.is_landed());
                let views: Vec<String> = left.map(|left| left.job.view_name.clone()).collect();
                if views.is_empty() { Err(Error::NothingFailed { run }) } else { Ok(views) }
            }
            Ask::Window(window) => {
                let place = self.ledger()?.window(window).await?;
                Ok(vec![place.ok_or(Error::UnknownWindow { window })?.view_name])
            }
            Ask::Interval(_) | Ask::State(..) => Ok(Vec::new()),
        }
    }

    /// What a run was asked for, for a view of which it never came to know what to read.
    pub(crate) async fn request_of(&self, run: RunId) -> Result<Request, Error> {
        let row = self.ledger()?.run_row(run).await?.ok_or(Error::UnknownRun { run })?;
        match (row.requested_start, row.requested_end) {
            (Some(start), Some(end)) => Ok(Request::Interval { start, end }),
            (None, Some(end)) => Ok(Request::Incremental { end }),
            (_, None) => Err(Error::NeverCut { run }),
        }
    }

    async fn jobs_of(&self, run: RunId) -> Result<Vec<JobDetail>, Error> {
        let detail = self.ledger()?.run(run).await?.ok_or(Error::UnknownRun { run })?;
        if detail.run.project != self.config.project {
            return Err(Error::UnknownRun { run });
        }
        Ok(detail.jobs)
    }

    /// The intervals of a view that a rerun reads.
    pub(crate) async fn intervals_of_rerun(
        &self,
        trigger: &Trigger,
        view: &ViewRef,
        coverage: &Coverage,
    ) -> Result<IntervalSet, Error> {
        match trigger.ask {
            Ask::Interval(_) => Ok(IntervalSet::default()),
            Ask::Run(run) => {
                let jobs = self.jobs_of(run).await?;
                let of_view = jobs.iter().filter(|detail| detail.job.view == *view);
                Ok(of_view.flat_map(left_of_job).collect())
            }
            Ask::Window(window) => {
                let place = self.ledger()?.window(window).await?;
                let place = place.ok_or(Error::UnknownWindow { window })?;
                Ok([place.window.interval].into_iter().collect())
            }
            Ask::State(RerunState::All, whole) => Ok([whole].into_iter().collect()),
            Ask::State(RerunState::Missing, whole) => Ok(missing(whole, coverage)),
            Ask::State(RerunState::Failed, whole) => {
                let left = self.ledger()?.windows_left(view).await?;
                let failed = left.iter().filter(|window| is_given_up(window.state));
                let failed = failed.filter_map(|window| overlap(window.interval, whole)).collect();
                // A correction may fail over what has landed; without one, that is as it should be.
                Ok(if trigger.correct { failed } else { minus(&failed, coverage) })
            }
        }
    }
}

/// What of a job did not land: its windows, or all of it where it never had any.
fn left_of_job(detail: &JobDetail) -> Vec<Interval> {
    if detail.windows.is_empty() {
        let failed = !matches!(detail.job.state, JobState::Succeeded | JobState::UpToDate);
        return detail.job.interval.filter(|_| failed).into_iter().collect();
    }
    let left = |detail: &&WindowDetail| detail.window.state != WindowState::Committed;
    detail.windows.iter().filter(left).map(|detail| detail.window.interval).collect()
}

fn is_given_up(state: WindowState) -> bool {
    matches!(state, WindowState::Failed | WindowState::Interrupted)
}

fn overlap(left: Interval, right: Interval) -> Option<Interval> {
    let both = Interval::new(left.start.max(right.start), left.end.min(right.end));
    (!both.is_empty()).then_some(both)
}

fn missing(whole: Interval, coverage: &Coverage) -> IntervalSet {
    minus(&[whole].into_iter().collect(), coverage)
}

fn minus(set: &IntervalSet, coverage: &Coverage) -> IntervalSet {
    set.minus(coverage.intervals()).into_iter().collect()
}
