//! Tidegate's nouns and rules: ids, times, intervals, the watermark rule, receipts.
//!
//! Pure: no I/O, nothing async, no clock. What can be decided without I/O is decided here.
//! Deliberately absent: anything Feast defines (see `feast`) and every SQL or Redis word.

pub mod batch;
pub mod byte_size;
pub mod cutting;
pub mod id;
pub mod interval;
pub mod invariant;
pub mod lease;
pub mod machine;
pub mod marker;
pub mod memory;
pub mod receipt;
pub mod retry;
pub mod run;
pub mod time;
pub mod view;
pub mod watermark;
pub mod window;
pub mod write_mode;

pub use feast::duration;

pub use batch::{ByteColumn, ByteColumnBuilder, EncodedBatch};
pub use byte_size::ByteSize;
pub use cutting::{WINDOWS_MAX, cut_windows};
pub use id::{AttemptId, JobId, RunId, WindowId};
pub use interval::{Interval, IntervalSet};
pub use lease::Lease;
pub use machine::{AttemptEnd, Next};
pub use marker::{Agreement, Marker};
pub use memory::{Load, MemoryState, RowSize};
pub use receipt::{Receipt, WriteCounts};
pub use retry::RetryPolicy;
pub use run::{AttemptState, JobState, RunKind, RunState, WindowState};
pub use time::EventTime;
pub use view::{FeatureColumn, OnlineView, ViewRef};
pub use watermark::Coverage;
pub use window::{Cut, Request, Warning};
pub use write_mode::{FencingToken, WriteMode};
