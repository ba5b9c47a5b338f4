//! Attempts that take up where earlier ones stopped.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::stream::BoxStream;
use model::{EncodedBatch, Marker, WriteCounts};
use tokio::sync::{mpsc, watch};

use super::*;
use crate::attempt::Checkpoints;
use crate::lease::LeaseGuard;
use crate::sink::{KnownKeys, Refusal, SinkError};

const PARTITIONS: usize = 4;

/// Keeps partitions, and says how many are kept.
#[derive(Debug)]
struct Kept {
    receipts: Mutex<BTreeMap<usize, Receipt>>,
    count: watch::Sender<usize>,
    is_broken: bool,
}

impl Kept {
    fn new(is_broken: bool) -> Arc<Self> {
        Arc::new(Self { receipts: Mutex::default(), count: watch::Sender::new(0), is_broken })
    }

    fn partitions(&self) -> BTreeSet<usize> {
        self.receipts.lock().unwrap().keys().copied().collect()
    }

    fn attempt(self: &Arc<Self>) -> Attempt {
        let checkpoints: Arc<dyn Checkpoints> = Arc::<Self>::clone(self);
        Attempt { checkpoints, ..Attempt::new(PARTITIONS) }
    }
}

#[async_trait]
impl Checkpoints for Kept {
    async fn partition_done(&self, partition: usize, receipt: &Receipt) -> Result<(), SinkError> {
        if self.is_broken {
            return Err(SinkError { refusal: Refusal::Passing, source: "no ledger".into() });
        }
        assert!(receipt.is_balanced(), "{receipt:?}");
        self.receipts.lock().unwrap().insert(partition, *receipt);
        self.count.send_modify(|count| *count += 1);
        Ok(())
    }
}

/// What happens at each write, before it is done.
enum Before {
    /// A write of this entity waits until so many partitions are kept, and fails.
    Fail { id: i64, kept: watch::Receiver<usize>, wanted: usize },
    /// Every write says that it began, and never ends.
    Hang(mpsc::Sender<()>),
    /// The memory that the session's plans hold is noted.
    Measure(Session, Mutex<usize>),
}

/// A store before whose writes something happens.
struct Disturbed {
    memory: Memory,
    before: Before,
}

impl std::fmt::Debug for Disturbed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Disturbed")
    }
}

impl Disturbed {
    fn new(before: Before) -> Arc<Self> {
        Arc::new(Self { memory: Memory::default(), before })
    }
}

#[async_trait]
impl FeatureSink for Disturbed {
    async fn write(&self, batch: EncodedBatch) -> Result<WriteCounts, SinkError> {
        match &self.before {
            Before::Fail { id, kept, wanted } => {
                let id = id.to_le_bytes();
                let is_it = |row| batch.keys.get(row).windows(8).any(|bytes| bytes == id);
                if (0..batch.len()).any(is_it) {
                    kept.clone().wait_for(|kept| kept >= wanted).await.unwrap();
                    return Err(SinkError { refusal: Refusal::Passing, source: "full".into() });
                }
            }
            Before::Hang(begun) => {
                begun.send(()).await.unwrap();
                std::future::pending::<()>().await;
            }
            Before::Measure(session, most) => {
                let mut most = most.lock().unwrap();
                *most = session.runtime().memory_pool.reserved().max(*most);
            }
        }
        self.memory.write(batch).await
    }

    async fn confirm(&self) -> Result<(), SinkError> {
        self.memory.confirm().await
    }

    fn identity(&self) -> String {
        self.memory.identity()
    }

    async fn mark(&self, marker: &Marker, wait_replicas: u32) -> Result<(), SinkError> {
        self.memory.mark(marker, wait_replicas).await
    }

    fn stored_inside<'a>(
        &'a self,
        interval: Interval,
        known: KnownKeys<'a>,
    ) -> BoxStream<'a, Result<Vec<Vec<u8>>, SinkError>> {
        self.memory.stored_inside(interval, known)
    }

    async fn remove(&self, keys: &[Vec<u8>]) -> Result<u64, SinkError> {
        self.memory.remove(keys).await
    }
}

/// A window of so many entities, twice each.
async fn planned(dir: &Path, session: &Session, ids: Range<i64>, text: &str) -> WindowPlan {
    let rows = ids.clone().chain(ids).enumerate();
    let rows: Vec<_> = rows.map(|(at, id)| (id, at as i64, text)).collect();
    write(&dir.join("d.parquet"), &rows, 10_000);
    let spec = spec(dir, view("d.parquet", TEXT), (0, rows.len() as i64));
    WindowPlan::new(session, spec).await.unwrap()
}

