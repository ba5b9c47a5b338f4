//! What the benchmarks share; each benchmark is a program of its own and asks one question.
//!
//! Most programs measured are black boxes: they are started, watched from outside, and judged by
//! what they leave in Redis. Parts are measured alone by `latest` and, in instructions, by `work`.

pub mod baseline;
pub mod dataset;
pub mod hash;
pub mod hmget;
pub mod hset;
pub mod http;
pub mod latency;
pub mod load;
pub mod measure;
pub mod newest;
pub mod question;
pub mod replay;
pub mod served;
pub mod server;
pub mod soak;
pub mod store;
pub mod table;
pub mod tap;
pub mod tidegate;
pub mod usage;
pub mod ways;
pub mod wide;
pub mod work;
pub mod year;
