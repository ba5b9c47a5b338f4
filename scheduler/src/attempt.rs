//! One attempt at a window: plan, pin, write, acknowledge, mark, commit.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use jobs::{Attempt, Checkpoints, FeatureSink, Outcome, Refusal, SinkError, WindowPlan};
use metastore::{Begun, Commit, Ledger, MirrorRow, NewAttempt, ViewState, WindowRow};
use model::{AttemptId, Interval, Marker, Receipt, ViewRef, WindowState, WriteMode};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::admit::Selected;
use crate::board::Phase;
use crate::error::{Error, chain};
use crate::fail_point::Step;
use crate::job::{JobContext, insist, online_view};
use crate::sink::Watched;
use crate::trigger::Trigger;
use crate::{cut, mirror};

/// How long a process that has lost its lease may go on sending: what it had handed to the kernel.
/// A correction waits for it where writes carried no fence.
const SETTLE: Duration = Duration::from_secs(5);

/// An attempt that is recorded.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) new: NewAttempt,
    pub(crate) number: u32,
}

/// What goes wrong with an attempt, and the attempt if it was recorded by then.
type Failed = (Option<Recorded>, Error);

/// An attempt that is ready to write.
struct Ready {
    plan: WindowPlan,
    sink: Arc<dyn FeatureSink>,
    new: NewAttempt,
    begun: Begun,
    /// Partitions of the window.
    partitions: usize,
    /// The number of the marker that the attempt leaves.
    sequence: u64,
}

