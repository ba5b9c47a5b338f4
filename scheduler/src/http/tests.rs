//! Every route and every refusal, without a socket.

mod console;
mod feast_routes;
mod guard;
mod process;
mod run_routes;
mod site;
