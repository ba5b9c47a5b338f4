//! What can go wrong, and in which order it does.

use std::fmt;
use std::time::Duration;

use ::tests::dice::Dice;

/// The steps at which a scheduler can be told to kill itself, in the order in which a run passes
/// them, and how often a run of several windows passes each at least.
pub(crate) const STEPS: [(&str, u64); 17] = [
    ("admitted", 1),
    ("claimed", 1),
    ("leased", 1),
    ("adopted", 1),
    ("cut", 1),
    ("windows_recorded", 1),
    ("planned", 3),
    ("attempt_recorded", 3),
    ("first_write", 3),
    ("partition_written", 3),
    ("checkpointed", 2),
    ("rows_acknowledged", 3),
    ("marked", 3),
    ("committed", 3),
    ("mirrored", 2),
    ("job_closed", 1),
    ("run_closed", 1),
];

/// Faults of one history, and so its runs before the recovery.
pub(crate) const FAULTS_PER_HISTORY: usize = 4;

/// A server behind a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    Redis,
    Postgres,
}

/// One thing that goes wrong while a run is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The scheduler kills itself at a step of [`STEPS`].
    KillAtStep(usize),
    /// The scheduler is killed at a drawn moment.
    Kill,
    /// The scheduler is killed, and what it has sent arrives after another has done its work.
    KillWithWritesUnderWay,
    /// The scheduler stands still past its lease, another takes over, and the first goes on.
    Freeze,
    /// Another scheduler is asked for the same at the same time.
    TwoSchedulers,
    /// PostgreSQL is killed and started again.
    PostgresRestart,
    /// PostgreSQL ends every connection.
    PostgresTerminate,
    /// PostgreSQL fails some transactions with a serialization failure or a deadlock.
    PostgresSerialization,
    /// Redis is killed and started again, with its data or without, as the history has it; with
    /// data it answers `LOADING` for a while.
    RedisRestart,
    /// Redis is flushed.
    RedisFlush,
    /// Redis becomes a replica that refuses writes.
    RedisReadOnly,
    /// Redis has no memory left.
    RedisOutOfMemory,
    /// The link is slow.
    Slow(Server),
    /// The link loses its connections.
    Cut(Server),
    /// The link lets nothing through for a while, and then delivers everything.
    Stall(Server),
    /// The link lets nothing through for a while, and then loses its connections.
    BlackHole(Server),
}

impl Fault {
    /// Every fault.
    pub(crate) fn all() -> Vec<Self> {
        let mut all: Vec<Self> = (0..STEPS.len()).map(Self::KillAtStep).collect();
        all.extend([
            Self::Kill,
            Self::KillWithWritesUnderWay,
            Self::Freeze,
            Self::TwoSchedulers,
            Self::PostgresRestart,
            Self::PostgresTerminate,
            Self::PostgresSerialization,
            Self::RedisRestart,
            Self::RedisFlush,
            Self::RedisReadOnly,
            Self::RedisOutOfMemory,
        ]);
        let both = [Server::Redis, Server::Postgres];
        let of_links = [Self::Slow, Self::Cut, Self::Stall, Self::BlackHole];
        all.extend(of_links.iter().flat_map(|fault| both.map(fault)));
        all
    }

    /// How long it lasts.
    pub(crate) fn length(self, dice: &mut Dice) -> Duration {
        let (least, most) = match self {
            // What ends by itself, or at once, or on a condition.
            Self::KillAtStep(_)
            | Self::Kill
            | Self::KillWithWritesUnderWay
            | Self::Freeze
            | Self::TwoSchedulers
            | Self::PostgresTerminate
            | Self::RedisFlush
            | Self::Cut(_) => (0, 1),
            Self::PostgresRestart | Self::RedisRestart => (1, 500),
            Self::PostgresSerialization
            | Self::RedisReadOnly
            | Self::RedisOutOfMemory
            | Self::Slow(_)
            | Self::Stall(_)
            | Self::BlackHole(_) => (200, 2_000),
        };
        dice.duration(Duration::from_millis(least), Duration::from_millis(most))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KillAtStep(step) => write!(f, "kill at `{}`", STEPS[*step].0),
            Self::Kill => f.write_str("kill"),
            Self::KillWithWritesUnderWay => f.write_str("kill with writes under way"),
            Self::Freeze => f.write_str("freeze past the lease"),
            Self::TwoSchedulers => f.write_str("two schedulers"),
            Self::PostgresRestart => f.write_str("PostgreSQL restarts"),
            Self::PostgresTerminate => f.write_str("PostgreSQL ends connections"),
            Self::PostgresSerialization => f.write_str("PostgreSQL cannot serialize"),
            Self::RedisRestart => f.write_str("Redis restarts"),
            Self::RedisFlush => f.write_str("Redis is flushed"),
            Self::RedisReadOnly => f.write_str("Redis is read-only"),
            Self::RedisOutOfMemory => f.write_str("Redis is out of memory"),
            Self::Slow(server) => write!(f, "slow link to {server:?}"),
            Self::Cut(server) => write!(f, "cut link to {server:?}"),
            Self::Stall(server) => write!(f, "stalled link to {server:?}"),
            Self::BlackHole(server) => write!(f, "black hole before {server:?}"),
        }
    }
}

/// Faults like cards: each comes once before any comes twice.
#[derive(Debug)]
pub(crate) struct Deck {
    dice: Dice,
    left: Vec<Fault>,
}

impl Deck {
    pub(crate) fn new(dice: Dice) -> Self {
        Self { dice, left: Vec::new() }
    }

    /// The faults of one history.
    pub(crate) fn deal(&mut self) -> Vec<Fault> {
        (0..FAULTS_PER_HISTORY).map(|_| self.draw()).collect()
    }

    fn draw(&mut self) -> Fault {
        if self.left.is_empty() {
            self.left = Fault::all();
            self.dice.shuffle(&mut self.left);
        }
        self.left.pop().expect("a deck has cards")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deck_has_every_fault_once() {
        let mut deck = Deck::new(Dice::new(1));
        let count = Fault::all().len();
        let drawn: Vec<Fault> = (0..count).map(|_| deck.draw()).collect();
        assert!(Fault::all().iter().all(|fault| drawn.contains(fault)));
        assert_ne!(drawn, Fault::all(), "it is shuffled");
        assert!(drawn.contains(&deck.draw()), "and then begins again");
    }

    #[test]
    fn faults_have_names_of_their_own() {
        let mut names: Vec<String> = Fault::all().iter().map(ToString::to_string).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
