//! The hash table of the newest-row node: from an entity key to the newest row seen.
//!
//! A file of its own because it is all about the processor's caches. Deliberately absent: what a
//! key and a row are; the table knows numbers only.

use std::hint::black_box;

/// The newest row of one entity key, by its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Winner {
    /// The key itself where it fits, its hash otherwise.
    pub(super) tag: u64,
    pub(super) event_time: i64,
    pub(super) batch: u32,
    pub(super) row: u32,
}

/// Winners, and where the hash of a tag leads to them.
///
/// A slot holds 32 bits of hash and the winner's number plus one; 0 is an empty slot. A slot's
/// place is the top bits of the hash, so growing keeps the order and reads and writes in sequence.
#[derive(Debug)]
pub(super) struct Table {
    slots: Vec<u64>,
    winners: Vec<Winner>,
    /// The winner whose key is null, where the tag is the key itself.
    null: Option<u32>,
}

/// Winners of one table: their numbers and the hashes have 32 bits each, and some are left over.
pub(super) const WINNERS_MAX: usize = 1 << 30;

/// Slots of an empty table: a power of two.
const SLOTS_MIN: usize = 64;

/// A probe goes on until it meets an empty slot: with a quarter of them empty, after a few.
const FILLED_MAX: (usize, usize) = (3, 4);

/// Room that the winners grow by, as a share of what they have: less than doubling, because the
/// room is taken from the pool whether it is used or not.
const GROWTH_DIVISOR: usize = 2;

impl Table {
    pub(super) fn new() -> Self {
        Self { slots: vec![0; SLOTS_MIN], winners: Vec::new(), null: None }
    }

    pub(super) fn winners(&self) -> &[Winner] {
        &self.winners
    }

    pub(super) fn winners_mut(&mut self) -> &mut [Winner] {
        &mut self.winners
    }

    /// Bytes of a table that has room for so many more winners than now.
    pub(super) fn bytes_with(&self, more: usize) -> usize {
        let slots = self.slots_for(more);
        let winners = self.winners_for(more).max(self.winners.capacity());
        slots * size_of::<u64>() + winners * size_of::<Winner>()
    }

    /// Makes the room, so that nothing moves while rows are looked up.
    pub(super) fn reserve(&mut self, more: usize) {
        let winners = self.winners_for(more);
        self.winners.reserve_exact(winners.saturating_sub(self.winners.len()));
        let slots = self.slots_for(more);
        if slots > self.slots.len() {
            let old = std::mem::replace(&mut self.slots, vec![0; slots]);
            for slot in old.into_iter().filter(|&slot| slot != 0) {
                let mut place = self.place((slot >> 32) as u32);
                while self.slots[place] != 0 {
                    place = self.next(place);
                }
                self.slots[place] = slot;
            }
        }
    }

    /// Forgets every winner and gives the room back.
    pub(super) fn clear(&mut self) {
        *self = Self::new();
    }

    /// Brings what the tags lead to into the processor's caches, many at once: one after the other
    /// each row would wait for memory twice. Gives what the slots hold.
    pub(super) fn touch(&self, tags: &[u64], numbers: &mut Vec<u32>) {
        numbers.clear();
        numbers.extend(tags.iter().map(|&tag| self.slots[self.place(hash(tag))] as u32));
        let seen = numbers
            .iter()
            .fold(0, |seen, &number| seen ^ self.candidate(number).map_or(0, |winner| winner.tag));
        black_box(seen);
    }

    /// The winner that a slot leads to, if there is one; its key may be another.
    pub(super) fn candidate(&self, number: u32) -> Option<&Winner> {
        // An empty slot's number wraps around, beyond the end.
        self.winners.get(number.wrapping_sub(1) as usize)
    }

    /// The number of the winner of a tag, or the place where it would be.
    pub(super) fn find(&self, tag: u64, mut is_same: impl FnMut(&Winner) -> bool) -> Find {
        let hash = hash(tag);
        let mut place = self.place(hash);
        loop {
            let slot = self.slots[place];
            if slot == 0 {
                return Find::Place(place);
            }
            if (slot >> 32) as u32 == hash {
                let number = slot as u32 - 1;
                let winner = &self.winners[number as usize];
                if winner.tag == tag && is_same(winner) {
                    return Find::Winner(number);
                }
            }
            place = self.next(place);
        }
    }

    /// Adds the first row of a key at the place that was found for it.
    pub(super) fn insert(&mut self, place: usize, winner: Winner) {
        self.winners.push(winner);
        self.slots[place] = u64::from(hash(winner.tag)) << 32 | self.winners.len() as u64;
    }

    /// The number of the winner whose key is null.
    pub(super) fn null(&self) -> Option<u32> {
        self.null
    }

