//! The commit protocol, searched exhaustively: every order of steps, crashes, late writes and
//! losses within small bounds.
//!
//! One view, two entities, two windows, a source that is corrected. A process that died is one
//! that takes no further step, so no action kills one; what it sent may still be applied at any
//! later time (`Action::Late`). Where a rule exists as code in `model` it is that code which runs
//! here: [`model::Agreement`], [`model::Coverage`], [`model::Interval`], [`model::WriteMode`].
//!
//! `scenario` holds what is searched, `property` what must hold, `part` the parts of the protocol,
//! `mutant` what happens without each of them. Deliberately absent: clusters (one slot is one
//! store), several views (they share no key fields), and the outbox.

mod action;
mod claim;
mod ledger;
mod mutant;
mod part;
mod progress;
mod property;
mod protocol;
mod scenario;
mod search;
mod source;
mod state;
mod store;
