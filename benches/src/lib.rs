//! What the benchmarks share; each benchmark is a program of its own and asks one question.
//!
//! The programs measured are black boxes: they are started, watched from outside, and judged by
//! what they leave in Redis. Deliberately absent: micro-benchmarks, which live in their crates.

pub mod dataset;
pub mod hset;
pub mod measure;
pub mod table;
