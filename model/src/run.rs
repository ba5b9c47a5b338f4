//! Kinds and states of runs, jobs, windows and attempts.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            /// Every variant, in the order above.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name as stored and shown.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// Reads a stored name back.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)* _ => None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

named! {
    /// What a run was asked to do.
    RunKind {
        /// From each view's watermark to an end.
        Incremental = "incremental",
        /// One interval for every view.
        Interval = "interval",
        /// What an earlier run left undone, or did, once more.
        Rerun = "rerun",
    }
}

named! {
    /// How far a run has got.
    RunState {
        /// Recorded; no process has taken it up yet.
        Pending = "pending",
        /// Recorded, and some process is or was working on it.
        Running = "running",
        /// Every job landed.
        Succeeded = "succeeded",
        /// At least one job did not land.
        Failed = "failed",
        /// Somebody asked it to stop before it ended.
        Cancelled = "cancelled",
        /// Its process stopped before it ended.
        Interrupted = "interrupted",
    }
}

named! {
    /// How far a job has got.
    JobState {
        /// Recorded; nothing written yet.
        Pending = "pending",
        /// Being written.
        Running = "running",
        /// Committed.
        Succeeded = "succeeded",
        /// Nothing to do: the end is at or before the watermark.
        UpToDate = "up_to_date",
        /// Ended without a commit.
        Failed = "failed",
        /// Refused before anything was written: a view that cannot be materialized here.
        Refused = "refused",
        /// Its run was cancelled before it ended.
        Cancelled = "cancelled",
        /// Its process stopped before it ended.
        Interrupted = "interrupted",
    }
}

named! {
    /// How far a window has got.
    WindowState {
        /// Cut and planned; no attempt has begun yet, or the last one may be followed by another.
        Pending = "pending",
        /// Some attempt is or was writing it.
        Open = "open",
        /// It landed.
        Committed = "committed",
        /// Its last attempt gave up.
        Failed = "failed",
        /// Its attempt's process stopped, or its view was created anew in Feast.
        Interrupted = "interrupted",
    }
}

named! {
    /// How far an attempt has got.
    AttemptState {
        /// It holds the lease, or held it when it was last heard of.
        Running = "running",
        /// Its receipt was committed.
        Committed = "committed",
        /// It gave up and said why.
        Failed = "failed",
        /// Its process stopped, or its lease passed to another attempt.
        Interrupted = "interrupted",
    }
}

impl RunState {
    /// Tells whether nothing will follow.
    pub const fn is_ended(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }
}

impl JobState {
    /// Tells whether nothing will follow.
    pub const fn is_ended(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }

    /// Tells whether the view is as fresh as was asked for.
    pub const fn is_landed(self) -> bool {
        matches!(self, Self::Succeeded | Self::UpToDate)
    }
}

impl WindowState {
    /// Tells whether nothing will follow.
    pub const fn is_ended(self) -> bool {
        !matches!(self, Self::Pending | Self::Open)
    }
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;

    use super::*;

    /// The stored name, the serialized one and what is read back are one and the same.
    fn names_agree<T>(all: &[T], name: fn(T) -> &'static str, parse: fn(&str) -> Option<T>)
    where
        T: Copy + PartialEq + fmt::Debug + Serialize + DeserializeOwned,
    {
        for &one in all {
            let json = serde_json::to_string(&one).expect("a name is text");
            assert_eq!(json, format!("\"{}\"", name(one)));
            assert_eq!(parse(name(one)), Some(one));
            assert_eq!(serde_json::from_str::<T>(&json).expect("the name reads back"), one);
        }
        assert_eq!(parse("other"), None);
    }

    #[test]
    fn stored_and_serialized_names_are_the_same() {
        names_agree(RunKind::ALL, RunKind::as_str, RunKind::parse);
        names_agree(RunState::ALL, RunState::as_str, RunState::parse);
        names_agree(JobState::ALL, JobState::as_str, JobState::parse);
        names_agree(WindowState::ALL, WindowState::as_str, WindowState::parse);
        names_agree(AttemptState::ALL, AttemptState::as_str, AttemptState::parse);
    }

    #[test]
    fn what_is_pending_or_running_has_not_ended() {
        let open: Vec<_> = RunState::ALL.iter().filter(|state| !state.is_ended()).collect();
        assert_eq!(open, [&RunState::Pending, &RunState::Running]);
        let open: Vec<_> = JobState::ALL.iter().filter(|state| !state.is_ended()).collect();
        assert_eq!(open, [&JobState::Pending, &JobState::Running]);
    }
}
