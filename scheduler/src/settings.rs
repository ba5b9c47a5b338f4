//! How a scheduler goes about its work, beyond what a run asks for.

use std::sync::Arc;
use std::time::Duration;

use model::RetryPolicy;

use crate::fail_point::FailPoints;
use crate::trigger::Defaults;

/// How a scheduler goes about its work.
#[derive(Debug)]
pub struct Settings {
    /// How long a lease lasts unless it is extended: how long a view stands still when its process
    /// is lost.
    pub lease: Duration,
    /// How often a lease is extended and progress is shown.
    pub beat: Duration,
    /// How often an attempt is made, and how long to wait in between.
    pub retry: RetryPolicy,
    /// Whether an attempt is made again after anything that may pass, and not only after what is
    /// known to be over. A process that somebody waits for and starts again is better off failing.
    pub retries_all: bool,
    /// How long one attempt may take.
    pub attempt_timeout: Duration,
    /// Replicas of the online store that must have every row before it counts as landed.
    pub wait_replicas: u32,
    /// Bytes that a window reads, about, where its length is not given.
    pub window_bytes: u64,
    /// Brings back by itself what the online store has lost.
    pub rebuild_lost: bool,
    /// What a run does where its request does not say.
    pub defaults: Defaults,
    /// Where to stop dead, for tests of what happens then.
    pub fail_points: Arc<FailPoints>,
}

/// A lease's length: long enough that a busy ledger does not cost the view, short enough that a
/// lost process does not cost the night.
pub const LEASE: Duration = Duration::from_secs(15);

/// A sign of life: three may be lost before the lease ends.
pub const BEAT: Duration = Duration::from_secs(4);

/// An attempt that takes longer than this is taken for stuck.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(6 * 3_600);

/// About what two cores read, reduce and write in half an hour: what is lost when a process is.
pub const WINDOW_BYTES: u64 = 8 << 30;

/// Attempts at a window; more than a few in a row mean that it will go on failing.
pub const RETRY: RetryPolicy = RetryPolicy {
    attempts_max: 3,
    backoff_first: Duration::from_secs(2),
    backoff_max: Duration::from_secs(60),
};

impl Default for Settings {
    fn default() -> Self {
        Self {
            lease: LEASE,
            beat: BEAT,
            retry: RETRY,
            retries_all: false,
            attempt_timeout: ATTEMPT_TIMEOUT,
            wait_replicas: 0,
            window_bytes: WINDOW_BYTES,
            rebuild_lost: false,
            defaults: Defaults { parallel: 2, refuse_over_memory: false },
            fail_points: Arc::default(),
        }
    }
}
