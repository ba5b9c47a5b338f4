//! The process that runs Feast for this suite, and the suite's Python files.

use std::path::{Path, PathBuf};

use anyhow::Result;

pub(crate) use tests::session::{Ran, Session, end_of};

/// The Python files of this suite.
pub(crate) fn python_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("compat/python").join(name)
}

/// Starts the process.
pub(crate) fn start() -> Result<Session> {
    Session::start(python_file(""))
}
