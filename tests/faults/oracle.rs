//! What must be in the online store, worked out slowly from the rows: no query engine, no project
//! code that computes anything.
//!
//! The rows are kept here as they were drawn; Parquet files are only what the program gets to see
//! of them (`source.rs`).

use std::collections::BTreeMap;

use ::tests::dice::Dice;

/// 2024-01-01T00:00:00Z, where everything begins.
pub(crate) const START_MICROS: i64 = 1_704_067_200_000_000;
pub(crate) const HOUR_MICROS: i64 = 3_600_000_000;
/// The hours that have rows.
pub(crate) const HOURS: i64 = 96;
/// The hours of one file.
pub(crate) const FILE_HOURS: i64 = 24;
/// Entities of each view, from 0.
pub(crate) const ENTITIES: i64 = 100;
/// Of so many hours of an entity one has a row.
const HOURS_PER_ROW: u64 = 4;
/// Of so many rows of a view with `active_when` one says that the entity is not active.
const ROWS_PER_END: u64 = 4;
/// Of so many rows of an hour one stands exactly at its beginning, where windows meet.
const ROWS_PER_EDGE: u64 = 3;
/// Adds up with a row's number to a value that no earlier edit has given.
const EDIT_VALUES: i64 = 1_000_000;

/// Half-open, in nanoseconds.
pub(crate) type Span = (i64, i64);

/// What a row says of its entity at its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fact {
    pub(crate) f: i64,
    pub(crate) g: i64,
    pub(crate) active: bool,
}

/// What is stored of an entity in one view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// Features, as of an event time in microseconds.
    Row(i64, Fact),
    /// No features, but the event time at which they ended.
    Tombstone(i64),
    /// Nothing.
    Nothing,
}

impl Held {
    /// The event time, in microseconds.
    pub(crate) fn micros(self) -> Option<i64> {
        match self {
            Self::Row(micros, _) | Self::Tombstone(micros) => Some(micros),
            Self::Nothing => None,
        }
    }

    /// Tells whether a reader who sees `self` sees what `wanted` asks for. Where there must be
    /// nothing, an entity that was withdrawn may have left the time of its end.
    pub(crate) fn is(self, wanted: Self) -> bool {
        self == wanted || (wanted == Self::Nothing && matches!(self, Self::Tombstone(_)))
    }
}

/// The rows of one view: of each entity and event time one.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) rows: BTreeMap<(i64, i64), Fact>,
    /// Whether inactive rows end their entity.
    pub(crate) has_ends: bool,
    edits: i64,
}

impl Source {
    /// Draws a view's rows.
    pub(crate) fn draw(dice: &mut Dice, has_ends: bool) -> Self {
        let mut source = Self { rows: BTreeMap::new(), has_ends, edits: 0 };
        for entity in 0..ENTITIES {
            for hour in (0..HOURS).filter(|_| dice.once_in(HOURS_PER_ROW)).collect::<Vec<_>>() {
                source.add(dice, entity, hour);
            }
        }
        source
    }

    fn add(&mut self, dice: &mut Dice, entity: i64, hour: i64) {
        let within = if dice.once_in(ROWS_PER_EDGE) { 0 } else { dice.between(1, HOUR_MICROS) };
        let value = self.edits * EDIT_VALUES + entity * 1_000 + hour;
        let active = !(self.has_ends && dice.once_in(ROWS_PER_END));
        let fact = Fact { f: value, g: -value, active };
        self.rows.insert((entity, START_MICROS + hour * HOUR_MICROS + within), fact);
    }

    /// Changes, withdraws and adds rows of one file, which is told.
    pub(crate) fn edit(&mut self, dice: &mut Dice) -> i64 {
        let file = dice.between(0, HOURS / FILE_HOURS);
        let hours = file * FILE_HOURS..(file + 1) * FILE_HOURS;
        let micros =
            hours.start * HOUR_MICROS + START_MICROS..hours.end * HOUR_MICROS + START_MICROS;
        self.edits += 1;
        let edits = self.edits;
        let mut withdrawn = Vec::new();
        let inside = self.rows.iter_mut().filter(|((_, at), _)| micros.contains(at));
        for (key, fact) in inside {
            match dice.below(6) {
                0 => withdrawn.push(*key),
                1 | 2 => fact.f += edits * EDIT_VALUES,
                _ => {}
            }
        }
        for key in withdrawn {
            self.rows.remove(&key);
        }
        for entity in 0..ENTITIES {
            if dice.once_in(5) {
                let hour = dice.between(hours.start, hours.end);
                self.add(dice, entity, hour);
            }
        }
        file
    }

    /// What a row leaves in the store.
    pub(crate) fn held(&self, micros: i64, fact: Fact) -> Held {
        if self.has_ends && !fact.active {
            Held::Tombstone(micros)
        } else {
            Held::Row(micros, fact)
        }
    }

