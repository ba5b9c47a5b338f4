//! Drives real `tidegate scheduler` processes through drawn histories full of faults, and checks
//! after each that nothing was lost, nothing went back, and nothing is left over.
//!
//! A program and not a test of the runner, because it is to be run for an hour as well as for a
//! minute: `cargo xtask faults --seed 7 --histories 200`. What it draws comes from the seed alone,
//! though what two processes make of it does not. The program under test is `TIDEGATE_BIN`, and a
//! black box: it is asked over HTTP, and what it leaves is read past it.

mod check;
mod fault;
mod history;
mod http;
mod inject;
mod oracle;
mod scheduler;
mod source;
mod stored;
mod watcher;
mod world;

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use ::tests::dice::Dice;
use anyhow::{Context, Result, bail, ensure};
use harness::Postgres;

use crate::fault::{Deck, Fault};
use crate::history::History;
use crate::world::World;

/// Enough for every fault to come once.
const HISTORIES: u64 = 12;

/// What to do.
#[derive(Debug, PartialEq, Eq)]
struct Arguments {
    seed: u64,
    histories: u64,
    /// Only this one of them, as a report names it.
    only: Option<u64>,
}

/// What came of it.
#[derive(Debug, Default)]
struct Tally {
    histories: u64,
    faults: u64,
    missed: u64,
    violations: u64,
}

fn main() -> ExitCode {
    match run() {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<u64> {
    let arguments = Arguments::read(std::env::args().skip(1))?;
    let Arguments { seed, histories, only } = arguments;
    say(&format!("faults: seed {seed}"));
    let postgres = Postgres::start()?;
    let mut deck = Deck::new(Dice::of(seed, u64::MAX));
    let mut tally = Tally::default();
    for index in 0..histories {
        // Cards are dealt to those that are left out too, so that the others get the same.
        let faults = deck.deal();
        if only.is_none_or(|only| only == index) {
            one(&postgres, (seed, index), &faults, &mut tally)?;
        }
    }
    let Tally { histories, faults, missed, violations } = tally;
    let fell = faults - missed;
    say(&format!("faults: {histories} histories, {fell} faults, {violations} violations"));
    // Otherwise it would show nothing: runs are over before faults come.
    ensure!(only.is_some() || missed <= faults / 2, "{missed} of {faults} faults came too late");
    Ok(violations)
}

/// One history, from its set-up to its report.
fn one(
    postgres: &Postgres,
    (seed, index): (u64, u64),
    faults: &[Fault],
    tally: &mut Tally,
) -> Result<()> {
    let mut dice = Dice::of(seed, index);
    let database = format!("history_{index}");
    let world = World::new(postgres, &database, &mut dice).context("failed to set up a history")?;
    let mut history = History::new(world, dice, &database);
    let outcome = history.run(faults);
    tally.histories += 1;
    tally.faults += history.faults;
    tally.missed += history.missed;
    if let Err(violation) = outcome {
        tally.violations += 1;
        let (told, logs) = (&history.told, history.world.logs());
        say(&format!(
            "violation in history {index} of seed {seed}: {violation:#}\n{told}{logs}\n\
             again: cargo xtask faults --seed {seed} --histories {} --only {index}",
            index + 1
        ));
        // Whatever is left running must not disturb the next one.
        history.world.release_everything()?;
    }
    history.world.end()
}

impl Arguments {
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.subsec_nanos();
        let mut read = Self { seed: u64::from(now), histories: HISTORIES, only: None };
        while let Some(name) = arguments.next() {
            let value = arguments.next().with_context(|| format!("`{name}` needs a number"))?;
            let number = value.parse().with_context(|| format!("`{value}` is no number"))?;
            match name.as_str() {
                "--seed" => read.seed = number,
                "--histories" => read.histories = number,
                "--only" => read.only = Some(number),
                _ => bail!("there is no `{name}`; there are --seed, --histories and --only"),
            }
        }
        Ok(read)
    }
}

#[expect(clippy::print_stdout, reason = "the report is this program's output")]
fn say(text: &str) {
    println!("{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Result<Arguments> {
        Arguments::read(arguments.iter().map(|&argument| argument.to_owned()))
    }

    #[test]
    fn seed_and_number_are_read() -> Result<()> {
        let arguments = read(&["--histories", "3", "--seed", "17"])?;
        assert_eq!(arguments, Arguments { seed: 17, histories: 3, only: None });
        assert_eq!(read(&[])?.histories, HISTORIES);
        Ok(())
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for arguments in [&["--sed", "1"][..], &["--seed"], &["--seed", "x"]] {
            assert!(read(arguments).is_err(), "{arguments:?}");
        }
    }
}
