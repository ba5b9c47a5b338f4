//! Stopping in good order: what asks a process to stop, and how long it is waited for.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What a shell shows for a process that a signal ended, less the number of the signal.
const SIGNALLED: i32 = 128;

/// A token that the first SIGTERM or SIGINT cancels; the second one ends the process at once.
///
/// # Errors
/// When a signal cannot be watched; it then ends the process at once, as it does by default.
/// # Panics
/// Outside a tokio runtime.
pub fn stop_on_signal() -> io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = CancellationToken::new();
    let cancelled = stop.clone();
    // Lives as long as the process: there is nothing left to watch for after the second signal.
    tokio::spawn(async move {
        let (name, _) = next(&mut terminate, &mut interrupt).await;
        tracing::info!(signal = name, "stopping; a second signal ends the process at once");
        cancelled.cancel();
        let (name, kind) = next(&mut terminate, &mut interrupt).await;
        tracing::warn!(signal = name, "ending at once");
        end(SIGNALLED + kind.as_raw_value());
    });
    Ok(stop)
}

/// Waits for either. Both are cancel safe: a signal that is not taken is not lost.
async fn next(terminate: &mut Signal, interrupt: &mut Signal) -> (&'static str, SignalKind) {
    tokio::select! {
        _ = terminate.recv() => ("SIGTERM", SignalKind::terminate()),
        _ = interrupt.recv() => ("SIGINT", SignalKind::interrupt()),
    }
}

#[expect(clippy::disallowed_methods, reason = "the second signal asks not to wait for anything")]
fn end(code: i32) {
    std::process::exit(code);
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// All came to their ends.
    All,
    /// The time was up before these many had.
    Cut {
        /// How many were left.
        left: usize,
    },
}

/// Waits for tasks that have been told to stop. What is left then is its owner's to abort.
pub async fn drain(tasks: &TaskTracker, deadline: Duration) -> Drained {
    tasks.close();
    // Waiting changes nothing, so it may be given up at any point.
    match tokio::time::timeout(deadline, tasks.wait()).await {
        Ok(()) => Drained::All,
        Err(_) => Drained::Cut { left: tasks.len() },
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::io::{BufRead, BufReader};
    use std::process::{Child, Command, Stdio};

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_drain_ends_with_the_last_task_or_at_its_deadline() {
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        for _ in 0..3 {
            let stop = stop.clone();
            tasks.spawn(async move { stop.cancelled().await });
        }
        let stuck = tasks.spawn(pending::<()>());
        stop.cancel();
        assert_eq!(drain(&tasks, MINUTE).await, Drained::Cut { left: 1 });
        stuck.abort();
        assert_eq!(drain(&tasks, MINUTE).await, Drained::All);
    }

    /// Set for the process that a test sends signals to.
    const VICTIM: &str = "DAEMON_TEST_VICTIM";

    /// Does nothing unless it is run by the test below, in a process of its own.
    #[tokio::test]
    #[expect(clippy::print_stdout, reason = "the test that started it listens")]
    async fn a_victim_waits_for_signals() {
        if std::env::var_os(VICTIM).is_none() {
            return;
        }
        let stop = stop_on_signal().expect("signals can be watched");
        println!("\nwatching");
        stop.cancelled().await;
        println!("\nstopping");
        pending::<()>().await;
    }

    fn send(signal: &str, victim: &Child) {
        let sent = Command::new("kill").args([signal, &victim.id().to_string()]).status();
        assert!(sent.expect("`kill` is everywhere").success());
    }

    #[test]
    fn the_first_signal_stops_and_the_second_ends_at_once() {
        for (first, second, code) in [("-TERM", "-INT", 130), ("-INT", "-TERM", 143)] {
            let mut victim = Command::new(std::env::current_exe().expect("this test"))
                .args(["--exact", "shutdown::tests::a_victim_waits_for_signals", "--nocapture"])
                .env(VICTIM, "1")
                .stdout(Stdio::piped())
                .spawn()
                .expect("a process");
            let said = BufReader::new(victim.stdout.take().expect("piped"));
            let mut lines = said.lines().map(|line| line.expect("text"));
            assert!(lines.any(|line| line == "watching"));
            send(first, &victim);
            assert!(lines.any(|line| line == "stopping"), "{first}");
            send(second, &victim);
            assert_eq!(victim.wait().expect("it ends").code(), Some(code), "{second}");
        }
    }
}
