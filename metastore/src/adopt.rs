//! Takes over what Feast recorded of a view, at first and at every later contact.
//!
//! Apart from `commit.rs` because it trusts somebody else's word: Feast's intervals carry no
//! receipt.

use model::{Coverage, EventTime, Interval, ViewRef, invariant};
use sqlx::AnyConnection;

use crate::watermark::{self, ViewState};
use crate::{Error, Ledger, lease};

const INSERT: &str = "
    INSERT INTO views (project, storage_name, feast_created, features, updated_at)
    VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (project, storage_name) DO NOTHING
";

/// What was written for the view before it was dropped in Feast went with it; an attempt that is
/// still writing has lost rows already and must not commit.
const INTERRUPT_WINDOWS: &str = "
    UPDATE windows SET state = 'interrupted', closed_at = $3,
        error = 'the view was created anew in Feast'
    WHERE project = $1 AND storage_name = $2 AND state IN ('pending', 'open')
";

/// Attempts at them are over.
const INTERRUPT_ATTEMPTS: &str = "
    UPDATE attempts SET state = 'interrupted', ended_at = $3,
        error = 'the view was created anew in Feast'
    WHERE state = 'running' AND window_id IN (
        SELECT window_id FROM windows
        WHERE project = $1 AND storage_name = $2 AND state IN ('pending', 'open')
    )
";

/// What the online store lost was the old view's. The number of the last commit stays, since the
/// numbers of markers never repeat.
const CLEAR_LOST: &str = "
    UPDATE views SET lost = NULL WHERE project = $1 AND storage_name = $2
";

/// A view's state after Feast's history was merged into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adopted {
    /// What has landed, and up to where without a gap.
    pub coverage: Coverage,
    /// The view was deleted and created anew in Feast since the last contact: what had landed
    /// before was forgotten.
    pub reset: bool,
    /// The view's features at its last commit, or at first contact; `None` at first contact.
    pub features_at_last_commit: Option<Vec<String>>,
}

impl Ledger {
    /// Merges Feast's recorded intervals into a view's coverage, in one transaction; makes the view
    /// known at first contact.
    ///
    /// When `feast_created` is not the one last seen, the view is another of the same name: its
    /// coverage starts afresh and its open windows can no longer be committed. `features` are
    /// remembered at first contact and after such a reset, later by commits alone, so that a
    /// feature added since is noticed until rows with it have landed.
    ///
    /// # Errors
    /// [`Error::Adopt`].
    pub async fn adopt(
        &self,
        view: &ViewRef,
        feast_created: Option<EventTime>,
        intervals: &[Interval],
        features: &[String],
        now: EventTime,
    ) -> Result<Adopted, Error> {
        let contact = Contact { view, feast_created, intervals, features, now };
        self.try_adopt(&contact).await.map_err(|source| Error::Adopt { view: view.clone(), source })
    }

    async fn try_adopt(&self, contact: &Contact<'_>) -> sqlx::Result<Adopted> {
        let mut transaction = self.begin().await?;
        let first = contact.insert(&mut transaction).await?;
        let before = watermark::lock(&mut transaction, contact.view)
            .await?
            .ok_or(sqlx::Error::RowNotFound)?;
        let (after, adopted) = contact.merge(&before, first);
        if adopted.reset {
            contact.interrupt_windows(&mut transaction).await?;
        }
        if after != before {
            watermark::store(&mut transaction, contact.view, &before, &after).await?;
        }
        transaction.commit().await?;
        Ok(adopted)
    }
}

/// What Feast's registry says of a view.
struct Contact<'a> {
    view: &'a ViewRef,
    feast_created: Option<EventTime>,
    intervals: &'a [Interval],
    features: &'a [String],
    now: EventTime,
}

impl Contact<'_> {
    async fn insert(&self, transaction: &mut AnyConnection) -> sqlx::Result<bool> {
        let done = sqlx::query(INSERT)
            .bind(&self.view.project)
            .bind(&self.view.storage_name)
            .bind(self.feast_created.map(EventTime::nanos))
            .bind(crate::row::json(&self.features)?)
            .bind(self.now.nanos())
            .execute(transaction)
            .await?;
        Ok(done.rows_affected() > 0)
    }

    async fn interrupt_windows(&self, transaction: &mut AnyConnection) -> sqlx::Result<()> {
        // Whoever changes several windows of a view holds its lease, as its holder does.
        lease::lock(transaction, self.view).await?;
        for sql in [INTERRUPT_ATTEMPTS, INTERRUPT_WINDOWS] {
            sqlx::query(sql)
                .bind(&self.view.project)
                .bind(&self.view.storage_name)
                .bind(self.now.nanos())
                .execute(&mut *transaction)
                .await?;
        }
        sqlx::query(CLEAR_LOST)
            .bind(&self.view.project)
            .bind(&self.view.storage_name)
            .execute(transaction)
            .await?;
        Ok(())
    }

    /// Decides what the view's state becomes.
    fn merge(&self, before: &ViewState, first: bool) -> (ViewState, Adopted) {
        let reset = before.feast_created != self.feast_created;
        let mut after = before.clone();
        if reset {
            after.coverage = Coverage::default();
            after.feast_created = self.feast_created;
            after.features = Some(self.features.to_vec());
        }
        after.coverage.cover(self.intervals.iter().copied());
        debug_assert_eq!(invariant::watermark_is_covered(&after.coverage), Ok(()));
        if after != *before {
            after.updated_at = self.now;
        }
        let known = !first && !reset;
        let adopted = Adopted {
            coverage: after.coverage.clone(),
            reset,
            features_at_last_commit: before.features.clone().filter(|_| known),
        };
        (after, adopted)
    }
}
