//! A server's process: started so that it cannot outlive this one, and stopped by its id.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::postgres::User;
use crate::tool::Tool;

/// How long a server may take to answer or to end. It takes well under a second; the rest is for a
/// machine that compiles on every core at the same time.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a server is asked whether it is up: short, because every test pays for it.
const POLL: Duration = Duration::from_millis(10);

/// A running server.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
}

/// What to run.
#[derive(Debug)]
pub(crate) struct Launch {
    /// Program and arguments.
    pub(crate) argv: Vec<String>,
    /// The user to become; `None` to stay who we are.
    pub(crate) user: Option<User>,
    /// The file that gets its output; `None` when nobody wants it.
    pub(crate) log: Option<PathBuf>,
}

impl Process {
    /// Starts a program that dies with this process, even when this one is killed.
    pub(crate) fn start(launch: Launch) -> Result<Self> {
        let argv = wrapped(&launch)?;
        let (answer, started) = mpsc::sync_channel(1);
        spawner()
            .send(Order { argv, log: launch.log, answer })
            .context("the thread that starts servers has ended")?;
        let child = started.recv().context("the thread that starts servers has ended")??;
        Ok(Self { child })
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub(crate) fn exited(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Kills it (signal 9) and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        // Both fail only when it is gone already, which is what is wanted.
        self.child.kill().ok();
        self.child.wait().ok();
    }

    /// Asks until `is_up` says yes. `false`: the process has ended instead.
    pub(crate) fn wait_until(&mut self, mut is_up: impl FnMut() -> bool) -> Result<bool> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if self.exited()?.is_some() {
                return Ok(false);
            }
            if is_up() {
                return Ok(true);
            }
            thread::sleep(POLL);
        }
        bail!("the server is not up after {} s", PATIENCE.as_secs())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A program to start, and where to send the result.
struct Order {
    argv: Vec<String>,
    log: Option<PathBuf>,
    answer: mpsc::SyncSender<Result<Child>>,
}

/// The thread that starts every server. The system ties a parent's death to the *thread* that
/// forked, and a test's thread ends long before the process does.
fn spawner() -> mpsc::SyncSender<Order> {
    static SPAWNER: OnceLock<mpsc::SyncSender<Order>> = OnceLock::new();
    SPAWNER
        .get_or_init(|| {
            let (orders, inbox) = mpsc::sync_channel::<Order>(1);
            thread::spawn(move || {
                for order in inbox {
                    // Whoever asked may have given up; then the child is dropped with the answer.
                    order.answer.send(spawn(&order.argv, order.log.as_deref())).ok();
                }
            });
            orders
        })
        .clone()
}

fn spawn(argv: &[String], log: Option<&Path>) -> Result<Child> {
    let (program, arguments) = argv.split_first().context("nothing to start")?;
    let (stdout, stderr) = match log {
        Some(path) => {
            let file = File::options().create(true).append(true).open(path)?;
            (Stdio::from(file.try_clone()?), Stdio::from(file))
        }
        None => (Stdio::null(), Stdio::null()),
    };
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr)
        .current_dir("/")
        // The terminal's Ctrl-C goes to the test alone, which then stops its servers in order.
        .process_group(0)
        .spawn()
        .with_context(|| format!("failed to start `{program}`"))
}

/// Puts `setpriv` before a program: it asks the system to kill the program with its parent, and
/// becomes another user when told to. Systems without parent-death signals go without.
fn wrapped(launch: &Launch) -> Result<Vec<String>> {
    if launch.user.is_none() && !cfg!(target_os = "linux") {
        return Ok(launch.argv.clone());
    }
    let mut argv = vec![Tool::require("setpriv")?.display().to_string()];
    argv.push("--pdeathsig=KILL".to_owned());
    argv.extend(launch.user.iter().flat_map(User::setpriv));
    argv.push("--".to_owned());
    argv.extend(launch.argv.iter().cloned());
    Ok(argv)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn sleeper() -> Launch {
        Launch { argv: ["sleep", "600"].map(str::to_owned).to_vec(), user: None, log: None }
    }

    /// Waits until `setpriv` has become the program.
    fn started() -> Result<Process> {
        let mut process = Process::start(sleeper())?;
        let name = format!("/proc/{}/comm", process.pid());
        let is_sleep = || fs::read_to_string(&name).is_ok_and(|name| name.trim() == "sleep");
        assert!(process.wait_until(is_sleep)?);
        Ok(process)
    }

    #[test]
    fn a_dropped_process_is_gone() -> Result<()> {
        let process = started()?;
        let status = format!("/proc/{}", process.pid());
        assert!(Path::new(&status).exists());
        drop(process);
        assert!(!Path::new(&status).exists());
        Ok(())
    }

    #[test]
    fn a_process_outlives_the_thread_that_asked_for_it() -> Result<()> {
        let starter = thread::spawn(|| Ok((started()?, fs::read_link("/proc/thread-self")?)));
        let joined: Result<_> = starter.join().expect("the thread does not panic");
        let (mut process, thread) = joined?;
        // The signal of a dead parent is sent before the thread's entry goes. It then takes the
        // process a moment to die of it, hence the few looks after that.
        let entry = Path::new("/proc").join(thread);
        assert!(process.wait_until(|| !entry.exists())?);
        let mut looks = 0..10;
        assert!(process.wait_until(|| looks.next().is_none())?);
        Ok(())
    }

    #[test]
    fn a_program_that_ends_is_not_waited_for() -> Result<()> {
        let argv = ["false"].map(str::to_owned).to_vec();
        let mut process = Process::start(Launch { argv, user: None, log: None })?;
        assert!(!process.wait_until(|| false)?);
        Ok(())
    }

    #[test]
    fn output_goes_to_the_log() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let log = dir.path().join("log");
        let argv = ["sh", "-c", "echo out; echo err >&2"].map(str::to_owned).to_vec();
        let mut process = Process::start(Launch { argv, user: None, log: Some(log.clone()) })?;
        assert!(!process.wait_until(|| false)?);
        assert_eq!(fs::read_to_string(log)?, "out\nerr\n");
        Ok(())
    }
}
