//! Which way rows take to Redis, by what the rows before them met there.
//!
//! Pure. There are three: *create* sends a whole hash and is refused where the key exists; *look*
//! reads the stored event time first; *judge* is a call of the script. What create leaves and what
//! look cannot settle goes to the script. The wrong way costs time, never rows.

/// A way to write rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// `RESTORE` first.
    Create,
    /// `HGET` of the event time first; then `RESTORE` where there is none, if `creates`.
    Look {
        /// Tells whether rows without a stored time are created.
        creates: bool,
    },
    /// The script for every row.
    Judge,
}

/// What a row costs Redis, in microseconds of its processor: seven fields, about 240 bytes, Redis
/// 7.0.15. Only the ratios matter. Source: `cargo xtask bench redis`.
mod cost {
    pub(super) const CREATE: f64 = 1.3;
    pub(super) const CREATE_REFUSED: f64 = 1.0;
    pub(super) const LOOK: f64 = 1.0;
    pub(super) const JUDGE_NEWER: f64 = 3.7;
    pub(super) const JUDGE_UNSET: f64 = 3.4;
    pub(super) const JUDGE_STALE: f64 = 2.6;
}

/// How much of the past an observation of a full batch leaves standing.
const MEMORY: f64 = 0.5;
/// Rows of which an observation counts as a full batch.
const FULL_ROWS: f64 = 1024.0;
/// How much of the doubt in `absent` each batch that does not test it takes away, so that creating
/// is tried again some time.
const FORGIVENESS: f64 = 0.02;

/// What rows met: shares of one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Experience {
    /// Rows for which no event time was stored.
    unset: f64,
    /// Of those, the ones whose key did not exist at all.
    absent: f64,
    /// Rows older than, or as old as, the stored one.
    stale: f64,
    /// Tells whether there was any row yet.
    is_new: bool,
}

/// What some rows met, in rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Met {
    pub rows: usize,
    pub unset: usize,
    pub stale: usize,
    /// Rows that `RESTORE` took.
    pub created: usize,
    /// Rows that `RESTORE` refused although no event time was stored.
    pub foreign: usize,
}

impl Default for Experience {
    /// A first load, until it turns out otherwise.
    fn default() -> Self {
        Self { unset: 1.0, absent: 1.0, stale: 0.0, is_new: true }
    }
}

impl Experience {
    /// Tells whether only guesses are at hand: the first rows should be few.
    pub(super) fn is_new(&self) -> bool {
        self.is_new
    }

    /// The cheapest way for rows like those before; `restores` is false where `RESTORE` is not to
    /// be had.
    pub(super) fn route(&self, restores: bool) -> Route {
        let newer = (1.0 - self.unset - self.stale).max(0.0);
        let judge = |unset: f64| {
            unset * cost::JUDGE_UNSET + newer * cost::JUDGE_NEWER + self.stale * cost::JUDGE_STALE
        };
        let foreign = 1.0 - self.absent;
        let created = self.unset * self.absent;
        let create = created * cost::CREATE
            + (1.0 - created) * cost::CREATE_REFUSED
            + judge(self.unset * foreign);
        let refused = cost::CREATE_REFUSED + cost::JUDGE_UNSET;
        let unset_create = self.absent * cost::CREATE + foreign * refused;
        let creates = restores && unset_create < cost::JUDGE_UNSET;
        let look = cost::LOOK
            + newer * cost::JUDGE_NEWER
            + self.unset * if creates { unset_create } else { cost::JUDGE_UNSET };
        let judge = judge(self.unset);
        if restores && create <= look && create <= judge {
            Route::Create
        } else if look < judge {
            Route::Look { creates }
        } else {
            Route::Judge
        }
    }

    /// Takes in what rows have met.
    pub(super) fn learn(&mut self, met: Met) {
        if met.rows == 0 {
            return;
        }
        let rows = met.rows as f64;
        let keep = if self.is_new { 0.0 } else { MEMORY.powf((rows / FULL_ROWS).min(1.0)) };
        let mix = |old: f64, new: f64| keep * old + (1.0 - keep) * new;
        self.unset = mix(self.unset, met.unset as f64 / rows);
        self.stale = mix(self.stale, met.stale as f64 / rows);
        let tested = met.created + met.foreign;
        self.absent = if tested > 0 {
            mix(self.absent, met.created as f64 / tested as f64)
        } else {
            self.absent + FORGIVENESS * (1.0 - self.absent)
        };
        self.is_new = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(met: Met) -> Experience {
        let mut experience = Experience::default();
        experience.learn(met);
        experience
    }

    #[test]
    fn a_first_load_creates_and_goes_on_creating() {
        assert_eq!(Experience::default().route(true), Route::Create);
        let met = Met { rows: 256, unset: 256, created: 256, ..Met::default() };
        assert_eq!(after(met).route(true), Route::Create);
        // Hardly any entity is known.
        let met = Met { rows: 1000, unset: 980, created: 980, ..Met::default() };
        assert_eq!(after(met).route(true), Route::Create);
    }

    #[test]
    fn a_rerun_looks_and_an_update_judges() {
        let stale = Met { rows: 256, stale: 256, ..Met::default() };
        assert_eq!(after(stale).route(true), Route::Look { creates: true });
        assert_eq!(after(stale).route(false), Route::Look { creates: false });
        let newer = Met { rows: 256, ..Met::default() };
        assert_eq!(after(newer).route(true), Route::Judge);
    }

    #[test]
    fn hashes_of_other_views_are_judged_until_creating_may_pay_again() {
        let met = Met { rows: 256, unset: 256, foreign: 256, ..Met::default() };
        let mut experience = after(met);
        assert_eq!(experience.route(true), Route::Judge);
        let again = Met { foreign: 0, ..met };
        let batches = (0..200).take_while(|_| {
            experience.learn(again);
            experience.route(true) == Route::Judge
        });
        let batches = batches.count();
        assert!((10..200).contains(&batches), "{batches}");
    }

    #[test]
    fn without_restore_nothing_is_created() {
        assert_eq!(Experience::default().route(false), Route::Judge);
    }

    #[test]
    fn new_entities_among_stale_ones_are_looked_at_and_created() {
        let met = Met { rows: 1000, unset: 300, stale: 700, created: 300, ..Met::default() };
        assert_eq!(after(met).route(true), Route::Look { creates: true });
    }

    #[test]
    fn what_changes_is_learned_within_a_few_batches() {
        let newer = Met { rows: 8192, ..Met::default() };
        let mut experience = after(newer);
        let stale = Met { rows: 8192, stale: 8192, ..Met::default() };
        for _ in 0..2 {
            experience.learn(stale);
        }
        assert_eq!(experience.route(true), Route::Look { creates: true });
        experience.learn(Met::default());
        assert!(!experience.is_new());
    }
}
