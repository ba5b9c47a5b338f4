//! How much is sent at once, how long an answer may take, and how often to try again.
//!
//! Plain data with a reason for each default; the loops that obey it are in `redis` and `sqlite`.

use std::time::Duration;

use model::RetryPolicy;

use crate::pace::PaceLimits;

/// Limits of a store's writes and reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteLimits {
    /// Rows in one call of the script.
    ///
    /// Redis answers nobody else meanwhile. Fifty rows of six features take 0.2 ms, and calls of
    /// more rows are no faster: the cost of a call itself is spread thin enough by then.
    pub rows_per_call: usize,
    /// Values in one call, whatever the rows; a row of more values is a call of its own.
    ///
    /// Keeps a call of a wide view as short as one of a narrow view.
    pub values_per_call: usize,
    /// Bytes of keys and values in one call, whatever the rows.
    ///
    /// Keeps large values from blocking Redis: copying 256 KiB takes well under 1 ms.
    pub bytes_per_call: usize,
    /// Bytes after which a pipeline of commands ends; a longer command is a pipeline of its own.
    pub pipeline_bytes: usize,
    /// Pipelines of one lane that wait for an answer at the same time, besides the one that is
    /// being sent.
    ///
    /// With their bytes this bounds our memory and the server's input buffers: eight of 64 KiB keep
    /// Redis busy over a round trip of several milliseconds.
    pub pipelines_in_flight: usize,
    /// Connections to one server that write at the same time.
    ///
    /// One keeps a single-threaded Redis busy while it has something to send. More of them fill the
    /// gaps while batches are encoded.
    pub lanes_max: usize,
    /// How fast rows may be sent, by all writers together.
    pub pace: PaceLimits,
    /// How long one command may take before its connection counts as lost; for SQLite, how long
    /// to wait for another writer.
    ///
    /// Longer than Redis stalls in a fork or behind somebody's slow script (`BUSY` comes after
    /// 5 s).
    pub command_timeout: Duration,
    /// How long connecting may take, TLS included.
    pub connect_timeout: Duration,
    /// What happens when an answer says "not now" or the connection is lost.
    ///
    /// Counted anew whenever a batch gets further. About half a minute in all: a failover or the
    /// restart of a small server passes in that time.
    pub retry: RetryPolicy,
}

impl Default for WriteLimits {
    fn default() -> Self {
        Self {
            rows_per_call: 50,
            values_per_call: 4096,
            bytes_per_call: 256 * 1024,
            pipeline_bytes: 64 * 1024,
            pipelines_in_flight: 8,
            lanes_max: 8,
            pace: PaceLimits::default(),
            command_timeout: Duration::from_secs(15),
            connect_timeout: Duration::from_secs(5),
            retry: RetryPolicy {
                attempts_max: 10,
                backoff_first: Duration::from_millis(100),
                backoff_max: Duration::from_secs(10),
            },
        }
    }
}
