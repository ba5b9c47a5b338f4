//! Named steps of a run at which a test has the process stop dead, as if it had been killed there.
//!
//! Always built in, so that what is tested is what is shipped; without the hidden option that names
//! a step, passing one costs a comparison.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};

macro_rules! steps {
    ($($(#[$doc:meta])* $variant:ident = $text:literal,)*) => {
        /// A step of a run.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Step { $($(#[$doc])* $variant,)* }

        impl Step {
            /// Every step, in the order in which a run passes them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name on the command line.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

steps! {
    /// The run is recorded.
    Admitted = "admitted",
    /// A process has begun it.
    Claimed = "claimed",
    /// The job's view is leased.
    Leased = "leased",
    /// What Feast recorded is taken over.
    Adopted = "adopted",
    /// It is known what is to be read.
    Cut = "cut",
    /// The windows are recorded.
    WindowsRecorded = "windows_recorded",
    /// A window's files are known.
    Planned = "planned",
    /// The attempt is recorded.
    AttemptRecorded = "attempt_recorded",
    /// A batch is written.
    FirstWrite = "first_write",
    /// Every row of a partition is acknowledged.
    PartitionWritten = "partition_written",
    /// The partition is noted as done.
    Checkpointed = "checkpointed",
    /// Every row of the window is acknowledged.
    RowsAcknowledged = "rows_acknowledged",
    /// The online store has the marker.
    Marked = "marked",
    /// The window is committed.
    Committed = "committed",
    /// Feast's registry has the interval.
    Mirrored = "mirrored",
    /// The job is closed.
    JobClosed = "job_closed",
    /// The run is closed.
    RunClosed = "run_closed",
}

/// Where to stop dead: at one step, when it is passed for the n-th time; nowhere by default.
#[derive(Debug, Default)]
pub struct FailPoints {
    at: Option<Step>,
    passes_left: AtomicU32,
}

/// What is written in place of a step.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no step; write `STEP` or `STEP:N`")]
pub struct UnknownStep(String);

impl FailPoints {
    /// Tells whether there is no such place.
    pub(crate) fn is_empty(&self) -> bool {
        self.at.is_none()
    }

    /// Ends the process if this is the place.
    pub(crate) fn pass(&self, step: Step) {
        if self.at == Some(step) && self.passes_left.fetch_sub(1, Ordering::Relaxed) == 1 {
            tracing::error!(step = step.as_str(), "stopping dead, as asked");
            std::process::abort();
        }
    }
}

impl FromStr for FailPoints {
    type Err = UnknownStep;

    fn from_str(text: &str) -> Result<Self, UnknownStep> {
        let (name, passes) = text.split_once(':').unwrap_or((text, "1"));
        let step = Step::ALL.iter().copied().find(|step| step.as_str() == name);
        let passes = passes.parse().ok().filter(|passes| *passes > 0);
        match (step, passes) {
            (Some(step), Some(passes)) => {
                Ok(Self { at: Some(step), passes_left: AtomicU32::new(passes) })
            }
            _ => Err(UnknownStep(text.to_owned())),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_named_with_the_pass_it_stops_at() {
        for step in Step::ALL {
            let points: FailPoints = step.as_str().parse().expect("it is a step");
            assert_eq!(points.at, Some(*step));
        }
        let third: FailPoints = "committed:3".parse().expect("it is a step");
        third.pass(Step::Marked);
        third.pass(Step::Committed);
        assert_eq!(third.passes_left.load(Ordering::Relaxed), 2);
        for text in ["", "nowhere", "committed:0", "committed:x"] {
            assert!(text.parse::<FailPoints>().is_err(), "{text}");
        }
    }
}
