//! The ways of `route`, carried out over one lane: create, look, judge.
//!
//! Each takes rows in order and says what became of them; rows that it cannot settle go on to the
//! next. Deliberately absent: trying again (see `redis`).

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use feast::redis_layout::decode_timestamp;

use super::RedisView;
use super::call;
use super::connection::Server;
use super::lane::{Lane, Pipeline, Reply};
use super::reply::{self, Failure};
use super::route::{Met, Route};
use super::rows::{Outcome, Rows};
use super::wire;
use crate::limits::WriteLimits;
use crate::pace::Pace;

/// What `RESTORE` says of a key that exists.
const BUSY_KEY: &str = "BUSYKEY";

/// Rows on their way over one lane.
pub(super) struct Writing<'a> {
    pub view: &'a RedisView,
    pub rows: &'a Rows<'a>,
    pub limits: &'a WriteLimits,
    pub pace: &'a Pace,
    pub is_cluster: bool,
    /// Tells whether the server only takes the rows after `ASKING`.
    pub is_asking: bool,
    pub outcome: Outcome,
    pub met: Met,
    /// Set when the server turns out not to take `RESTORE`, with its answer.
    pub no_restore: Option<String>,
}

impl Writing<'_> {
    /// Writes rows the given way.
    pub(super) async fn run(
        &mut self,
        lane: &mut Lane,
        route: Route,
        rows: &[u32],
    ) -> Result<(), Failure> {
        self.met.rows += rows.len();
        match route {
            Route::Create => {
                let rest = self.create(lane, rows).await?;
                self.met.foreign = self.judge(lane, &rest).await?;
                self.met.unset = self.met.created + self.met.foreign;
            }
            Route::Look { creates } => {
                let (unset, mut rest) = self.look(lane, rows).await?;
                self.met.unset = unset.len();
                if creates {
                    let refused = self.create(lane, &unset).await?;
                    self.met.foreign = refused.len();
                    rest.extend(refused);
                } else {
                    rest.extend(unset);
                }
                // Of two rows of one key the first must stay the first.
                rest.sort_unstable();
                self.judge(lane, &rest).await?;
            }
            Route::Judge => self.met.unset = self.judge(lane, rows).await?,
        }
        Ok(())
    }

    /// Sends each row as a whole hash; gives the rows whose keys exist.
    async fn create(&mut self, lane: &mut Lane, rows: &[u32]) -> Result<Vec<u32>, Failure> {
        let (view, all) = (self.view, self.rows);
        let ttl_millis = view.key_ttl_seconds.saturating_mul(1000);
        let (mut payload, mut scratch) = (Vec::new(), Vec::new());
        let mut left = Vec::new();
        let fill = |pipeline: &mut Pipeline, call: &[u32]| {
            let row = call[0];
            payload.clear();
            let dump = if all.is_tombstone(row) { &view.tombstone } else { &view.hash };
            dump.write(&mut payload, &mut scratch, all.values(row));
            let commands = &mut pipeline.commands;
            wire::command(commands, 4);
            wire::argument(commands, b"RESTORE");
            wire::argument(commands, all.key(row));
            wire::number(commands, ttl_millis);
            wire::argument(commands, &payload);
        };
        let Self { outcome, met, no_restore, limits, pace, is_asking, .. } = self;
        let address = lane.address().to_owned();
        let take = |call: &[u32], reply: Reply<'_>, outcome: &mut Outcome| match reply {
            Reply::Status => {
                outcome.written(call[0], all.is_tombstone(call[0]));
                met.created += 1;
                Ok(())
            }
            Reply::Error(text) if text.starts_with(BUSY_KEY) => {
                left.push(call[0]);
                Ok(())
            }
            Reply::Error(text) if is_no_restore(text) => {
                no_restore.get_or_insert_with(|| text.to_owned());
                left.push(call[0]);
                Ok(())
            }
            other => Err(reply::unexpected(&address, other)),
        };
        let sends = Sends {
            rows,
            calls: one_by_one(rows),
            limits,
            pace: Some(*pace),
            is_asking: *is_asking,
        };
        sends.run(lane, outcome, fill, take).await?;
        Ok(left)
    }

    /// Reads the stored event times; gives the rows without one, and those that are newer.
    async fn look(
        &mut self,
        lane: &mut Lane,
        rows: &[u32],
    ) -> Result<(Vec<u32>, Vec<u32>), Failure> {
        let (view, all) = (self.view, self.rows);
        let (mut unset, mut newer) = (Vec::new(), Vec::new());
        let fill = |pipeline: &mut Pipeline, call: &[u32]| {
            let row = call[0];
            let commands = &mut pipeline.commands;
            wire::command(commands, 3);
            wire::argument(commands, b"HGET");
            wire::argument(commands, all.key(row));
            wire::argument(commands, &view.place.time_field);
        };
        let Self { outcome, met, limits, pace, is_asking, .. } = self;
        let address = lane.address().to_owned();
        let take = |call: &[u32], reply: Reply<'_>, outcome: &mut Outcome| {
            let row = call[0];
            let named = |failure: Failure| failure.of_key(&view.place.view.view, all.key(row));
            match reply {
                Reply::Nil => unset.push(row),
                Reply::Bytes(stored) => {
                    let Some(stored) = decode_timestamp(stored) else {
                        return Err(reply::bad_time(&view.place.view.view, all.key(row)));
                    };
                    let new = all.seconds_and_nanos(row);
                    if stored <= (0, 0) || new > stored {
                        newer.push(row);
                    } else if new == stored && all.is_uncertain(row) {
                        // Our own: see `Tally::counts`.
                        outcome.written(row, all.is_tombstone(row));
                    } else {
                        outcome.stale(row);
                        met.stale += 1;
                    }
                }
                other => return Err(named(reply::unexpected(&address, other))),
            }
            Ok(())
        };
        let sends = Sends {
            rows,
            calls: one_by_one(rows),
            limits,
            pace: Some(*pace),
            is_asking: *is_asking,
        };
        // Nothing of it is written, so nothing of it can be in doubt.
        let mut read = Outcome::default();
        let sent = sends.run(lane, &mut read, fill, take).await;
        read.uncertain.clear();
        outcome.append(read);
        sent?;
        Ok((unset, newer))
    }

    /// Has the script judge and write the rows; gives the number of rows without a stored time.
    async fn judge(&mut self, lane: &mut Lane, rows: &[u32]) -> Result<usize, Failure> {
        let mut calls = call::cut(self.rows, rows, self.limits, self.is_cluster);
        if self.is_asking {
            // A slot that is moving has some of its keys here and some there.
            calls = one_by_one(rows);
        }
        let (view, all) = (self.view, self.rows);
        let (script, is_cluster) = (view.script.call(self.is_asking), self.is_cluster);
        let fill = |pipeline: &mut Pipeline, call: &[u32]| {
            let fence = view.guard.as_ref().map(|guard| {
                // Of any of the rows: those of a call share a slot where slots matter.
                (view.own.fence_of(all.key(call[0]), is_cluster), guard)
            });
            let fence = fence.as_ref().map(|(key, guard)| (&key[..], *guard));
            call::write(&mut pipeline.commands, script, all, call, fence);
        };
        let Self { outcome, met, limits, pace, is_asking, .. } = self;
        let address = lane.address().to_owned();
        let mut unset = 0;
        let take = |call: &[u32], reply: Reply<'_>, outcome: &mut Outcome| {
            if let Reply::Error(text) = reply {
                let failure = reply::said(&address, text);
                if failure.stopped_half_way() {
                    outcome.uncertain.extend_from_slice(call);
                }
                let named = failure.with_key(&view.place.view.view, |row| all.key(call[row]));
                return Err(match &view.guard {
                    Some(guard) => named.of_fence(&view.place.view.view, guard.token()),
                    None => named,
                });
            }
            let tally = reply::tally(&address, reply)?;
            outcome.done.extend_from_slice(call);
            outcome.counts.add(tally.counts(all.is_uncertain(call[0])));
            met.stale += tally.stale();
            unset += tally.unset();
            Ok(())
        };
        let sends = Sends { rows, calls, limits, pace: Some(*pace), is_asking: *is_asking };
        sends.run(lane, outcome, fill, take).await?;
        Ok(unset)
    }
}

