//! How each fault is brought about, and undone.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::Reply;

use crate::fault::{Fault, Server};
use crate::scheduler::{LEASE_TTL, Scheduler};
use crate::world::World;

/// What a slow link adds to each way.
const SLOWNESS: Duration = Duration::from_millis(40);
/// Long enough that some bytes of a writing scheduler are held.
const WRITES_GATHER: Duration = Duration::from_millis(60);
/// Below what an empty Redis takes, so that no write fits.
const NO_MEMORY: &str = "100kb";
/// Transactions that fail in a row are few on a real server.
const FAILURES: u32 = 4;

/// Makes every change of the ledger ask a sequence whether it shall fail. A sequence is not rolled
/// back, so what has failed has failed, and the same again may go through.
const FAILING: &str = "\
DROP SCHEMA IF EXISTS faults CASCADE; \
CREATE SCHEMA faults; \
CREATE SEQUENCE faults.asked; \
CREATE FUNCTION faults.fail() RETURNS trigger LANGUAGE plpgsql AS $$ \
BEGIN \
  IF nextval('faults.asked') % 2 = 0 AND currval('faults.asked') <= 2 * {FAILURES} THEN \
    RAISE EXCEPTION 'drawn to fail' USING ERRCODE = \
      CASE WHEN currval('faults.asked') % 4 = 0 THEN '40001' ELSE '40P01' END; \
  END IF; \
  RETURN NULL; \
END $$; \
DO $$ DECLARE t text; BEGIN \
  FOR t IN SELECT tablename FROM pg_tables \
    WHERE schemaname = 'tidegate' AND tablename <> 'migrations' LOOP \
    EXECUTE format('CREATE TRIGGER faults_fail BEFORE INSERT OR UPDATE ON tidegate.%I \
      FOR EACH STATEMENT EXECUTE FUNCTION faults.fail()', t); \
  END LOOP; \
END $$";
const FAILING_NO_MORE: &str = "DROP SCHEMA IF EXISTS faults CASCADE";

/// Begins a fault. Those that start a scheduler at a step are begun where runs are (`history.rs`).
pub(crate) fn begin(world: &mut World<'_>, fault: Fault) -> Result<()> {
    match fault {
        Fault::KillAtStep(_) => {}
        Fault::Kill => kill(world),
        Fault::KillWithWritesUnderWay => {
            world.to_redis.hold_present();
            thread::sleep(WRITES_GATHER);
            kill(world);
        }
        Fault::Freeze => {
            let frozen = world.scheduler.take().context("there is one to freeze")?;
            frozen.freeze()?;
            world.others.push(frozen);
            let frozen_at = Instant::now();
            world.scheduler = Some(world.start(None)?);
            // Nothing tells from outside that a lease has ended; time does.
            thread::sleep(LEASE_TTL.saturating_sub(frozen_at.elapsed()));
        }
        Fault::TwoSchedulers => {
            let other = world.start(None)?;
            world.others.push(other);
        }
        Fault::PostgresRestart => world.postgres.kill(),
        Fault::PostgresTerminate => terminate(world)?,
        Fault::PostgresSerialization => {
            if world.ledger.exists()? {
                let script = FAILING.replace("{FAILURES}", &FAILURES.to_string());
                insist(world, &script)?;
            }
        }
        Fault::RedisRestart => world.redis.kill(),
        Fault::RedisFlush => redis(world, &["FLUSHALL"])?,
        // The port of nobody: a master that is never reached, so nothing is lost to it.
        Fault::RedisReadOnly => redis(world, &["REPLICAOF", "127.0.0.1", "1"])?,
        Fault::RedisOutOfMemory => redis(world, &["CONFIG", "SET", "maxmemory", NO_MEMORY])?,
        Fault::Slow(server) => world.link(server).delay(SLOWNESS),
        Fault::Cut(server) => _ = world.link(server).cut(),
        Fault::Stall(server) | Fault::BlackHole(server) => world.link(server).hold(),
    }
    Ok(())
}

/// Ends a fault: whatever has failed works again.
pub(crate) fn end(world: &mut World<'_>, fault: Fault) -> Result<()> {
    match fault {
        Fault::KillAtStep(_) | Fault::Kill => {}
        Fault::KillWithWritesUnderWay => world.to_redis.release(),
        Fault::Freeze => {
            for other in &world.others {
                other.thaw()?;
            }
        }
        Fault::PostgresRestart => world.postgres.restart()?,
        Fault::RedisRestart => world.redis.restart()?,
        Fault::PostgresSerialization => insist(world, FAILING_NO_MORE)?,
        Fault::RedisReadOnly => redis(world, &["REPLICAOF", "NO", "ONE"])?,
        Fault::RedisOutOfMemory => redis(world, &["CONFIG", "SET", "maxmemory", "0"])?,
        Fault::Slow(server) => world.link(server).delay(Duration::ZERO),
        Fault::Stall(server) => world.link(server).release(),
        Fault::BlackHole(server) => {
            world.link(server).cut();
            world.link(server).release();
        }
        Fault::TwoSchedulers
        | Fault::PostgresTerminate
        | Fault::RedisFlush
        | Fault::Cut(Server::Redis | Server::Postgres) => {}
    }
    Ok(())
}

