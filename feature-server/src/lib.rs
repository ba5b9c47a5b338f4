//! The read path: online feature requests over HTTP and gRPC, answered in the order asked for.
//!
//! A request is resolved into a flat plan once, its entities become keys, all views of all entities
//! are read in one pipelined trip, and the stored bytes go into the answer as they are.
//! Deliberately absent: what is in the store and how it is asked (see `online-store`), and Python:
//! features that a function computes are told by name and not answered.

mod answer;
mod bind;
mod catalog;
mod error;
pub mod grpc;
pub mod http;
mod metric;
mod plan;
mod process;
mod push;
mod request;
mod server;
mod settings;
mod store;
mod vector;

pub use answer::Answer;
pub use catalog::Catalog;
pub use error::Error;
pub use metric::ServeMetrics;
pub use plan::Project;
pub use process::{Freshness, Serving, Sockets};
pub use request::{FeatureRequest, Values, Wanted};
pub use server::FeatureServer;
pub use settings::{Compat, Expired, Limits, OnDemand, Settings};
pub use store::Store;