async fn attempt(
    session: &Session,
    plan: &WindowPlan,
    attempt: &Attempt,
) -> (Result<Outcome, Error>, Rows) {
    let sink = Arc::new(Memory::default());
    let door: Arc<dyn FeatureSink> = Arc::<Memory>::clone(&sink);
    let outcome = run(session, plan, door, attempt, &Arc::default()).await;
    (outcome, sink.take())
}

#[tokio::test]
async fn two_half_attempts_write_what_a_whole_one_does_and_nothing_twice() {
    let (dir, session) = (tempfile::tempdir().unwrap(), session());
    let plan = planned(dir.path(), &session, 0..30_000, "x").await;
    let (whole, all) = attempt(&session, &plan, &Attempt::new(PARTITIONS)).await;
    let kept = Kept::new(false);
    let first = Attempt { done: BTreeSet::from([1, 2]), ..kept.attempt() };
    let (_, mut rows) = attempt(&session, &plan, &first).await;
    assert_eq!(kept.partitions(), BTreeSet::from([0, 3]));
    let second = Attempt { done: BTreeSet::from([0, 3]), ..Attempt::new(PARTITIONS) };
    let (resumed, others) = attempt(&session, &plan, &second).await;
    assert!(!rows.is_empty() && others.keys().all(|key| !rows.contains_key(key)));
    rows.extend(others);
    assert!(rows == all, "the rows differ");
    let mut receipt = resumed.unwrap().receipt;
    for earlier in kept.receipts.lock().unwrap().values() {
        receipt.add_earlier(earlier);
    }
    assert_eq!(receipt, whole.unwrap().receipt);
}

#[tokio::test]
async fn what_is_done_takes_no_memory_however_much_it_is() {
    let (dir, session) = (tempfile::tempdir().unwrap(), session_within(4 << 20));
    let text = "a text of a hundred characters, so that what is buffered is much more than memory \
                is allowed to hold";
    let plan = planned(dir.path(), &session, 0..150_000, text).await;
    let sink = Disturbed::new(Before::Measure(session.clone(), Mutex::default()));
    let door: Arc<dyn FeatureSink> = Arc::<Disturbed>::clone(&sink);
    let attempt = Attempt { done: (0..15).collect(), ..Attempt::new(16) };
    let outcome = run(&session, &plan, door, &attempt, &Arc::default()).await.unwrap();
    assert_eq!(outcome.receipt.rows_read, 300_000);
    assert!((8_000..11_000).contains(&outcome.receipt.entities), "{:?}", outcome.receipt);
    let Before::Measure(_, most) = &sink.before else { unreachable!() };
    // Of 35 MB. Batches on their way are not refused, so a little more than the limit is held.
    let most = *most.lock().unwrap();
    assert!(most < 8 << 20, "{most} bytes were held");
    assert_eq!(session.runtime().memory_pool.reserved(), 0);
}

#[tokio::test]
async fn a_failing_attempt_leaves_the_partitions_that_it_finished() {
    let (dir, session) = (tempfile::tempdir().unwrap(), session());
    let plan = planned(dir.path(), &session, 0..30_000, "x").await;
    let kept = Kept::new(false);
    let wanted = PARTITIONS - 1;
    let sink = Disturbed::new(Before::Fail { id: 7, kept: kept.count.subscribe(), wanted });
    let door: Arc<dyn FeatureSink> = Arc::<Disturbed>::clone(&sink);
    let error = run(&session, &plan, door, &kept.attempt(), &Arc::default()).await.unwrap_err();
    assert!(matches!(error, Error::Sink { retryable: true, .. }), "{error:?}");
    let done = kept.partitions();
    assert_eq!(done.len(), wanted, "all but the one that failed");

    let mut rows = sink.memory.take();
    let resuming = Attempt { done, ..kept.attempt() };
    let (resumed, others) = attempt(&session, &plan, &resuming).await;
    assert!(resumed.unwrap().receipt.entities < 30_000 / 2);
    rows.extend(others);
    let (_, all) = attempt(&session, &plan, &Attempt::new(PARTITIONS)).await;
    assert!(rows == all, "the rows differ");
    assert_eq!(kept.partitions().len(), PARTITIONS);
}