    /// Adds the first row whose key is null.
    pub(super) fn insert_null(&mut self, winner: Winner) {
        self.null = Some(self.winners.len() as u32);
        self.winners.push(winner);
    }

    fn winners_for(&self, more: usize) -> usize {
        let wanted = self.winners.len() + more;
        if wanted <= self.winners.capacity() {
            return wanted;
        }
        wanted.max(self.winners.len() + self.winners.len() / GROWTH_DIVISOR)
    }

    fn slots_for(&self, more: usize) -> usize {
        let (filled, of) = FILLED_MAX;
        let wanted = (self.winners.len() + more) * of / filled + 1;
        wanted.next_power_of_two().max(self.slots.len())
    }

    fn place(&self, hash: u32) -> usize {
        // The number of slots is a power of two, and no more than winners' numbers can fill.
        let bits = self.slots.len().trailing_zeros();
        (u64::from(hash) >> (u32::BITS - bits)) as usize
    }

    fn next(&self, place: usize) -> usize {
        (place + 1) & (self.slots.len() - 1)
    }
}

/// What a tag leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Find {
    /// The number of its winner.
    Winner(u32),
    /// There is none; it would be at this place.
    Place(usize),
}

fn hash(tag: u64) -> u32 {
    (spread(tag) >> 32) as u32
}

/// One of so many parts that a tag belongs to; each seed deals the tags out anew.
pub(super) fn part(tag: u64, seed: u64, parts: usize) -> usize {
    // Behind the first round, a seed's effect is as good as random.
    let hash = spread(spread(tag) ^ (seed + 1));
    (((hash >> 32) * parts as u64) >> 32) as usize
}

/// Spreads a number over all 64 bits: the last step of MurmurHash3, which every bit goes through.
///
/// # Source
/// <https://github.com/aappleby/smhasher/blob/master/src/MurmurHash3.cpp>
fn spread(number: u64) -> u64 {
    let mut z = number;
    z = (z ^ (z >> 33)).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    z = (z ^ (z >> 33)).wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    z ^ (z >> 33)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn winner(tag: u64, row: u32) -> Winner {
        Winner { tag, event_time: 0, batch: 0, row }
    }

    proptest! {
        #[test]
        fn a_tag_leads_to_its_own_winner(
            tags in prop::collection::vec((0_u64..500, any::<bool>()), 0..2_000),
        ) {
            let mut table = Table::new();
            let mut expected = HashMap::new();
            for (row, &(tag, is_far)) in tags.iter().enumerate() {
                // Half of the tags differ in their top bits only.
                let tag = if is_far { tag << 55 } else { tag };
                table.reserve(1);
                let row = row as u32;
                match table.find(tag, |_| true) {
                    Find::Winner(number) => {
                        prop_assert_eq!(table.winners()[number as usize].row, expected[&tag]);
                    }
                    Find::Place(place) => {
                        table.insert(place, winner(tag, row));
                        prop_assert!(expected.insert(tag, row).is_none());
                    }
                }
            }
            prop_assert_eq!(table.winners().len(), expected.len());
        }
    }

    #[test]
    fn keys_of_one_tag_are_told_apart() {
        let mut table = Table::new();
        table.reserve(2);
        for row in [1, 2] {
            let Find::Place(place) = table.find(7, |winner| winner.row == row) else {
                panic!("row {row} is there already");
            };
            table.insert(place, winner(7, row));
        }
        assert_eq!(table.find(7, |winner| winner.row == 2), Find::Winner(1));
        assert_eq!(table.find(7, |winner| winner.row == 1), Find::Winner(0));
    }

    #[test]
    fn the_bytes_asked_for_are_the_bytes_taken() {
        let mut table = Table::new();
        for tag in 0..100_000 {
            let asked = table.bytes_with(1);
            table.reserve(1);
            let Find::Place(place) = table.find(tag, |_| true) else { panic!("{tag} is new") };
            table.insert(place, winner(tag, 0));
            assert_eq!(table.bytes_with(0), asked);
        }
        table.clear();
        assert_eq!(table.bytes_with(0), SLOTS_MIN * size_of::<u64>());
    }

    #[test]
    fn every_seed_deals_out_evenly_and_anew() {
        const PARTS: usize = 16;
        // All of one part by the first seed, as in a file that is dealt out once more.
        let tags: Vec<u64> = (0..160_000).filter(|&tag| part(tag, 0, PARTS) == 3).collect();
        assert!((9_000..11_000).contains(&tags.len()), "{}", tags.len());
        for seed in 1..4 {
            let mut counts = [0; PARTS];
            tags.iter().for_each(|&tag| counts[part(tag, seed, PARTS)] += 1);
            assert!(counts.iter().all(|count| (400..900).contains(count)), "{seed}: {counts:?}");
        }
    }
}