/// Tells whether a fault takes committed rows out of the online store.
pub(crate) fn loses_rows(world: &World<'_>, fault: Fault) -> bool {
    fault == Fault::RedisFlush || (fault == Fault::RedisRestart && !world.is_durable)
}

fn kill(world: &mut World<'_>) {
    if let Some(scheduler) = &mut world.scheduler {
        Scheduler::kill(scheduler);
    }
}

fn redis(world: &World<'_>, command: &[&str]) -> Result<()> {
    let reply = world.redis.command(command)?;
    ensure!(!matches!(reply, Reply::Error(_)), "{command:?}: {reply:?}");
    Ok(())
}

/// Runs a script that takes every table's lock, in an order that is not the program's: a deadlock
/// that PostgreSQL breaks at our cost is tried again.
fn insist(world: &World<'_>, script: &str) -> Result<()> {
    const TRIES_MAX: u32 = 20;
    let mut tried = 1;
    while let Err(error) = world.postgres.psql(&world.database, script) {
        ensure!(tried < TRIES_MAX, "the ledger cannot be changed: {error:#}");
        tried += 1;
    }
    Ok(())
}

fn terminate(world: &World<'_>) -> Result<()> {
    let database = &world.database;
    let sql = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
         WHERE datname = '{database}' AND pid <> pg_backend_pid()"
    );
    world.postgres.psql("postgres", &sql).map(|_| ())
}

#[cfg(test)]
mod tests {
    use ::tests::dice::Dice;
    use harness::Postgres;

    use super::*;
    use crate::check;
    use crate::oracle::{HOURS, hour_nanos};
    use crate::source::VIEWS;
    use crate::stored;

    /// A world in which everything has landed, by a run in a process of its own.
    fn landed<'a>(postgres: &'a Postgres, name: &str) -> Result<World<'a>> {
        let world = World::new(postgres, name, &mut Dice::new(4))?;
        let instant = |hour| model::EventTime::from_nanos(hour_nanos(hour)).to_string();
        world.repo.succeed(&["materialize", &instant(0), &instant(HOURS)])?;
        Ok(world)
    }

    #[test]
    fn the_oracle_and_an_undisturbed_run_over_links_agree() -> Result<()> {
        let postgres = Postgres::start()?;
        let world = landed(&postgres, "undisturbed")?;
        let (coverage, stored) = (world.coverage()?, stored::read(&world.redis)?);
        for (view, (name, _)) in VIEWS.iter().enumerate() {
            let landed = &coverage[*name].intervals;
            assert!(check::covers(landed, (hour_nanos(0), hour_nanos(HOURS))), "{landed:?}");
            check::is_exact(view, &world.sources[view], landed, &stored)?;
        }
        check::is_mirrored(&world, &coverage)?;
        check::nothing_is_left_over(&world)?;
        world.watcher.verdict()?;
        assert!(world.watcher.looks() > 0);
        world.end()
    }

    #[test]
    fn a_server_works_again_after_each_of_its_faults() -> Result<()> {
        let postgres = Postgres::start()?;
        let mut world = landed(&postgres, "faulty")?;
        let of_servers = Fault::all().into_iter().filter(|fault| {
            !matches!(
                fault,
                Fault::KillAtStep(_)
                    | Fault::Kill
                    | Fault::KillWithWritesUnderWay
                    | Fault::Freeze
                    | Fault::TwoSchedulers
            )
        });
        for fault in of_servers {
            begin(&mut world, fault)?;
            end(&mut world, fault)?;
            let written = world.redis.command(&["SET", "probe", "1"])?;
            assert_eq!(written, Reply::Status("OK".to_owned()), "after {fault}");
            let sql = "UPDATE tidegate.views SET updated_at = updated_at";
            postgres.psql(&world.database, sql).with_context(|| format!("after {fault}"))?;
        }
        world.end()
    }

    #[test]
    fn a_fault_keeps_its_server_from_working() -> Result<()> {
        let postgres = Postgres::start()?;
        let mut world = landed(&postgres, "faults_bite")?;
        for (fault, refusal) in
            [(Fault::RedisReadOnly, "READONLY"), (Fault::RedisOutOfMemory, "OOM")]
        {
            begin(&mut world, fault)?;
            let reply = world.redis.command(&["SET", "probe", "1"])?;
            assert!(matches!(&reply, Reply::Error(text) if text.starts_with(refusal)), "{reply:?}");
            end(&mut world, fault)?;
        }
        begin(&mut world, Fault::PostgresSerialization)?;
        let update = "UPDATE tidegate.views SET updated_at = updated_at";
        let tries: Vec<bool> =
            (0..10).map(|_| postgres.psql(&world.database, update).is_err()).collect();
        let failures = tries.iter().filter(|failed| **failed).count();
        assert_eq!(failures, usize::try_from(FAILURES)?, "{tries:?}");
        end(&mut world, Fault::PostgresSerialization)?;
        world.end()
    }
}
