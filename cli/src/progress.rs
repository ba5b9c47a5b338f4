//! Shows a run while it runs: a line a view on a terminal, plain lines otherwise. On stderr.
//!
//! Knows nothing of where the run is: whoever does hands over a line a view when asked.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use model::{JobState, WriteCounts};
use scheduler::{JobBoard, Phase};
use tokio_util::sync::CancellationToken;

/// How often a terminal is redrawn: often enough to look alive.
const REDRAW: Duration = Duration::from_millis(200);

/// How often a running view says how far it is where lines cannot be redrawn.
const REPEAT: Duration = Duration::from_secs(30);

/// What is shown of one view.
#[derive(Clone, Debug)]
pub struct ViewLine {
    /// The view.
    pub view: String,
    /// What its job is doing.
    pub phase: Phase,
    /// Rows that statistics promise at most, once it is planned.
    pub rows_max: u64,
    /// Rows that were read.
    pub read: u64,
    /// Rows known to be the newest of their entity; 0 until that is known.
    pub entities: u64,
    /// What the online store acknowledged.
    pub counts: WriteCounts,
    /// When it began to read.
    pub started: Option<Instant>,
}

impl ViewLine {
    /// A view whose job waits for its turn.
    pub fn waiting(view: &str) -> Self {
        Self {
            view: view.to_owned(),
            phase: Phase::Waiting,
            rows_max: 0,
            read: 0,
            entities: 0,
            counts: WriteCounts::default(),
            started: None,
        }
    }

    /// What a job of this process is doing.
    pub fn of_job(job: &JobBoard) -> Self {
        let counted = job.progress.snapshot();
        Self {
            phase: job.phase,
            rows_max: job.rows_max,
            read: counted.read,
            entities: counted.entities,
            counts: counted.counts,
            started: job.started,
            ..Self::waiting(&job.view)
        }
    }
}

/// Says something on stderr without tearing the lines that are drawn there.
#[derive(Clone, Debug)]
pub struct Notices {
    lines: MultiProgress,
    is_terminal: bool,
}

impl Default for Notices {
    fn default() -> Self {
        // It draws to stderr.
        Self { lines: MultiProgress::new(), is_terminal: std::io::stderr().is_terminal() }
    }
}

impl Notices {
    /// Says it in a line of its own.
    pub fn say(&self, text: &str) {
        if !self.is_terminal || self.lines.println(text).is_err() {
            output_line(text);
        }
    }

    /// Prints something to stdout, which may be the same terminal.
    pub fn beside<T>(&self, print: impl FnOnce() -> T) -> T {
        self.lines.suspend(print)
    }

    /// Draws nothing until told to go on, so that something can be asked.
    pub fn hold(&self) {
        self.lines.set_draw_target(ProgressDrawTarget::hidden());
    }

    /// Draws again.
    pub fn resume(&self) {
        self.lines.set_draw_target(ProgressDrawTarget::stderr());
    }
}

/// Watches a run until it is told to finish.
pub struct Watcher {
    notices: Notices,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Watcher {
    /// Starts to show what `lines` says of each view.
    pub fn start(lines: impl Fn() -> Vec<ViewLine> + Send + Sync + 'static) -> Self {
        let (stop, notices) = (CancellationToken::new(), Notices::default());
        let (stopped, drawn) = (stop.clone(), notices.clone());
        let task = tokio::spawn(async move {
            if drawn.is_terminal {
                draw(&drawn.lines, &lines, &stopped).await;
            } else {
                tell(&lines, &stopped).await;
            }
        });
        Self { notices, stop, task }
    }

    /// Says things beside the lines.
    pub fn notices(&self) -> &Notices {
        &self.notices
    }

    /// Shows the last state and ends.
    pub async fn finish(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::warn!(%error, "progress could not be shown");
        }
    }
}

async fn draw(
    drawn: &MultiProgress,
    lines: &(impl Fn() -> Vec<ViewLine> + Send + Sync),
    stop: &CancellationToken,
) {
    let mut bars: Vec<ProgressBar> = Vec::new();
    loop {
        let views = lines();
        while bars.len() < views.len() {
            let bar = drawn.add(ProgressBar::new_spinner());
            bar.set_style(style());
            bar.enable_steady_tick(REDRAW);
            bars.push(bar);
        }
        for (bar, view) in bars.iter().zip(&views) {
            bar.set_message(line(view));
            if matches!(view.phase, Phase::Ended(_)) {
                bar.finish_with_message(line(view));
            }
        }
        if stop.is_cancelled() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(REDRAW) => {}
            () = stop.cancelled() => {}
        }
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {msg}").expect("a constant template")
}

async fn tell(lines: &(impl Fn() -> Vec<ViewLine> + Send + Sync), stop: &CancellationToken) {
    let mut told: Vec<(Phase, Instant)> = Vec::new();
    loop {
        for (index, view) in lines().iter().enumerate() {
            if index == told.len() {
                told.push((Phase::Waiting, Instant::now()));
            }
            let (phase, at) = told[index];
            let has_ended = view.phase != phase && matches!(view.phase, Phase::Ended(_));
            let is_due = view.phase == Phase::Running && at.elapsed() >= REPEAT;
            if has_ended || is_due {
                output_line(&line(view));
            }
            if view.phase != phase || is_due {
                told[index] = (view.phase, Instant::now());
            }
        }
        if stop.is_cancelled() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(REDRAW) => {}
            () = stop.cancelled() => {}
        }
    }
}

#[expect(clippy::print_stderr, reason = "progress is for people, on stderr")]
fn output_line(line: &str) {
    eprintln!("{line}");
}

/// What one view is doing, in one line.
fn line(job: &ViewLine) -> String {
    let view = &job.view;
    match job.phase {
        Phase::Waiting => format!("{view}: waiting"),
        Phase::Planning => format!("{view}: reading footers"),
        Phase::Running => format!("{view}: {}", running(job)),
        // Why it ended so is in the report.
        Phase::Ended(JobState::Succeeded) => format!("{view}: committed, {}", counts(job)),
        Phase::Ended(state) => format!("{view}: {state}"),
    }
}

fn counts(job: &ViewLine) -> String {
    let counts = job.counts;
    let mut text = format!("{} read, {} written, {} stale", job.read, counts.written, counts.stale);
    if counts.tombstoned > 0 {
        text.push_str(&format!(", {} tombstoned", counts.tombstoned));
    }
    text
}

fn running(job: &ViewLine) -> String {
    let seconds = job.started.map_or(0.0, |started| started.elapsed().as_secs_f64());
    let handled = job.counts.written + job.counts.stale + job.counts.tombstoned;
    // Reading comes first, and how many rows are the newest is known only after it.
    let (done, all, what) = if handled == 0 || job.entities == 0 {
        (job.read, job.rows_max, "read")
    } else {
        (handled, job.entities.max(handled), "handled")
    };
    let rate = if seconds > 0.0 { done as f64 / seconds } else { 0.0 };
    let eta = if rate > 0.0 && all > done {
        format!(", ETA {:.0} s", (all - done) as f64 / rate)
    } else {
        String::new()
    };
    format!("{}, {done} of at most {all} {what}, {rate:.0} rows/s{eta}", counts(job))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_view_tells_rate_and_what_is_left() {
        let job = ViewLine {
            phase: Phase::Running,
            rows_max: 1_000,
            read: 500,
            started: Some(Instant::now() - Duration::from_secs(10)),
            ..ViewLine::waiting("v")
        };
        let line = line(&job);
        assert!(line.contains("500 of at most 1000 read") && line.contains("ETA 10 s"), "{line}");
    }
}
