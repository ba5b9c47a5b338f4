//! Kinds and states of runs and jobs.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
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
        /// What did not land, or what is to be read again.
        Rerun = "rerun",
    }
}

named! {
    /// How far a run has got.
    RunState {
        /// Recorded; no process has begun to work on it.
        Pending = "pending",
        /// Some process is or was working on it.
        Running = "running",
        /// Every job landed.
        Succeeded = "succeeded",
        /// At least one job did not land.
        Failed = "failed",
        /// Somebody asked for its end before it ended by itself.
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
        /// Planned; not attempted yet.
        Pending = "pending",
        /// Some attempt is or was writing it.
        Open = "open",
        /// It landed.
        Committed = "committed",
        /// Its last attempt gave up.
        Failed = "failed",
        /// Its run ended before it did, or its view was created anew in Feast.
        Interrupted = "interrupted",
    }
}

named! {
    /// How far an attempt at a window has got.
    AttemptState {
        /// Some process is or was working on it.
        Running = "running",
        /// Its window was committed by it.
        Committed = "committed",
        /// It gave up.
        Failed = "failed",
        /// It lost its lease, or its run was ended.
        Interrupted = "interrupted",
    }
}

impl RunState {
    /// Tells whether nothing more will happen.
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }
}

impl JobState {
    /// Tells whether nothing more will happen.
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }

    /// Tells whether the view is as fresh as was asked for.
    pub const fn is_landed(self) -> bool {
        matches!(self, Self::Succeeded | Self::UpToDate)
    }
}

impl WindowState {
    /// Tells whether nothing more will happen.
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Open)
    }
}
