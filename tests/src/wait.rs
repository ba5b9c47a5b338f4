//! Waiting for what will happen, and not for a time.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

/// How long an event may be waited for on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(2);

/// Waits for something to happen.
///
/// # Errors
/// When it does not, or cannot be looked at.
pub fn until(what: &str, mut happened: impl FnMut() -> Result<bool>) -> Result<()> {
    let begun = Instant::now();
    while !happened()? {
        ensure!(begun.elapsed() < PATIENCE, "waited in vain until {what}");
        thread::sleep(POLL);
    }
    Ok(())
}
