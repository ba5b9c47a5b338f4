//! A lease of one view, and the fencing token that grows with each.
//!
//! Pure: the clock is the database's, read inside the transaction that stores the outcome.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::JobId;
use crate::time::EventTime;
use crate::write_mode::FencingToken;

/// Who may write a view, and until when.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The token of the last lease, ended or not.
    pub token: FencingToken,
    /// The job that holds or held it.
    pub job: Option<JobId>,
    /// When it ends, by the database's clock.
    pub until: EventTime,
}

impl Lease {
    /// Tells whether somebody holds it.
    pub fn is_held(&self, now: EventTime) -> bool {
        self.job.is_some() && now < self.until
    }

    /// The lease of the next holder; `None` while somebody else holds it.
    #[must_use]
    pub fn take(&self, job: JobId, now: EventTime, lasts: Duration) -> Option<Self> {
        (!self.is_held(now)).then(|| Self {
            token: FencingToken(self.token.0 + 1),
            job: Some(job),
            until: later(now, lasts),
        })
    }

    /// The lease, extended; `None` once another token was drawn. One that has ended by the clock
    /// and that nobody has taken since is still its holder's.
    #[must_use]
    pub fn extend(&self, token: FencingToken, now: EventTime, lasts: Duration) -> Option<Self> {
        (self.token == token && self.job.is_some()).then(|| Self {
            token,
            job: self.job,
            until: later(now, lasts).max(self.until),
        })
    }

    /// The lease, given back. The token stays: it never goes back.
    #[must_use]
    pub fn release(&self, token: FencingToken) -> Self {
        if self.token == token {
            Self { token, job: None, until: EventTime::EPOCH }
        } else {
            self.clone()
        }
    }
}

fn later(now: EventTime, lasts: Duration) -> EventTime {
    now.plus_nanos(i64::try_from(lasts.as_nanos()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const LASTS: Duration = Duration::from_nanos(10);

    fn at(nanos: i64) -> EventTime {
        EventTime::from_nanos(nanos)
    }

    fn job(number: u128) -> JobId {
        JobId::from_uuid(Uuid::from_u128(number))
    }

    #[test]
    fn one_job_holds_a_view_until_its_lease_has_ended() {
        let first = Lease::default().take(job(1), at(100), LASTS).expect("nobody holds it");
        assert_eq!((first.token, first.until), (FencingToken(1), at(110)));
        assert_eq!(first.take(job(2), at(109), LASTS), None);
        let second = first.take(job(2), at(110), LASTS).expect("the first has ended");
        assert_eq!(second.token, FencingToken(2));
        assert_eq!(second.extend(first.token, at(111), LASTS), None, "it was superseded");
    }

    #[test]
    fn a_late_holder_may_extend_what_nobody_has_taken() {
        let lease = Lease::default().take(job(1), at(100), LASTS).expect("nobody holds it");
        let extended = lease.extend(lease.token, at(500), LASTS).expect("nobody has taken it");
        assert_eq!((extended.token, extended.until), (lease.token, at(510)));
        let kept = lease.extend(lease.token, at(10), LASTS).expect("a clock that went back");
        assert_eq!(kept.until, at(110), "a lease is never cut short");
    }

    #[test]
    fn what_is_given_back_can_be_taken_at_once_with_a_greater_token() {
        let lease = Lease::default().take(job(1), at(100), LASTS).expect("nobody holds it");
        let free = lease.release(lease.token);
        assert!(!free.is_held(at(100)));
        assert_eq!(free.extend(lease.token, at(100), LASTS), None);
        let next = free.take(job(1), at(100), LASTS).expect("it was given back");
        assert_eq!(next.token, FencingToken(2));
        assert_eq!(next.release(lease.token), next, "an old token gives nothing back");
    }
}
