//! `tidegate serve` as a black box: what it answers, to whom, and what it does when Redis fails.
//!
//! The measure is the real Feast 0.67: pairs of requests and answers that were recorded from it,
//! its own Python client, and a naive reference where the two are meant to differ. Deliberately
//! absent: how fast it is (see `benches`).

mod caller;
mod command;
mod crowd;
mod differences;
mod failover;
mod fault;
mod grpc;
mod held;
mod http;
mod load;
mod order;
mod property;
mod recorded;
mod reference;
mod remote;
mod schema;
mod secure;
mod server;
mod settings;
mod site;
mod store;
mod svc;
mod table;
mod token;
mod vector;
mod world;
mod write;
