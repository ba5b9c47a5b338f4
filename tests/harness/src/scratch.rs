//! A server's directory, removed with the server.
//!
//! A test process that is killed cannot remove its directories, and a PostgreSQL cluster is 40 MB.
//! So each directory holds a locked file; whoever starts a server later removes the directories
//! whose lock nobody holds any more. Locks, not process ids, because containers may share `/tmp`.

use std::env;
use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result};
use tempfile::TempDir;

/// Begins the name of every directory, so that those left behind are found again.
const PREFIX: &str = "tidegate-harness-";
/// The locked file. It gets this name only once it is locked.
const LOCK: &str = ".owner";

/// A directory that lasts as long as this value.
#[derive(Debug)]
pub(crate) struct Scratch {
    dir: TempDir,
    /// Held, never read: the lock is what keeps others from removing the directory.
    _lock: File,
}

impl Scratch {
    /// Makes an empty directory, and removes those that killed processes left behind.
    pub(crate) fn new() -> Result<Self> {
        Self::new_in(&env::temp_dir())
    }

    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    fn new_in(base: &Path) -> Result<Self> {
        remove_abandoned(base);
        let dir = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir_in(base)
            .with_context(|| format!("failed to make a directory in `{}`", base.display()))?;
        let unlocked = dir.path().join(".owner.new");
        let lock = File::create(&unlocked)?;
        lock.lock().context("failed to lock the server's directory")?;
        fs::rename(&unlocked, dir.path().join(LOCK))?;
        Ok(Self { dir, _lock: lock })
    }
}

/// Removes the directories whose owners are gone. What cannot be removed is somebody else's.
fn remove_abandoned(base: &Path) {
    let Ok(entries) = base.read_dir() else { return };
    for path in entries.flatten().map(|entry| entry.path()).filter(|path| is_ours(path)) {
        let Ok(lock) = File::open(path.join(LOCK)) else { continue };
        if lock.try_lock().is_ok() {
            fs::remove_dir_all(&path).ok();
        }
    }
}

fn is_ours(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(PREFIX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owned_directory_stays_and_an_abandoned_one_goes() -> Result<()> {
        let base = tempfile::tempdir()?;
        let owned = Scratch::new_in(base.path())?;
        let abandoned = base.path().join(format!("{PREFIX}abandoned"));
        fs::create_dir(&abandoned)?;
        fs::write(abandoned.join(LOCK), "")?;
        let foreign = base.path().join("foreign");
        fs::create_dir(&foreign)?;
        fs::write(foreign.join(LOCK), "")?;

        let second = Scratch::new_in(base.path())?;
        assert!(owned.path().is_dir() && second.path().is_dir() && foreign.is_dir());
        assert!(!abandoned.exists());

        let gone = owned.path().to_owned();
        drop(owned);
        assert!(!gone.exists());
        Ok(())
    }
}
