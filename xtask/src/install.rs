//! Installs what the suites start: Redis, PostgreSQL, Chromium, valgrind, and Python's `venv`.
//!
//! Only through `apt-get`, and only as root or with a `sudo` that asks nothing; otherwise the
//! error says what to install. Nothing is stopped that this did not start.

use std::env;
use std::path::Path;
use std::process::Command;

use crate::Outcome;
use crate::cargo::{answers, succeeds};
use crate::report;

/// Run by `sh` as root, with the packages as arguments.
const SCRIPT: &str = include_str!("install.sh");

/// Something the suites need, and the Debian package it is in.
struct Need {
    package: &'static str,
    is_there: fn() -> bool,
}

const NEEDS: [Need; 5] = [
    Need { package: "redis-server", is_there: || in_path("redis-server") },
    Need {
        package: "postgresql",
        is_there: || {
            let debian = Path::new("/usr/lib/postgresql");
            let installed = |dir: &Path| dir.join("bin/postgres").is_file();
            let versions = debian.read_dir().into_iter().flatten().flatten();
            in_path("psql")
                && (in_path("initdb") || versions.map(|v| v.path()).any(|dir| installed(&dir)))
        },
    },
    Need { package: "chromium", is_there: || in_path("chromium") },
    Need { package: "valgrind", is_there: || in_path("valgrind") },
    Need {
        package: "python3-venv",
        is_there: || answers(Command::new("python3").args(["-c", "import venv, ensurepip"])),
    },
];

/// Installs what is missing.
pub(crate) fn run() -> Outcome {
    let missing: Vec<&str> =
        NEEDS.iter().filter(|need| !(need.is_there)()).map(|need| need.package).collect();
    if missing.is_empty() {
        report::line("everything the suites start is installed");
        return Ok(true);
    }
    report::line(&format!("installing {}", missing.join(", ")));
    let Some(mut command) = root_shell() else { return Err(refusal(&missing).into()) };
    if succeeds(command.args(["-c", SCRIPT, "sh"]).args(&missing))? {
        return Ok(true);
    }
    Err(refusal(&missing).into())
}

/// A shell as root, when we may have one.
fn root_shell() -> Option<Command> {
    if !in_path("apt-get") {
        return None;
    }
    if answers(Command::new("sh").args(["-c", "test \"$(id -u)\" = 0"])) {
        return Some(Command::new("sh"));
    }
    if answers(Command::new("sudo").args(["-n", "true"])) {
        let mut command = Command::new("sudo");
        command.args(["-n", "sh"]);
        return Some(command);
    }
    None
}

fn refusal(missing: &[&str]) -> String {
    format!(
        "the suites need what `apt-get install {}` installs; install it and run this again",
        missing.join(" ")
    )
}

fn in_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use std::error::Error;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::process;

    use super::*;

    #[test]
    fn a_program_in_path_is_there_and_another_is_not() {
        assert!(in_path("sh"));
        assert!(!in_path("no-such-program"));
    }

    #[test]
    fn the_refusal_says_what_to_install() {
        let text = refusal(&["redis-server", "postgresql"]);
        assert!(text.contains("`apt-get install redis-server postgresql`"), "{text}");
    }

    /// Stands in for `apt-get`: its first call fails, each call notes what it was told and whether
    /// services were kept from starting.
    const APT_GET: &str = "#!/bin/sh
echo \"$1 $(sh \"$POLICY_RC_D\"; echo $?)\" >>\"$LOG\"
[ \"$(wc -l <\"$LOG\")\" -gt 1 ]
";

    #[test]
    fn packages_are_installed_without_starting_services() -> Result<(), Box<dyn Error>> {
        let dir = env::temp_dir().join(format!("tidegate-xtask-{}", process::id()));
        fs::create_dir_all(&dir)?;
        let (apt, log, policy) = (dir.join("apt-get"), dir.join("log"), dir.join("policy"));
        fs::write(&apt, APT_GET)?;
        fs::set_permissions(&apt, fs::Permissions::from_mode(0o755))?;
        let path = env::join_paths(
            [dir.clone()]
                .into_iter()
                .chain(env::split_paths(&env::var_os("PATH").unwrap_or_default())),
        )?;
        let mut sh = Command::new("sh");
        sh.env("PATH", path).env("LOG", &log).env("POLICY_RC_D", &policy);
        let succeeded = sh.args(["-c", SCRIPT, "sh", "redis-server"]).status()?.success();

        let calls = fs::read_to_string(&log)?;
        let policy_left = policy.exists();
        fs::remove_dir_all(&dir)?;
        assert!(succeeded);
        // 101 is how a policy says no to starting a service.
        assert_eq!(calls, "install 101\nupdate 101\ninstall 101\n");
        assert!(!policy_left);
        Ok(())
    }
}
