//! What a running server uses: processor time and memory, of itself and of all it has started.
//!
//! Apart from `measure`, which watches a program to its end. Read from Linux's `/proc`.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::measure::{TICK, memory_bytes};

/// What a server uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// User and system time so far.
    pub cpu: Duration,
    /// Memory resident now. What processes share counts for each of them.
    pub resident_bytes: u64,
    /// The most that was ever resident, of each process.
    pub resident_bytes_max: u64,
}

/// A process in `/proc/PID/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    pid: u32,
    parent: u32,
    cpu: Duration,
}

impl Usage {
    /// What a process and its descendants use.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn of(pid: u32) -> Result<Self> {
        let family = family(&processes()?, pid);
        ensure!(!family.is_empty(), "there is no process {pid}");
        let mut usage = Self::default();
        for process in family {
            usage.cpu += process.cpu;
            // One that has ended since uses nothing.
            let status = fs::read_to_string(format!("/proc/{}/status", process.pid));
            let status = status.unwrap_or_default();
            usage.resident_bytes += memory_bytes(&status, "VmRSS:").unwrap_or_default();
            usage.resident_bytes_max += memory_bytes(&status, "VmHWM:").unwrap_or_default();
        }
        Ok(usage)
    }
}

/// Processor time of this process alone so far.
///
/// # Errors
/// When `/proc` does not say.
pub fn own_cpu() -> Result<Duration> {
    let text = fs::read_to_string("/proc/self/stat").context("failed to read `/proc/self/stat`")?;
    Ok(parse(&text).context("`/proc/self/stat` is not as in proc(5)")?.cpu)
}

fn processes() -> Result<Vec<Stat>> {
    let mut processes = Vec::new();
    for entry in fs::read_dir("/proc").context("failed to list `/proc`")? {
        let path = entry?.path();
        let is_process = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
        if path.file_name().and_then(|name| name.to_str()).is_some_and(is_process) {
            // It may end between the two calls.
            let text = fs::read_to_string(path.join("stat")).ok();
            processes.extend(text.as_deref().and_then(parse));
        }
    }
    Ok(processes)
}

/// A process, its children, theirs, and so on.
fn family(processes: &[Stat], pid: u32) -> Vec<Stat> {
    let mut family: Vec<Stat> =
        processes.iter().filter(|process| process.pid == pid).copied().collect();
    let mut next = 0;
    while let Some(&member) = family.get(next) {
        family.extend(processes.iter().filter(|process| process.parent == member.pid));
        next += 1;
    }
    family
}

/// Fields 1, 4, 14 and 15 of proc(5): `pid`, `ppid`, `utime`, `stime`. The name of the program,
/// field 2, is in parentheses and may hold anything.
fn parse(stat: &str) -> Option<Stat> {
    const PARENT: usize = 1;
    const USER: usize = 11;
    let (pid, _) = stat.split_once(' ')?;
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().take(USER + 2).collect();
    let ticks = |at: usize| -> Option<u32> { fields.get(at)?.parse().ok() };
    let cpu = TICK * ticks(USER)?.checked_add(ticks(USER + 1)?)?;
    Some(Stat { pid: pid.parse().ok()?, parent: ticks(PARENT)?, cpu })
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn the_fields_of_proc_are_found() {
        let stat = "7 (a) b) c) S 3 2 3 4 5 6 7 8 9 10 30 12 100 200 20 0";
        let found = Stat { pid: 7, parent: 3, cpu: TICK * 42 };
        assert_eq!(parse(stat), Some(found));
        assert_eq!(parse("7 (a) S 1"), None);
    }

    #[test]
    fn a_family_is_everybody_below_and_nobody_else() {
        let stat = |pid, parent| Stat { pid, parent, cpu: Duration::ZERO };
        let all = [stat(1, 0), stat(9, 5), stat(5, 1), stat(6, 1), stat(7, 5), stat(8, 7)];
        let pids: Vec<u32> = family(&all, 5).iter().map(|process| process.pid).collect();
        assert_eq!(pids, [5, 9, 7, 8]);
        assert!(family(&all, 4).is_empty());
    }

    #[test]
    fn children_count_and_a_missing_process_is_an_error() -> Result<()> {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn()?;
        let (ours, its) = (Usage::of(std::process::id())?, Usage::of(child.id())?);
        assert!(its.resident_bytes > 0 && its.resident_bytes_max >= its.resident_bytes);
        assert!(ours.resident_bytes > its.resident_bytes, "{ours:?} {its:?}");
        assert!(own_cpu()? <= Usage::of(std::process::id())?.cpu);
        child.kill()?;
        child.wait()?;
        assert!(Usage::of(child.id()).is_err());
        Ok(())
    }
}
