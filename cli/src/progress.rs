//! Shows a run while it runs: a line a view on a terminal, plain lines otherwise. On stderr.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use jobs::ProgressSnapshot;
use model::JobState;
use scheduler::{Board, JobBoard, Phase};
use tokio_util::sync::CancellationToken;

/// How often a terminal is redrawn: often enough to look alive.
const REDRAW: Duration = Duration::from_millis(200);

/// How often a running view says how far it is where lines cannot be redrawn.
const REPEAT: Duration = Duration::from_secs(30);

/// Watches a board until it is told to finish.
pub struct Watcher {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Watcher {
    /// Starts to watch.
    pub fn start(board: Arc<Board>) -> Self {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            if std::io::stderr().is_terminal() {
                draw(&board, &stopped).await;
            } else {
                tell(&board, &stopped).await;
            }
        });
        Self { stop, task }
    }

    /// Shows the last state and ends.
    pub async fn finish(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::warn!(%error, "progress could not be shown");
        }
    }
}

async fn draw(board: &Board, stop: &CancellationToken) {
    let lines = MultiProgress::new();
    let mut bars: Vec<ProgressBar> = Vec::new();
    loop {
        let jobs = board.jobs();
        while bars.len() < jobs.len() {
            let bar = lines.add(ProgressBar::new_spinner());
            bar.set_style(style());
            bar.enable_steady_tick(REDRAW);
            bars.push(bar);
        }
        for (bar, job) in bars.iter().zip(&jobs) {
            bar.set_message(line(job));
            if matches!(job.phase, Phase::Ended(_)) {
                bar.finish_with_message(line(job));
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

async fn tell(board: &Board, stop: &CancellationToken) {
    let mut told: Vec<(Phase, std::time::Instant)> = Vec::new();
    loop {
        let jobs = board.jobs();
        for (index, job) in jobs.iter().enumerate() {
            if index == told.len() {
                told.push((Phase::Waiting, std::time::Instant::now()));
            }
            let (phase, at) = told[index];
            let has_ended = job.phase != phase && matches!(job.phase, Phase::Ended(_));
            let is_due = job.phase == Phase::Running && at.elapsed() >= REPEAT;
            if has_ended || is_due {
                output_line(&line(job));
            }
            if job.phase != phase || is_due {
                told[index] = (job.phase, std::time::Instant::now());
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
fn line(job: &JobBoard) -> String {
    let view = &job.view;
    match job.phase {
        Phase::Waiting => format!("{view}: waiting"),
        Phase::Planning => format!("{view}: reading footers"),
        Phase::Running => format!("{view}: {}", running(job)),
        // Why it ended so is in the report.
        Phase::Ended(JobState::Succeeded) => {
            format!("{view}: committed, {}", counts(&job.progress.snapshot()))
        }
        Phase::Ended(state) => format!("{view}: {state}"),
    }
}

fn counts(snapshot: &ProgressSnapshot) -> String {
    let counts = snapshot.counts;
    let mut text =
        format!("{} read, {} written, {} stale", snapshot.read, counts.written, counts.stale);
    if counts.tombstoned > 0 {
        text.push_str(&format!(", {} tombstoned", counts.tombstoned));
    }
    text
}

fn running(job: &JobBoard) -> String {
    let snapshot = job.progress.snapshot();
    let seconds = job.started.map_or(0.0, |started| started.elapsed().as_secs_f64());
    let handled = snapshot.counts.written + snapshot.counts.stale + snapshot.counts.tombstoned;
    // Reading comes first, and how many rows are the newest is known only after it.
    let (done, all, what) = if handled == 0 {
        (snapshot.read, job.rows_max, "read")
    } else {
        (handled, snapshot.entities.max(handled), "handled")
    };
    let rate = if seconds > 0.0 { done as f64 / seconds } else { 0.0 };
    let eta = if rate > 0.0 && all > done {
        format!(", ETA {:.0} s", (all - done) as f64 / rate)
    } else {
        String::new()
    };
    format!("{}, {done} of at most {all} {what}, {rate:.0} rows/s{eta}", counts(&snapshot))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_view_tells_rate_and_what_is_left() {
        let mut job =
            JobBoard { view: "v".to_owned(), phase: Phase::Running, ..Default::default() };
        job.rows_max = 1_000;
        job.started = Some(std::time::Instant::now() - Duration::from_secs(10));
        job.progress.add_read(500);
        let line = line(&job);
        assert!(line.contains("500 of at most 1000 read") && line.contains("ETA 10 s"), "{line}");
    }
}
