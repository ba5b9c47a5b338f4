//! Side by side with the real Feast, pinned, on real servers.
//!
//! Each repository is configured twice, with the same definitions and data: `ours` is shared by
//! Tidegate and Feast, `reference` is Feast's alone. What Tidegate leaves behind must be what Feast
//! would have left, and Feast must be able to go on from there.

mod apply;
mod handover;
mod repository;
mod session;
mod types;
