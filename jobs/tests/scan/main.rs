//! What a scan asks of its object store: how many requests, of which bytes, at what time.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod sample;
mod store;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jobs::{Attempt, Error, WindowPlan, run};
use model::{Receipt, cut_windows};
use tokio::time::Instant;

use crate::sample::{DAY, Taking, put, session, spec};
use crate::store::{Counting, Read, bytes};

/// A scan may read this much more than the bytes of its rows, in hundredths.
const MORE_PERCENT_MAX: u64 = 120;

/// A window, planned and run: what it came to, the bytes of its rows, and what was read for both.
struct Ran {
    receipt: Receipt,
    wanted: u64,
    planning: Vec<Read>,
    running: Vec<Read>,
}

impl Ran {
    async fn new(store: &Arc<Counting>, path: &str, start: i64, end: i64) -> Self {
        store.take();
        let session = session(store);
        let plan = WindowPlan::new(&session, spec(path, start, end)).await.unwrap();
        let planning = store.take();
        let wanted = plan.files().iter().map(|file| file.bytes).sum();
        let attempt = Attempt::new(plan.partitions(&session));
        let ran = run(&session, &plan, Arc::new(Taking), &attempt, &Arc::default()).await;
        let outcome = ran.unwrap();
        Self { receipt: outcome.receipt, wanted, planning, running: store.take() }
    }

    fn read(&self) -> u64 {
        bytes(&self.planning) + bytes(&self.running)
    }
}

#[tokio::test]
async fn a_day_of_a_year_in_one_file_touches_its_row_group_alone() {
    let store = Arc::new(Counting::default());
    put(&store, "year.parquet", 0..365, 4_000).await;
    let ran = Ran::new(&store, "year.parquet", 100 * DAY, 101 * DAY).await;
    assert_eq!(ran.receipt.rows_read, 4_000);
    // The footer in one request or two, and nothing else; then the columns that are needed.
    assert!(ran.planning.len() <= 2, "{:?}", ran.planning);
    assert!(ran.running.len() <= 2, "{:?}", ran.running);
    let percent = bytes(&ran.running) * 100 / ran.wanted;
    assert!((100..=MORE_PERCENT_MAX).contains(&percent), "{percent} %");
}

#[tokio::test]
async fn a_day_of_a_year_of_files_reads_little_more_than_its_bytes() {
    let store = Arc::new(Counting::default());
    for day in 0..60 {
        put(&store, &format!("year/{day:03}.parquet"), day..day + 1, 40_000).await;
    }
    let ran = Ran::new(&store, "year", 10 * DAY, 11 * DAY).await;
    assert_eq!(ran.receipt.rows_read, 40_000);
    let mut footers: BTreeMap<&str, usize> = BTreeMap::new();
    for (path, _) in &ran.planning {
        *footers.entry(path).or_default() += 1;
    }
    // The first file's footer may take two requests; every other takes one.
    assert_eq!(footers.len(), 60);
    assert!(ran.planning.len() <= 61, "{}", ran.planning.len());
    assert!(ran.running.iter().all(|(path, _)| path == "year/010.parquet"), "{:?}", ran.running);
    let percent = ran.read() * 100 / ran.wanted;
    assert!((100..=MORE_PERCENT_MAX).contains(&percent), "{percent} % of {}", ran.wanted);
}

#[tokio::test]
async fn a_window_inside_a_large_row_group_skips_pages() {
    let store = Arc::new(Counting::default());
    put(&store, "year.parquet", 0..3, 200_000).await;
    let whole = Ran::new(&store, "year.parquet", DAY, 2 * DAY).await;
    let hour = Ran::new(&store, "year.parquet", DAY + DAY / 2, DAY + DAY / 2 + DAY / 24).await;
    assert_eq!((whole.receipt.rows_read, hour.receipt.rows_read), (200_000, 8_334));
    assert!(hour.read() * 10 < whole.read(), "{} of {}", hour.read(), whole.read());
    // Its page index pays, and is read beside the footer; the whole day has no need of it.
    assert_eq!(hour.planning.len(), whole.planning.len() + 2, "{:?}", hour.planning);
    let percent = bytes(&hour.running) * 100 / hour.wanted;
    assert!((100..=MORE_PERCENT_MAX).contains(&percent), "{percent} %");
}

#[tokio::test]
async fn a_window_inside_a_small_row_group_reads_no_page_index() {
    let store = Arc::new(Counting::default());
    put(&store, "year.parquet", 0..3, 4_000).await;
    let whole = Ran::new(&store, "year.parquet", DAY, 2 * DAY).await;
    let hour = Ran::new(&store, "year.parquet", DAY + DAY / 2, DAY + DAY / 2 + DAY / 24).await;
    assert_eq!((hour.receipt.rows_read, hour.planning.len()), (167, whole.planning.len()));
}