#[tokio::test]
async fn an_attempt_with_nothing_left_reads_nothing() {
    let (dir, session) = (tempfile::tempdir().unwrap(), session());
    let plan = planned(dir.path(), &session, 0..10, "x").await;
    let nothing = Attempt { done: (0..PARTITIONS).collect(), ..Attempt::new(PARTITIONS) };
    let (outcome, rows) = attempt(&session, &plan, &nothing).await;
    let mut receipt = outcome.unwrap().receipt;
    assert_eq!((receipt, rows.len()), (Receipt::default(), 0));
    receipt.add_earlier(&Receipt { rows_read: 3, entities: 3, refused: 3, ..Receipt::default() });
    assert!(receipt.is_balanced());
}

#[tokio::test]
async fn a_partition_that_cannot_be_kept_ends_the_attempt() {
    let (dir, session) = (tempfile::tempdir().unwrap(), session());
    let plan = planned(dir.path(), &session, 0..10, "x").await;
    let (outcome, _) = attempt(&session, &plan, &Kept::new(true).attempt()).await;
    let error = outcome.unwrap_err();
    assert!(matches!(error, Error::Checkpoint { retryable: true, .. }), "{error:?}");
}

/// The first 24 whole numbers, dealt out to four partitions by another process, on Linux x86-64.
/// Other numbers mean that partitions which an older program kept are not those of this one.
const DEALT: [usize; 24] = [3, 1, 0, 1, 0, 0, 1, 0, 1, 3, 2, 3, 2, 2, 3, 2, 3, 1, 0, 1, 0, 0, 1, 0];

#[tokio::test]
async fn keys_are_dealt_out_as_they_were_in_other_processes() {
    let (dir, session) = (tempfile::tempdir().unwrap(), session());
    let plan = planned(dir.path(), &session, 0..24, "x").await;
    let mut dealt = [usize::MAX; 24];
    for partition in 0..PARTITIONS {
        let others = (0..PARTITIONS).filter(|&other| other != partition).collect();
        let only = Attempt { done: others, ..Attempt::new(PARTITIONS) };
        for key in attempt(&session, &plan, &only).await.1.keys() {
            let is_it = |id: &usize| key.windows(8).any(|bytes| bytes == id.to_le_bytes());
            let id = (0..24).find(is_it).unwrap();
            dealt[id] = partition;
        }
    }
    assert_eq!(dealt, DEALT);
}

#[tokio::test]
async fn a_run_that_is_dropped_ends_its_writes_and_lets_go_of_the_sink() {
    let (dir, session) = (tempfile::tempdir().unwrap(), session());
    let plan = planned(dir.path(), &session, 0..30_000, "x").await;
    let (begun, mut writes) = mpsc::channel(1);
    let sink = Disturbed::new(Before::Hang(begun));
    let door: Arc<dyn FeatureSink> = Arc::<Disturbed>::clone(&sink);
    let (attempt, progress) = (Attempt::new(PARTITIONS), Arc::default());
    let running = run(&session, &plan, door, &attempt, &progress);
    tokio::select! {
        outcome = running => panic!("writes hang: {outcome:?}"),
        write = writes.recv() => write.unwrap(),
    }
    // Whoever could still write holds the sink.
    while Arc::strong_count(&sink) > 1 {
        tokio::task::yield_now().await;
    }
    assert!(sink.memory.take().is_empty());
}

#[tokio::test]
async fn nothing_is_sent_once_a_lease_may_have_ended_or_the_run_was_cancelled() {
    let (dir, session) = (tempfile::tempdir().unwrap(), session());
    let plan = planned(dir.path(), &session, 0..10, "x").await;
    let ended = Arc::new(LeaseGuard::new(Instant::now()));
    let cancelled = Arc::new(LeaseGuard::new(Instant::now() + Duration::from_secs(3_600)));
    cancelled.cancel();
    let mut errors = Vec::new();
    for guard in [ended, cancelled] {
        let sink = Arc::new(Memory::default());
        let door = guard.over(Arc::<Memory>::clone(&sink));
        let ran = run(&session, &plan, door, &Attempt::new(1), &Arc::default()).await;
        errors.push(ran.unwrap_err());
        assert!(sink.take().is_empty());
    }
    assert!(matches!(errors[..], [Error::Superseded { .. }, Error::Cancelled { .. }]));
    assert!(errors[0].is_superseded() && !errors[0].is_retryable());
}
