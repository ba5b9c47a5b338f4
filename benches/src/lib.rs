//! What the benchmarks share; each benchmark is a program of its own and asks one question.
//!
//! Most programs measured are black boxes: they are started, watched from outside, and judged by
//! what they leave in Redis. Parts are measured alone by `latest` and, in instructions, by `work`.

pub mod baseline;
pub mod dataset;
pub mod hash;
pub mod hset;
pub mod measure;
pub mod newest;
pub mod replay;
pub mod store;
pub mod table;
pub mod tap;
pub mod tidegate;
pub mod ways;
pub mod wide;
pub mod work;
pub mod year;
