//! Chromium without a screen: what a page has become once its scripts have run.
//!
//! Each look is a process of its own with an empty profile, so that none depends on another.
//! Deliberately absent: clicks, for which it would have to be driven; forms are posted as a browser
//! would post them.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::python::succeeded;
use crate::scratch::Scratch;
use crate::tool::Tool;

/// How long it may take to start, load and end, on a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often its end is looked for.
const POLL: Duration = Duration::from_millis(20);

/// Flags that keep it to the page: no sandbox, which needs rights that a container lacks, and
/// nothing that it would fetch or report on its own.
const FLAGS: [&str; 12] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--no-proxy-server",
    "--hide-scrollbars",
];

/// Looks at pages.
#[derive(Debug)]
pub struct Browser;

impl Browser {
    /// The document as it is after so much of the page's own time, which does not pass while the
    /// page waits for an answer.
    ///
    /// # Errors
    /// When `chromium` is not installed, or does not end.
    pub fn document(url: &str, after: Duration) -> Result<String> {
        run(&[&budget(after), "--dump-dom", url])
    }

    /// Saves a picture of a page in PNG.
    ///
    /// # Errors
    /// When `chromium` is not installed, or does not end.
    pub fn picture(url: &str, file: &Path, width: u32, height: u32) -> Result<()> {
        let size = format!("--window-size={width},{height}");
        let screenshot = format!("--screenshot={}", file.display());
        run(&[&budget(Duration::from_secs(1)), &size, &screenshot, url])?;
        ensure!(file.is_file(), "chromium saved no picture");
        Ok(())
    }
}

fn budget(after: Duration) -> String {
    format!("--virtual-time-budget={}", after.as_millis())
}

fn run(arguments: &[&str]) -> Result<String> {
    let scratch = Scratch::new()?;
    let output = scratch.path().join("out");
    let mut child = Command::new(Tool::require("chromium")?)
        .args(FLAGS)
        .arg(format!("--user-data-dir={}", scratch.path().join("profile").display()))
        .args(arguments)
        .env("HOME", scratch.path())
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(&output)?)
        .stderr(std::fs::File::create(scratch.path().join("log"))?)
        .spawn()
        .context("failed to start chromium")?;
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if begun.elapsed() > PATIENCE {
            child.kill().ok();
            child.wait().ok();
            bail!("chromium has not ended after {} s", PATIENCE.as_secs());
        }
        thread::sleep(POLL);
    };
    let stderr = std::fs::read(scratch.path().join("log"))?;
    let stdout = std::fs::read(&output)?;
    let ended = std::process::Output { status, stdout, stderr };
    succeeded(&ended, "chromium", "it was started without a screen and without a sandbox")?;
    Ok(String::from_utf8(ended.stdout)?)
}
