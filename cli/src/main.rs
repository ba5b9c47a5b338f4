//! The one binary: parse, call, print. The only place that reads the environment.

#![allow(unreachable_pub, reason = "nothing of a binary can be reached from outside")]

mod args;
mod attend;
mod command;
mod credentials;
mod embedded;
mod features;
mod follow;
mod output;
mod progress;
mod repo;
mod request;
mod server;
mod service;
mod shown;

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::args::{Args, LogLevel};

/// Two threads that answer requests wait for each other in that of the C library.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Everything landed, or was there already.
const EXIT_LANDED: u8 = 0;
/// Nothing landed, or something failed.
const EXIT_FAILED: u8 = 1;
/// What was asked for makes no sense; nothing was begun.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let args = Args::parse();
    start_logging(args.log_level);
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect::<BTreeMap<String, String>>();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::error(&anyhow::Error::new(error).context("failed to start the runtime"));
            return ExitCode::from(EXIT_FAILED);
        }
    };
    let code = match runtime.block_on(command::run(args, environment)) {
        Ok(code) => code,
        Err(error) => {
            output::error(&error);
            if command::is_usage(&error) { EXIT_USAGE } else { EXIT_FAILED }
        }
    };
    // Nothing is left to wait for: what must be durable was acknowledged before it was reported.
    runtime.shutdown_background();
    ExitCode::from(code)
}

/// Logs go to stderr; quiet by default, `RUST_LOG` overrides.
fn start_logging(level: LogLevel) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| {
        // The database drivers log each slow statement; that is for whoever asks for it. Access is
        // logged only where a flag says so.
        let level = level.as_str();
        EnvFilter::new(format!("{level},access=info,sqlx=error,fred=error"))
    });
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}
