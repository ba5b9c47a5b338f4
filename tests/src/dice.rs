//! Numbers that can be drawn again from the same seed.
//!
//! Shared by the suites that draw moments and histories, so that a seed in a report means the same
//! everywhere.

use std::time::Duration;

/// SplitMix64, by Guy Steele and others: short, and good enough for moments and histories.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Dice of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Dice of their own for the `index`th of several things, whatever the others draw.
    #[must_use]
    pub fn of(seed: u64, index: u64) -> Self {
        let mut dice = Self(seed ^ index.wrapping_mul(0xd134_2543_de82_ef95));
        dice.draw();
        dice
    }

    /// Any number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 up to `end`.
    ///
    /// # Panics
    /// When `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.draw() % end
    }

    /// From `start` up to `end`.
    ///
    /// # Panics
    /// When nothing is between them.
    pub fn between(&mut self, start: i64, end: i64) -> i64 {
        let width = u64::try_from(end - start).expect("the end is behind the start");
        start + i64::try_from(self.below(width)).expect("it is below a difference that fits")
    }

    /// From 0 up to 1.
    pub fn fraction(&mut self) -> f64 {
        (self.draw() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Once in so many times.
    ///
    /// # Panics
    /// When `times` is 0.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// From `least` up to `most`.
    pub fn duration(&mut self, least: Duration, most: Duration) -> Duration {
        least + (most - least).mul_f64(self.fraction())
    }

    /// One of several.
    ///
    /// # Panics
    /// When there is none.
    pub fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        let place = usize::try_from(self.below(of.len() as u64)).expect("it is below a length");
        &of[place]
    }

    /// Brings things into a drawn order.
    pub fn shuffle<T>(&mut self, things: &mut [T]) {
        for last in (1..things.len()).rev() {
            let other = usize::try_from(self.below(last as u64 + 1)).expect("it is below a length");
            things.swap(last, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_again_and_another_something_else() {
        let drawn = |mut dice: Dice| -> Vec<u64> { (0..8).map(|_| dice.draw()).collect() };
        assert_eq!(drawn(Dice::new(7)), drawn(Dice::new(7)));
        assert_ne!(drawn(Dice::new(7)), drawn(Dice::new(8)));
        assert_ne!(drawn(Dice::of(7, 0)), drawn(Dice::of(7, 1)));
    }

    #[test]
    fn what_is_drawn_stays_within_its_bounds() {
        let mut dice = Dice::new(1);
        let (least, most) = (Duration::from_millis(5), Duration::from_millis(9));
        for _ in 0..1_000 {
            assert!((-3..4).contains(&dice.between(-3, 4)));
            assert!((0.0..1.0).contains(&dice.fraction()));
            assert!((least..=most).contains(&dice.duration(least, most)));
            assert!([1, 2].contains(dice.one(&[1, 2])));
        }
    }

    #[test]
    fn shuffled_things_are_the_same_things() {
        let mut things: Vec<u32> = (0..50).collect();
        Dice::new(3).shuffle(&mut things);
        assert_ne!(things, (0..50).collect::<Vec<_>>());
        things.sort_unstable();
        assert_eq!(things, (0..50).collect::<Vec<_>>());
    }
}
