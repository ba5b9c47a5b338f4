//! The user a PostgreSQL server runs as. PostgreSQL refuses to run as root, and tests in a
//! container usually are root.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::tool::Tool;

/// A user other than ourselves, by number: their group may have another name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    /// User id.
    pub(crate) uid: u32,
    /// Id of the user's first group.
    pub(crate) gid: u32,
}

impl User {
    /// Arguments of `setpriv` that become this user.
    pub(crate) fn setpriv(&self) -> Vec<String> {
        let (uid, gid) = (self.uid, self.gid);
        vec![format!("--reuid={uid}"), format!("--regid={gid}"), "--clear-groups".to_owned()]
    }
}

/// The user for a server in our directory `dir`, which becomes the owner of it. `None`: ourselves.
pub(super) fn for_server(dir: &Path) -> Result<Option<User>> {
    // We made the directory, so its owner is who we are.
    if fs::metadata(dir)?.uid() != 0 {
        return Ok(None);
    }
    let accounts = fs::read_to_string("/etc/passwd").context("failed to read `/etc/passwd`")?;
    let user = ["postgres", "nobody"]
        .into_iter()
        .find_map(|name| find(&accounts, name))
        .context("PostgreSQL does not run as root, and there is no user `postgres` or `nobody`")?;
    chown(dir, Some(user.uid), Some(user.gid))?;
    Ok(Some(user))
}

/// Runs a program to its end, as `user` if there is one.
pub(super) fn run_as(user: Option<&User>, argv: &[String]) -> Result<()> {
    let mut full = Vec::new();
    if let Some(user) = user {
        full.push(Tool::require("setpriv")?.display().to_string());
        full.extend(user.setpriv());
        full.push("--".to_owned());
    }
    full.extend_from_slice(argv);
    let (program, arguments) = full.split_first().context("nothing to run")?;
    let output = Command::new(program).args(arguments).current_dir("/").output()?;
    if output.status.success() {
        return Ok(());
    }
    bail!("`{}` failed: {}", argv.join(" "), String::from_utf8_lossy(&output.stderr).trim())
}

/// Finds a user in the text of `/etc/passwd`.
fn find(accounts: &str, name: &str) -> Option<User> {
    accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next() != Some(name) {
            return None;
        }
        let mut numbers = fields.skip(1).map(str::parse);
        Some(User { uid: numbers.next()?.ok()?, gid: numbers.next()?.ok()? })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_the_whole_name() {
        let accounts = "postgres2:x:1:1::/:\npostgres:x:101:105:PostgreSQL,,,:/var/lib:/bin/sh\n";
        assert_eq!(find(accounts, "postgres"), Some(User { uid: 101, gid: 105 }));
        assert_eq!(find(accounts, "nobody"), None);
    }

    #[test]
    fn a_failing_program_is_an_error_with_its_reason() {
        let argv = ["ls", "/no/such/directory"].map(str::to_owned);
        let error = run_as(None, &argv).expect_err("there is none").to_string();
        assert!(error.contains("/no/such/directory"), "{error}");
    }
}