#[tokio::test]
async fn a_window_over_parts_of_three_days_has_every_row_once() {
    let store = Arc::new(Counting::default());
    put(&store, "d/a.parquet", 0..4, 100_000).await;
    put(&store, "d/b.parquet", 1..3, 1_000).await;
    let ran = Ran::new(&store, "d", DAY / 2, 2 * DAY + DAY / 4).await;
    let expected = (50_000 + 100_000 + 25_000) + (1_000 + 250);
    assert_eq!(ran.receipt.rows_read, expected);
    assert!(ran.read() * 100 <= ran.wanted * MORE_PERCENT_MAX, "{} of {}", ran.read(), ran.wanted);
}

#[tokio::test]
async fn columns_that_are_not_needed_are_not_read_over() {
    let store = Arc::new(Counting::default());
    put(&store, "wide.parquet", 0..1, 300_000).await;
    let ran = Ran::new(&store, "wide.parquet", 0, DAY).await;
    let size = ran.running.iter().map(|(_, range)| range.end).max().unwrap();
    assert!(ran.wanted * 3 < size * 2, "the view needs {} of {size} bytes", ran.wanted);
    let percent = bytes(&ran.running) * 100 / ran.wanted;
    assert!((100..=MORE_PERCENT_MAX).contains(&percent), "{percent} %");
}

#[tokio::test(start_paused = true)]
async fn many_small_files_do_not_wait_for_each_other() {
    const FILES: i64 = 200;
    const ROUND_TRIP: Duration = Duration::from_millis(50);
    let store = Counting::slow(ROUND_TRIP);
    for day in 0..FILES {
        put(&store, &format!("d/{day:03}.parquet"), day..day + 1, 100).await;
    }
    let begun = Instant::now();
    let ran = Ran::new(&store, "d", 0, FILES * DAY).await;
    let took = begun.elapsed();
    assert_eq!(ran.receipt.rows_read, 200 * 100);
    let requests = u32::try_from(ran.planning.len() + ran.running.len()).unwrap();
    assert!((400..=410).contains(&requests), "{requests}");
    let one_by_one = ROUND_TRIP * requests;
    assert!(took * 15 < one_by_one, "{took:?}, where one by one takes {one_by_one:?}");
    assert!(store.at_once_max() <= 34, "{} requests at once", store.at_once_max());
}

#[tokio::test]
async fn a_file_that_is_removed_after_planning_fails_the_window() {
    let store = Arc::new(Counting::default());
    put(&store, "d/a.parquet", 0..1, 100).await;
    put(&store, "d/b.parquet", 1..2, 100).await;
    let session = session(&store);
    let plan = WindowPlan::new(&session, spec("d", 0, 2 * DAY)).await.unwrap();
    put(&store, "d/b.parquet", 1..2, 101).await;
    let attempt = Attempt::new(plan.partitions(&session));
    let ran = run(&session, &plan, Arc::new(Taking), &attempt, &Arc::default()).await;
    let error = ran.unwrap_err();
    assert!(matches!(&error, Error::SourceChanged { file } if file.ends_with("d/b.parquet")));
    assert!(error.asks_for_new_attempt());
}

#[tokio::test]
async fn a_correction_that_withdraws_nothing_reads_nothing_more() {
    let store = Arc::new(Counting::default());
    put(&store, "d/month.parquet", 0..30, 400).await;
    let session = session(&store);
    let plan = WindowPlan::new(&session, spec("d", 9 * DAY, 20 * DAY)).await.unwrap();
    let mut reads = Vec::new();
    for correcting in [false, true] {
        store.take();
        let attempt = Attempt { correcting, ..Attempt::new(1) };
        let ran = run(&session, &plan, Arc::new(Taking), &attempt, &Arc::default()).await;
        assert_eq!(ran.unwrap().receipt.rows_read, 11 * 400);
        reads.push(bytes(&store.take()));
    }
    assert_eq!(reads[0], reads[1]);
}

#[tokio::test]
async fn windows_that_are_cut_at_row_groups_share_one_listing_and_read_all_once() {
    let store = Arc::new(Counting::default());
    put(&store, "d/a.parquet", 0..20, 2_000).await;
    put(&store, "d/b.parquet", 20..40, 2_000).await;
    let session = session(&store);
    let whole = WindowPlan::new(&session, spec("d", 0, 40 * DAY)).await.unwrap();
    let spans = whole.spans();
    let day = spans[0].1;
    assert!(spans.len() == 40 && spans.iter().all(|(span, _)| !span.is_empty()));
    let windows = cut_windows(whole.interval(), &spans, 5 * day, None);
    assert_eq!(windows.len(), 8);
    store.take();
    let (mut wanted, mut rows) = (0, 0);
    for window in windows {
        let plan = whole.within(window).await.unwrap();
        assert_eq!(plan.files().len(), 2);
        wanted += plan.files().iter().map(|file| file.bytes).sum::<u64>();
        assert!(store.take().is_empty(), "nothing is listed nor read again");
        let attempt = Attempt::new(plan.partitions(&session));
        let ran = run(&session, &plan, Arc::new(Taking), &attempt, &Arc::default()).await;
        rows += ran.unwrap().receipt.rows_read;
        store.take();
    }
    assert_eq!(rows, 40 * 2_000);
    assert_eq!(wanted, whole.files().iter().map(|file| file.bytes).sum::<u64>());
}
