//! What becomes of a server's run when whoever waits for it is told to stop.
//!
//! Deciding is apart from acting, so that every case can be tested.

use std::io::{BufRead, IsTerminal, Write};

use anyhow::Context;
use model::RunId;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

use crate::args::OnStop;

/// What told us to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// SIGTERM, as Kubernetes sends it.
    Terminate,
}

/// What has been asked for before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nothing.
    Watching,
    /// A person is being asked.
    Asking,
    /// The run was asked to end.
    Cancelling,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask whoever sits at the terminal.
    Ask,
    /// Ask the run to end, and wait for that.
    Cancel,
    /// Leave the run alone, and end.
    Detach,
    /// Go on.
    GoOn,
}

/// Decides what a signal means.
pub fn decide(signal: Signal, stage: Stage, on_stop: OnStop, has_person: bool) -> Step {
    let told = match on_stop {
        OnStop::Cancel => Step::Cancel,
        OnStop::Detach => Step::Detach,
    };
    match (signal, stage) {
        (Signal::Interrupt, Stage::Watching) if has_person => Step::Ask,
        (_, Stage::Watching) | (Signal::Terminate, Stage::Asking) => told,
        // Whoever asks twice does not want to wait.
        (Signal::Interrupt, Stage::Asking) | (_, Stage::Cancelling) => Step::Detach,
    }
}

/// The signals that tell us to stop.
pub struct Signals {
    interrupt: Stream,
    terminate: Stream,
}

impl Signals {
    /// Takes them from their defaults, which end the process.
    pub fn watch() -> anyhow::Result<Self> {
        let watch = |kind| signal(kind).context("failed to watch signals");
        Ok(Self {
            interrupt: watch(SignalKind::interrupt())?,
            terminate: watch(SignalKind::terminate())?,
        })
    }

    /// The next one.
    ///
    /// # Cancel safety
    /// Cancel safe: a signal that nobody waited for is kept.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
        }
    }
}

/// Tells whether somebody is there to be asked.
pub fn has_person() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Asks what is to become of a run. Blocks until there is an answer.
pub fn ask(run: RunId) -> Step {
    let mut stderr = std::io::stderr().lock();
    let question = format!(
        "\nrun {run}: [d]etach, and let it go on; [c]ancel it; anything else goes on watching: "
    );
    // A terminal that cannot be written to gives no answer either.
    write!(stderr, "{question}").and_then(|()| stderr.flush()).ok();
    drop(stderr);
    let mut answer = String::new();
    match std::io::stdin().lock().read_line(&mut answer) {
        Ok(read) if read > 0 => understand(&answer),
        Ok(_) | Err(_) => Step::Detach,
    }
}

fn understand(answer: &str) -> Step {
    match answer.trim().to_ascii_lowercase().as_str() {
        "d" | "detach" => Step::Detach,
        "c" | "cancel" => Step::Cancel,
        _ => Step::GoOn,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_asked_and_a_second_interrupt_detaches() {
        let decide = |stage| decide(Signal::Interrupt, stage, OnStop::Cancel, true);
        assert_eq!(decide(Stage::Watching), Step::Ask);
        assert_eq!(decide(Stage::Asking), Step::Detach);
        assert_eq!(decide(Stage::Cancelling), Step::Detach);
    }

    #[test]
    fn without_a_person_a_signal_does_what_was_said_beforehand() {
        for signal in [Signal::Interrupt, Signal::Terminate] {
            for (on_stop, wanted) in
                [(OnStop::Cancel, Step::Cancel), (OnStop::Detach, Step::Detach)]
            {
                assert_eq!(decide(signal, Stage::Watching, on_stop, false), wanted);
            }
            assert_eq!(decide(signal, Stage::Cancelling, OnStop::Cancel, false), Step::Detach);
        }
    }

    #[test]
    fn being_terminated_does_not_wait_for_an_answer() {
        let decide = |on_stop| decide(Signal::Terminate, Stage::Asking, on_stop, true);
        assert_eq!(decide(OnStop::Cancel), Step::Cancel);
        assert_eq!(decide(OnStop::Detach), Step::Detach);
    }

    #[test]
    fn answers_are_words_or_their_first_letters() {
        assert_eq!(understand("d\n"), Step::Detach);
        assert_eq!(understand("Cancel\n"), Step::Cancel);
        assert_eq!(understand("\n"), Step::GoOn);
    }
}
