//! What a program cost: wall time, processor time, and the most memory it ever held.
//!
//! Read from Linux's `/proc`, because the standard library tells only the wall time.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// `/proc` counts processor time in these, on every Linux: `USER_HZ` is part of its interface.
pub(crate) const TICK: Duration = Duration::from_millis(10);
/// Often enough to see a peak that lasts; seldom enough to cost nothing beside what is measured.
const POLL: Duration = Duration::from_millis(5);
/// How much of a failed program's output is shown.
const OUTPUT_BYTES_MAX: usize = 2_000;

/// What one run cost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Rows that went through.
    pub rows: u64,
    /// From start to exit.
    pub wall: Duration,
    /// User and system time of the program; `None` when it is not its own.
    pub cpu: Option<Duration>,
    /// Most memory ever resident.
    pub memory_bytes_max: Option<u64>,
}

impl Cost {
    /// Rows a second.
    #[must_use]
    pub fn rows_per_second(&self) -> f64 {
        self.rows as f64 / self.wall.as_secs_f64()
    }

    /// Microseconds of the program's own processor time on each row.
    #[must_use]
    pub fn cpu_micros_per_row(&self) -> Option<f64> {
        Some(self.cpu?.as_secs_f64() * 1e6 / self.rows as f64)
    }
}

/// What so many rows would cost by the straight line through two runs, the larger one last.
///
/// The memory of a run that did not happen is not known.
#[must_use]
pub fn extrapolate(small: Cost, large: Cost, rows: u64) -> Cost {
    let factor = (rows as f64 - large.rows as f64) / (large.rows as f64 - small.rows as f64);
    let at = |small: Duration, large: Duration| {
        large + large.saturating_sub(small).mul_f64(factor.max(0.0))
    };
    Cost {
        rows,
        wall: at(small.wall, large.wall),
        cpu: small.cpu.zip(large.cpu).map(|(small, large)| at(small, large)),
        memory_bytes_max: None,
    }
}

/// The run in the middle by wall time, of an odd number; the slower of the two otherwise.
#[must_use]
pub fn median(mut costs: Vec<Cost>) -> Option<Cost> {
    costs.sort_by_key(|cost| cost.wall);
    costs.get(costs.len() / 2).copied()
}

/// Runs a program to its end, which must be a success, and gives its cost.
///
/// # Errors
/// When it cannot be started or fails; the message has the end of what it said.
///
/// # Shape
/// Its stdout is in `log` afterwards, its stderr beside it in `….err`.
pub fn run(command: &mut Command, rows: u64, log: &Path) -> Result<Cost> {
    let errors = log.with_extension("err");
    command.stdin(Stdio::null()).stdout(File::create(log)?).stderr(File::create(&errors)?);
    let before = children_ticks()?;
    let started = Instant::now();
    let mut child = command.spawn().with_context(|| format!("failed to start {command:?}"))?;
    let (success, memory_bytes_max) = watch(&mut child)?;
    let wall = started.elapsed();
    let ticks = children_ticks()? - before;
    ensure!(success, "{command:?} failed: {}\n{}", end_of(log), end_of(&errors));
    let cpu = TICK * u32::try_from(ticks).context("it ran for more than a year")?;
    Ok(Cost { rows, wall, cpu: Some(cpu), memory_bytes_max })
}

/// Waits for a program: whether it succeeded, and its peak of memory.
fn watch(child: &mut Child) -> Result<(bool, Option<u64>)> {
    let status = format!("/proc/{}/status", child.id());
    let mut peak = None;
    loop {
        // The peak is the system's own count; the last look before the exit has it.
        let text = fs::read_to_string(&status).ok();
        peak = text.and_then(|text| memory_bytes(&text, "VmHWM:")).max(peak);
        if let Some(status) = child.try_wait()? {
            return Ok((status.success(), peak));
        }
        thread::sleep(POLL);
    }
}

/// Bytes in a line of `/proc/PID/status`, such as `VmHWM:`; a program that has ended has none.
pub(crate) fn memory_bytes(status: &str, name: &str) -> Option<u64> {
    const KIB: u64 = 1024;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let count: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(count * KIB)
}

/// Processor time of all children that have been waited for.
fn children_ticks() -> Result<u64> {
    let stat = fs::read_to_string("/proc/self/stat").context("failed to read `/proc/self/stat`")?;
    parse_children_ticks(&stat).context("`/proc/self/stat` is not as in proc(5)")
}

/// Fields 16 and 17 of proc(5), `cutime` and `cstime`. The name of the program, field 2, is in
/// parentheses and may hold anything.
fn parse_children_ticks(stat: &str) -> Option<u64> {
    const USER: usize = 13;
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(USER);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + system)
}

fn end_of(log: &Path) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let from = bytes.len().saturating_sub(OUTPUT_BYTES_MAX);
    String::from_utf8_lossy(&bytes[from..]).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(millis: u64) -> Cost {
        Cost { rows: 1000, wall: Duration::from_millis(millis), ..Cost::default() }
    }

    #[test]
    fn the_median_is_the_one_in_the_middle() {
        assert_eq!(median(vec![cost(9), cost(1), cost(5)]), Some(cost(5)));
        assert_eq!(median(vec![cost(9), cost(1)]), Some(cost(9)));
        assert_eq!(median(Vec::new()), None);
    }

    #[test]
    fn a_straight_line_goes_through_both_runs() {
        let (small, large) = (cost(400), Cost { rows: 2000, ..cost(500) });
        assert_eq!(extrapolate(small, large, 2000).wall, large.wall);
        let far = extrapolate(small, large, 12_000);
        assert_eq!((far.rows, far.wall), (12_000, Duration::from_millis(1500)));
    }

    #[test]
    fn rates_are_per_second_and_per_row() {
        let cost = Cost { cpu: Some(Duration::from_millis(3)), ..cost(500) };
        assert_eq!(cost.rows_per_second(), 2000.0);
        assert_eq!(cost.cpu_micros_per_row(), Some(3.0));
    }

    #[test]
    fn the_fields_of_proc_are_found() {
        let stat = "7 (a) b) c) S 1 2 3 4 5 6 7 8 9 10 100 200 30 12 20 0";
        assert_eq!(parse_children_ticks(stat), Some(42));
        assert_eq!(parse_children_ticks("7 (a) S 1"), None);
        let status = "Name:\tx\nVmPeak:\t  9000 kB\nVmHWM:\t  2048 kB\nVmRSS:\t 1 kB\n";
        assert_eq!(memory_bytes(status, "VmHWM:"), Some(2 << 20));
        assert_eq!(memory_bytes("Name:\tx\nState:\tZ (zombie)\n", "VmHWM:"), None);
    }

    #[test]
    fn a_programs_own_time_and_memory_are_seen() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let log = dir.path().join("log");
        // Three hundred thousand steps of a shell take some tenths of a second.
        let busy = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
        let cost = run(Command::new("sh").args(["-c", busy]), 1, &log)?;
        assert!(cost.cpu.is_some_and(|cpu| cpu >= TICK), "{cost:?}");
        assert!(cost.memory_bytes_max.is_some_and(|peak| peak > 100_000), "{cost:?}");
        Ok(())
    }

    #[test]
    fn a_failure_shows_what_the_program_said() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let log = dir.path().join("log");
        let mut command = Command::new("sh");
        let error = run(command.args(["-c", "echo no such thing >&2; exit 3"]), 1, &log);
        let text = error.expect_err("it exits with 3").to_string();
        assert!(text.contains("no such thing"), "{text}");
        Ok(())
    }
}