impl JobContext<'_> {
    /// Attempts a window once.
    pub(crate) async fn attempt(
        &self,
        selected: &Selected,
        trigger: &Trigger,
        window: &WindowRow,
        plan: Option<WindowPlan>,
    ) -> Result<(), Failed> {
        let ready = self.prepare(selected, trigger, window, plan).await;
        let ready = ready.map_err(|error| (None, error))?;
        let limit = self.scheduler.settings.attempt_timeout;
        let recorded =
            |ready: &Ready| Some(Recorded { new: ready.new.clone(), number: ready.begun.number });
        // Dropping what is under way stops it; what it wrote is harmless.
        let acknowledged = tokio::time::timeout(limit, self.write(&ready)).await;
        let receipt = match acknowledged {
            Ok(Ok(outcome)) => self.add_up(&ready, outcome),
            Ok(Err(error)) => return Err((recorded(&ready), error)),
            Err(_) => return Err((recorded(&ready), Error::Deadline { limit })),
        };
        if let Err(error) = self.commit(selected, trigger, window, &ready, receipt).await {
            return Err((recorded(&ready), error));
        }
        self.scheduler.settings.fail_points.pass(Step::Committed);
        // What is committed stays so: a registry that cannot be reached now is caught up with
        // later.
        self.warn_of_registry(mirror::mirror(self.scheduler).await);
        self.scheduler.settings.fail_points.pass(Step::Mirrored);
        Ok(())
    }

    /// Plans the window, pins its source, opens the store, and records the attempt. Nothing is
    /// written before that is durable.
    async fn prepare(
        &self,
        selected: &Selected,
        trigger: &Trigger,
        window: &WindowRow,
        plan: Option<WindowPlan>,
    ) -> Result<Ready, Error> {
        let (scheduler, claimed) = (self.scheduler, &self.held.claimed);
        let ledger = scheduler.ledger()?;
        self.board.update(self.index, |job| job.phase = Phase::Planning);
        let plan = match plan {
            Some(plan) => plan,
            None => self.plan(selected, window.interval).await?,
        };
        let points = &scheduler.settings.fail_points;
        points.pass(Step::Planned);
        let online = online_view(scheduler, selected);
        let view = &online.view;
        let attempt_id = AttemptId::from_uuid(Uuid::now_v7());
        let state = ledger
            .coverage(view)
            .await?
            .ok_or_else(|| Error::Ledger(metastore::Error::ViewUnknown { view: view.clone() }))?;
        // A rebuild corrects: a store that was replaced by an older copy of itself may have what
        // has been replaced since.
        let correcting = trigger.correct
            || trigger.rebuild
            || self.is_left_half_done(view, &plan, attempt_id).await?;
        if correcting && !state.settled {
            self.fence(view).await?;
        }
        let fenced = state.fenced || correcting;
        let mode = WriteMode {
            fence: fenced.then_some(claimed.token),
            correct: correcting.then_some(window.interval),
        };
        let sink_error = |source| Error::Sink { view: selected.view.name.clone(), source };
        let sink = self.sinks.open(&online, &mode).await.map_err(sink_error)?;
        // Looked at again now that the store's identity is known: one that was emptied since the
        // job looked would get a marker that hides it.
        let stored = self.sinks.marker(view).await.map_err(sink_error)?;
        self.check_marker(&state, stored, trigger).await?;
        let source = pinned(&plan);
        let identity = sink.identity();
        let new = NewAttempt {
            attempt_id,
            window_id: window.window_id,
            token: claimed.token,
            correcting,
            fenced,
            basis: basis(&scheduler.process.version, window, &source, &identity),
            source,
            identity,
            at: crate::now(),
        };
        let begun = insist!(ledger.begin_attempt(&claimed.job, &new)).await?;
        points.pass(Step::AttemptRecorded);
        let last = |marker: Option<Marker>| marker.map_or(0, |marker| marker.sequence);
        let sequence = last(state.committed).max(last(stored)) + 1;
        let sink = Arc::clone(&self.held.guard).over(Watched::over(sink, points));
        let partitions = window.partitions as usize;
        Ok(Ready { plan, sink, new, begun, partitions, sequence })
    }

    /// Notes that the store has lost what landed, and fails an attempt that must not go on then.
    ///
    /// Noted for every kind of run: the marker that this attempt leaves agrees with the ledger
    /// again, and nothing would tell of the loss any more.
    async fn check_marker(
        &self,
        state: &ViewState,
        stored: Option<Marker>,
        trigger: &Trigger,
    ) -> Result<(), Error> {
        let agreement = self.agreement(state.committed, stored).await?;
        if agreement.is_sound() {
            return Ok(());
        }
        // A rebuild begins on a store that has lost something. Once it has landed a window, another
        // loss is one of its own.
        let ledger = self.scheduler.ledger()?;
        if trigger.rebuild {
            let windows = ledger.windows_of(self.held.claimed.job.job_id).await?;
            if windows.iter().all(|window| window.state != WindowState::Committed) {
                return Ok(());
            }
        }
        let agreement = agreement.to_string();
        let view = &self.held.claimed.job.view;
        ledger.mark_lost(view, &agreement).await?;
        let lost = Error::StoreLost { agreement };
        if trigger.rebuild || trigger.is_incremental() {
            return Err(lost);
        }
        self.warn(lost.to_string());
        Ok(())
    }

    /// Tells whether an attempt that was not committed may have left what must not stay: rows of
    /// another source, or the rest of a correction.
    async fn is_left_half_done(
        &self,
        view: &ViewRef,
        plan: &WindowPlan,
        except: AttemptId,
    ) -> Result<bool, Error> {
        let ledger = self.scheduler.ledger()?;
        let earlier = ledger.uncommitted_attempts(view, plan.interval(), except).await?;
        if earlier.is_empty() {
            return Ok(false);
        }
        let listed: BTreeSet<String> = plan
            .files()
            .iter()
            .map(|file| pin(&file.path, file.size, file.etag.as_deref(), &file.last_modified))
            .collect();
        let changed = earlier.iter().any(|attempt| {
            let files = attempt.source["files"].as_array();
            attempt.correcting
                || files.into_iter().flatten().any(|file| !listed.contains(&pin_of(file)))
        });
        if changed {
            self.warn(
                "an attempt before this one did not land, and corrected or read another state of \
                 the source, so this one corrects what it may have left"
                    .to_owned(),
            );
        }
        Ok(changed)
    }

    /// Has every write to the view carry the fence from now on, and waits until no write without
    /// it can arrive any more.
    async fn fence(&self, view: &ViewRef) -> Result<(), Error> {
        let token = self.held.claimed.token;
        let ledger = self.scheduler.ledger()?;
        let last = insist!(ledger.fence(view, token)).await?;
        if let Some((last, now)) = last {
            let over = last.nanos().saturating_add(nanos(self.scheduler.settings.lease + SETTLE));
            let left = u64::try_from(over.saturating_sub(now.nanos())).unwrap_or(0);
            tokio::time::sleep(Duration::from_nanos(left)).await;
        }
        // Only now need a later correction not wait: this one may end before it has waited.
        insist!(ledger.settle(view, token)).await
    }

    /// Writes what is not written yet; when it returns, every row is acknowledged and the online
    /// store has the marker.
    async fn write(&self, ready: &Ready) -> Result<Outcome, Error> {
        let Ready { plan, sink, new, begun, .. } = ready;
        let scheduler = self.scheduler;
        let checkpoints = Kept {
            ledger: Arc::clone(scheduler.ledger()?),
            view: self.held.claimed.job.view.clone(),
            attempt: new.clone(),
        };
        let attempt = Attempt {
            partitions: ready.partitions,
            done: begun.done.keys().map(|&partition| partition as usize).collect(),
            correcting: new.correcting,
            checkpoints: Arc::new(checkpoints),
        };
        let progress = self.board.job(self.index).progress;
        self.board.update(self.index, |job| {
            job.phase = Phase::Running;
            job.rows_max = plan.rows_max();
            job.started = Some(Instant::now());
        });
        let ran =
            jobs::run(&scheduler.session, plan, Arc::clone(sink), &attempt, &progress).await?;
        let points = &scheduler.settings.fail_points;
        points.pass(Step::RowsAcknowledged);
        let marker = Marker { sequence: ready.sequence, attempt: new.attempt_id };
        let view = plan.view();
        let sink_error = |source| Error::Sink { view: view.to_owned(), source };
        sink.mark(&marker, scheduler.settings.wait_replicas).await.map_err(sink_error)?;
        // The marker may have gone into a store that was flushed since the rows were confirmed.
        sink.confirm().await.map_err(sink_error)?;
        points.pass(Step::Marked);
        Ok(ran)
    }

    /// The window's receipt: this attempt's, and those of the partitions that an earlier one did.
    fn add_up(&self, ready: &Ready, outcome: Outcome) -> Receipt {
        let mut receipt = outcome.receipt;
        if !ready.new.correcting {
            ready.begun.done.values().for_each(|done| receipt.add_earlier(done));
        }
        let bad_rows = serde_json::to_value(&outcome.bad_rows).unwrap_or_default();
        if !outcome.bad_rows.is_empty() {
            self.board.update(self.index, |job| job.bad_rows = bad_rows);
        }
        receipt
    }

    /// Commits the window. Every row is acknowledged by now.
    async fn commit(
        &self,
        selected: &Selected,
        trigger: &Trigger,
        window: &WindowRow,
        ready: &Ready,
        receipt: Receipt,
    ) -> Result<(), Error> {
        if self.board.job(self.index).bad_rows != serde_json::Value::Array(Vec::new()) {
            self.keep_remarks().await?;
        }
        let commit = Commit {
            window_id: window.window_id,
            attempt_id: ready.new.attempt_id,
            job: self.held.claimed.job.clone(),
            token: ready.new.token,
            interval: window.interval,
            receipt,
            identity: ready.new.identity.clone(),
            sequence: ready.sequence,
            is_rebuild: trigger.rebuild,
            features: cut::feature_names(&selected.view),
            mirror: selected
                .inactive_version
                .is_none()
                .then(|| mirror_row(selected, window.interval)),
            at: crate::now(),
        };
        // Repeated after a lost answer it changes nothing.
        let ledger = self.scheduler.ledger()?;
        insist!(ledger.commit(&commit)).await?;
        self.scheduler.tally.attempt_committed(&commit.receipt);
        Ok(())
    }
}

