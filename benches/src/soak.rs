//! A long load at a steady rate: does the server keep its memory, and does every answer come?

use std::io::{Write, stdout};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::load::Load;
use crate::server::Server;
use crate::table::count;

/// How often memory is looked at.
const EVERY: Duration = Duration::from_secs(30);
/// When caches and pools have their size.
const SETTLED_AFTER: Duration = Duration::from_secs(60);
/// How much more memory there may be from then on: allocators breathe, a leak does not stop there.
const GROWTH_MAX: f64 = 1.10;

/// Puts a load on a server for so long, and prints what it uses.
///
/// # Errors
/// When an answer is not 200, or memory grows.
pub fn soak(server: &Server, load: &Load, length: Duration) -> Result<()> {
    const MIB: f64 = 1_048_576.0;
    let mut growth = Growth::default();
    let mut passed = Duration::ZERO;
    while passed < length {
        // Connections are made anew each time, as those of callers are.
        let part = EVERY.min(length - passed);
        let measured = load.run(part).with_context(|| format!("after {} s", passed.as_secs()))?;
        passed += part;
        let resident_bytes = server.usage()?.resident_bytes;
        writeln!(
            stdout(),
            "{:>8} s  {:>9} requests/s  p50 {:>7.3} ms  p99 {:>7.3} ms  RSS {:>7.1} MiB",
            passed.as_secs(),
            count(measured.rate().round() as u64),
            measured.latencies.quantile(0.5).as_secs_f64() * 1e3,
            measured.latencies.quantile(0.99).as_secs_f64() * 1e3,
            resident_bytes as f64 / MIB,
        )?;
        growth.note(passed, resident_bytes)?;
    }
    Ok(())
}

/// The memory that later looks are compared with.
#[derive(Clone, Copy, Debug, Default)]
struct Growth {
    settled_bytes: Option<u64>,
}

impl Growth {
    fn note(&mut self, passed: Duration, resident_bytes: u64) -> Result<()> {
        match self.settled_bytes {
            Some(settled) => {
                let share = resident_bytes as f64 / settled as f64;
                ensure!(
                    share <= GROWTH_MAX,
                    "memory grew to {share:.2} × of {} bytes after {} s",
                    count(settled),
                    passed.as_secs()
                );
            }
            None if passed >= SETTLED_AFTER => self.settled_bytes = Some(resident_bytes),
            None => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_counts_from_the_first_minute_on() {
        let mut growth = Growth::default();
        let mut note = |seconds, bytes| growth.note(Duration::from_secs(seconds), bytes).is_ok();
        assert!(note(30, 10) && note(60, 1_000), "the first minute may do as it likes");
        assert!(note(90, 1_100) && note(120, 900) && note(150, 1_050));
        assert!(!note(180, 1_101));
    }
}
