//! Makes the files of a PostgreSQL cluster.
//!
//! `initdb` takes most of a second, and under nextest every test is a process of its own. So the
//! files are made once beside the test programs, and each cluster starts from a copy.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::user::{User, run_as};
use crate::tool::Tool;

/// Fills `data` with a new cluster that `user` owns. Its parent exists and is the user's.
pub(super) fn create(data: &Path, user: Option<&User>) -> Result<()> {
    let template = template_path(user)?;
    if !template.exists() {
        let lock = File::create(template.with_extension("lock"))?;
        lock.lock().context("failed to lock the template of clusters")?;
        // Another process may have made it while this one waited.
        if !template.exists() {
            return make_template(&template, data, user);
        }
    }
    copy(&template, data)
}

/// Runs `initdb` on `data`, where the user may write, and copies the result to the template's
/// place, whole or not at all.
fn make_template(template: &Path, data: &Path, user: Option<&User>) -> Result<()> {
    let mut argv = vec![Tool::require("initdb")?.display().to_string()];
    argv.extend(["-D".to_owned(), data.display().to_string()]);
    argv.extend(
        // The smallest log segments make the copy small. Nothing here must survive a power cut.
        ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N", "--wal-segsize=1"]
            .map(str::to_owned),
    );
    run_as(user, &argv)?;
    let unfinished = template.with_extension("new");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished)?;
    }
    copy(data, &unfinished)?;
    Ok(fs::rename(&unfinished, template)?)
}

/// One template for each version of PostgreSQL and each owner of the files.
fn template_path(user: Option<&User>) -> Result<PathBuf> {
    let output = Command::new(Tool::require("postgres")?).arg("--version").output()?;
    let version: String = String::from_utf8(output.stdout)?
        .chars()
        .filter(|c| c.is_ascii_digit() || *c == '.')
        .map(|c| if c == '.' { '_' } else { c })
        .collect();
    let owner = user.map_or("own".to_owned(), |user| user.uid.to_string());
    let test = env::current_exe().context("failed to find the test's own program")?;
    Ok(test.with_file_name(format!("harness-postgres-{version}-{owner}")))
}

/// `cp` keeps owners and modes, and shares blocks where the file system can.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let paths = [from, to].map(|path| path.display().to_string());
    let argv = ["cp", "-a", "--reflink=auto"].map(str::to_owned);
    run_as(None, &[&argv[..], &paths[..]].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn a_cluster_is_complete_whether_made_or_copied() -> Result<()> {
        for _ in 0..2 {
            let scratch = Scratch::new()?;
            let user = super::super::user::for_server(scratch.path())?;
            let data = scratch.path().join("data");
            create(&data, user.as_ref())?;
            assert!(data.join("PG_VERSION").is_file() && data.join("global/pg_control").is_file());
        }
        Ok(())
    }
}
