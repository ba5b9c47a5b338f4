//! What every process does, done once: serving HTTP, knowing its callers, metrics, health, and
//! stopping in good order.
//!
//! Knows none of our other crates, so any process may use it. Deliberately absent: what a route
//! does, how an error looks in a body (see `api`), and the reading of durations and sizes (see
//! `model::duration`).

pub mod auth;
pub mod config;
mod error;
pub mod health;
pub mod metrics;
pub mod origin;
pub mod serve;
pub mod shutdown;
pub mod tls;

pub use auth::{Auth, Caller, Denied, Role};
pub use config::{Limits, TlsFiles};
pub use error::Error;
pub use health::Health;
pub use metrics::Metrics;
pub use serve::{Peer, Protocol, Server};
pub use shutdown::{Drained, drain, stop_on_signal};
pub use tls::Tls;