fn mirror_row(selected: &Selected, interval: Interval) -> MirrorRow {
    let (start_micros, end_micros) =
        feast::interval::closed_micros(interval.start.nanos(), interval.end.nanos());
    MirrorRow {
        view_name: selected.view.name.clone(),
        kind: mirror::kind_name(selected.view.kind).to_owned(),
        start_micros,
        end_micros,
    }
}

/// What the ledger keeps of a window's source: the files that are read. The others may be many.
fn pinned(plan: &WindowPlan) -> serde_json::Value {
    let files = plan.files();
    let read: Vec<_> = files.iter().filter(|file| file.row_groups_read > 0).collect();
    serde_json::json!({ "path": plan.source_path(), "files_listed": files.len(), "files": read })
}

/// What tells a file from any other, an earlier one of its own name among them.
fn pin(path: &str, size: u64, etag: Option<&str>, last_modified: &str) -> String {
    match etag {
        Some(etag) => format!("{path} {size} {etag}"),
        None => format!("{path} {size} {last_modified}"),
    }
}

fn pin_of(file: &serde_json::Value) -> String {
    let text = |key: &str| file[key].as_str();
    let size = file["size"].as_u64().unwrap_or_default();
    pin(text("path").unwrap_or("?"), size, text("etag"), text("last_modified").unwrap_or("?"))
}

/// A digest of all that must be alike for what an earlier attempt finished to count.
fn basis(version: &str, window: &WindowRow, source: &serde_json::Value, identity: &str) -> String {
    let mut digest = Sha256::new();
    let partitions = window.partitions.to_string();
    for part in [version, &partitions, &source.to_string(), identity] {
        digest.update(part.len().to_le_bytes());
        digest.update(part.as_bytes());
    }
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// Notes finished partitions in the ledger.
#[derive(Debug)]
struct Kept {
    ledger: Arc<Ledger>,
    view: ViewRef,
    attempt: NewAttempt,
}

#[async_trait]
impl Checkpoints for Kept {
    async fn partition_done(&self, partition: usize, receipt: &Receipt) -> Result<(), SinkError> {
        let number = u32::try_from(partition).unwrap_or(u32::MAX);
        match self.ledger.checkpoint(&self.view, &self.attempt, number, receipt).await {
            Ok(()) => Ok(()),
            Err(error @ metastore::Error::Superseded { .. }) => {
                Err(SinkError { refusal: Refusal::Superseded, source: Box::new(error) })
            }
            // A checkpoint only spares work: the ledger may be back by the time of the commit.
            Err(error) => {
                let text = chain(&error);
                tracing::warn!(window = %self.attempt.window_id, error = text, "no checkpoint");
                Ok(())
            }
        }
    }
}
