//! Killing runs at drawn moments.

use std::collections::BTreeMap;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use tests::dice::Dice;
use tests::repo::Ended;

use crate::history::{Moment, check, outcome};
use crate::workload::{Place, Workload, World};

/// Kills between two undisturbed ends: few enough that every start has something left to do.
const KILLS_PER_ROUND: u32 = 8;
/// Runs that ended before they were killed, for each one that was. More means that the length of
/// a run is measured wrongly.
const MISSES_PER_KILL_MAX: u32 = 4;

/// Kills runs of a workload, and compares what comes of it with an undisturbed history.
pub(crate) fn survives(workload: &Workload, place: Place<'_>, kills: u32) -> Result<()> {
    let mut dice = dice()?;
    let undisturbed = workload.set_up(place, "undisturbed")?;
    let begun = Instant::now();
    undisturbed.repo.succeed(&World::arguments(true))?;
    let length = begun.elapsed();
    let wanted = outcome(&undisturbed)?;
    for view in 0..undisturbed.views() {
        undisturbed.check_view(view, &wanted.stored).context("the undisturbed run")?;
    }
    let mut fell = BTreeMap::<Moment, u32>::new();
    for round in 0..kills.div_ceil(KILLS_PER_ROUND) {
        let world = workload.set_up(place, &format!("round_{round}"))?;
        let left = (kills - round * KILLS_PER_ROUND).min(KILLS_PER_ROUND);
        for moment in kill_often(&world, left, length, &mut dice)? {
            *fell.entry(moment).or_default() += 1;
        }
        world.repo.succeed(&World::arguments(true))?;
        let left_behind = outcome(&world)?;
        ensure!(left_behind.coverage == wanted.coverage, "{:?}", left_behind.coverage);
        ensure!(left_behind.registry == wanted.registry, "{:?}", left_behind.registry);
        ensure!(left_behind.stored == wanted.stored, "the online store is another");
    }
    report(&format!("{kills} kills within {length:?} fell: {fell:?}"));
    Ok(())
}

/// Has so many runs end themselves just before they commit; the next one lands.
pub(crate) fn stops_before_commits(
    workload: &Workload,
    place: Place<'_>,
    times: u32,
) -> Result<()> {
    let world = workload.set_up(place, "stopped")?;
    let arguments = World::arguments(true);
    for _ in 0..times {
        let mut run = world.repo.command(&arguments)?;
        let ended = Ended::from(run.env("TIDEGATE_FAIL_AT", "marked").output()?);
        ensure!(ended.code.is_none(), "it did not stop: {}", ended.all());
    }
    world.repo.succeed(&arguments)?;
    let left_behind = outcome(&world)?;
    (0..world.views()).try_for_each(|view| world.check_view(view, &left_behind.stored))
}

fn kill_often(
    world: &World<'_>,
    kills: u32,
    length: Duration,
    dice: &mut Dice,
) -> Result<Vec<Moment>> {
    let defined = world.registry()?;
    let (mut moments, mut misses) = (Vec::new(), 0);
    while moments.len() < kills as usize {
        // Whole intervals are written again each time; from the watermark, less and less is.
        let mut run = world.repo.spawn(&World::arguments(dice.below(3) == 0))?;
        // There is nothing to wait for: the moment is what is drawn.
        thread::sleep(length.mul_f64(dice.fraction()));
        if kill(&mut run)? {
            moments.push(check(world, &defined).context("after a kill")?);
        } else {
            Ended::from(run.wait_with_output()?).with_code(0)?;
            misses += 1;
            ensure!(misses < kills * MISSES_PER_KILL_MAX, "{misses} runs outran their kill");
        }
    }
    Ok(moments)
}

/// Kills a run; `false` when it had ended by itself.
fn kill(run: &mut Child) -> Result<bool> {
    if run.try_wait()?.is_some() {
        return Ok(false);
    }
    run.kill()?;
    // It may have ended in between; a signal leaves no code.
    Ok(run.wait()?.code().is_none())
}

#[expect(clippy::print_stderr, reason = "the seed must be seen, to repeat a failure")]
fn report(text: &str) {
    eprintln!("{text}");
}

/// Dice of a seed that is told, so that a failure can be repeated.
fn dice() -> Result<Dice> {
    let seed = match std::env::var("TIDEGATE_FAULT_SEED") {
        Ok(seed) => seed.parse().context("`TIDEGATE_FAULT_SEED` is no number")?,
        Err(_) => SystemTime::now().duration_since(UNIX_EPOCH)?.subsec_nanos().into(),
    };
    report(&format!("TIDEGATE_FAULT_SEED={seed}"));
    Ok(Dice::new(seed))
}