    /// What must be stored of an entity, once exactly these intervals have landed.
    pub(crate) fn newest(&self, entity: i64, landed: &[Span]) -> Held {
        let of_entity = self.rows.range((entity, i64::MIN)..=(entity, i64::MAX)).rev();
        let mut inside = of_entity.filter(|((_, micros), _)| is_inside(*micros, landed));
        let newest = inside.next().map(|((_, micros), fact)| self.held(*micros, *fact));
        newest.unwrap_or(Held::Nothing)
    }

    /// What the row of an entity at an instant leaves, if there is one.
    pub(crate) fn at(&self, entity: i64, micros: i64) -> Option<Held> {
        self.rows.get(&(entity, micros)).map(|fact| self.held(micros, *fact))
    }
}

fn is_inside(micros: i64, landed: &[Span]) -> bool {
    let nanos = micros * 1_000;
    landed.iter().any(|(start, end)| *start <= nanos && nanos < *end)
}

/// The instant so many hours after the start, in nanoseconds.
pub(crate) const fn hour_nanos(hour: i64) -> i64 {
    (START_MICROS + hour * HOUR_MICROS) * 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(has_ends: bool, rows: &[(i64, i64, i64, bool)]) -> Source {
        let rows = rows.iter().map(|&(entity, micros, value, active)| {
            ((entity, micros), Fact { f: value, g: -value, active })
        });
        Source { rows: rows.collect(), has_ends, edits: 0 }
    }

    #[test]
    fn the_newest_row_of_what_has_landed_is_wanted() {
        let source = source(false, &[(1, 10, 100, true), (1, 20, 200, true), (2, 15, 300, true)]);
        let row = |micros, value| Held::Row(micros, Fact { f: value, g: -value, active: true });
        assert_eq!(source.newest(1, &[(0, 30_000)]), row(20, 200));
        assert_eq!(source.newest(1, &[(0, 20_000)]), row(10, 100), "the end is outside");
        assert_eq!(source.newest(1, &[(0, 20_001)]), row(20, 200));
        assert_eq!(source.newest(1, &[(10_001, 20_000)]), Held::Nothing);
        assert_eq!(source.newest(1, &[(0, 11_000), (20_000, 20_001)]), row(20, 200));
        assert_eq!(source.newest(2, &[(15_000, 15_001)]), row(15, 300), "the start is inside");
        assert_eq!(source.newest(3, &[(0, 30_000)]), Held::Nothing);
    }

    #[test]
    fn an_inactive_row_ends_its_entity_only_where_the_view_says_so() {
        let rows = [(1, 10, 100, true), (1, 20, 200, false)];
        assert_eq!(source(true, &rows).newest(1, &[(0, 30_000)]), Held::Tombstone(20));
        let fact = Fact { f: 200, g: -200, active: false };
        assert_eq!(source(false, &rows).newest(1, &[(0, 30_000)]), Held::Row(20, fact));
    }

    #[test]
    fn what_was_withdrawn_may_leave_a_tombstone_and_nothing_else() {
        assert!(Held::Nothing.is(Held::Nothing) && Held::Tombstone(5).is(Held::Nothing));
        assert!(!Held::Tombstone(5).is(Held::Tombstone(6)));
        let fact = Fact { f: 1, g: -1, active: true };
        assert!(!Held::Row(5, fact).is(Held::Nothing));
    }

    #[test]
    fn an_edit_changes_withdraws_and_adds_within_one_file() {
        let mut dice = Dice::new(5);
        let before = Source::draw(&mut dice, true);
        let mut after = before.clone();
        let file = after.edit(&mut dice);
        let of_file = |micros: i64| (micros - START_MICROS) / (FILE_HOURS * HOUR_MICROS) == file;
        let (mut changed, mut gone, mut added) = (0, 0, 0);
        for (key, fact) in &before.rows {
            match after.rows.get(key) {
                None => gone += 1,
                Some(now) if now != fact => changed += 1,
                Some(_) => continue,
            }
            assert!(of_file(key.1));
        }
        for key in after.rows.keys().filter(|key| !before.rows.contains_key(key)) {
            assert!(of_file(key.1));
            added += 1;
        }
        assert!(changed > 0 && gone > 0 && added > 0, "{changed} {gone} {added}");
    }

    #[test]
    fn drawn_rows_meet_the_edges_of_hours_and_lie_between_them() {
        let source = Source::draw(&mut Dice::new(9), true);
        let at_edge = |(_, micros): &(i64, i64)| (micros - START_MICROS) % HOUR_MICROS == 0;
        let edges = source.rows.keys().filter(|key| at_edge(key)).count();
        assert!(edges > 50 && source.rows.len() > 2 * edges, "{edges} of {}", source.rows.len());
        assert!(source.rows.values().any(|fact| !fact.active));
    }
}