/// Commands, each for some of the rows, in pipelines.
pub(super) struct Sends<'a> {
    pub rows: &'a [u32],
    pub calls: Vec<Range<usize>>,
    pub limits: &'a WriteLimits,
    /// `None` for what is no row, and not to be held back by them.
    pub pace: Option<&'a Pace>,
    pub is_asking: bool,
}

impl Sends<'_> {
    /// Writes a command for each call and settles its rows by the reply. Rows that another server
    /// has for now are noted, and those whose reply does not come are in doubt.
    pub(super) async fn run(
        &self,
        lane: &mut Lane,
        outcome: &mut Outcome,
        mut command: impl FnMut(&mut Pipeline, &[u32]),
        mut settle: impl FnMut(&[u32], Reply<'_>, &mut Outcome) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let (sent, answered) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let is_asking = self.is_asking;
        let mut is_asked = false;
        let address = lane.address().to_owned();
        let fill = |pipeline: &mut Pipeline| {
            for call in &self.calls[sent.load(Ordering::Relaxed)..] {
                if is_asking {
                    asking(pipeline);
                }
                command(pipeline, &self.rows[call.clone()]);
                pipeline.replies += 1;
                pipeline.rows += call.len();
                sent.fetch_add(1, Ordering::Relaxed);
                if pipeline.commands.len() >= self.limits.pipeline_bytes {
                    break;
                }
            }
        };
        let take = |reply: Reply<'_>| {
            if is_asking {
                is_asked = !is_asked;
                if is_asked {
                    return reply::status(&address, reply);
                }
            }
            let call = &self.rows[self.calls[answered.fetch_add(1, Ordering::Relaxed)].clone()];
            if let Reply::Error(text) = reply
                && let Some(server) = Server::of_ask(text)
            {
                outcome.elsewhere.extend(call.iter().map(|&row| (row, server.clone())));
                return Ok(());
            }
            settle(call, reply, outcome)
        };
        let exchanged = lane.exchange(self.limits.pipelines_in_flight, self.pace, fill, take).await;
        for call in &self.calls[answered.into_inner()..sent.into_inner()] {
            outcome.uncertain.extend_from_slice(&self.rows[call.clone()]);
        }
        exchanged
    }
}

/// A call for each row.
pub(super) fn one_by_one(rows: &[u32]) -> Vec<Range<usize>> {
    (0..rows.len()).map(|at| at..at + 1).collect()
}

fn asking(pipeline: &mut Pipeline) {
    wire::command(&mut pipeline.commands, 1);
    wire::argument(&mut pipeline.commands, b"ASKING");
    pipeline.replies += 1;
}

/// Tells whether an error is about `RESTORE` itself: unknown, forbidden, or of another format.
fn is_no_restore(text: &str) -> bool {
    text.starts_with("ERR ") || text.starts_with("NOPERM")
}
